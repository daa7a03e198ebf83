/*
 * Names. A name is "json:{...}", "PROTOCOL:rest", a URI whose scheme a driver
 * claims, or a path; a path to a block device means the host_device driver.
 * A colon after the first slash belongs to the path, so "./a:b" is a file.
 */
#include "libblock/name.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "libblock/graph.h"

bool name_is_json(const char *name)
{
    return g_str_has_prefix(name, "json:");
}

json_t *name_parse_json(const char *name, GError **error)
{
    json_t *tree = json_parse_text(name + strlen("json:"), "json: name", error);
    if (tree && !json_is_object(tree)) {
        json_decref(tree);
        error_set(error, EINVAL, "json: name '%s' is not an object", name);
        return NULL;
    }
    return tree ? json_unflatten(tree, error) : NULL;
}

size_t name_protocol_length(const char *name)
{
    size_t len = strcspn(name, ":/");
    return name[len] == ':' ? len : 0;
}

static bool claims_scheme(const struct blk_driver *driver, const char *name, size_t len)
{
    for (const char *const *s = driver->schemes; s && *s; s++) {
        if (strlen(*s) == len && !strncmp(*s, name, len)) {
            return true;
        }
    }
    return false;
}

static const struct blk_driver *find_scheme(struct blk_graph *graph, const char *name, size_t len)
{
    for (const struct blk_driver *const *d = graph->drivers; *d; d++) {
        if ((*d)->flags & DRIVER_PROTOCOL && claims_scheme(*d, name, len)) {
            return *d;
        }
    }
    return NULL;
}

static bool is_named(const struct blk_driver *driver, const char *name, size_t len)
{
    return strlen(driver->name) == len && !strncmp(driver->name, name, len);
}

const char *name_strip_protocol(const struct blk_driver *driver, const char *name)
{
    size_t len = name_protocol_length(name);
    return len && is_named(driver, name, len) && !claims_scheme(driver, name, len) ? name + len + 1
                                                                                   : name;
}

static const struct blk_driver *find_for_path(struct blk_graph *graph, const char *path,
                                              GError **error)
{
    struct stat st;
    bool device = stat(path, &st) == 0 && (S_ISBLK(st.st_mode) || S_ISCHR(st.st_mode));
    const struct blk_driver *driver = device ? graph_find_driver(graph, "host_device") : NULL;
    if (!driver) {
        driver = graph_find_driver(graph, "file");
    }
    if (!driver) {
        error_set(error, ENOTSUP, "could not open '%s': no driver for files here", path);
    }
    return driver;
}

const struct blk_driver *name_find_protocol(struct blk_graph *graph, const char *name,
                                            const char **ret_rest, GError **error)
{
    size_t len = name_protocol_length(name);
    if (!len) {
        *ret_rest = name;
        return find_for_path(graph, name, error);
    }
    const struct blk_driver *driver = find_scheme(graph, name, len);
    g_autofree char *word = g_strndup(name, len);
    if (!driver) {
        driver = graph_find_driver(graph, word);
    }
    if (!driver || !driver_is_protocol(driver)) {
        error_set(error, EINVAL, "unknown protocol '%s' (a file of this name is './%s')", word,
                  name);
        return NULL;
    }
    *ret_rest = name_strip_protocol(driver, name);
    return driver;
}

char *name_resolve(const char *base, const char *name)
{
    if (name[0] == '/' || name_protocol_length(name) || !base) {
        return g_strdup(name);
    }
    const char *path = g_str_has_prefix(base, "file:") ? base + strlen("file:") : base;
    const char *slash = strrchr(path, '/');
    return g_strdup_printf("%.*s%s", slash ? (int)(slash - path + 1) : 0, path, name);
}
