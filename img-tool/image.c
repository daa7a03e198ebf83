/*
 * Opening images as the command line says. See image.h.
 */
#include "img-tool/image.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/json.h"
#include "base/opts.h"
#include "formats/formats.h"
#include "img-tool/confine.h"
#include "img-tool/tool.h"

enum { ALLOW_DEFAULT, ALLOW_NONE, ALLOW_PATHS, ALLOW_ALL };

const char *const image_allow_names[] = {"default", "none", "paths", "all", NULL};

/* A secret is checked and accepted; drivers that use one name it in their options. */
static bool check_secret(json_t *object, const char *id, GError **error)
{
    return json_object_get(object, "data") || json_object_get(object, "file") ||
           error_set(error, EINVAL, "secret '%s' has neither data=TEXT nor file=FILE", id);
}

static bool add_object(struct session *session, const char *text, GError **error)
{
    json_t *object = opts_parse(text, "qom-type", error);
    if (!object) {
        return false;
    }
    g_autofree char *type = json_take_string(object, "qom-type", NULL);
    g_autofree char *id = json_take_string(object, "id", NULL);
    bool group = !g_strcmp0(type, "throttle-group");
    bool added = false;
    if (!group && g_strcmp0(type, "secret")) {
        error_set(error, ENOTSUP,
                  "option '--object' knows the types secret and throttle-group, not '%s'",
                  type ? type : text);
    } else if (!id || !*id) {
        error_set(error, EINVAL, "option '--object %s' lacks id=ID", text);
    } else {
        added = group ? graph_add_throttle_group(session->graph, id, object, error)
                      : check_secret(object, id, error);
    }
    json_decref(object);
    return added;
}

static enum graph_trust trust_of(const struct image_args *args)
{
    if (args->untrusted || args->allow_ref == ALLOW_NONE) {
        return GRAPH_TRUST_NONE;
    }
    bool forced = !g_strcmp0(g_getenv("CAIRN_UNTRUSTED"), "1");
    bool all = args->allow_ref == ALLOW_ALL ||
               (args->allow_ref == ALLOW_DEFAULT && tool_is_compat() && !forced);
    return all ? GRAPH_TRUST_ALL : GRAPH_TRUST_PATHS;
}

bool image_confine(const struct image_args *args, char *const *names, bool writes_last,
                   GError **error)
{
    if (!args->untrusted) {
        return true;
    }
    g_autoptr(GPtrArray) reads = g_ptr_array_new();
    for (; *names; names++) {
        g_ptr_array_add(reads, *names);
    }
    struct confinement confinement = {.any_file = args->image_opts};
    if (writes_last && reads->len) {
        confinement.target = g_ptr_array_steal_index(reads, reads->len - 1);
    }
    g_ptr_array_add(reads, NULL);
    confinement.reads = (const char *const *)reads->pdata;
    return confine_start(&confinement, error);
}

bool session_start(struct session *session, const struct image_args *args, GError **error)
{
    if (args->image_opts && args->format) {
        return error_set(error, EINVAL, "--image-opts and --format are mutually exclusive");
    }
    session->loop = loop_new(NULL);
    session->graph = graph_new(session->loop, formats_drivers);
    graph_set_trust(session->graph, trust_of(args));
    for (guint i = 0; args->objects && i < args->objects->len; i++) {
        if (!add_object(session, args->objects->pdata[i], error)) {
            return false;
        }
    }
    return true;
}

void session_end(struct session *session)
{
    if (session->graph) {
        graph_free(session->graph);
        loop_free(session->loop);
    }
}

bool image_cache_flags(const char *cache, uint32_t *flags, GError **error)
{
    uint32_t more = 0;
    if (!node_parse_cache(cache, &more, error)) {
        return false;
    }
    *flags |= more;
    return true;
}

/* Scripts look for "Could not open 'NAME': reason"; the reason need not name NAME again. */
static void phrase_open_error(const char *name, GError **error)
{
    if (!error || !*error) {
        return;
    }
    g_autofree char *quoted = g_strdup_printf("'%s': ", name);
    const char *reason = (*error)->message;
    if (g_str_has_prefix(reason, "could not open '")) {
        (*error)->message[0] = 'C';
        return;
    }
    if (g_str_has_prefix(reason, quoted)) {
        reason += strlen(quoted);
    }
    char *message = g_strdup_printf("Could not open %s%s", quoted, reason);
    g_free((*error)->message);
    (*error)->message = message;
}

struct blk_node *image_open_plain(struct session *session, const char *name, const char *format,
                                  bool image_opts, uint32_t flags, GError **error)
{
    struct blk_node *node = NULL;
    json_t *options = image_opts ? opts_parse_tree(name, NULL, error) : NULL;
    if (options || !image_opts) {
        node = node_open(session->graph, image_opts ? NULL : name, format, options, flags, error);
    }
    json_decref(options);
    if (!node) {
        phrase_open_error(name, error);
    }
    return node;
}

struct blk_node *image_open(struct session *session, const struct image_args *args,
                            const char *name, const char *format, uint32_t flags, GError **error)
{
    flags |= args->force_share ? NODE_FORCE_SHARE : 0;
    if (args->cache && !image_cache_flags(args->cache, &flags, error)) {
        return NULL;
    }
    return image_open_plain(session, name, format, args->image_opts, flags, error);
}

/* The id of the snapshot that an option list describes; to be freed. NULL and *error for none. */
static char *find_snapshot_id(struct blk_node *node, const char *text, GError **error)
{
    struct snapshot_words {
        char *id, *name;
    } words = {0};
    static const struct field fields[] = {
        FIELD(struct snapshot_words, id, "snapshot.id", NULL, "its id"),
        FIELD(struct snapshot_words, name, "snapshot.name", NULL, "its name"),
        {0}};
    json_t *options = opts_parse(text, NULL, error);
    bool valid = options && fields_take_json(fields, &words, options, NULL, error) &&
                 json_reject_rest(options, "option '--snapshot'", error);
    GArray *list = valid ? node_snapshot_list(node, error) : NULL;
    int index = list ? snapshot_find(list, words.id, words.name) : -1;
    char *id = index < 0 ? NULL : g_strdup(g_array_index(list, struct blk_snapshot, index).id);
    if (list && !id) {
        error_set(error, ENOENT, "'%s' has no snapshot with %s", node_filename(node), text);
    }
    if (list) {
        g_array_unref(list);
    }
    fields_clear(fields, &words);
    json_decref(options);
    return id;
}

bool image_load_snapshot(struct blk_node *node, const char *text, GError **error)
{
    if (!text) {
        return true;
    }
    bool described = g_str_has_prefix(text, "snapshot.");
    g_autofree char *id = described ? find_snapshot_id(node, text, error) : g_strdup(text);
    if (id && node_snapshot_do(node, SNAPSHOT_LOAD, id, error)) {
        return true;
    }
    g_prefix_error(error, "Failed to load snapshot: ");
    return false;
}

bool image_is_same_file(const char *a, const char *b)
{
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

bool image_check_guess(struct blk_node *node, const char *name, GError **error)
{
    const char *doubt = node_doubt(node);
    return !doubt || error_set(error, EINVAL,
                               "'%s' begins as a %s image does, but also has %s, as a raw disk; "
                               "say which it is with -f %s or -f raw",
                               name, node_driver_name(node), doubt, node_driver_name(node));
}

void image_warn_probed(const struct blk_node *node, const char *name)
{
    if (node_was_probed(node) && !strcmp(node_driver_name(node), "raw")) {
        fprintf(stderr,
                "WARNING: Image format was not specified for '%s' and probing guessed raw.\n"
                "         Automatically detecting the format is dangerous for raw images, write "
                "operations on block 0 will be restricted.\n"
                "         Specify the 'raw' format explicitly to remove the restrictions.\n",
                name);
    }
}

bool image_close(struct blk_node **node, GError **error)
{
    bool closed = node_close(*node, error && *error ? NULL : error);
    *node = NULL;
    return closed;
}

const struct blk_driver *image_find_creator(struct session *session, const char *name,
                                            GError **error)
{
    const struct blk_driver *driver = graph_find_driver(session->graph, name);
    if (driver && driver_create_options(driver)) {
        return driver;
    }
    if (driver) {
        error_set(error, ENOTSUP, "format '%s' cannot be created here, only read", name);
        return NULL;
    }
    g_autofree char *hint = graph_driver_hint(session->graph, name);
    error_set(error, EINVAL, "Unknown file format '%s'%s", name, hint);
    return NULL;
}

bool image_name_error(const char *name, GError **error)
{
    if (error && *error && !strstr((*error)->message, name)) {
        g_prefix_error(error, "%s: ", name);
    }
    return false;
}

json_t *image_merge_options(const GPtrArray *texts, bool *ret_help, GError **error)
{
    json_t *all = json_object();
    bool help = false;
    for (guint i = 0; texts && i < texts->len; i++) {
        json_t *some = opts_parse(texts->pdata[i], NULL, error);
        if (!some) {
            json_decref(all);
            return NULL;
        }
        help |= json_object_get(some, "help") || json_object_get(some, "?");
        json_object_update(all, some);
        json_decref(some);
    }
    *ret_help = help;
    return all;
}

void image_print_create_help(const struct blk_driver *driver)
{
    g_autoptr(GString) out = g_string_new(NULL);
    g_string_append_printf(out, "Supported %s options:\n", driver_name(driver));
    fields_print_help(driver_create_options(driver), out);
    tool_printf("%s", out->str);
}
