/*
 * The snapshots of an open image: their list, and where their tables lie.
 */
#ifndef CAIRN_QCOW2_SNAPSHOTS_H
#define CAIRN_QCOW2_SNAPSHOTS_H

#include "qcow2/image.h"
#include "qcow2/snaptable.h"

/* Reads the snapshot table into image->snapshots. */
bool qcow2_co_snapshots_load(struct qcow2_image *image, GError **error);

/* Notes the snapshot table, and the snapshots' L1 and L2 tables, as metadata. */
bool qcow2_co_snapshots_note(struct qcow2_image *image, GError **error);

/* The L1 table of a snapshot in host byte order, with room for `min_entries`; those that the
 * snapshot does not have are 0. NULL and *error when it cannot be read. */
uint64_t *qcow2_co_snapshot_l1(struct qcow2_image *image, const struct qcow2_snapshot *snapshot,
                               int64_t min_entries, GError **error);

/* Snapshot `index` of the list. */
static inline struct qcow2_snapshot *qcow2_snapshot_at(const struct qcow2_image *image, int index)
{
    return &g_array_index(image->snapshots, struct qcow2_snapshot, index);
}

#endif
