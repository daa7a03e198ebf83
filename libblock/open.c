/*
 * Opening: from a name and a tree of options to nodes.
 *
 * Every way of naming an image ends in a tree: {"driver": "qcow2", "file":
 * {"driver": "file", "filename": "a.img"}}. What the tree leaves out is filled
 * in: the protocol from the name, the format from the content. Libblock takes
 * the options that every node has (read-only, cache, ...), the driver those of
 * its table and what its co_open knows; anything left over is an error.
 *
 * While a format is being guessed its file is open but not locked; the locks
 * depend on the format and are taken as soon as it is known.
 */
#include "libblock/open.h"

#include <errno.h>
#include <string.h>

#include "libblock/deep.h"
#include "libblock/graph.h"
#include "libblock/name.h"
#include "libblock/node.h"
#include "libblock/probe.h"

enum { LEVEL_MAX = 16 };

struct common_options {
    bool on;
    char *text;
};

/* Options that every node knows, and the flag each of them switches. */
static const struct {
    const char *key;
    uint32_t flag;
    bool clears; /* "on" clears the flag */
} switches[] = {
    {"read-only", NODE_RDWR, true},         {"force-share", NODE_FORCE_SHARE, false},
    {"direct", NODE_DIRECT, false},         {"no-flush", NODE_NO_FLUSH, false},
    {"writeback", NODE_WRITETHROUGH, true}, {"auto-read-only", 0, false},
};

/* "read-only=off" leaves a node as its parent asked; the others switch both ways. */
static bool take_switch(json_t *tree, size_t i, uint32_t *flags, GError **error)
{
    static const struct field field = FIELD(struct common_options, on, "switch", "off", "");
    json_t *value = json_take(tree, switches[i].key);
    if (!value) {
        return true;
    }
    struct common_options parsed = {0};
    bool ok = field_set_json(&field, &parsed, value, switches[i].key, error);
    json_decref(value);
    if (ok && parsed.on != switches[i].clears) {
        *flags |= switches[i].flag == NODE_RDWR ? 0 : switches[i].flag;
    } else if (ok) {
        *flags &= ~switches[i].flag;
    }
    return ok;
}

static bool take_switches(json_t *tree, uint32_t *flags, GError **error)
{
    for (size_t i = 0; i < G_N_ELEMENTS(switches); i++) {
        if (!take_switch(tree, i, flags, error)) {
            return false;
        }
    }
    return true;
}

/* Words that say how guests' discards and zeroes are treated; hints here. */
static bool take_hint(json_t *tree, const char *key, const char *const *words, GError **error)
{
    g_autofree char *word = NULL;
    GError *bad = NULL;
    word = json_take_string(tree, key, &bad);
    if (bad) {
        g_propagate_error(error, bad);
        return false;
    }
    return !word || g_strv_contains(words, word) ||
           error_set(error, EINVAL, "invalid value '%s' of option '%s'", word, key);
}

static bool take_common(json_t *tree, uint32_t *flags, GError **error)
{
    static const char *const discards[] = {"ignore", "off", "unmap", "on", NULL};
    static const char *const detects[] = {"off", "on", "unmap", NULL};
    json_t *cache = json_take(tree, "cache");
    bool ok = !cache || (json_is_object(cache) && take_switches(cache, flags, error) &&
                         json_reject_rest(cache, "option 'cache'", error));
    json_decref(cache);
    return (ok || error_set(error, EINVAL, "option 'cache' takes cache.direct=on and the like")) &&
           take_switches(tree, flags, error) && take_hint(tree, "discard", discards, error) &&
           take_hint(tree, "detect-zeroes", detects, error);
}

/* The flags of the `file` child below a format or filter. */
static uint32_t child_flags(const struct blk_driver *driver, uint32_t flags)
{
    flags &= ~(uint32_t)NODE_WRITETHROUGH;
    if (driver && (driver->flags & DRIVER_FILTER)) {
        return flags;
    }
    flags &= ~(uint32_t)(NODE_REPAIR | NODE_NO_BACKING);
    bool metadata = driver && (driver->flags & DRIVER_FORMAT) && !(driver->flags & DRIVER_PLAIN);
    return metadata ? flags | NODE_UNSHARED : flags;
}

/* Opens `driver`; takes `file` over in any case. */
static struct blk_node *open_co_driver(const struct open_request *request, json_t *tree,
                                       const struct blk_driver *driver, struct blk_node *file,
                                       uint32_t flags, GError **error)
{
    g_autofree char *what = g_strdup_printf("driver '%s'", driver->name);
    struct blk_node *node = node_new(request->graph, driver, flags);
    node->file = file;
    node->opener = request->opener;
    node->depth = request->opener ? request->opener->depth + 1 : 0;
    node->name = json_take_string(tree, "node-name", NULL);
    node->spec = json_deep_copy(tree);
    if (file && (driver->flags & DRIVER_FILTER)) {
        node->size = node_size(file);
        node->growable = file->growable;
    }
    bool opened = false;
    bool ok =
        !driver->options || fields_take_json(driver->options, node->options, tree, what, error);
    if (ok && (flags & NODE_RDWR) && !driver->co_write && !file) {
        ok = error_set(error, EACCES, "%s is read-only", what);
    }
    if (ok) {
        opened = ok = !driver->co_open || driver->co_open(node, tree, error);
    }
    ok = ok && json_reject_rest(tree, what, error);
    node->opener = NULL;
    if (ok) {
        node_update_limits(node);
        deep_set_rank(node);
        node->debugged = driver->debug || (file && file->debugged);
        return node;
    }
    if (opened && driver->co_close) {
        driver->co_close(node, NULL);
    }
    node_co_free(node, NULL);
    return NULL;
}

static bool settle_co_flags(struct blk_node *node, uint32_t flags, GError **error);

static bool settle_co_file(struct blk_node *node, uint32_t flags, GError **error)
{
    return !node->file || settle_co_flags(node->file, child_flags(node->driver, flags), error);
}

static bool settle_co_driver(struct blk_node *node, uint32_t flags, GError **error)
{
    return !node->driver->co_reopen || node->driver->co_reopen(node, flags, error);
}

/* Gives a node and the file below it other flags, which is when locks are taken. Who begins to
 * write needs the file first; who ends, has it last. */
static bool settle_co_flags(struct blk_node *node, uint32_t flags, GError **error)
{
    bool ends = (node->flags & NODE_RDWR) && !(flags & NODE_RDWR);
    bool first = ends ? settle_co_driver(node, flags, error) : settle_co_file(node, flags, error);
    if (!first) {
        return false;
    }
    if (!(ends ? settle_co_file(node, flags, error) : settle_co_driver(node, flags, error))) {
        ends ? settle_co_driver(node, node->flags, NULL) : settle_co_file(node, node->flags, NULL);
        return false;
    }
    node->flags = flags;
    return true;
}

bool node_co_reopen(struct blk_node *node, uint32_t flags, GError **error)
{
    const uint32_t changing = NODE_RDWR | NODE_UNSHARED | NODE_FORCE_SHARE;
    flags = (node->flags & ~changing) | (flags & changing);
    int ret = node->flags & NODE_RDWR ? node_co_flush(node) : 0;
    if (ret) {
        return error_set_errno(error, -ret, "could not flush '%s'", node_filename(node));
    }
    node_co_drain_begin(node);
    bool done = settle_co_flags(node, flags, error);
    node_drain_end(node);
    return done;
}

static const char *file_key(const struct blk_driver *driver)
{
    return driver && driver->file_key ? driver->file_key : "file";
}

/* Opens what lies below `driver`; NULL: it is to be guessed. */
static struct blk_node *open_co_file(const struct open_request *request, json_t *tree,
                                     const struct blk_driver *driver, const char *name,
                                     uint32_t flags, GError **error)
{
    json_t *value = json_take(tree, file_key(driver));
    if (json_is_string(value)) {
        name = json_string_value(value);
    }
    struct blk_node *file = NULL;
    if (!name && !json_is_object(value)) {
        error_set(error, EINVAL, "no file is named: give %s.filename=...", file_key(driver));
    } else {
        struct open_request child = *request;
        child.name = name;
        child.driver = NULL;
        child.tree = json_is_object(value) ? value : NULL;
        child.flags = flags;
        child.protocol = !driver || !(driver->flags & DRIVER_PROBES);
        child.level++;
        file = open_co_node(&child, error);
    }
    json_decref(value);
    return file;
}

/* Opens the file, guesses its format, and opens that. */
static struct blk_node *open_co_probed(const struct open_request *request, json_t *tree,
                                       const char *name, uint32_t flags, GError **error)
{
    struct blk_node *file =
        open_co_file(request, tree, NULL, name, child_flags(NULL, flags) | NODE_NO_LOCK, error);
    if (!file) {
        return NULL;
    }
    const struct blk_driver *driver = probe_co_driver(file, error);
    uint32_t final = driver ? (child_flags(driver, file->flags) & ~(uint32_t)NODE_NO_LOCK) |
                                  (flags & NODE_NO_LOCK)
                            : 0;
    if (!driver || !settle_co_flags(file, final, error)) {
        node_co_close(file, NULL);
        return NULL;
    }
    struct blk_node *node = open_co_driver(request, tree, driver, file, flags, error);
    if (node) {
        node->probed = true;
    }
    return node;
}

static struct blk_node *open_co_over_file(const struct open_request *request, json_t *tree,
                                          const struct blk_driver *driver, const char *name,
                                          uint32_t flags, GError **error)
{
    struct blk_node *file =
        open_co_file(request, tree, driver, name, child_flags(driver, flags), error);
    return file ? open_co_driver(request, tree, driver, file, flags, error) : NULL;
}

static struct blk_node *open_co_protocol(const struct open_request *request, json_t *tree,
                                         const struct blk_driver *driver, const char *name,
                                         uint32_t flags, GError **error)
{
    if (name) {
        json_object_set_new(tree, "filename", json_string(name_strip_protocol(driver, name)));
    }
    return open_co_driver(request, tree, driver, NULL, flags, error);
}

/* Which driver the caller and the tree ask for; *ret_driver is NULL when it is to be guessed. */
static bool choose_driver(const struct open_request *request, json_t *tree,
                          const struct blk_driver **ret_driver, GError **error)
{
    GError *bad = NULL;
    g_autofree char *told = json_take_string(tree, "driver", &bad);
    if (bad) {
        g_propagate_error(error, bad);
        return false;
    }
    const char *name = request->driver ? request->driver : told;
    const struct blk_driver *driver = name ? graph_find_driver(request->graph, name) : NULL;
    if (name && !driver) {
        g_autofree char *hint = graph_driver_hint(request->graph, name);
        return error_set(error, EINVAL, "unknown driver '%s'%s", name, hint);
    }
    if (request->driver && told && strcmp(request->driver, told)) {
        const struct blk_driver *inner = graph_find_driver(request->graph, told);
        if (!inner || !(inner->flags & DRIVER_PROTOCOL)) {
            return error_set(error, EINVAL, "the format is said to be '%s' and 'driver=%s'",
                             request->driver, told);
        }
        json_t *file = json_copy(tree);
        json_object_set_new(file, "driver", json_string(told));
        json_object_clear(tree);
        json_object_set_new(tree, "file", file);
    }
    *ret_driver = driver;
    return true;
}

static struct blk_node *open_co_tree(const struct open_request *request, json_t *tree,
                                     const char *name, GError **error)
{
    const struct blk_driver *driver = NULL;
    uint32_t flags = request->flags;
    if (request->level > LEVEL_MAX) {
        error_set(error, ELOOP, "more than %d formats and filters on top of each other", LEVEL_MAX);
        return NULL;
    }
    if (!choose_driver(request, tree, &driver, error) || !take_common(tree, &flags, error)) {
        return NULL;
    }
    if ((flags & NODE_FORCE_SHARE) && (flags & NODE_RDWR)) {
        error_set(error, EINVAL, "force-share=on can only be used with read-only images");
        return NULL;
    }
    g_autofree char *inner = NULL;
    if (!name && !driver && !json_object_get(tree, "file")) {
        name = inner = json_take_string(tree, "filename", NULL);
    }
    if (!driver && request->protocol) {
        const char *rest;
        if (!name) {
            error_set(error, EINVAL, "neither a driver nor a file name is given");
            return NULL;
        }
        driver = name_find_protocol(request->graph, name, &rest, error);
        if (driver && driver->parse_name) {
            return driver->parse_name(rest, tree, error)
                       ? open_co_over_file(request, tree, driver, NULL, flags, error)
                       : NULL;
        }
        return driver ? open_co_protocol(request, tree, driver, rest, flags, error) : NULL;
    }
    if (!driver) {
        return open_co_probed(request, tree, name, flags, error);
    }
    if (driver->flags & DRIVER_PROTOCOL) {
        return open_co_protocol(request, tree, driver, name, flags, error);
    }
    return open_co_over_file(request, tree, driver, name, flags, error);
}

struct blk_node *open_co_node(const struct open_request *request, GError **error)
{
    const char *name = request->name;
    json_t *tree = NULL;
    if (name && name_is_json(name)) {
        tree = name_parse_json(name, error);
        if (!tree) {
            return NULL;
        }
        json_object_update(tree, request->tree);
        name = NULL;
    } else {
        tree = request->tree ? json_deep_copy(request->tree) : json_object();
    }
    struct blk_node *node = open_co_tree(request, tree, name, error);
    json_decref(tree);
    return node;
}

struct blk_node *node_co_open(struct blk_graph *graph, const char *name, const char *driver,
                              json_t *options, uint32_t flags, GError **error)
{
    struct open_request request = {
        .graph = graph, .name = name, .driver = driver, .tree = options, .flags = flags};
    return open_co_node(&request, error);
}

struct blk_node *node_co_open_over(struct blk_node *file, const char *driver, json_t *options,
                                   uint32_t flags, GError **error)
{
    const struct blk_driver *found = graph_find_driver(file->graph, driver);
    if (!found || (found->flags & DRIVER_PROTOCOL)) {
        error_set(error, EINVAL, "'%s' is no format or filter", driver);
        return NULL;
    }
    struct open_request request = {.graph = file->graph};
    json_t *tree = options ? json_deep_copy(options) : json_object();
    struct blk_node *node =
        take_common(tree, &flags, error)
            ? open_co_driver(&request, tree, found, node_ref(file), flags, error)
            : NULL;
    json_decref(tree);
    return node;
}

struct blk_node *node_co_open_child(struct blk_node *parent, json_t *rest, const char *key,
                                    bool probe, uint32_t flags, GError **error)
{
    json_t *value = json_take(rest, key);
    struct blk_node *node = NULL;
    if (json_is_string(value) || json_is_object(value)) {
        struct open_request request = {.graph = parent->graph,
                                       .name = json_string_value(value),
                                       .tree = json_is_object(value) ? value : NULL,
                                       .flags = flags,
                                       .protocol = !probe,
                                       .opener = parent};
        node = open_co_node(&request, error);
    } else {
        error_set(error, EINVAL, "option '%s' of '%s' is missing or names no file", key,
                  parent->driver->name);
    }
    json_decref(value);
    return node;
}
