/*
 * What tests may see of bytes_are_zero(). Private to base.
 */
#ifndef CAIRN_BASE_ZERO_H
#define CAIRN_BASE_ZERO_H

#include <stdbool.h>
#include <stddef.h>

/* bytes_are_zero() without the vectors of this processor. */
bool zero_portable(const void *buf, size_t len);

#endif
