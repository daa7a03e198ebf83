/*
 * Zeroing and discarding whole clusters: changes of L2 entries only.
 */
#ifndef CAIRN_QCOW2_ZERO_H
#define CAIRN_QCOW2_ZERO_H

#include "qcow2/image.h"

/* The driver's co_zero and co_discard. */
int qcow2_co_zero(struct blk_node *node, int64_t offset, int64_t length, uint32_t flags);
int qcow2_co_discard(struct blk_node *node, int64_t offset, int64_t length);

/* What becomes of `old` in an image of `version` when its cluster is zeroed (`unmap`: its host
 * cluster may be given up), or discarded. Pure. */
struct qcow2_entry qcow2_zeroed_entry(const struct qcow2_entry *old, int version, bool has_backing,
                                      bool unmap);
struct qcow2_entry qcow2_discarded_entry(const struct qcow2_entry *old, int version,
                                         bool has_backing, bool keep);

#endif
