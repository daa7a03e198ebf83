/*
 * Changing the size of the guest's disk.
 */
#ifndef CAIRN_QCOW2_RESIZE_H
#define CAIRN_QCOW2_RESIZE_H

#include "qcow2/image.h"

/* The driver's co_resize. */
bool qcow2_co_resize(struct blk_node *node, int64_t size, const char *preallocation,
                     GError **error);

/* Makes the L1 table at least `entries` long. */
int qcow2_co_l1_reach(struct qcow2_image *image, int64_t entries);

#endif
