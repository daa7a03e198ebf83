/*
 * Where the parts of a new image lie: arithmetic only.
 */
#ifndef CAIRN_QCOW2_LAYOUT_H
#define CAIRN_QCOW2_LAYOUT_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/* Counts in clusters, places in bytes. The order in the file is that of the members. */
struct qcow2_layout {
    int cluster_bits, refcount_order;
    int64_t reftable_offset, reftable_clusters;
    int64_t refblocks_offset, refblocks;
    int64_t l1_offset, l1_entries, l1_clusters;
    int64_t l2_offset, l2_tables; /* preallocated; 0: none */
    int64_t data_offset, data_clusters;
    int64_t total;
};

/* Only the counts of qcow2_layout_plan(), however many clusters the format has room for. */
bool qcow2_layout_count(int64_t size, int cluster_bits, int refcount_order, bool preallocate,
                        struct qcow2_layout *ret_layout, GError **error);

/* The layout of an image of `size` bytes, all of it allocated when `preallocate`. Fails when the
 * format has no room for it. */
bool qcow2_layout_plan(int64_t size, int cluster_bits, int refcount_order, bool preallocate,
                       struct qcow2_layout *ret_layout, GError **error);

#endif
