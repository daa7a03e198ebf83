/*
 * The refcount table: loading it, writing its changes, and growing it.
 */
#ifndef CAIRN_QCOW2_REFTABLE_H
#define CAIRN_QCOW2_REFTABLE_H

#include "qcow2/image.h"

bool qcow2_co_reftable_load(struct qcow2_image *image, GError **error);

/* Writes the entries that changed. The caller has made the blocks they point to durable. */
int qcow2_co_reftable_write(struct qcow2_image *image);

/* Makes room for refcounts of more clusters. -EFBIG when the format has no more. */
int qcow2_co_reftable_grow(struct qcow2_image *image);

#endif
