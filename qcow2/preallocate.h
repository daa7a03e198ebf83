/*
 * Giving guest ranges their clusters before they are written.
 */
#ifndef CAIRN_QCOW2_PREALLOCATE_H
#define CAIRN_QCOW2_PREALLOCATE_H

#include "qcow2/image.h"

/* Gives clusters to guest [from, to), as far as it has none; they read as zero. `mode`:
 * "metadata", or "falloc" or "full" for what the file does. */
int qcow2_co_preallocate(struct qcow2_image *image, int64_t from, int64_t to, const char *mode);

#endif
