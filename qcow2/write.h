/*
 * Writing guest data.
 */
#ifndef CAIRN_QCOW2_WRITE_H
#define CAIRN_QCOW2_WRITE_H

#include "qcow2/image.h"

/* The driver's co_write. */
int qcow2_co_write(struct blk_node *node, int64_t offset, int64_t length, struct span span,
                   uint32_t flags);

/* As qcow2_co_write(), for one who holds the clusters exclusively in image->guest. */
int qcow2_co_write_held(struct qcow2_image *image, int64_t offset, int64_t length,
                        struct span span);

#endif
