/*
 * What happens when the tables of an image contradict the format or each other.
 */
#ifndef CAIRN_QCOW2_CORRUPT_H
#define CAIRN_QCOW2_CORRUPT_H

#include "qcow2/image.h"

/* Notes that `what` number `where` cannot be right: an image that is open for writing gets the
 * corrupt bit and takes no more writes. Returns -EIO. */
int qcow2_co_corrupt(struct qcow2_image *image, const char *what, int64_t where);

/* -EIO, or another -errno, when the image can no longer be written. */
int qcow2_check_writable(const struct qcow2_image *image);

#endif
