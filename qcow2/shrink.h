/*
 * Making the guest's disk smaller.
 */
#ifndef CAIRN_QCOW2_SHRINK_H
#define CAIRN_QCOW2_SHRINK_H

#include "qcow2/image.h"

/* Lets go of everything past `size` (at most the present size), VM state included, and then of the
 * file's unused end. Called with the node drained; atomic and durable. */
bool qcow2_co_shrink(struct qcow2_image *image, int64_t size, GError **error);

/* True when the active tables have VM state behind the disk. */
bool qcow2_has_vmstate(const struct qcow2_image *image);

#endif
