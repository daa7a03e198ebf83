/*
 * Putting together a changed image: a transaction, the tables that it counts, and
 * the state that it is to bring.
 */
#ifndef CAIRN_QCOW2_CHANGE_H
#define CAIRN_QCOW2_CHANGE_H

#include "qcow2/tree.h"

struct qcow2_change {
    struct qcow2_txn txn;
    struct qcow2_tree tree;
    struct qcow2_state state;
};

/* Begins a change to a disk of `size` bytes, with an empty L1 table of `entries` (at least 1) and
 * the snapshots as they are. */
int qcow2_change_co_begin(struct qcow2_image *image, int64_t entries, int64_t size,
                          struct qcow2_change *ret_change);

/* Finishes the change, or gives it up when `ret` says that it failed; `discard` as for
 * qcow2_txn_co_finish(). The error tells what could not be done: "could not VERB 'IMAGE'". */
bool qcow2_change_co_end(struct qcow2_change *change, int ret, bool discard, const char *verb,
                         GError **error);

/* The error of a change that failed with `ret`. Always false. */
bool qcow2_change_error(const struct qcow2_change *change, int ret, const char *verb,
                        GError **error);

/* Lets go of all entries of `l1`. */
int qcow2_change_co_drop(struct qcow2_change *change, const uint64_t *l1, int64_t entries);

#endif
