/*
 * The qcow2 format as a block driver.
 * Specification: QEMU docs/interop/qcow2.
 */
#ifndef CAIRN_QCOW2_H
#define CAIRN_QCOW2_H

#include <stdint.h>

#include "base/span.h"

struct blk_driver;
struct blk_node;

extern const struct blk_driver qcow2_driver;

/* Writes guest [offset, +length), whole clusters up to the end of the disk, compressed as the image
 * says. Clusters that do not get smaller are written as they are. 0 or -errno. */
int qcow2_co_write_compressed(struct blk_node *node, int64_t offset, int64_t length,
                              struct span span);

#endif
