/*
 * compress: a filter whose writes reach the format below compressed, whole
 * clusters at a time. Asking for requests of one cluster makes libblock complete
 * shorter writes with what the cluster holds.
 */
#include <errno.h>

#include "libblock/driver.h"

struct compress_state {
    int64_t cluster_size;
};

static bool compress_co_open(struct blk_node *node, json_t *rest, GError **error)
{
    struct compress_state *s = node->state;
    const struct plan_ops *plan = node->file->driver->plan;
    struct blk_info info;
    if (!plan || !plan->co_write_packed) {
        return error_set(error, ENOTSUP, "Compression is not supported for underlying format: %s",
                         node_driver_name(node->file));
    }
    if (!node_co_info(node->file, &info, error)) {
        return false;
    }
    s->cluster_size = max_i64(info.cluster_size, 1);
    node_info_clear(&info);
    return true;
}

static void compress_limits(struct blk_node *node, struct blk_limits *limits)
{
    const struct compress_state *s = node->state;
    limits->request_align = s->cluster_size;
}

static int compress_co_write(struct blk_node *node, int64_t offset, int64_t length,
                             struct span span, uint32_t flags)
{
    return node_co_write_compressed(node->file, offset, length, span);
}

const struct blk_driver compress_driver = {
    .name = "compress",
    .description = "compresses what is written, with the format below",
    .flags = DRIVER_FILTER,
    .state_size = sizeof(struct compress_state),
    .co_open = compress_co_open,
    .limits = compress_limits,
    .co_write = compress_co_write,
};
