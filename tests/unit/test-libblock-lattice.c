/*
 * Every offset and length around the edges of blocks, at every alignment, in
 * every kind of request, against an array of bytes.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/libblock-fixture.h"

enum { MAX_SIZE = 5 * 4096 + 300 };

struct lattice {
    struct fixture f;
    uint8_t model[MAX_SIZE];
    int64_t size;
    uint8_t next;
};

static void check_all(struct lattice *l)
{
    uint8_t *got = g_malloc(l->size);
    g_assert_cmpint(node_read(l->f.node, 0, l->size, got), ==, 0);
    g_assert_cmpmem(got, l->size, l->model, l->size);
    g_free(got);
}

static void check_read(struct lattice *l, int64_t offset, int64_t length)
{
    uint8_t *buf = g_malloc(length + 1);
    g_assert_cmpint(node_read(l->f.node, offset, length, buf + 1), ==, 0);
    g_assert_cmpmem(buf + 1, length, l->model + offset, length);
    g_free(buf);
}

static void check_write(struct lattice *l, int64_t offset, int64_t length)
{
    uint8_t *buf = g_malloc(length + 1);
    memset(buf, ++l->next, length + 1);
    memset(l->model + offset, l->next, length);
    g_assert_cmpint(node_write(l->f.node, offset, length, buf + 1, 0), ==, 0);
    g_free(buf);
    check_all(l);
}

static void check_zero(struct lattice *l, int64_t offset, int64_t length)
{
    memset(l->model + offset, 0, length);
    g_assert_cmpint(node_zero(l->f.node, offset, length, 0), ==, 0);
    check_all(l);
    memset(l->model + offset, 0xee, length);
    g_assert_cmpint(node_write(l->f.node, offset, length, l->model + offset, 0), ==, 0);
}

/* Points near the edges of blocks, clipped to the node. */
static int edges(int64_t align, int64_t size, int64_t *ret_points)
{
    const int64_t points[] = {0,         1,         align - 1,     align,    align + 1,
                              2 * align, 3 * align, 3 * align + 7, size - 1, size};
    int count = 0;
    for (size_t i = 0; i < G_N_ELEMENTS(points); i++) {
        if (points[i] >= 0 && points[i] <= size) {
            ret_points[count++] = points[i];
        }
    }
    return count;
}

static void run_lattice(const struct blk_limits *limits, int64_t size, bool no_zero)
{
    struct lattice *l = g_new0(struct lattice, 1);
    int64_t points[16];
    l->size = size;
    fixture_open(&l->f, size, limits);
    l->f.strict->no_zero = no_zero;
    int count = edges(limits->request_align, size, points);
    for (int i = 0; i < count; i++) {
        for (int j = 0; j < count; j++) {
            if (points[i] < points[j]) {
                check_write(l, points[i], points[j] - points[i]);
                check_read(l, points[i], points[j] - points[i]);
                check_zero(l, points[i], points[j] - points[i]);
            }
        }
    }
    fixture_close(&l->f);
    g_free(l);
}

static void test_lattice(gconstpointer data)
{
    int64_t align = GPOINTER_TO_INT(data);
    struct blk_limits limits = {
        .request_align = align, .memory_align = align, .zero_align = align, .discard_align = align};
    const int64_t sizes[] = {4 * align, 4 * align + 1, 5 * align - 1};
    for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
        run_lattice(&limits, sizes[i], false);
        run_lattice(&limits, sizes[i], true);
        limits.max_transfer = limits.max_zero = align;
    }
    limits.zero_align = 2 * align;
    run_lattice(&limits, 5 * align, false);
}

static void test_bounds(void)
{
    struct fixture f;
    uint8_t buf[512] = {0};
    fixture_open(&f, 1000, NULL);
    g_assert_cmpint(node_read(f.node, 900, 101, buf), ==, -EIO);
    g_assert_cmpint(node_write(f.node, 1000, 1, buf, 0), ==, -EIO);
    g_assert_cmpint(node_read(f.node, -1, 1, buf), ==, -EINVAL);
    g_assert_cmpint(node_read(f.node, INT64_MAX, 2, buf), ==, -EINVAL);
    g_assert_cmpint(node_write(f.node, 0, -1, buf, 0), ==, -EINVAL);
    g_assert_cmpint(node_zero(f.node, 999, 2, 0), ==, -EIO);
    g_assert_cmpint(node_read(f.node, 1000, 0, buf), ==, 0);
    g_assert_cmpint(f.strict->reads + f.strict->writes + f.strict->zeroes, ==, 0);
    fixture_close(&f);
}

static void test_growing(void)
{
    struct fixture f;
    uint8_t buf[64];
    memset(buf, 0xff, sizeof(buf));
    fixture_open(&f, 0, NULL);
    g_assert_cmpint(node_write(f.mem, 100, 10, "0123456789", 0), ==, 0);
    g_assert_cmpint(node_size(f.mem), ==, 110);
    g_assert_cmpint(node_read(f.mem, 105, 64, buf), ==, 0);
    g_assert_cmpmem(buf, 5, "56789", 5);
    g_assert_true(bytes_are_zero(buf + 5, 59));
    g_assert_true(node_resize(f.mem, 102, NULL, NULL));
    g_assert_true(node_resize(f.mem, 200, NULL, NULL));
    g_assert_cmpint(node_read(f.mem, 100, 64, buf), ==, 0);
    g_assert_cmpmem(buf, 2, "01", 2);
    g_assert_true(bytes_are_zero(buf + 2, 62));
    fixture_close(&f);
}

static void test_read_only(void)
{
    struct fixture f;
    fixture_open(&f, 4096, NULL);
    f.node->flags &= ~(uint32_t)NODE_RDWR;
    g_assert_cmpint(node_write(f.node, 0, 1, "x", 0), ==, -EPERM);
    g_assert_cmpint(node_zero(f.node, 0, 1, 0), ==, -EPERM);
    g_assert_cmpint(node_discard(f.node, 0, 1), ==, -EPERM);
    fixture_close(&f);
}

static void test_discard_aligns_inwards(void)
{
    struct fixture f;
    struct blk_limits limits = {.request_align = 1,
                                .memory_align = 1,
                                .zero_align = 1,
                                .discard_align = 512,
                                .max_discard = 1024};
    static uint8_t buf[4200], want[4200];
    memset(want, 7, sizeof(want));
    fixture_open(&f, 4200, &limits);
    g_assert_cmpint(node_write(f.node, 0, 4200, want, 0), ==, 0);
    g_assert_cmpint(node_discard(f.node, 1, 510), ==, 0);
    g_assert_cmpint(f.strict->discards, ==, 0);
    g_assert_cmpint(node_discard(f.node, 511, 2060), ==, 0);
    g_assert_cmpint(f.strict->discards, ==, 2);
    g_assert_cmpint(node_discard(f.node, 4096, 104), ==, 0);
    memset(want + 512, 0, 2048);
    memset(want + 4096, 0, 104);
    g_assert_cmpint(node_read(f.node, 0, 4200, buf), ==, 0);
    g_assert_cmpmem(buf, 4200, want, 4200);
    fixture_close(&f);
}

static void test_no_fallback(void)
{
    struct fixture f;
    struct blk_limits limits = {
        .request_align = 1, .memory_align = 1, .zero_align = 512, .discard_align = 1};
    fixture_open(&f, 4096, &limits);
    g_assert_cmpint(node_zero(f.node, 1, 512, REQ_NO_FALLBACK), ==, -ENOTSUP);
    g_assert_cmpint(node_zero(f.node, 512, 512, REQ_NO_FALLBACK), ==, 0);
    f.strict->no_zero = true;
    g_assert_cmpint(node_zero(f.node, 512, 512, REQ_NO_FALLBACK), ==, -ENOTSUP);
    g_assert_cmpint(f.strict->writes, ==, 0);
    fixture_close(&f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/lattice/align-1", GINT_TO_POINTER(1), test_lattice);
    g_test_add_data_func("/lattice/align-512", GINT_TO_POINTER(512), test_lattice);
    g_test_add_data_func("/lattice/align-4096", GINT_TO_POINTER(4096), test_lattice);
    g_test_add_func("/lattice/bounds", test_bounds);
    g_test_add_func("/lattice/growing", test_growing);
    g_test_add_func("/lattice/read-only", test_read_only);
    g_test_add_func("/lattice/discard-aligns-inwards", test_discard_aligns_inwards);
    g_test_add_func("/lattice/no-fallback", test_no_fallback);
    return g_test_run();
}
