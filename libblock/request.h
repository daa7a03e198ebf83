/*
 * Who waits for whom on a node; libblock only.
 */
#ifndef CAIRN_LIBBLOCK_REQUEST_H
#define CAIRN_LIBBLOCK_REQUEST_H

#include "libblock/driver.h"

/* Waits until no request is in flight. */
void request_co_wait_idle(struct blk_node *node);

/* 0 when [offset, +length) is a possible range, else -EINVAL. */
int request_check_range(int64_t offset, int64_t length);

/* 0 when the range may be written, else -EPERM or -EIO. */
int request_check_write(const struct blk_node *node, int64_t offset, int64_t length);

/* Notes that [.., end) was written: the node may have grown and needs a flush. Any thread. */
void request_note_write(struct blk_node *node, int64_t end);

#endif
