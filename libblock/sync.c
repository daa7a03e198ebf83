/*
 * The synchronous twins: each packs its arguments, runs the coroutine function
 * in the graph's loop until it has returned, and hands the result back. For
 * tools; never called from a coroutine.
 */
#include "libblock/driver.h"

#include <errno.h>

#include "libblock/graph.h"

struct data_call {
    struct blk_node *node;
    int64_t offset, length;
    void *buf;
    uint32_t flags;
    struct extent_list *list;
    int result;
};

struct control_call {
    struct blk_graph *graph;
    struct blk_node *node, *result;
    const char *name, *driver;
    json_t *options;
    int64_t size;
    uint32_t flags;
    json_t **ret_options;
    struct blk_info *ret_info;
    GError **error;
    bool ok;
};

static int run_data(co_fn *fn, struct data_call *call)
{
    loop_call(call->node->graph->loop, fn, call);
    return call->result;
}

static void sync_co_read(void *arg)
{
    struct data_call *c = arg;
    c->result = node_co_pread(c->node, c->offset, c->length, c->buf);
}

int node_read(struct blk_node *node, int64_t offset, int64_t length, void *buf)
{
    struct data_call call = {node, offset, length, buf, 0, NULL, -EIO};
    return run_data(sync_co_read, &call);
}

static void sync_co_write(void *arg)
{
    struct data_call *c = arg;
    struct iovec slot;
    c->result =
        node_co_write(c->node, c->offset, c->length, span_of(&slot, c->buf, c->length), c->flags);
}

int node_write(struct blk_node *node, int64_t offset, int64_t length, const void *buf,
               uint32_t flags)
{
    struct data_call call = {node, offset, length, (void *)buf, flags, NULL, -EIO};
    return run_data(sync_co_write, &call);
}

static void sync_co_zero(void *arg)
{
    struct data_call *c = arg;
    c->result = node_co_zero(c->node, c->offset, c->length, c->flags);
}

int node_zero(struct blk_node *node, int64_t offset, int64_t length, uint32_t flags)
{
    struct data_call call = {node, offset, length, NULL, flags, NULL, -EIO};
    return run_data(sync_co_zero, &call);
}

static void sync_co_discard(void *arg)
{
    struct data_call *c = arg;
    c->result = node_co_discard(c->node, c->offset, c->length);
}

int node_discard(struct blk_node *node, int64_t offset, int64_t length)
{
    struct data_call call = {node, offset, length, NULL, 0, NULL, -EIO};
    return run_data(sync_co_discard, &call);
}

static void sync_co_flush(void *arg)
{
    struct data_call *c = arg;
    c->result = node_co_flush(c->node);
}

int node_flush(struct blk_node *node)
{
    struct data_call call = {node, 0, 0, NULL, 0, NULL, -EIO};
    return run_data(sync_co_flush, &call);
}

static void sync_co_map(void *arg)
{
    struct data_call *c = arg;
    c->result = node_co_map(c->node, c->offset, c->length, c->flags, c->list);
}

int node_map(struct blk_node *node, int64_t offset, int64_t length, uint32_t flags,
             struct extent_list *list)
{
    struct data_call call = {node, offset, length, NULL, flags, list, -EIO};
    return run_data(sync_co_map, &call);
}

static void sync_co_open(void *arg)
{
    struct control_call *c = arg;
    c->result = node_co_open(c->graph, c->name, c->driver, c->options, c->flags, c->error);
}

struct blk_node *node_open(struct blk_graph *graph, const char *name, const char *driver,
                           json_t *options, uint32_t flags, GError **error)
{
    struct control_call call = {.graph = graph,
                                .name = name,
                                .driver = driver,
                                .options = options,
                                .flags = flags,
                                .error = error};
    loop_call(graph->loop, sync_co_open, &call);
    return call.result;
}

static void sync_co_open_over(void *arg)
{
    struct control_call *c = arg;
    c->result = node_co_open_over(c->node, c->driver, c->options, c->flags, c->error);
}

struct blk_node *node_open_over(struct blk_node *file, const char *driver, json_t *options,
                                uint32_t flags, GError **error)
{
    struct control_call call = {
        .node = file, .driver = driver, .options = options, .flags = flags, .error = error};
    loop_call(file->graph->loop, sync_co_open_over, &call);
    return call.result;
}

static void sync_co_reopen(void *arg)
{
    struct control_call *c = arg;
    c->ok = node_co_reopen(c->node, c->flags, c->error);
}

bool node_reopen(struct blk_node *node, uint32_t flags, GError **error)
{
    struct control_call call = {.node = node, .flags = flags, .error = error};
    loop_call(node->graph->loop, sync_co_reopen, &call);
    return call.ok;
}

static void sync_co_close(void *arg)
{
    struct control_call *c = arg;
    c->ok = node_co_close(c->node, c->error);
}

bool node_close(struct blk_node *node, GError **error)
{
    if (!node) {
        return true;
    }
    struct control_call call = {.node = node, .error = error};
    loop_call(node->graph->loop, sync_co_close, &call);
    return call.ok;
}

static void sync_co_resize(void *arg)
{
    struct control_call *c = arg;
    c->ok = node_co_resize(c->node, c->size, c->name, c->error);
}

bool node_resize(struct blk_node *node, int64_t size, const char *preallocation, GError **error)
{
    struct control_call call = {.node = node, .size = size, .name = preallocation, .error = error};
    loop_call(node->graph->loop, sync_co_resize, &call);
    return call.ok;
}

static void sync_co_info(void *arg)
{
    struct control_call *c = arg;
    c->ok = node_co_info(c->node, c->ret_info, c->error);
}

bool node_info(struct blk_node *node, struct blk_info *ret_info, GError **error)
{
    struct control_call call = {.node = node, .ret_info = ret_info, .error = error};
    loop_call(node->graph->loop, sync_co_info, &call);
    return call.ok;
}

static void sync_co_create(void *arg)
{
    struct control_call *c = arg;
    c->ok = image_co_create(c->graph, c->name, c->driver, c->size, c->options, c->flags,
                            c->ret_options, c->error);
}

bool image_create(struct blk_graph *graph, const char *name, const char *driver, int64_t size,
                  json_t *options, uint32_t flags, json_t **ret_options, GError **error)
{
    struct control_call call = {.graph = graph,
                                .name = name,
                                .driver = driver,
                                .options = options,
                                .size = size,
                                .flags = flags,
                                .ret_options = ret_options,
                                .error = error};
    loop_call(graph->loop, sync_co_create, &call);
    return call.ok;
}

static void sync_co_create_over(void *arg)
{
    struct control_call *c = arg;
    c->ok = image_co_create_over(c->node, c->driver, c->size, c->options, c->error);
}

bool image_create_over(struct blk_node *file, const char *driver, int64_t size, json_t *options,
                       GError **error)
{
    struct control_call call = {
        .node = file, .driver = driver, .options = options, .size = size, .error = error};
    loop_call(file->graph->loop, sync_co_create_over, &call);
    return call.ok;
}

struct measure_call {
    struct blk_graph *graph;
    const char *driver;
    json_t *options;
    struct blk_node *source;
    int64_t size;
    struct blk_measure *ret_measure;
    GError **error;
    bool ok;
};

static void sync_co_measure(void *arg)
{
    struct measure_call *c = arg;
    c->ok = image_co_measure(c->graph, c->driver, c->options, c->source, c->size, c->ret_measure,
                             c->error);
}

bool image_measure(struct blk_graph *graph, const char *driver, json_t *options,
                   struct blk_node *source, int64_t size, struct blk_measure *ret_measure,
                   GError **error)
{
    struct measure_call call = {graph, driver, options, source, size, ret_measure, error, false};
    loop_call(graph->loop, sync_co_measure, &call);
    return call.ok;
}

struct preallocated_call {
    struct blk_node *node;
    bool result;
};

static void sync_co_is_preallocated(void *arg)
{
    struct preallocated_call *c = arg;
    c->result = node_co_is_preallocated(c->node);
}

bool node_is_preallocated(struct blk_node *node)
{
    struct preallocated_call call = {node, false};
    loop_call(node->graph->loop, sync_co_is_preallocated, &call);
    return call.result;
}

struct doubt_call {
    struct blk_node *node;
    const char *result;
};

static void sync_co_doubt(void *arg)
{
    struct doubt_call *c = arg;
    c->result = node_co_doubt(c->node);
}

const char *node_doubt(struct blk_node *node)
{
    struct doubt_call call = {node, NULL};
    loop_call(node->graph->loop, sync_co_doubt, &call);
    return call.result;
}
