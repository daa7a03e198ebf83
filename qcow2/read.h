/*
 * Reading guest data.
 */
#ifndef CAIRN_QCOW2_READ_H
#define CAIRN_QCOW2_READ_H

#include "qcow2/map.h"

/* The driver's co_read. */
int qcow2_co_read(struct blk_node *node, int64_t offset, int64_t length, struct span span);

/* Reads guest bytes as they are now; the caller holds their clusters in image->guest. Bytes past
 * the end of the disk are zero. */
int qcow2_co_read_held(struct qcow2_image *image, int64_t offset, int64_t length, struct span span);

#endif
