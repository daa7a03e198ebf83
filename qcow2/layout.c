/*
 * The parts follow each other without gaps, tables before data:
 *
 *     header | refcount table | refcount blocks | L1 | L2 tables | data
 *
 * Refcount blocks count themselves and the table that points to them, so their
 * number is found by trying until it no longer grows. The table has room for all
 * of the disk from the start: filling it takes no more clusters than measuring
 * has told.
 */
#include "qcow2/layout.h"

#include <errno.h>
#include <inttypes.h>

#include "base/base.h"
#include "qcow2/header.h"

/* Refcount blocks and table for `others` further clusters; the table has at least `table`. */
static void layout_refcounts(struct qcow2_layout *l, int64_t others, int64_t table)
{
    int64_t per_block = INT64_C(1) << (l->cluster_bits + 3 - l->refcount_order);
    int64_t per_table = INT64_C(1) << (l->cluster_bits - 3);
    int64_t last;
    l->refblocks = 1;
    l->reftable_clusters = table;
    do {
        last = l->refblocks;
        l->total = others + l->refblocks + l->reftable_clusters;
        l->refblocks = div_up(l->total, per_block);
        l->reftable_clusters = max_i64(table, div_up(l->refblocks, per_table));
        l->total = others + l->refblocks + l->reftable_clusters;
    } while (l->refblocks > last || div_up(l->total, per_block) > l->refblocks);
}

bool qcow2_layout_count(int64_t size, int cluster_bits, int refcount_order, bool preallocate,
                        struct qcow2_layout *ret_layout, GError **error)
{
    struct qcow2_layout l = {.cluster_bits = cluster_bits, .refcount_order = refcount_order};
    int64_t cluster = INT64_C(1) << cluster_bits;
    l.l1_entries = qcow2_l1_entries(size, cluster_bits);
    if (l.l1_entries < 0) {
        return error_set(error, EFBIG,
                         "The image size is too large for file format 'qcow2' (try using a larger "
                         "cluster size)");
    }
    l.l1_clusters = div_up(l.l1_entries * 8, cluster);
    int64_t tables = 1 + l.l1_clusters, all = tables + l.l1_entries + div_up(size, cluster);
    layout_refcounts(&l, all, 1);
    if (preallocate) {
        l.l2_tables = l.l1_entries;
        l.data_clusters = div_up(size, cluster);
    } else {
        int64_t most = QCOW2_MAX_REFTABLE_BYTES >> cluster_bits;
        layout_refcounts(&l, tables, min_i64(l.reftable_clusters, most));
    }
    *ret_layout = l;
    return true;
}

bool qcow2_layout_plan(int64_t size, int cluster_bits, int refcount_order, bool preallocate,
                       struct qcow2_layout *ret_layout, GError **error)
{
    int64_t cluster = INT64_C(1) << cluster_bits;
    struct qcow2_layout l;
    if (!qcow2_layout_count(size, cluster_bits, refcount_order, preallocate, &l, error)) {
        return false;
    }
    if (l.reftable_clusters > QCOW2_MAX_REFTABLE_BYTES >> cluster_bits ||
        l.total > INT64_C(1) << (56 - cluster_bits)) {
        return error_set(error, EFBIG,
                         "%" PRId64 " bytes cannot be preallocated with clusters of %" PRId64
                         " bytes and %d-bit refcounts",
                         size, cluster, 1 << refcount_order);
    }
    l.reftable_offset = cluster;
    l.refblocks_offset = l.reftable_offset + (l.reftable_clusters << cluster_bits);
    l.l2_offset = l.refblocks_offset + ((l.refblocks + l.l1_clusters) << cluster_bits);
    l.l1_offset = l.l1_entries ? l.l2_offset - (l.l1_clusters << cluster_bits) : 0;
    l.data_offset = l.l2_offset + (l.l2_tables << cluster_bits);
    *ret_layout = l;
    return true;
}
