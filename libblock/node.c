/*
 * The life of a node: made by open.c, shared by reference, closed with the last
 * reference. Closing flushes, lets the driver write what it still holds, and
 * then closes the children, which flush in their turn; every failure on the way
 * is reported, the first one in words.
 */
#include "libblock/node.h"

#include <errno.h>
#include <string.h>

#include "libblock/deep.h"
#include "libblock/graph.h"
#include "libblock/request.h"

struct blk_node *node_new(struct blk_graph *graph, const struct blk_driver *driver, uint32_t flags)
{
    struct blk_node *node = g_new0(struct blk_node, 1);
    node->driver = driver;
    node->graph = graph;
    node->flags = flags;
    node->refs = 1;
    node->state = g_malloc0(MAX(driver->state_size, 1));
    node->options = g_malloc0(MAX(driver->options_size, 1));
    if (driver->options) {
        fields_init(driver->options, node->options);
    }
    graph->nodes++;
    return node;
}

bool node_co_free(struct blk_node *node, GError **error)
{
    bool ok = node_co_close(node->data_file, error);
    ok = node_co_close(node->file, ok ? error : NULL) && ok;
    ok = node_co_close(node->backing, ok ? error : NULL) && ok;
    if (node->driver->options) {
        fields_clear(node->driver->options, node->options);
    }
    node->graph->nodes--;
    json_decref(node->spec);
    g_free(node->options);
    g_free(node->state);
    g_free(node->filename);
    g_free(node->name);
    g_free(node);
    return ok;
}

struct blk_node *node_ref(struct blk_node *node)
{
    node->refs++;
    return node;
}

static bool flush_co_last(struct blk_node *node, GError **error)
{
    int ret = node_is_writable(node) ? node_co_flush(node) : 0;
    return !ret || error_set_errno(error, -ret, "could not write all of '%s' to the disk",
                                   node_filename(node));
}

static bool close_co_last(struct blk_node *node, GError **error)
{
    request_co_wait_idle(node);
    GError *flushing = NULL;
    bool ok = flush_co_last(node, &flushing);
    /* Where both fail, the driver knows why. */
    if (node->driver->co_close && !node->driver->co_close(node, error)) {
        ok = false;
        g_clear_error(&flushing);
    }
    if (flushing) {
        g_propagate_error(error, flushing);
    }
    return node_co_free(node, ok ? error : NULL) && ok;
}

struct closing {
    struct blk_node *node;
    GError **error;
    bool ok;
};

static void closing_co_run(void *arg)
{
    struct closing *closing = arg;
    closing->ok = close_co_last(closing->node, closing->error);
}

/* Closing cannot fail for want of a stack: then it goes on on this one. */
bool node_co_close(struct blk_node *node, GError **error)
{
    if (!node || --node->refs > 0) {
        return true;
    }
    if (!deep_is_due(node)) {
        return close_co_last(node, error);
    }
    struct closing closing = {node, error, false};
    return deep_co_call(closing_co_run, &closing) ? closing.ok : close_co_last(node, error);
}

/* A whole number of blocks, at least one; 0 stays 0. */
static int64_t whole_blocks(int64_t max, int64_t align)
{
    return max > 0 ? max_i64(align_down(max, align), align) : 0;
}

void node_update_limits(struct blk_node *node)
{
    struct blk_limits *limits = &node->limits;
    *limits = node->file ? node->file->limits : (struct blk_limits){0};
    if (node->driver->limits) {
        node->driver->limits(node, limits);
    }
    limits->request_align = MAX(limits->request_align, 1);
    limits->memory_align = MAX(limits->memory_align, 1);
    limits->zero_align = MAX(limits->zero_align, limits->request_align);
    limits->discard_align = MAX(limits->discard_align, limits->request_align);
    limits->max_transfer = whole_blocks(limits->max_transfer, limits->request_align);
    limits->max_zero = whole_blocks(limits->max_zero, limits->zero_align);
    limits->max_discard = whole_blocks(limits->max_discard, limits->discard_align);
}

int64_t node_size(const struct blk_node *node)
{
    return __atomic_load_n(&node->size, __ATOMIC_RELAXED);
}

const char *node_driver_name(const struct blk_node *node)
{
    return node->driver->name;
}

bool node_is_writable(const struct blk_node *node)
{
    return node->flags & NODE_RDWR;
}

bool node_was_probed(const struct blk_node *node)
{
    return node->probed;
}

struct blk_node *node_file(const struct blk_node *node)
{
    return node->file;
}

struct blk_node *node_backing(const struct blk_node *node)
{
    return node->backing;
}

struct blk_graph *node_graph(const struct blk_node *node)
{
    return node->graph;
}

const struct blk_limits *node_limits(const struct blk_node *node)
{
    return &node->limits;
}

bool node_parse_cache(const char *mode, uint32_t *flags, GError **error)
{
    static const struct {
        const char *mode;
        uint32_t flags;
    } words[] = {
        {"writeback", 0},
        {"writethrough", NODE_WRITETHROUGH},
        {"none", NODE_DIRECT},
        {"off", NODE_DIRECT},
        {"directsync", NODE_DIRECT | NODE_WRITETHROUGH},
        {"unsafe", NODE_NO_FLUSH},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(words); i++) {
        if (!strcmp(words[i].mode, mode)) {
            *flags &= ~(uint32_t)(NODE_WRITETHROUGH | NODE_DIRECT | NODE_NO_FLUSH);
            *flags |= words[i].flags;
            return true;
        }
    }
    return error_set(error, EINVAL,
                     "invalid cache mode '%s': expected none, writeback, writethrough, directsync "
                     "or unsafe",
                     mode);
}
