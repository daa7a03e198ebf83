/*
 * The parts that only decide: the layout of new images, what zeroing and
 * discarding make of an entry, and the set of metadata clusters.
 */
#include <errno.h>

#include "base/error.h"
#include "qcow2/layout.h"
#include "qcow2/metaset.h"
#include "qcow2/zero.h"

/* Every part follows the one before it, and the refcounts reach over all of it. */
static void test_layout_is_dense(void)
{
    static const int64_t sizes[] = {512, 65536, INT64_C(5) << 30, INT64_C(1) << 40};
    for (int bits = 12; bits <= 21; bits += 3) {
        for (int order = 0; order <= 6; order++) {
            for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
                struct qcow2_layout l;
                if (!qcow2_layout_plan(sizes[i], bits, order, true, &l, NULL)) {
                    continue;
                }
                int64_t size = INT64_C(1) << bits;
                int64_t per_block = size * 8 >> order;
                g_assert_cmpint(l.refblocks_offset, ==, size * (1 + l.reftable_clusters));
                g_assert_cmpint(l.l1_offset, ==, l.refblocks_offset + size * l.refblocks);
                g_assert_cmpint(l.l2_offset, ==, l.l1_offset + size * l.l1_clusters);
                g_assert_cmpint(l.data_offset, ==, l.l2_offset + size * l.l2_tables);
                g_assert_cmpint(l.total * size, ==, l.data_offset + size * l.data_clusters);
                g_assert_cmpint(l.refblocks * per_block, >=, l.total);
                g_assert_cmpint(l.reftable_clusters * size / 8, >=, l.refblocks);
                g_assert_cmpint(l.data_clusters * size, >=, sizes[i]);
            }
        }
    }
}

static void test_layout_limits(void)
{
    struct qcow2_layout l;
    GError *error = NULL;
    g_assert_false(qcow2_layout_plan(INT64_C(1) << 40, 9, 4, false, &l, &error));
    g_assert_error(error, CAIRN_ERROR, EFBIG);
    g_clear_error(&error);
    g_assert_false(qcow2_layout_plan(INT64_C(64) << 30, 9, 6, true, &l, &error));
    g_assert_error(error, CAIRN_ERROR, EFBIG);
    g_clear_error(&error);
    g_assert_true(qcow2_layout_plan(INT64_C(64) << 30, 9, 6, false, &l, NULL));
    g_assert_true(qcow2_layout_plan(0, 16, 4, false, &l, NULL));
    g_assert_cmpint(l.l1_offset, ==, 0);
}

enum {
    H = QCOW2_UNALLOCATED,
    N = QCOW2_NORMAL,
    Z = QCOW2_ZERO,
    A = QCOW2_ZERO_ALLOC,
    P = QCOW2_COMPRESSED
};

/* Kinds before and after: zero and keep, zero and unmap, discard, discard and keep. */
static void test_entry_changes(void)
{
    static const struct {
        int kind, version;
        bool backing;
        int zero, unmap, discard, keep;
    } rows[] = {
        {H, 3, false, H, H, H, H}, {H, 3, true, Z, Z, Z, Z},  {N, 3, false, A, Z, H, A},
        {N, 3, true, A, Z, Z, A},  {Z, 3, false, Z, Z, Z, Z}, {A, 3, false, A, Z, H, A},
        {A, 3, true, A, Z, Z, A},  {P, 3, false, Z, Z, H, Z}, {P, 3, true, Z, Z, Z, Z},
        {N, 2, false, H, H, H, H}, {P, 2, false, H, H, H, H}, {N, 2, true, H, H, H, H},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        bool placed = rows[i].kind == N || rows[i].kind == A || rows[i].kind == P;
        struct qcow2_entry old = {.kind = (enum qcow2_kind)rows[i].kind,
                                  .copied = placed && rows[i].kind != P,
                                  .host_off = placed ? 0x50000 : 0};
        int v = rows[i].version;
        bool b = rows[i].backing;
        g_test_message("row %zu", i);
        g_assert_cmpint(qcow2_zeroed_entry(&old, v, b, false).kind, ==, rows[i].zero);
        g_assert_cmpint(qcow2_zeroed_entry(&old, v, b, true).kind, ==, rows[i].unmap);
        g_assert_cmpint(qcow2_discarded_entry(&old, v, b, false).kind, ==, rows[i].discard);
        g_assert_cmpint(qcow2_discarded_entry(&old, v, b, true).kind, ==, rows[i].keep);
    }
}

/* A host cluster that others share too is not kept: it is not ours to write. */
static void test_shared_cluster_is_let_go(void)
{
    struct qcow2_entry shared = {.kind = QCOW2_NORMAL, .host_off = 0x50000};
    struct qcow2_entry zeroed = qcow2_zeroed_entry(&shared, 3, false, false);
    g_assert_cmpint(zeroed.kind, ==, QCOW2_ZERO);
    g_assert_cmpint(zeroed.host_off, ==, 0);
}

static void test_metaset(void)
{
    struct metaset *set = metaset_new();
    g_assert_cmpint(metaset_add(set, 4090, 10), ==, 0);
    g_assert_cmpint(metaset_add(set, 4099, 3), ==, -EEXIST);
    g_assert_false(metaset_test(set, 4100, 2));
    g_assert_cmpint(metaset_add(set, 4100, 2), ==, 0);
    g_assert_true(metaset_test(set, 0, 4091));
    g_assert_false(metaset_test(set, 0, 4090));
    g_assert_true(metaset_test(set, 4101, 1000000));
    metaset_remove(set, 4090, 11);
    g_assert_false(metaset_test(set, 0, 4101));
    g_assert_true(metaset_test(set, 4101, 1));
    metaset_free(set);
}

/* Tables scattered over a huge file do not eat all memory. */
static void test_metaset_is_bounded(void)
{
    struct metaset *set = metaset_new();
    int64_t n = 0;
    while (n < 1 << 20 && !metaset_add(set, n * 4096, 1)) {
        n++;
    }
    g_assert_cmpint(n, <, 1 << 19);
    metaset_free(set);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/qcow2/layout/dense", test_layout_is_dense);
    g_test_add_func("/qcow2/layout/limits", test_layout_limits);
    g_test_add_func("/qcow2/zero/entries", test_entry_changes);
    g_test_add_func("/qcow2/zero/shared-cluster-is-let-go", test_shared_cluster_is_let_go);
    g_test_add_func("/qcow2/metaset/ranges", test_metaset);
    g_test_add_func("/qcow2/metaset/bounded", test_metaset_is_bounded);
    return g_test_run();
}
