/*
 * The qcow2 format as a block driver.
 * Specification: QEMU docs/interop/qcow2.
 */
#ifndef CAIRN_QCOW2_H
#define CAIRN_QCOW2_H

struct blk_driver;

extern const struct blk_driver qcow2_driver;

#endif
