/*
 * The public C API over libblock: one handle is one image with a graph and a
 * loop of its own. Errors become text, GLib and jansson stay inside.
 */
#include "blk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "formats/formats.h"
#include "libblock/libblock.h"

struct blk {
    struct loop *loop;
    struct blk_graph *graph;
    struct blk_node *node;
    int pending;           /* submitted requests under way */
    uint64_t finished;     /* callbacks run so far */
    struct blk_info facts; /* owns the strings of blk_info() */
};

struct op_request {
    struct blk_request request;
    struct blk *image;
    struct blk_op op;
};

/* Hands a message over as plain C memory; always false. */
static bool give_error(GError *error, char **ret_error)
{
    if (ret_error) {
        *ret_error = strdup(error ? error->message : "unknown error");
    }
    g_clear_error(&error);
    return false;
}

void blk_free(void *memory)
{
    free(memory);
}

static uint32_t open_flags(unsigned flags)
{
    return (flags & BLK_READ_WRITE ? NODE_RDWR : 0) | (flags & BLK_DIRECT ? NODE_DIRECT : 0) |
           (flags & BLK_NO_FLUSH ? NODE_NO_FLUSH : 0) |
           (flags & BLK_NO_BACKING ? NODE_NO_BACKING : 0) |
           (flags & BLK_FORCE_SHARE ? NODE_FORCE_SHARE : 0);
}

static struct blk *handle_new(unsigned flags)
{
    struct blk *image = g_new0(struct blk, 1);
    image->loop = loop_new(NULL);
    image->graph = graph_new(image->loop, formats_drivers);
    if (flags & BLK_UNTRUSTED) {
        graph_set_trust(image->graph, GRAPH_TRUST_NONE);
    } else if (flags & BLK_TRUSTED) {
        graph_set_trust(image->graph, GRAPH_TRUST_ALL);
    }
    return image;
}

static void handle_free(struct blk *image)
{
    node_info_clear(&image->facts);
    graph_free(image->graph);
    loop_free(image->loop);
    g_free(image);
}

struct blk *blk_open(const char *name, const char *format, unsigned flags, char **ret_error)
{
    GError *error = NULL;
    struct blk *image = handle_new(flags);
    image->node = node_open(image->graph, name, format, NULL, open_flags(flags), &error);
    if (!image->node) {
        give_error(error, ret_error);
        handle_free(image);
        return NULL;
    }
    return image;
}

bool blk_close(struct blk *image, char **ret_error)
{
    GError *error = NULL;
    if (!image) {
        return true;
    }
    while (image->pending) {
        loop_turn(image->loop, true);
    }
    bool ok = node_close(image->node, &error);
    handle_free(image);
    return ok || give_error(error, ret_error);
}

bool blk_create(const char *name, const char *format, int64_t size, const char *options,
                char **ret_error)
{
    GError *error = NULL;
    json_t *parsed = options ? opts_parse(options, NULL, &error) : json_object();
    if (!parsed) {
        return give_error(error, ret_error);
    }
    struct blk *image = handle_new(0);
    bool ok = image_create(image->graph, name, format, size, parsed, 0, NULL, &error);
    json_decref(parsed);
    handle_free(image);
    return ok || give_error(error, ret_error);
}

bool blk_info(struct blk *image, struct blk_facts *ret_facts, char **ret_error)
{
    GError *error = NULL;
    struct blk_info info;
    if (!node_info(image->node, &info, &error)) {
        return give_error(error, ret_error);
    }
    node_info_clear(&image->facts);
    image->facts = info;
    *ret_facts = (struct blk_facts){
        .size = info.virtual_size,
        .actual_size = info.actual_size,
        .cluster_size = info.cluster_size,
        .format = node_driver_name(image->node),
        .backing_file = info.backing_filename,
        .writable = node_is_writable(image->node),
        .dirty = info.dirty,
        .encrypted = info.encrypted,
        .compressed = info.compressed,
    };
    return true;
}

int64_t blk_size(const struct blk *image)
{
    return node_size(image->node);
}

static uint32_t request_flags(unsigned flags)
{
    return (flags & BLK_FUA ? REQ_FUA : 0) | (flags & BLK_MAY_UNMAP ? REQ_MAY_UNMAP : 0);
}

int blk_read(struct blk *image, void *buffer, size_t length, int64_t offset)
{
    return length > INT64_MAX ? -EINVAL : node_read(image->node, offset, length, buffer);
}

int blk_write(struct blk *image, const void *buffer, size_t length, int64_t offset, unsigned flags)
{
    return length > INT64_MAX
               ? -EINVAL
               : node_write(image->node, offset, length, buffer, request_flags(flags));
}

int blk_zero(struct blk *image, int64_t length, int64_t offset, unsigned flags)
{
    return node_zero(image->node, offset, length, request_flags(flags));
}

int blk_discard(struct blk *image, int64_t length, int64_t offset)
{
    return node_discard(image->node, offset, length);
}

int blk_flush(struct blk *image)
{
    return node_flush(image->node);
}

int blk_map(struct blk *image, int64_t length, int64_t offset, struct blk_segment *segments,
            int max)
{
    if (max <= 0) {
        return -EINVAL;
    }
    struct extent_list list = {.limit = max};
    int ret = node_map(image->node, offset, length, MAP_CHAIN | MAP_HOLES, &list);
    for (int i = 0; i < list.count && !ret; i++) {
        const struct blk_extent *e = &list.items[i];
        segments[i] = (struct blk_segment){
            .offset = e->offset,
            .length = e->length,
            .data = e->flags & EXTENT_DATA,
            .zero = e->flags & EXTENT_ZERO,
            .allocated = e->flags & EXTENT_ALLOCATED,
            .depth = e->depth,
        };
    }
    ret = ret ? ret : list.count;
    extents_done(&list);
    return ret;
}

static void op_done(struct blk_request *request, int result)
{
    struct op_request *r = request->user;
    struct blk_op op = r->op;
    r->image->pending--;
    r->image->finished++;
    g_free(r);
    op.done(op.user, result);
}

static bool op_kind(enum blk_op_kind kind, enum req_kind *ret_kind)
{
    switch (kind) {
    case BLK_OP_READ: *ret_kind = REQ_READ; return true;
    case BLK_OP_WRITE: *ret_kind = REQ_WRITE; return true;
    case BLK_OP_ZERO: *ret_kind = REQ_ZERO; return true;
    case BLK_OP_DISCARD: *ret_kind = REQ_DISCARD; return true;
    case BLK_OP_FLUSH: *ret_kind = REQ_FLUSH; return true;
    }
    return false;
}

int blk_submit(struct blk *image, const struct blk_op *op)
{
    enum req_kind kind;
    if (!op->done || !op_kind(op->kind, &kind)) {
        return -EINVAL;
    }
    struct op_request *r = g_try_new0(struct op_request, 1);
    if (!r) {
        return -ENOMEM;
    }
    r->image = image;
    r->op = *op;
    r->request = (struct blk_request){
        kind, request_flags(op->flags), op->offset, op->length, op->iov, op_done, r};
    image->pending++;
    node_submit(image->node, &r->request);
    return 0;
}

int blk_poll(struct blk *image, bool wait)
{
    uint64_t before = image->finished;
    loop_turn(image->loop, false);
    while (wait && image->pending && image->finished == before) {
        loop_turn(image->loop, true);
    }
    return image->pending;
}
