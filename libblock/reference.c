/*
 * Files that images name inside themselves: backing files, data files, extents.
 *
 * An image is untrusted input, and so is a name in it. By default only plain
 * local paths to regular files are followed, resolved against the folder of the
 * image; everything else needs the caller's leave (graph_set_trust()). What kind
 * of file a path leads to is judged by the descriptor that is used (NODE_REGULAR),
 * as the name may mean another file a moment later. A chain may be 200 deep, which
 * is what ends loops; those that exist when the chain is opened are named.
 */
#include "libblock/driver.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "libblock/deep.h"
#include "libblock/graph.h"
#include "libblock/name.h"
#include "libblock/node.h"
#include "libblock/open.h"

enum { REFERENCE_DEPTH_MAX = 200 };

static bool is_plain_path(const char *name)
{
    return !name_protocol_length(name) || g_str_has_prefix(name, "file:");
}

/* A format, or plain bytes: nothing that would give a path another meaning. */
static bool is_plain_format(struct blk_graph *graph, const char *format)
{
    const struct blk_driver *driver = format ? graph_find_driver(graph, format) : NULL;
    return !driver || driver == &file_driver || (driver->flags & DRIVER_FORMAT);
}

static const char *path_of(const char *name)
{
    return g_str_has_prefix(name, "file:") ? name + strlen("file:") : name;
}

static bool check_trust(struct blk_node *parent, const char *name, const char *full,
                        const char *format, const char *role, GError **error)
{
    enum graph_trust trust = parent->graph->trust;
    if (trust == GRAPH_TRUST_ALL) {
        return true;
    }
    if (trust == GRAPH_TRUST_NONE) {
        return error_set(error, EACCES,
                         "image '%s' names '%s' as its %s; an untrusted image's references are not "
                         "followed (--allow-ref=paths follows it)",
                         node_filename(parent), name, role);
    }
    if (!is_plain_path(full)) {
        return error_set(error, EACCES,
                         "image '%s' names '%s' as its %s, which is no plain file; only "
                         "--allow-ref=all follows it",
                         node_filename(parent), name, role);
    }
    return is_plain_format(parent->graph, format) ||
           error_set(error, EACCES,
                     "image '%s' names '%s' as its %s and '%s' as the format of that, which is "
                     "none; only --allow-ref=all follows it",
                     node_filename(parent), name, role, format);
}

static bool same_file(const struct stat *st, const struct blk_node *node)
{
    const char *name = node_base_name(node);
    struct stat other;
    return name && stat(path_of(name), &other) == 0 && other.st_dev == st->st_dev &&
           other.st_ino == st->st_ino;
}

static bool check_loop(struct blk_node *parent, const char *full, const char *role, GError **error)
{
    if (parent->depth >= REFERENCE_DEPTH_MAX) {
        return error_set(error, ELOOP, "'%s': its chain of images is deeper than %d",
                         node_filename(parent), REFERENCE_DEPTH_MAX);
    }
    struct stat st;
    if (!is_plain_path(full) || stat(path_of(full), &st) < 0) {
        return true;
    }
    for (const struct blk_node *node = parent; node; node = node->opener) {
        if (same_file(&st, node)) {
            return error_set(error, ELOOP, "%s '%s' of '%s' leads back to '%s'", role, full,
                             node_filename(parent), node_filename(node));
        }
    }
    return true;
}

struct reference {
    struct open_request request;
    GError **error;
    struct blk_node *node;
};

static void reference_co_run(void *arg)
{
    struct reference *reference = arg;
    reference->node = open_co_node(&reference->request, reference->error);
}

struct blk_node *node_co_open_reference(struct blk_node *parent, const char *name,
                                        const char *format, uint32_t flags, const char *role,
                                        GError **error)
{
    g_autofree char *full = name_resolve(node_base_name(parent), name);
    if (!check_trust(parent, name, full, format, role, error) ||
        !check_loop(parent, full, role, error)) {
        return NULL;
    }
    bool judged = parent->graph->trust != GRAPH_TRUST_ALL;
    flags = judged ? flags | NODE_REGULAR : flags & ~(uint32_t)NODE_REGULAR;
    struct reference reference = {
        {.graph = parent->graph, .name = full, .driver = format, .flags = flags, .opener = parent},
        error,
        NULL};
    if (!deep_co_call(reference_co_run, &reference)) {
        error_set(error, ENOMEM, "'%s' cannot be opened: no memory for a stack", full);
    }
    struct blk_node *node = reference.node;
    if (!node) {
        g_prefix_error(error, "%s of '%s': ", role, node_filename(parent));
        return NULL;
    }
    if (node->probed && (node->driver->flags & DRIVER_PLAIN) && (flags & NODE_RDWR)) {
        error_set(error, EPERM, "%s '%s' looks raw, but its format is not recorded: not writing",
                  role, full);
        node_co_close(node, NULL);
        return NULL;
    }
    return node;
}
