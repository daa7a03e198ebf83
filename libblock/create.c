/*
 * Creating images: the protocol makes the file, the format fills it.
 *
 * Create options are one flat object for both: the format takes those of its
 * table, the protocol those of its own, and what is left is an error. `size` is
 * an option as well as an argument; without either it is the size of the
 * backing file. When the format fails on a file that did not exist before, the
 * file is removed again.
 */
#include "libblock/driver.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libblock/graph.h"
#include "libblock/name.h"

struct creation {
    struct blk_graph *graph;
    const char *name; /* as given */
    const char *rest; /* what the protocol understands of it */
    const struct blk_driver *driver, *protocol;
    void *driver_options, *protocol_options;
    json_t *left; /* options that nobody took yet */
    int64_t size; /* -1: not known yet */
    uint32_t flags;
};

static void *options_new(const struct blk_driver *driver)
{
    void *options = g_malloc0(MAX(driver->create_options_size, 1));
    if (driver->create_options) {
        fields_init(driver->create_options, options);
    }
    return options;
}

static void options_free(const struct blk_driver *driver, void *options)
{
    if (options && driver->create_options) {
        fields_clear(driver->create_options, options);
    }
    g_free(options);
}

static bool options_take(const struct blk_driver *driver, void *options, json_t *left,
                         GError **error)
{
    return !driver->create_options ||
           fields_take_json(driver->create_options, options, left, "option", error);
}

static const struct blk_driver *find_creator(struct blk_graph *graph, const char *name,
                                             GError **error)
{
    const struct blk_driver *driver = graph_find_driver(graph, name);
    if (!driver) {
        g_autofree char *hint = graph_driver_hint(graph, name);
        error_set(error, EINVAL, "unknown file format '%s'%s", name, hint);
    } else if (!driver->co_create) {
        error_set(error, ENOTSUP, "format '%s' does not support image creation", name);
        driver = NULL;
    }
    return driver;
}

/* Takes "size" out of the options; the argument wins over it. */
static bool take_size(json_t *left, int64_t *size, GError **error)
{
    struct size_option {
        int64_t size;
    } option = {0};
    static const struct field field = FIELD_SIZE(struct size_option, size, "size", NULL, "");
    json_t *value = json_take(left, "size");
    bool ok = !value || field_set_json(&field, &option, value, "option", error);
    if (ok && value && *size < 0) {
        *size = option.size;
    }
    json_decref(value);
    return ok;
}

static bool same_file(const char *a, const char *b)
{
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* The backing file must be there and have a format; its size is the default. */
static bool backing_co_look(struct creation *c, const char *backing, const char *format,
                            GError **error)
{
    g_autofree char *full = name_resolve(c->name, backing);
    if (!g_strcmp0(full, c->name) || same_file(full, c->name)) {
        return error_set(error, EINVAL, "'%s' cannot be its own backing file", c->name);
    }
    uint32_t flags = NODE_NO_BACKING | (c->flags & NODE_FORCE_SHARE);
    struct blk_node *node = node_co_open(c->graph, full, format, NULL, flags, error);
    if (!node) {
        g_prefix_error(error, "could not open backing file: ");
        return false;
    }
    bool ok = format || error_set(error, EINVAL,
                                  "backing file specified without backing format (detected format "
                                  "of %s: add -F %s)",
                                  node->driver->name, node->driver->name);
    if (ok && c->size < 0) {
        c->size = node_size(node);
    }
    return node_co_close(node, ok ? error : NULL) && ok;
}

static bool size_co_settle(struct creation *c, const char *backing, const char *format,
                           GError **error)
{
    if (backing && *backing && !(c->flags & NODE_NO_BACKING) &&
        !backing_co_look(c, backing, format, error)) {
        return false;
    }
    return c->size >= 0 || error_set(error, EINVAL, "image creation needs a size");
}

static bool options_co_parse(struct creation *c, json_t **ret_options, GError **error)
{
    g_autofree char *backing =
        g_strdup(json_string_value(json_object_get(c->left, "backing_file")));
    g_autofree char *format = g_strdup(json_string_value(json_object_get(c->left, "backing_fmt")));
    if (!take_size(c->left, &c->size, error) ||
        !options_take(c->driver, c->driver_options, c->left, error)) {
        return false;
    }
    if (c->protocol != c->driver &&
        !options_take(c->protocol, c->protocol_options, c->left, error)) {
        return false;
    }
    g_autofree char *what = g_strdup_printf("format '%s'", c->driver->name);
    if (!json_reject_rest(c->left, what, error) || !size_co_settle(c, backing, format, error)) {
        return false;
    }
    if (ret_options) {
        *ret_options = c->driver->create_options
                           ? fields_to_json(c->driver->create_options, c->driver_options)
                           : json_object();
        json_object_set_new(*ret_options, "size", json_integer(c->size));
    }
    return true;
}

static bool image_co_fill(struct creation *c, GError **error)
{
    uint32_t keep = NODE_NO_FLUSH | NODE_DIRECT | NODE_NO_LOCK | NODE_SERVER;
    uint32_t flags =
        NODE_RDWR | (c->flags & keep) | (c->driver->flags & DRIVER_PLAIN ? 0 : NODE_UNSHARED);
    struct blk_node *file = node_co_open(c->graph, c->rest, c->protocol->name, NULL, flags, error);
    if (!file) {
        return false;
    }
    struct blk_create create = {c->graph, c->name, c->size, c->driver_options, file};
    bool ok = c->driver->co_create(&create, error);
    return node_co_close(file, ok ? error : NULL) && ok;
}

static bool image_co_make(struct creation *c, GError **error)
{
    struct stat st;
    bool existed = lstat(c->rest, &st) == 0;
    bool whole = c->protocol == c->driver;
    struct blk_create create = {c->graph, c->rest, whole ? c->size : 0, c->protocol_options, NULL};
    bool ok = c->protocol->co_create(&create, error) && (whole || image_co_fill(c, error));
    if (!ok && !existed && lstat(c->rest, &st) == 0 && S_ISREG(st.st_mode)) {
        unlink(c->rest);
    }
    return ok;
}

static bool image_co_create_checked(struct creation *c, json_t **ret_options, GError **error)
{
    c->driver_options = options_new(c->driver);
    c->protocol_options = c->protocol == c->driver ? c->driver_options : options_new(c->protocol);
    json_t *effective = NULL;
    bool ok = options_co_parse(c, &effective, error) && image_co_make(c, error);
    if (ok && ret_options) {
        *ret_options = json_incref(effective);
    }
    json_decref(effective);
    if (c->protocol_options != c->driver_options) {
        options_free(c->protocol, c->protocol_options);
    }
    options_free(c->driver, c->driver_options);
    return ok;
}

bool image_co_create(struct blk_graph *graph, const char *name, const char *driver, int64_t size,
                     json_t *options, uint32_t flags, json_t **ret_options, GError **error)
{
    struct creation c = {.graph = graph, .name = name, .size = size, .flags = flags};
    c.driver = find_creator(graph, driver, error);
    if (!c.driver) {
        return false;
    }
    if (name_is_json(name)) {
        return error_set(error, ENOTSUP, "'%s': an image is created under a file name", name);
    }
    c.protocol = name_find_protocol(graph, name, &c.rest, error);
    if (!c.protocol) {
        return false;
    }
    if (!c.protocol->co_create) {
        return error_set(error, ENOTSUP, "protocol '%s' does not support image creation",
                         c.protocol->name);
    }
    c.left = options ? json_deep_copy(options) : json_object();
    bool ok = image_co_create_checked(&c, ret_options, error);
    json_decref(c.left);
    return ok;
}

bool image_co_create_over(struct blk_node *file, const char *driver, int64_t size, json_t *options,
                          GError **error)
{
    const struct blk_driver *found = find_creator(file->graph, driver, error);
    if (!found) {
        return false;
    }
    void *parsed = options_new(found);
    json_t *left = options ? json_deep_copy(options) : json_object();
    bool ok = take_size(left, &size, error) && options_take(found, parsed, left, error) &&
              json_reject_rest(left, "image", error);
    if (ok && size < 0) {
        ok = error_set(error, EINVAL, "image creation needs a size");
    }
    struct blk_create create = {file->graph, node_filename(file), size, parsed, file};
    ok = ok && found->co_create(&create, error);
    json_decref(left);
    options_free(found, parsed);
    return ok;
}

/* ---- measuring ---- */

/* As for creating: the format's options, then those of the protocol that will hold it. */
static bool take_measure_options(struct blk_graph *graph, const struct blk_driver *driver,
                                 void *parsed, json_t *left, GError **error)
{
    const struct blk_driver *protocol = graph_find_driver(graph, "file");
    void *below = protocol ? options_new(protocol) : NULL;
    int64_t ignored = -1;
    g_autofree char *what = g_strdup_printf("format '%s'", driver->name);
    bool ok = take_size(left, &ignored, error) && options_take(driver, parsed, left, error) &&
              (!protocol || options_take(protocol, below, left, error)) &&
              json_reject_rest(left, what, error);
    if (protocol) {
        options_free(protocol, below);
    }
    return ok;
}

bool image_co_measure(struct blk_graph *graph, const char *driver, json_t *options,
                      struct blk_node *source, int64_t size, struct blk_measure *ret_measure,
                      GError **error)
{
    const struct blk_driver *found = graph_find_driver(graph, driver);
    if (!found) {
        return error_set(error, EINVAL, "Unknown file format '%s'", driver);
    }
    if (!found->amend || !found->amend->co_measure) {
        return error_set(error, ENOTSUP, "Block driver '%s' does not support size measurement",
                         driver);
    }
    size = source ? node_size(source) : size;
    if (size < 0 || size > INT64_MAX - 511) {
        return error_set(error, EINVAL, "a size of %" PRId64 " bytes is not possible", size);
    }
    void *parsed = options_new(found);
    json_t *left = options ? json_deep_copy(options) : json_object();
    bool ok = take_measure_options(graph, found, parsed, left, error) &&
              found->amend->co_measure(parsed, source, size, ret_measure, error);
    json_decref(left);
    options_free(found, parsed);
    return ok;
}
