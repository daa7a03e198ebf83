/*
 * How large an image will be.
 */
#ifndef CAIRN_QCOW2_MEASURE_H
#define CAIRN_QCOW2_MEASURE_H

#include "libblock/driver.h"

/* amend_ops.co_measure. */
bool qcow2_co_measure(const void *create_options, struct blk_node *source, int64_t size,
                      struct blk_measure *ret_measure, GError **error);

#endif
