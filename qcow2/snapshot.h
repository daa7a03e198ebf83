/*
 * Internal snapshots: the driver's snapshot group.
 */
#ifndef CAIRN_QCOW2_SNAPSHOT_H
#define CAIRN_QCOW2_SNAPSHOT_H

#include <glib.h>
#include <stdbool.h>

struct blk_node;
struct snapshot_ops;

extern const struct snapshot_ops qcow2_snapshot_ops;

/* Empties the active disk; snapshots keep what is theirs. Of a node that is drained. */
bool qcow2_co_drop_active(struct blk_node *node, GError **error);

/* Writes the snapshot table anew, with all that version 3 wants in it. */
bool qcow2_co_complete_snapshots(struct blk_node *node, GError **error);

#endif
