/*
 * The area for a machine's state, past the guest's disk.
 */
#ifndef CAIRN_QCOW2_VMSTATE_H
#define CAIRN_QCOW2_VMSTATE_H

#include "qcow2/image.h"

/* The L1 entry that the area of a disk of `size` bytes begins with. */
int64_t qcow2_vmstate_index(const struct qcow2_image *image, int64_t size);

/* The end of the area that `offset` lies in: the guest's disk, or the VM state behind it. */
int64_t qcow2_area_end(const struct qcow2_image *image, int64_t offset);

/* The driver's vmstate entries; offsets are those of the state. */
int qcow2_co_vmstate_read(struct blk_node *node, int64_t offset, int64_t length, struct span span);
int qcow2_co_vmstate_write(struct blk_node *node, int64_t offset, int64_t length, struct span span);

#endif
