/*
 * Another width of refcounts.
 */
#ifndef CAIRN_QCOW2_REFWIDTH_H
#define CAIRN_QCOW2_REFWIDTH_H

#include "qcow2/image.h"

/* Gives the image, all of which is on the disk, refcounts of 1 << order bits. Fails before anything
 * has changed when one of them does not fit. `job` may be NULL. */
bool qcow2_co_set_refwidth(struct qcow2_image *image, int order, struct job *job, GError **error);

#endif
