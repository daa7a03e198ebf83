/*
 * Leaves: nodes whose driver keeps no state between requests, so that every
 * loop may use them. Their requests take the same path as a node's own, but for
 * counting and range locks, which belong to the node's loop; that is why writes
 * must be aligned here.
 */
#include <errno.h>

#include "libblock/request.h"
#include "libblock/transfer.h"

bool node_is_leaf(const struct blk_node *node)
{
    while (node->driver->flags & DRIVER_ANY_LOOP) {
        if (!node->file) {
            return true;
        }
        node = node->file;
    }
    return false;
}

int leaf_co_read(struct blk_node *leaf, int64_t offset, int64_t length, void *buf)
{
    int ret = request_check_range(offset, length);
    struct iovec slot;
    return ret || !length ? ret
                          : transfer_co_read(leaf, offset, length, span_of(&slot, buf, length));
}

int leaf_co_write_span(struct blk_node *leaf, int64_t offset, int64_t length, struct span span,
                       uint32_t flags)
{
    int ret = request_check_write(leaf, offset, length);
    if (ret || !length) {
        return ret;
    }
    if (!transfer_is_aligned(leaf, offset, length, leaf->limits.request_align)) {
        return -EINVAL;
    }
    ret = transfer_co_write_aligned(leaf, offset, length, span, flags);
    request_note_write(leaf, ret ? 0 : offset + length);
    return ret;
}

int leaf_co_write(struct blk_node *leaf, int64_t offset, int64_t length, const void *buf)
{
    struct iovec slot;
    return leaf_co_write_span(leaf, offset, length, span_of(&slot, (void *)buf, length), 0);
}

int leaf_co_zero(struct blk_node *leaf, int64_t offset, int64_t length, uint32_t flags)
{
    int ret = request_check_write(leaf, offset, length);
    if (ret || !length) {
        return ret;
    }
    if (!transfer_is_aligned(leaf, offset, length, leaf->limits.zero_align)) {
        return flags & REQ_NO_FALLBACK ? -ENOTSUP : -EINVAL;
    }
    ret = transfer_co_zero_aligned(leaf, offset, length, flags);
    request_note_write(leaf, ret ? 0 : offset + length);
    return ret;
}
