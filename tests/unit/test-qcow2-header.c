#include "qcow2/header.h"

#include <errno.h>

#include "base/bytes.h"
#include "base/error.h"

enum { CLUSTER = 65536 };

static struct qcow2_header sample(int version)
{
    return (struct qcow2_header){
        .version = version,
        .cluster_bits = 16,
        .refcount_order = 4,
        .size = 1 << 30,
        .l1_entries = 2,
        .l1_offset = 3 * CLUSTER,
        .reftable_offset = CLUSTER,
        .reftable_clusters = 1,
    };
}

/* The bytes of a valid image's first cluster, to be freed. */
static uint8_t *sample_bytes(int version, const char *backing)
{
    struct qcow2_header h = sample(version);
    h.backing_file = (char *)backing;
    uint8_t *buf = g_malloc(CLUSTER);
    g_assert_true(qcow2_header_encode(&h, buf, NULL));
    return buf;
}

static void test_round_trip(void)
{
    struct qcow2_extension unknown = {0x12345678, 5, (uint8_t *)"hello"};
    struct qcow2_header h = sample(3), back;
    h.compression = QCOW2_ZSTD;
    h.incompatible = QCOW2_INCOMPAT_COMPRESSION;
    h.compatible = QCOW2_COMPAT_LAZY | 0x80;
    h.autoclear = 0x100;
    h.refcount_order = 6;
    h.extra = (uint8_t[15]){0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8};
    h.extra_length = 15;
    h.backing_file = (char *)"../base.qcow2";
    h.backing_format = (char *)"qcow2";
    h.extensions = &unknown;
    h.extension_count = 1;
    g_autofree uint8_t *buf = g_malloc(CLUSTER);
    g_assert_true(qcow2_header_encode(&h, buf, NULL));
    g_assert_true(qcow2_header_decode(buf, CLUSTER, &back, NULL));
    g_assert_cmpint(back.compression, ==, QCOW2_ZSTD);
    g_assert_cmphex(back.compatible, ==, h.compatible);
    g_assert_cmphex(back.autoclear, ==, 0x100);
    g_assert_cmpint(back.refcount_order, ==, 6);
    g_assert_cmpmem(back.extra, back.extra_length, h.extra, 15);
    g_assert_cmpstr(back.backing_file, ==, "../base.qcow2");
    g_assert_cmpstr(back.backing_format, ==, "qcow2");
    g_assert_cmpint(back.extension_count, ==, 1);
    g_assert_cmpmem(back.extensions[0].data, back.extensions[0].length, "hello", 5);
    g_autofree uint8_t *again = g_malloc(CLUSTER);
    g_assert_true(qcow2_header_encode(&back, again, NULL));
    g_assert_cmpmem(again, CLUSTER, buf, CLUSTER);
    qcow2_header_clear(&back);
}

static void test_layout(void)
{
    g_autofree uint8_t *v3 = sample_bytes(3, NULL), *v2 = sample_bytes(2, "b");
    g_assert_cmpint(load_be32(v3 + 100), ==, 112);
    g_assert_cmphex(load_be32(v3 + 112), ==, 0x6803f857);
    g_assert_cmpint(load_be32(v3 + 116), ==, 384);
    g_assert_cmphex(load_be32(v2 + 72), ==, 0);
    g_assert_cmpint(load_be64(v2 + 8), ==, 80);
    g_assert_cmpint(v2[80], ==, 'b');
}

/* With 512-byte clusters the feature names give way to a backing file name. */
static void test_small_cluster(void)
{
    struct qcow2_header h = sample(3), back;
    uint8_t buf[512];
    g_autofree char *name = g_strnfill(380, 'x');
    h.cluster_bits = 9;
    h.size = 1 << 20;
    h.l1_entries = 32;
    h.backing_file = name;
    g_assert_true(qcow2_header_encode(&h, buf, NULL));
    g_assert_true(qcow2_header_decode(buf, sizeof(buf), &back, NULL));
    g_assert_cmpstr(back.backing_file, ==, name);
    qcow2_header_clear(&back);
    g_autofree char *longer = g_strnfill(400, 'x');
    g_autoptr(GError) error = NULL;
    h.backing_file = longer;
    g_assert_false(qcow2_header_encode(&h, buf, &error));
    g_assert_error(error, CAIRN_ERROR, ENOSPC);
}

/* One field of a valid header replaced by a hostile value. */
struct hostile {
    int version, at, width;
    uint64_t value;
    const char *pattern; /* of the message */
};

static const struct hostile hostile[] = {
    {3, 0, 4, 0x514649fa, "*not in qcow2 format*"},
    {3, 4, 4, 1, "*version 1*"},
    {3, 4, 4, 4, "*version 4*"},
    {3, 8, 8, CLUSTER + 8, "*backing file name at*"},
    {3, 8, 8, 4, "*backing file name at*"},
    {3, 8, 8, UINT64_MAX, "*backing file name at*"},
    {3, 20, 4, 8, "*cluster size*"},
    {3, 20, 4, 22, "*cluster size*"},
    {3, 20, 4, UINT32_MAX, "*cluster size*"},
    {3, 24, 8, UINT64_MAX, "*disk size*"},
    {3, 24, 8, INT64_MAX, "*disk size*"},
    {3, 24, 8, UINT64_C(1) << 52, "*disk size*"},
    {3, 24, 8, (UINT64_C(1) << 30) + 1, "*too small*"},
    {3, 32, 4, 3, "*encryption method 3*"},
    {3, 36, 4, 0, "*too small*"},
    {3, 36, 4, (32 << 20) / 8 + 1, "*L1 table*too large*"},
    {3, 36, 4, UINT32_MAX, "*L1 table*too large*"},
    {3, 40, 8, 0, "*L1 table offset*"},
    {3, 40, 8, 3 * CLUSTER + 8, "*L1 table offset*"},
    {3, 40, 8, UINT64_C(1) << 56, "*L1 table offset*"},
    {3, 40, 8, UINT64_MAX - CLUSTER + 1, "*L1 table offset*"},
    {3, 48, 8, 0, "*refcount table offset*"},
    {3, 48, 8, 512, "*refcount table offset*"},
    {3, 48, 8, UINT64_MAX, "*refcount table offset*"},
    {3, 56, 4, 129, "*refcount table*too large*"},
    {3, 56, 4, UINT32_MAX, "*refcount table*too large*"},
    {3, 60, 4, 65537, "*snapshots*"},
    {3, 60, 4, UINT32_MAX, "*snapshots*"},
    {3, 60, 4, 1, "*snapshot table offset*"},
    {3, 72, 8, UINT64_C(1) << 63, "*unknown incompatible feature: 8000000000000000*"},
    {3, 72, 8, 1 << 3, "*compression type 0*"},
    {3, 88, 8, 1, "*bitmaps*"},
    {3, 96, 4, 7, "*refcount order 7*"},
    {3, 96, 4, UINT32_MAX, "*refcount order*"},
    {3, 100, 4, 72, "*header length 72*"},
    {3, 100, 4, 108, "*header length 108*"},
    {3, 100, 4, CLUSTER + 8, "*header length*"},
    {3, 100, 4, UINT32_MAX, "*header length*"},
    {3, 104, 1, 1, "*compression type 1*"},
    {3, 104, 1, 2, "*unknown compression type 2*"},
    {3, 116, 4, UINT32_MAX, "*header extension 0x6803f857*"},
    {3, 116, 4, CLUSTER - 119, "*header extension 0x6803f857*"},
    {3, 112, 4, 0x0537be77, "*encryption extension*"},
    {3, 112, 4, 0x23852875, "*bitmaps extension*"},
    {2, 24, 8, UINT64_MAX, "*disk size*"},
    {2, 36, 4, UINT32_MAX, "*L1 table*"},
    {2, 60, 4, UINT32_MAX, "*snapshots*"},
};

static void put(uint8_t *p, int width, uint64_t value)
{
    switch (width) {
    case 1: *p = (uint8_t)value; break;
    case 4: store_be32(p, (uint32_t)value); break;
    default: store_be64(p, value);
    }
}

static void test_hostile_fields(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(hostile); i++) {
        g_autofree uint8_t *buf = sample_bytes(hostile[i].version, NULL);
        g_autoptr(GError) error = NULL;
        struct qcow2_header h;
        put(buf + hostile[i].at, hostile[i].width, hostile[i].value);
        g_test_message("row %zu", i);
        g_assert_false(qcow2_header_decode(buf, CLUSTER, &h, &error));
        g_assert_true(g_pattern_match_simple(hostile[i].pattern, error->message));
    }
}

/* Every 32-bit field pair against extreme values: refused or decoded, never a crash. */
static void test_extreme_pairs(void)
{
    static const uint32_t values[] = {0, 1, 0x7fffffff, 0x80000000, 0xffffffff};
    g_autofree uint8_t *good = sample_bytes(3, "base");
    uint8_t buf[512];
    for (int a = 4; a < 124; a += 4) {
        for (int b = a; b < 124; b += 4) {
            for (int v = 0; v < 25; v++) {
                struct qcow2_header h;
                memcpy(buf, good, sizeof(buf));
                store_be32(buf + a, values[v / 5]);
                store_be32(buf + b, values[v % 5]);
                if (qcow2_header_decode(buf, sizeof(buf), &h, NULL)) {
                    qcow2_header_clear(&h);
                }
            }
        }
    }
}

static void test_truncated(void)
{
    g_autofree uint8_t *good = sample_bytes(3, "base");
    for (size_t len = 0; len < 600; len++) {
        g_autofree uint8_t *buf = g_memdup2(good, len);
        struct qcow2_header h;
        bool ok = qcow2_header_decode(buf, len, &h, NULL);
        g_assert_cmpint(ok, ==, len >= 516);
        if (ok) {
            qcow2_header_clear(&h);
        }
    }
}

static void test_feature_is_named(void)
{
    g_autofree uint8_t *buf = sample_bytes(3, NULL);
    g_autoptr(GError) error = NULL;
    struct qcow2_header h;
    buf[120 + 1] = 40; /* the first name of the table now stands for bit 40 */
    store_be64(buf + 72, UINT64_C(1) << 40 | UINT64_C(1) << 41);
    g_assert_false(qcow2_header_decode(buf, CLUSTER, &h, &error));
    g_assert_cmpstr(error->message, ==,
                    "unsupported qcow2 feature(s): dirty bit, unknown incompatible feature: "
                    "20000000000");
}

static void test_backing_name(void)
{
    g_autofree uint8_t *buf = sample_bytes(3, "abcdef");
    int64_t at = (int64_t)load_be64(buf + 8);
    struct qcow2_header h;
    g_autoptr(GError) error = NULL;
    buf[at + 2] = 0;
    g_assert_false(qcow2_header_decode(buf, CLUSTER, &h, &error));
    g_assert_cmpstr(error->message, ==, "the backing file name contains a zero byte");
    store_be32(buf + 16, 1024);
    g_assert_false(qcow2_header_decode(buf, CLUSTER, &h, NULL));
    store_be32(buf + 16, 3); /* ends in a zero byte: trimmed */
    g_assert_true(qcow2_header_decode(buf, CLUSTER, &h, NULL));
    g_assert_cmpstr(h.backing_file, ==, "ab");
    qcow2_header_clear(&h);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/qcow2/header/round-trip", test_round_trip);
    g_test_add_func("/qcow2/header/layout", test_layout);
    g_test_add_func("/qcow2/header/small-cluster", test_small_cluster);
    g_test_add_func("/qcow2/header/hostile-fields", test_hostile_fields);
    g_test_add_func("/qcow2/header/extreme-pairs", test_extreme_pairs);
    g_test_add_func("/qcow2/header/truncated", test_truncated);
    g_test_add_func("/qcow2/header/feature-is-named", test_feature_is_named);
    g_test_add_func("/qcow2/header/backing-name", test_backing_name);
    return g_test_run();
}
