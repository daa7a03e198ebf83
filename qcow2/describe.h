/*
 * What `info` tells of an image.
 */
#ifndef CAIRN_QCOW2_DESCRIBE_H
#define CAIRN_QCOW2_DESCRIBE_H

#include "qcow2/image.h"

/* Reads the lists of snapshots and of bitmaps, for qcow2_info(). */
bool qcow2_co_describe_load(struct qcow2_image *image, GError **error);

/* The driver's info. */
bool qcow2_info(struct blk_node *node, struct blk_info *info, GError **error);

#endif
