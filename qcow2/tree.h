/*
 * What hangs on one L1 table, counted within a transaction.
 */
#ifndef CAIRN_QCOW2_TREE_H
#define CAIRN_QCOW2_TREE_H

#include "qcow2/txn.h"

/* Buffers for L2 tables; one cluster each. */
struct qcow2_tree {
    struct qcow2_txn *txn;
    uint8_t *table, *other;
};

int qcow2_tree_init(struct qcow2_tree *tree, struct qcow2_txn *txn);
void qcow2_tree_done(struct qcow2_tree *tree);

/* Reads the L2 table of L1 entry `raw` into `buf`; zeroes when there is none. */
int qcow2_tree_co_read(struct qcow2_tree *tree, uint64_t raw, uint8_t *buf);

/* Counts what entries [from, to) of the L2 table in `buf` refer to, up or down. */
int qcow2_tree_co_count(struct qcow2_tree *tree, const uint8_t *buf, int64_t from, int64_t to,
                        bool up);

/* Writes the L2 table in `buf` to a cluster of its own, with refcount 1. */
int qcow2_tree_co_store(struct qcow2_tree *tree, const uint8_t *buf, int64_t *ret_offset);

/* One more L1 table refers to the L2 table of `raw` and all it holds: counts them up. As everything
 * in it is shared then, a table that says otherwise is written anew. `keep`: the owner of `raw`
 * goes on using the old one; else it shares the new one, too. *ret_raw is the entry for the
 * newcomer. */
int qcow2_tree_co_share(struct qcow2_tree *tree, uint64_t raw, bool keep, uint64_t *ret_raw);

/* The L1 table no longer refers to the L2 table of `raw`. */
int qcow2_tree_co_drop(struct qcow2_tree *tree, uint64_t raw);

/* As dropping `from` and sharing `to`, without touching what both hold. */
int qcow2_tree_co_replace(struct qcow2_tree *tree, uint64_t from, uint64_t to, uint64_t *ret_raw);

/* Makes COPIED in the active L2 table of `raw`, and in the entry, say what refcounts say. */
int qcow2_tree_co_mark(struct qcow2_tree *tree, uint64_t raw, uint64_t *ret_raw);

#endif
