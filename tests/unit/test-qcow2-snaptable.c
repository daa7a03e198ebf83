/*
 * Entries of the snapshot table, byte by byte.
 */
#include <string.h>

#include "base/base.h"
#include "qcow2/header.h"
#include "qcow2/snaptable.h"

/* An entry with `extra` bytes of extra data, id "7" and name "seven"; returns its bytes. */
static int64_t sample(uint8_t *buf, uint32_t extra)
{
    memset(buf, 0, 2048);
    store_be64(buf, 0x30000);
    store_be32(buf + 8, 2);
    store_be16(buf + 12, 1);
    store_be16(buf + 14, 5);
    store_be32(buf + 16, 1000);
    store_be32(buf + 20, 5);
    store_be64(buf + 24, 123456789);
    store_be32(buf + 32, 77);
    store_be32(buf + 36, extra);
    store_be64(buf + 40, 0x100000000);
    store_be64(buf + 48, 1 << 20);
    store_be64(buf + 56, 42);
    memset(buf + 64, 0xee, 1024);
    memcpy(buf + 40 + extra, "7seven", 6);
    return 40 + (int64_t)extra + 6;
}

static struct qcow2_snapshot decode(const uint8_t *buf, int64_t len, int64_t expected)
{
    GError *error = NULL;
    struct qcow2_snapshot s = {0};
    g_assert_cmpint(qcow2_snapshot_decode(buf, len, &s, &error), ==, expected);
    g_assert_no_error(error);
    return s;
}

static void test_fields(void)
{
    uint8_t buf[2048];
    int64_t len = sample(buf, 24);
    struct qcow2_snapshot s = decode(buf, len, 72);
    g_assert_cmpstr(s.id, ==, "7");
    g_assert_cmpstr(s.name, ==, "seven");
    g_assert_cmpint(s.l1_offset, ==, 0x30000);
    g_assert_cmpuint(s.l1_entries, ==, 2);
    g_assert_cmpuint(s.date_sec, ==, 1000);
    g_assert_cmpuint(s.date_nsec, ==, 5);
    g_assert_cmpuint(s.vm_clock_ns, ==, 123456789);
    g_assert_cmpint(s.vm_state_size, ==, 0x100000000);
    g_assert_cmpint(s.size, ==, 1 << 20);
    g_assert_cmpuint(s.icount, ==, 42);
    g_assert_cmpuint(s.extra_length, ==, 0);
    qcow2_snapshot_clear(&s);
}

/* What old writers left out. */
static void test_little_extra(void)
{
    uint8_t buf[2048];
    int64_t len = sample(buf, 0);
    struct qcow2_snapshot s = decode(buf, len, 48);
    g_assert_cmpint(s.vm_state_size, ==, 77);
    g_assert_cmpint(s.size, ==, -1);
    g_assert_true(s.icount == UINT64_MAX);
    qcow2_snapshot_clear(&s);
    len = sample(buf, 16);
    s = decode(buf, len, 64);
    g_assert_cmpint(s.size, ==, 1 << 20);
    g_assert_true(s.icount == UINT64_MAX);
    qcow2_snapshot_clear(&s);
}

static void test_unknown_extra_is_kept(void)
{
    uint8_t buf[2048], again[2048];
    int64_t len = sample(buf, 100);
    struct qcow2_snapshot s = decode(buf, len, 152);
    g_assert_cmpuint(s.extra_length, ==, 76);
    g_assert_cmpint(qcow2_snapshot_encoded_length(&s), ==, 152);
    qcow2_snapshot_encode(&s, again);
    store_be32(buf + 32, 0); /* more than 32 bits: told by the extra data only */
    memset(buf + len, 0, 152 - (size_t)len);
    g_assert_cmpmem(again, 152, buf, 152);
    qcow2_snapshot_clear(&s);
}

/* Each shorter piece asks for more, whatever it holds. */
static void test_cut_off(void)
{
    uint8_t buf[2048];
    int64_t len = sample(buf, 24);
    for (int64_t n = 0; n < len; n++) {
        decode(buf, n, 0);
    }
}

static void refuse(const uint8_t *buf, const char *why)
{
    GError *error = NULL;
    struct qcow2_snapshot s;
    g_assert_cmpint(qcow2_snapshot_decode(buf, 2048, &s, &error), ==, -1);
    g_assert_nonnull(error);
    g_assert_nonnull(strstr(error->message, why));
    g_error_free(error);
}

static void test_limits(void)
{
    uint8_t buf[2048];
    sample(buf, 1025);
    refuse(buf, "1025 bytes of extra data");
    sample(buf, 24);
    store_be64(buf + 40, UINT64_C(1) << 63);
    refuse(buf, "too large");
    sample(buf, 24);
    store_be64(buf + 48, UINT64_MAX);
    refuse(buf, "too large");
}

static bool l1_is_ok(uint64_t offset, uint32_t entries, int cluster_bits)
{
    struct qcow2_snapshot s = {
        .name = (char *)"x", .l1_offset = (int64_t)offset, .l1_entries = entries};
    return qcow2_snapshot_check_l1(&s, cluster_bits, NULL);
}

static void test_l1(void)
{
    g_assert_true(l1_is_ok(0x10000, 1, 16));
    g_assert_true(l1_is_ok(0, 0, 16));
    g_assert_false(l1_is_ok(0, 1, 16));
    g_assert_false(l1_is_ok(0x10200, 1, 16));
    g_assert_true(l1_is_ok(0x10200, 1, 9));
    g_assert_false(l1_is_ok(UINT64_C(1) << 56, 1, 16));
    g_assert_false(l1_is_ok(UINT64_C(1) << 63, 1, 16));
    g_assert_true(l1_is_ok(0x10000, QCOW2_MAX_L1_BYTES / 8, 16));
    g_assert_false(l1_is_ok(0x10000, QCOW2_MAX_L1_BYTES / 8 + 1, 16));
}

static void test_long_names(void)
{
    g_autofree char *name = g_strnfill(65536, 'n');
    struct qcow2_snapshot s = {.id = (char *)"1", .name = name};
    g_assert_cmpint(qcow2_snapshot_encoded_length(&s), ==, -1);
    name[65535] = '\0';
    g_assert_cmpint(qcow2_snapshot_encoded_length(&s), ==, (40 + 24 + 65536 + 7) / 8 * 8);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/qcow2/snaptable/fields", test_fields);
    g_test_add_func("/qcow2/snaptable/little-extra", test_little_extra);
    g_test_add_func("/qcow2/snaptable/unknown-extra-is-kept", test_unknown_extra_is_kept);
    g_test_add_func("/qcow2/snaptable/cut-off", test_cut_off);
    g_test_add_func("/qcow2/snaptable/limits", test_limits);
    g_test_add_func("/qcow2/snaptable/l1", test_l1);
    g_test_add_func("/qcow2/snaptable/long-names", test_long_names);
    return g_test_run();
}
