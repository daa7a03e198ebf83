/*
 * An atomic change of many tables: all of it or nothing is on the disk, whenever
 * the power fails. For what changes an image as a whole (snapshots, shrinking).
 */
#ifndef CAIRN_QCOW2_TXN_H
#define CAIRN_QCOW2_TXN_H

#include "qcow2/image.h"
#include "qcow2/refblock.h"

struct qcow2_txn {
    struct qcow2_image *image;
    struct bitmap *moved;     /* refcount blocks that have a new place already */
    struct metaset *released; /* clusters that the disk refers to and the new state does not */
    GArray *old_blocks;       /* int64_t: places that refcount blocks have left */
    int64_t hint;             /* nothing below is free */
    uint8_t *slice;           /* scratch */
    struct qcow2_place place; /* of the last change, valid for [place_first, place_end) */
    int64_t place_first, place_end;
    const char *problem; /* what is wrong with the image where -EIO was returned, or NULL */
    int64_t where;
};

/* What the image shall be. Owned by the caller until qcow2_txn_co_finish() succeeds; then by the
 * image. */
struct qcow2_state {
    uint64_t *l1; /* host byte order */
    int64_t l1_entries, size;
    GArray *snapshots;
};

/* Begins: commits what is pending and holds the allocator. Of a node that is drained. */
int qcow2_txn_co_begin(struct qcow2_image *image, struct qcow2_txn *ret_txn);

/* Takes `count` clusters in a row, with refcount 1, that the disk does not refer to. */
int qcow2_txn_co_take(struct qcow2_txn *txn, int64_t count, int64_t *ret_offset);

/* Adds one (`up`) to the refcount of each cluster that [offset, +length) touches, or takes one off.
 * -EOVERFLOW: a refcount has no room. */
int qcow2_txn_co_count(struct qcow2_txn *txn, int64_t offset, int64_t length, bool up);

/* The refcount of a cluster, as it will be. */
int qcow2_txn_co_get(struct qcow2_txn *txn, int64_t cluster, uint64_t *ret_refcount);

/* Gives refcount block `block`, which exists, another place. */
int qcow2_txn_co_move_block(struct qcow2_txn *txn, int64_t block);

/* Notes what is wrong with the image. Returns -EIO. */
int qcow2_txn_problem(struct qcow2_txn *txn, const char *problem, int64_t where);

/* Writes `state` and makes it the image's; with `discard` gives clusters that got free back to the
 * file. On failure nothing has changed. Ends the transaction in any case. */
int qcow2_txn_co_finish(struct qcow2_txn *txn, struct qcow2_state *state, bool discard);

/* Ends the transaction without a change. */
void qcow2_txn_co_abort(struct qcow2_txn *txn);

#endif
