/*
 * One refcount: its place in a cached part of a refcount block.
 */
#ifndef CAIRN_QCOW2_REFBLOCK_H
#define CAIRN_QCOW2_REFBLOCK_H

#include "qcow2/image.h"

struct qcow2_place {
    struct qcow2_table *table; /* NULL: there is no block here, all refcounts are 0 */
    int64_t index, end;        /* of the refcount, and of those in this part */
};

/* Finds the refcount of `cluster`. The place stays valid until the next call that may yield. */
int qcow2_co_place(struct qcow2_image *image, int64_t cluster, struct qcow2_place *ret_place);

/* Refcount `i` of the place's part; 0 where there is no block. */
uint64_t qcow2_place_get(const struct qcow2_image *image, const struct qcow2_place *place,
                         int64_t i);

/* Sets refcounts [from, to) of the place's part to `value`. */
void qcow2_place_set(struct qcow2_image *image, const struct qcow2_place *place, int64_t from,
                     int64_t to, uint64_t value);

/* Says that refcounts [from, to) of the place's part were changed. */
void qcow2_place_dirty(struct qcow2_image *image, const struct qcow2_place *place, int64_t from,
                       int64_t to);

/* The refcounts of `count` clusters from `first` on. */
int qcow2_co_refcounts_read(struct qcow2_image *image, int64_t first, int64_t count,
                            uint64_t *ret_counts);

#endif
