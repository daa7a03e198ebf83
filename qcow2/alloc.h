/*
 * Refcounts, and the choice of host clusters.
 */
#ifndef CAIRN_QCOW2_ALLOC_H
#define CAIRN_QCOW2_ALLOC_H

#include "qcow2/image.h"

/* Host clusters that belong to the caller until they are linked or given back. */
struct qcow2_run {
    int64_t offset, count; /* bytes, clusters */
    bool fresh;            /* never written before: reads as zero */
};

/* Loads the refcount table and learns where the metadata is; the image becomes writable. Refuses
 * tables that overlap each other. */
bool qcow2_co_refcounts_open(struct qcow2_image *image, GError **error);

/* The same again, after another writer than this file (plan.c) has filled the image. */
bool qcow2_co_refcounts_reload(struct qcow2_image *image, GError **error);
void qcow2_refcounts_done(struct qcow2_image *image);

/* Notes the clusters of a table as metadata. Refuses what is past the end of the file or overlaps
 * another table; `what` and `number` name it. */
bool qcow2_note_table(struct qcow2_image *image, int64_t offset, int64_t clusters, const char *what,
                      int64_t number, GError **error);

/* The last cluster number + 1 that this image and its file can hold. */
int64_t qcow2_cluster_limit(const struct qcow2_image *image);

/* Makes the refcount block that describes `cluster`, in that free cluster itself. The refcount
 * table has an entry for it. */
int qcow2_co_make_block(struct qcow2_image *image, int64_t cluster);

/* Takes between 1 and `want` clusters in a row. */
int qcow2_co_alloc(struct qcow2_image *image, int64_t want, struct qcow2_run *ret_run);

/* Takes exactly `count` clusters in a row and notes them as metadata. */
int qcow2_co_alloc_table(struct qcow2_image *image, int64_t count, int64_t *ret_offset);

/* Room for `length` (less than a cluster) compressed bytes: behind the last ones if possible. */
int qcow2_co_alloc_packed(struct qcow2_image *image, int64_t length, int64_t *ret_offset);

/* Gives back what no table has ever referred to: it may be used again at once. */
void qcow2_co_alloc_undo(struct qcow2_image *image, int64_t offset, int64_t length);

/* Notes that entry `old` is no longer referred to in memory. No yield. */
void qcow2_free_later(struct qcow2_image *image, const struct qcow2_entry *old, bool discard);

/* Lowers the refcounts of what the disk no longer refers to. */
int qcow2_co_release(struct qcow2_image *image, const GArray *freed);

#endif
