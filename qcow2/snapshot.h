/*
 * Internal snapshots: the driver's snapshot group.
 */
#ifndef CAIRN_QCOW2_SNAPSHOT_H
#define CAIRN_QCOW2_SNAPSHOT_H

#include "qcow2/txn.h"

struct snapshot_ops;

extern const struct snapshot_ops qcow2_snapshot_ops;

/* Says why a transaction that was to `verb` failed with `ret`. Always false. */
bool qcow2_txn_error(const struct qcow2_txn *txn, int ret, const char *verb, GError **error);

/* Empties the active disk; snapshots keep what is theirs. Of a node that is drained. */
bool qcow2_co_drop_active(struct blk_node *node, GError **error);

/* Writes the snapshot table anew, with all that version 3 wants in it. */
bool qcow2_co_complete_snapshots(struct blk_node *node, GError **error);

#endif
