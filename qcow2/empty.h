/*
 * Forgetting all of the guest's data.
 */
#ifndef CAIRN_QCOW2_EMPTY_H
#define CAIRN_QCOW2_EMPTY_H

#include "qcow2/image.h"

/* amend_ops.co_empty. */
bool qcow2_co_empty(struct blk_node *node, GError **error);

#endif
