/*
 * Opening and closing an image, and what info tells of it.
 */
#ifndef CAIRN_QCOW2_OPEN_H
#define CAIRN_QCOW2_OPEN_H

#include "qcow2/image.h"

extern const struct field qcow2_option_fields[];

bool qcow2_co_open(struct blk_node *node, json_t *rest, GError **error);
bool qcow2_co_reopen(struct blk_node *node, uint32_t flags, GError **error);
bool qcow2_co_close(struct blk_node *node, GError **error);
/* Empties the caches, changes included. */
bool qcow2_caches_reset(struct qcow2_image *image, GError **error);
void qcow2_limits(struct blk_node *node, struct blk_limits *limits);

#endif
