#include "qcow2/entry.h"

#include <glib.h>

#include "base/bytes.h"

#define BIT(n) (UINT64_C(1) << (n))

static void test_l2_kinds(void)
{
    static const struct {
        uint64_t raw;
        int bits, version;
        enum qcow2_kind kind;
        bool copied;
        int64_t host_off, length;
    } rows[] = {
        {0, 16, 3, QCOW2_UNALLOCATED, false, 0, 65536},
        {1, 16, 3, QCOW2_ZERO, false, 0, 65536},
        {1, 16, 2, QCOW2_CORRUPT, false, 0, 65536},
        {0x50000, 16, 2, QCOW2_NORMAL, false, 0x50000, 65536},
        {BIT(63) | 0x50000, 16, 2, QCOW2_NORMAL, true, 0x50000, 65536},
        {BIT(63) | 0x50001, 16, 3, QCOW2_ZERO_ALLOC, true, 0x50000, 65536},
        {BIT(63) | 0x50001, 16, 2, QCOW2_CORRUPT, false, 0, 65536},
        {0x50200, 16, 3, QCOW2_CORRUPT, false, 0, 65536},
        {0x50002, 16, 3, QCOW2_CORRUPT, false, 0, 65536},
        {0x50100, 16, 3, QCOW2_CORRUPT, false, 0, 65536},
        {BIT(56) | 0x50000, 16, 3, QCOW2_CORRUPT, false, 0, 65536},
        {BIT(61) | 0x50000, 16, 3, QCOW2_CORRUPT, false, 0, 65536},
        {BIT(63), 16, 3, QCOW2_CORRUPT, false, 0, 65536},
        {BIT(63) | 1, 16, 3, QCOW2_CORRUPT, false, 0, 65536},
        {0x200, 9, 3, QCOW2_NORMAL, false, 0x200, 512},
        {0x600000, 21, 3, QCOW2_NORMAL, false, 0x600000, 2097152},
        {0x00ffffffffff0000, 16, 3, QCOW2_NORMAL, false, 0x00ffffffffff0000, 65536},
        {BIT(62) | 0x50007, 16, 3, QCOW2_COMPRESSED, false, 0x50007, 505},
        {BIT(62) | BIT(63) | 0x50007, 16, 3, QCOW2_COMPRESSED, false, 0x50007, 505},
        {BIT(62) | BIT(54) | 0x50200, 16, 3, QCOW2_COMPRESSED, false, 0x50200, 1024},
        {BIT(62) | 0x1234, 16, 3, QCOW2_CORRUPT, false, 0, 65536},
        {BIT(62) | 0x201, 9, 3, QCOW2_COMPRESSED, false, 0x201, 511},
        {BIT(62) | BIT(61) | 0x200, 9, 3, QCOW2_COMPRESSED, false, 0x200, 1024},
        {BIT(62) | BIT(60) | 0x200, 9, 3, QCOW2_CORRUPT, false, 0, 512},
        {BIT(62) | BIT(56) | 0x200, 9, 3, QCOW2_CORRUPT, false, 0, 512},
        {BIT(62) | (BIT(62) - BIT(49)) | (BIT(49) - 1), 21, 3, QCOW2_COMPRESSED, false,
         (int64_t)BIT(49) - 1, 8192 * 512 - 511},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        struct qcow2_entry e = qcow2_l2_decode(rows[i].raw, rows[i].bits, rows[i].version);
        g_test_message("row %zu", i);
        g_assert_cmpint(e.kind, ==, rows[i].kind);
        g_assert_cmpint(e.copied, ==, rows[i].copied);
        g_assert_cmpint(e.host_off, ==, rows[i].host_off);
        g_assert_cmpint(e.length, ==, rows[i].length);
    }
}

static void test_l2_round_trip(void)
{
    static const uint64_t raws[] = {
        0,
        1,
        0x50000,
        BIT(63) | 0x50000,
        BIT(63) | 0x50001,
        0x50001,
        BIT(62) | 0x50007,
        BIT(62) | BIT(54) | 0x50200,
        BIT(62) | 3 * BIT(54) | 0x5fffe,
    };
    for (size_t i = 0; i < G_N_ELEMENTS(raws); i++) {
        struct qcow2_entry e = qcow2_l2_decode(raws[i], 16, 3);
        g_assert_cmphex(qcow2_l2_encode(&e, 16), ==, raws[i]);
    }
}

static void test_packed_limits(void)
{
    g_assert_true(qcow2_packed_fits((int64_t)BIT(49) - 1, 2097152, 21));
    g_assert_false(qcow2_packed_fits((int64_t)BIT(49), 1, 21));
    g_assert_false(qcow2_packed_fits((int64_t)BIT(56), 1, 9));
    g_assert_false(qcow2_packed_fits(65536, 65537, 16));
}

static void test_runs(void)
{
    uint8_t table[64];
    static const uint64_t raws[8] = {
        0, 0, BIT(63) | 0x30000, BIT(63) | 0x40000, 0x50000, 1, 1, BIT(62) | 0x70000,
    };
    for (int i = 0; i < 8; i++) {
        store_be64(table + 8 * i, raws[i]);
    }
    static const int runs[8] = {2, 1, 2, 1, 1, 2, 1, 1};
    struct qcow2_entry first;
    for (int i = 0; i < 8; i++) {
        g_assert_cmpint(qcow2_l2_run(table, i, 8, 16, 3, &first), ==, runs[i]);
    }
    g_assert_cmpint(qcow2_l2_run(table, 0, 1, 16, 3, &first), ==, 1);
    g_assert_cmpint(first.kind, ==, QCOW2_UNALLOCATED);
    g_assert_cmpint(qcow2_l2_run(table, 2, 3, 16, 3, &first), ==, 1);
}

/* A run may not carry past the 56 offset bits into reserved ones. */
static void test_run_ends_at_offset_limit(void)
{
    uint8_t table[16];
    store_be64(table, 0x00ffffffffff0000);
    store_be64(table + 8, 0x0100000000000000);
    struct qcow2_entry first;
    int n = qcow2_l2_run(table, 0, 2, 16, 3, &first);
    g_assert_cmpint(first.kind, ==, QCOW2_NORMAL);
    g_assert_cmpint(n, ==, 1);
}

static void test_l1_and_reftable(void)
{
    struct qcow2_entry e = qcow2_l1_decode(BIT(63) | 0x40000, 16);
    g_assert_cmpint(e.kind, ==, QCOW2_NORMAL);
    g_assert_cmpint(e.host_off, ==, 0x40000);
    g_assert_true(e.copied);
    g_assert_cmphex(qcow2_l1_encode(e.host_off, e.copied), ==, BIT(63) | 0x40000);
    g_assert_cmpint(qcow2_l1_decode(0, 16).kind, ==, QCOW2_UNALLOCATED);
    static const uint64_t bad[] = {1, 0x100, 0x40200, BIT(62) | 0x40000, BIT(56), BIT(63)};
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_assert_cmpint(qcow2_l1_decode(bad[i], 16).kind, ==, QCOW2_CORRUPT);
    }
    g_assert_cmpint(qcow2_reftable_decode(0x30000, 16), ==, 0x30000);
    g_assert_cmpint(qcow2_reftable_decode(0, 16), ==, 0);
    g_assert_cmpint(qcow2_reftable_decode(0x30001, 16), ==, -1);
    g_assert_cmpint(qcow2_reftable_decode(0x30200, 16), ==, -1);
    g_assert_cmpint(qcow2_reftable_decode(BIT(63) | 0x30000, 16), ==, -1);
}

static void test_refcount_widths(void)
{
    for (int order = 0; order <= 6; order++) {
        uint8_t block[512], before[512];
        for (int i = 0; i < 512; i++) {
            block[i] = (uint8_t)(i * 37 + 11);
        }
        memcpy(before, block, 512);
        int64_t count = 512 * 8 >> order, mid = count / 2 + 1;
        qcow2_refcount_set(block, mid, order, qcow2_refcount_max(order));
        for (int64_t i = 0; i < count; i++) {
            uint64_t want =
                i == mid ? qcow2_refcount_max(order) : qcow2_refcount_get(before, i, order);
            g_assert_cmpuint(qcow2_refcount_get(block, i, order), ==, want);
        }
        qcow2_refcount_set(block, mid, order, qcow2_refcount_get(before, mid, order));
        g_assert_cmpmem(block, 512, before, 512);
    }
}

/* Narrow refcounts fill a byte from its least significant bit. */
static void test_refcount_bit_order(void)
{
    uint8_t block[512] = {0};
    qcow2_refcount_set(block, 0, 0, 1);
    g_assert_cmphex(block[0], ==, 0x01);
    qcow2_refcount_set(block, 9, 0, 1);
    g_assert_cmphex(block[1], ==, 0x02);
    qcow2_refcount_set(block, 5, 1, 3);
    g_assert_cmphex(block[1], ==, 0x0e);
    qcow2_refcount_set(block, 5, 2, 9);
    g_assert_cmphex(block[2], ==, 0x90);
    qcow2_refcount_set(block, 2, 4, 0x1234);
    g_assert_cmphex(block[4], ==, 0x12);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/qcow2/entry/l2-kinds", test_l2_kinds);
    g_test_add_func("/qcow2/entry/l2-round-trip", test_l2_round_trip);
    g_test_add_func("/qcow2/entry/packed-limits", test_packed_limits);
    g_test_add_func("/qcow2/entry/runs", test_runs);
    g_test_add_func("/qcow2/entry/run-ends-at-offset-limit", test_run_ends_at_offset_limit);
    g_test_add_func("/qcow2/entry/l1-and-reftable", test_l1_and_reftable);
    g_test_add_func("/qcow2/entry/refcount-widths", test_refcount_widths);
    g_test_add_func("/qcow2/entry/refcount-bit-order", test_refcount_bit_order);
    return g_test_run();
}
