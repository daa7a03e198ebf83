/*
 * Requests cut to the driver's measure; libblock only. The range has been
 * checked; these may run on any loop when the node is a leaf, but for the
 * locking ones, as noted.
 */
#ifndef CAIRN_LIBBLOCK_TRANSFER_H
#define CAIRN_LIBBLOCK_TRANSFER_H

#include "libblock/driver.h"

int transfer_co_read(struct blk_node *node, int64_t offset, int64_t length, struct span span);

/* The node's own loop only: these hold ranges of node->ranges. */
int transfer_co_write(struct blk_node *node, int64_t offset, int64_t length, struct span span,
                      uint32_t flags);
int transfer_co_zero(struct blk_node *node, int64_t offset, int64_t length, uint32_t flags);

int transfer_co_discard(struct blk_node *node, int64_t offset, int64_t length);

/* Without a lock; the range is aligned (transfer_is_aligned()). */
int transfer_co_write_aligned(struct blk_node *node, int64_t offset, int64_t length,
                              struct span span, uint32_t flags);
int transfer_co_zero_aligned(struct blk_node *node, int64_t offset, int64_t length, uint32_t flags);

/* True when the driver takes the range as it is: aligned, or reaching to the end of the node. */
bool transfer_is_aligned(const struct blk_node *node, int64_t offset, int64_t length,
                         int64_t align);

/* As node_co_write() and for any loop: a range that is not aligned is -EINVAL. */
int leaf_co_write_span(struct blk_node *leaf, int64_t offset, int64_t length, struct span span,
                       uint32_t flags);

#endif
