/*
 * Bringing the tables in memory to the disk, in an order that a crash cannot
 * turn against the guest's data. The order is the table in README.md.
 */
#ifndef CAIRN_QCOW2_COMMIT_H
#define CAIRN_QCOW2_COMMIT_H

#include "qcow2/image.h"

/* Writes all changes. Durable once the file is flushed after it. */
int qcow2_co_commit(struct qcow2_image *image);
int qcow2_co_commit_locked(struct qcow2_image *image); /* commit_lock is held */

/* Writes all there is, lowered refcounts too, and completes the file's last sector. */
int qcow2_co_commit_all(struct qcow2_image *image);

/* Before each change of the guest's data: -errno when it may not be changed; settles the autoclear
 * bits before the first one, and commits when changed tables take more memory than they should. */
int qcow2_co_write_begin(struct qcow2_image *image);

/* Writes the header's fields of versions 2 and 3 (not extensions), and flushes. */
int qcow2_co_write_header(struct qcow2_image *image);

/* Writes those of `count` 8-byte entries that `dirty` marks to a table at `offset`, and clears the
 * marks of what is written. */
int qcow2_co_write_entries(struct qcow2_image *image, int64_t offset, const uint64_t *entries,
                           int64_t count, struct bitmap *dirty);

/* The driver's co_flush. */
int qcow2_co_flush(struct blk_node *node);

#endif
