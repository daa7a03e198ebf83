/*
 * Changing an image as a whole.
 */
#ifndef CAIRN_QCOW2_AMEND_H
#define CAIRN_QCOW2_AMEND_H

#include "libblock/driver.h"

extern const struct amend_ops qcow2_amend_ops;

#endif
