/*
 * One behaviour of open images at a time: what is refused, how tables grow, what
 * is flushed when, and what the map says.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "qcow2/header.h"
#include "tests/unit/qcow2-jolt.h"
#include "tests/unit/qcow2-model.h"

#define COPIED (UINT64_C(1) << 63)

static const struct model_shape plain = {.cluster_size = 65536, .size = 4 << 20};

static void patch(const struct model *m, int64_t offset, uint64_t value, int width)
{
    uint8_t buf[8];
    store_be64(buf, value);
    int fd = open(m->path, O_WRONLY | O_CLOEXEC);
    g_assert_cmpint(pwrite(fd, buf + 8 - width, (size_t)width, offset), ==, width);
    close(fd);
}

static uint64_t peek(const struct model *m, int64_t offset)
{
    uint8_t buf[8] = {0};
    int fd = open(m->path, O_RDONLY | O_CLOEXEC);
    g_assert_cmpint(pread(fd, buf, 8, offset), ==, 8);
    close(fd);
    return load_be64(buf);
}

/* Tries to open the image; the message, to be freed, or NULL when it opens. */
static char *try_open(struct model *m, uint32_t flags)
{
    GError *error = NULL;
    struct blk_node *node = node_open(m->graph, m->path, "qcow2", NULL, flags, &error);
    char *message = error ? g_strdup(error->message) : NULL;
    g_clear_error(&error);
    node_close(node, NULL);
    return message;
}

/* Header fields that forbid writing, or any use. */
static void test_refusals(void)
{
    static const struct {
        int64_t at;
        uint64_t value;
        int width;
        bool readable;
        const char *pattern;
    } rows[] = {
        {72, 2, 8, true, "*Image is corrupt; cannot be opened read/write*"},
        {72, 4, 8, false, "*external data file*"},
        {72, 16, 8, false, "*extended L2*"},
        {72, 1 << 7, 8, false, "*unknown incompatible feature: 80*"},
        {32, 1, 4, false, "*AES*"},
        {32, 2, 4, false, "*LUKS*"},
        {56, 0, 4, false, "*refcount table*"},
        {40, 1 << 30, 8, false, "*L1 table*past the end*"},
        {48, 1 << 30, 8, true, "*refcount table*past the end*"},
        {48, 3 << 16, 8, true, "*overlaps another table*"},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        struct model m;
        model_start(&m, &plain, 1);
        model_close_any(&m);
        patch(&m, rows[i].at, rows[i].value, rows[i].width);
        g_autofree char *reading = try_open(&m, 0), *writing = try_open(&m, NODE_RDWR);
        g_test_message("row %zu: %s / %s", i, reading, writing);
        g_assert_cmpint(!reading, ==, rows[i].readable);
        g_assert_true(writing && g_pattern_match_simple(rows[i].pattern, writing));
        model_stop(&m);
    }
}

/* Unknown autoclear bits stay until the first write, and are gone after it. */
static void test_autoclear(void)
{
    struct model m;
    uint8_t byte = 1;
    model_start(&m, &plain, 1);
    model_close_any(&m);
    patch(&m, QCOW2_AT_AUTOCLEAR, 0x80, 8);
    model_open(&m);
    g_assert_cmphex(peek(&m, QCOW2_AT_AUTOCLEAR), ==, 0x80);
    g_assert_cmpint(node_write(m.node, 0, 1, &byte, 0), ==, 0);
    g_assert_cmphex(peek(&m, QCOW2_AT_AUTOCLEAR), ==, 0);
    model_stop(&m);
}

/* An L2 entry that leads to a table: the write fails and the image is marked. */
static void test_overlap_marks_corrupt(void)
{
    struct model m;
    uint8_t byte = 1;
    model_start(&m, &plain, 1);
    g_assert_cmpint(node_write(m.node, 0, 1, &byte, 0), ==, 0);
    model_close_any(&m);
    int64_t l1 = (int64_t)peek(&m, 40);
    int64_t l2 = (int64_t)(peek(&m, l1) & ~(UINT64_C(1) << 63));
    patch(&m, l2, UINT64_C(1) << 63 | (uint64_t)l1, 8);
    model_open(&m);
    g_assert_cmpint(node_write(m.node, 0, 1, &byte, 0), ==, -EIO);
    g_assert_cmphex(peek(&m, QCOW2_AT_INCOMPATIBLE), ==, QCOW2_INCOMPAT_CORRUPT);
    g_assert_cmpint(node_write(m.node, 1 << 20, 1, &byte, 0), ==, -EIO);
    model_close_any(&m);
    g_autofree char *again = try_open(&m, NODE_RDWR);
    g_assert_nonnull(again);
    model_stop(&m);
}

/* Refcounts that call the L1 table free: it is not handed out. */
static void test_wrong_refcount_of_table(void)
{
    struct model m;
    uint8_t byte = 1;
    model_start(&m, &plain, 1);
    model_close_any(&m);
    patch(&m, 0x20000 + 2 * 3, 0, 2);
    model_open(&m);
    g_assert_cmpint(node_write(m.node, 0, 1, &byte, 0), ==, -EIO);
    g_assert_cmphex(peek(&m, QCOW2_AT_INCOMPATIBLE), ==, QCOW2_INCOMPAT_CORRUPT);
    model_close_any(&m);
    model_stop(&m);
}

static void test_reftable_grows(void)
{
    struct model_shape shape = {.cluster_size = 512, .size = 7 << 20, .refcount_bits = 64};
    struct model m;
    model_start(&m, &shape, 1);
    for (int64_t at = 0; at < shape.size; at += 4096) {
        memset(m.bytes + at, (int)(1 + at / 4096 % 251), 4096);
        g_assert_cmpint(node_write(m.node, at, 4096, m.bytes + at, 0), ==, 0);
    }
    model_reopen(&m);
    g_assert_cmpint(peek(&m, 56) >> 32, >, 1);
    model_ask_peer(&m);
    model_stop(&m);
}

static void grow_to(struct model *m, int64_t size)
{
    GError *error = NULL;
    node_resize(m->node, size, NULL, &error);
    g_assert_no_error(error);
    m->bytes = g_realloc(m->bytes, (gsize)size);
    m->unknown = g_realloc(m->unknown, (gsize)size);
    memset(m->bytes + m->shape.size, 0, (size_t)(size - m->shape.size));
    memset(m->unknown + m->shape.size, 0, (size_t)(size - m->shape.size));
    m->shape.size = size;
}

/* Growing by a little, past the L1 table, and over what the backing file would show. */
static void test_resize(gconstpointer data)
{
    const struct model_shape *shape = data;
    struct model m;
    model_start(&m, shape, 5);
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < 60; i++) {
            model_step(&m, 3 * shape->cluster_size);
        }
        grow_to(&m, m.shape.size + (round ? 300 * 1024 : 512));
        model_compare(&m);
        model_ask_peer(&m);
    }
    GError *error = NULL;
    g_assert_false(node_resize(m.node, 512, "full", &error));
    g_assert_error(error, CAIRN_ERROR, EINVAL);
    g_clear_error(&error);
    g_assert_false(node_resize(m.node, 1000, NULL, &error));
    g_assert_error(error, CAIRN_ERROR, EINVAL);
    g_clear_error(&error);
    model_stop(&m);
}

static int64_t flushes(struct model *m)
{
    int64_t before = jolt_of(m->jolt)->count[JOLT_FLUSH];
    g_assert_cmpint(node_flush(m->node), ==, 0);
    return jolt_of(m->jolt)->count[JOLT_FLUSH] - before;
}

/* The price of a flush: nothing, one for overwriting, two for allocating. */
static void test_flush_cost(void)
{
    struct model m;
    uint8_t buf[4096] = {1};
    model_start(&m, &plain, 1);
    model_jolt(&m);
    g_assert_cmpint(flushes(&m), ==, 0);
    g_assert_cmpint(node_write(m.node, 0, 4096, buf, 0), ==, 0);
    g_assert_cmpint(flushes(&m), ==, 2);
    g_assert_cmpint(node_write(m.node, 0, 4096, buf, 0), ==, 0);
    g_assert_cmpint(flushes(&m), ==, 1);
    g_assert_cmpint(node_write(m.node, 65536, 4096, buf, 0), ==, 0);
    g_assert_cmpint(flushes(&m), ==, 2);
    g_assert_cmpint(flushes(&m), ==, 0);
    model_stop(&m);
}

/* A discarded cluster is not used again before a flush made that durable. */
static void test_no_early_reuse(void)
{
    struct model m;
    g_autofree uint8_t *buf = g_malloc0(65536);
    struct extent_list list = {0};
    model_start(&m, &plain, 1);
    g_assert_cmpint(node_write(m.node, 0, 65536, buf, 0), ==, 0);
    g_assert_cmpint(node_flush(m.node), ==, 0);
    g_assert_cmpint(node_map(m.node, 0, 65536, 0, &list), ==, 0);
    int64_t first = list.items[0].leaf_offset;
    g_assert_cmpint(node_discard(m.node, 0, 65536), ==, 0);
    for (int flushed = 0; flushed < 2; flushed++) {
        int64_t offset = 65536 * (1 + flushed);
        extents_clear(&list);
        g_assert_cmpint(node_write(m.node, offset, 65536, buf, 0), ==, 0);
        g_assert_cmpint(node_map(m.node, offset, 65536, 0, &list), ==, 0);
        g_assert_cmpint(list.items[0].leaf_offset == first, ==, flushed);
        g_assert_cmpint(node_flush(m.node), ==, 0);
    }
    extents_done(&list);
    model_stop(&m);
}

static void test_map(void)
{
    struct model m;
    g_autofree uint8_t *buf = g_malloc0(4 * 65536);
    struct extent_list list = {0};
    model_start(&m, &plain, 1);
    g_assert_cmpint(node_write(m.node, 65536, 2 * 65536, buf, 0), ==, 0);
    g_assert_cmpint(node_write(m.node, 5 * 65536, 65536, buf, 0), ==, 0);
    g_assert_cmpint(node_zero(m.node, 5 * 65536, 65536, 0), ==, 0);
    g_assert_cmpint(node_map(m.node, 0, plain.size, 0, &list), ==, 0);
    static const struct {
        int64_t offset, length;
        uint32_t flags;
    } want[] = {
        {0, 65536, EXTENT_ZERO},
        {65536, 131072, EXTENT_DATA | EXTENT_ALLOCATED | EXTENT_OFFSET},
        {3 * 65536, 131072, EXTENT_ZERO},
        {5 * 65536, 65536, EXTENT_ZERO | EXTENT_ALLOCATED | EXTENT_OFFSET},
        {6 * 65536, 58 * 65536, EXTENT_ZERO},
    };
    g_assert_cmpint(list.count, ==, G_N_ELEMENTS(want));
    for (int i = 0; i < list.count; i++) {
        g_assert_cmpint(list.items[i].offset, ==, want[i].offset);
        g_assert_cmpint(list.items[i].length, ==, want[i].length);
        g_assert_cmphex(list.items[i].flags, ==, want[i].flags);
    }
    extents_done(&list);
    model_stop(&m);
}

static void test_create_refusals(void)
{
    static const char *const rows[][2] = {
        {"{\"cluster_size\": \"3000\"}", "Cluster size must be a power of two*"},
        {"{\"cluster_size\": \"4M\"}", "Cluster size must be a power of two*"},
        {"{\"refcount_bits\": \"3\"}", "Refcount width must be a power of two*"},
        {"{\"refcount_bits\": \"128\"}", "Refcount width must be a power of two*"},
        {"{\"compat\": \"0.10\", \"refcount_bits\": \"8\"}", "Different refcount widths*"},
        {"{\"compat\": \"v2\", \"lazy_refcounts\": \"on\"}", "Lazy refcounts only*"},
        {"{\"compat\": \"0.10\", \"compression_type\": \"zstd\"}", "Non-zlib compression*"},
        {"{\"extended_l2\": \"on\"}", "extended_l2*"},
        {"{\"data_file\": \"x\"}", "data_file*"},
        {"{\"encrypt.format\": \"luks\"}", "encrypt.format*"},
        {"{\"encryption\": \"on\"}", "encryption*"},
        {"{\"cluster_size\": \"512\"}", "The image size is too large*"},
    };
    struct model m;
    model_start(&m, &plain, 1);
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        GError *error = NULL;
        json_t *options = json_loads(rows[i][0], 0, NULL);
        g_autofree char *path = g_build_filename(m.folder, "no.qcow2", NULL);
        g_assert_false(
            image_create(m.graph, path, "qcow2", INT64_C(1) << 41, options, 0, NULL, &error));
        g_test_message("%s", error->message);
        g_assert_true(g_pattern_match_simple(rows[i][1], error->message));
        g_clear_error(&error);
        json_decref(options);
    }
    model_stop(&m);
}

/* A write into an entry that leads to the L1 table: its status, and whether the image is marked and
 * says why when it is closed. */
static int write_over_l1(const char *open_options, bool *ret_marked)
{
    struct model_shape shape = plain;
    GError *error = NULL;
    struct model m;
    uint8_t byte = 1;
    model_start(&m, &shape, 1);
    g_assert_cmpint(node_write(m.node, 0, 1, &byte, 0), ==, 0);
    model_close_any(&m);
    int64_t l1 = (int64_t)peek(&m, 40);
    int64_t l2 = (int64_t)(peek(&m, l1) & ~COPIED);
    patch(&m, l2, COPIED | (uint64_t)l1, 8);
    m.shape.open_options = open_options;
    model_open(&m);
    int ret = node_write(m.node, 1000, 1, &byte, 0);
    bool closed = node_close(m.node, &error);
    m.node = NULL;
    *ret_marked = peek(&m, QCOW2_AT_INCOMPATIBLE) == QCOW2_INCOMPAT_CORRUPT;
    g_assert_cmpint(closed, ==, !*ret_marked);
    g_assert_true(closed || strstr(error->message, "was marked corrupt"));
    g_clear_error(&error);
    model_stop(&m);
    return ret;
}

static void test_overlap_options(void)
{
    static const struct {
        const char *options;
        bool protect;
    } rows[] = {
        {"{}", true},
        {"{\"overlap-check\": \"none\"}", false},
        {"{\"overlap-check\": \"constant\"}", true},
        {"{\"overlap-check\": \"cached\"}", true},
        {"{\"overlap-check\": \"all\"}", true},
        {"{\"overlap-check\": {\"template\": \"none\"}}", false},
        {"{\"overlap-check\": {\"template\": \"none\", \"active-l1\": true}}", true},
        {"{\"overlap-check\": {\"template\": \"none\", \"active-l2\": \"on\"}}", false},
        {"{\"overlap-check\": {\"active-l1\": false}}", false},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        bool marked;
        g_test_message("%s", rows[i].options);
        int ret = write_over_l1(rows[i].options, &marked);
        g_assert_cmpint(ret, ==, rows[i].protect ? -EIO : 0);
        g_assert_cmpint(marked, ==, rows[i].protect);
    }
}

static void test_overlap_refusals(void)
{
    static const struct {
        const char *options, *message;
    } rows[] = {
        {"{\"overlap-check\": \"some\"}", "*'some'*none, constant, cached, all*"},
        {"{\"overlap-check\": {\"template\": \"\"}}", "*none, constant, cached, all*"},
        {"{\"overlap-check\": {\"main-header\": \"maybe\"}}", "*expects 'on' or 'off'*"},
        {"{\"overlap-check\": {\"main-footer\": true}}", "*'overlap-check.main-footer'*"},
    };
    struct model m;
    model_start(&m, &plain, 1);
    model_close_any(&m);
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        GError *error = NULL;
        json_t *options = json_loads(rows[i].options, 0, NULL);
        g_assert_null(node_open(m.graph, m.path, "qcow2", options, NODE_RDWR, &error));
        g_assert_true(g_pattern_match_simple(rows[i].message, error->message));
        g_clear_error(&error);
        json_decref(options);
    }
    model_stop(&m);
}

static int64_t blocks_of(const struct model *m)
{
    struct stat st;
    g_assert_cmpint(stat(m->path, &st), ==, 0);
    return st.st_blocks;
}

/* discard-no-unref: entries keep their places and read as zero; the file may drop the bytes; a
 * later write goes to the same place. */
static void test_discard_no_unref(void)
{
    static const struct model_shape shape = {
        .cluster_size = 65536,
        .size = 1 << 20,
        .preallocation = "metadata",
        .open_options = "{\"discard-no-unref\": \"on\", \"pass-discard-request\": \"on\"}"};
    const uint64_t first = COPIED | 0x50000;
    struct model m;
    model_start(&m, &shape, 1);
    memset(m.bytes, 7, 1 << 20);
    g_assert_cmpint(node_write(m.node, 0, 1 << 20, m.bytes, 0), ==, 0);
    g_assert_cmpint(node_flush(m.node), ==, 0);
    int64_t before = blocks_of(&m);
    g_assert_cmpint(node_discard(m.node, 0, 131072), ==, 0);
    g_assert_cmpint(node_zero(m.node, 131072, 65536, REQ_MAY_UNMAP), ==, 0);
    memset(m.bytes, 0, 196608);
    model_compare(&m);
    g_assert_cmpint(blocks_of(&m), ==, before - 196608 / 512);
    g_assert_cmpint(node_flush(m.node), ==, 0);
    for (int i = 0; i < 3; i++) {
        g_assert_cmphex(peek(&m, 0x40000 + 8 * i), ==, (first + (uint64_t)i * 65536) | 1);
    }
    memset(m.bytes + 65536, 9, 65536);
    g_assert_cmpint(node_write(m.node, 65536, 65536, m.bytes + 65536, 0), ==, 0);
    model_ask_peer(&m);
    g_assert_cmphex(peek(&m, 0x40008), ==, first + 65536);
    model_stop(&m);
}

int main(int argc, char **argv)
{
    static const struct model_shape grows[] = {
        {.cluster_size = 512, .size = 100 * 1024},
        {.cluster_size = 4096, .size = 1 << 20, .backing_size = (1 << 20) + 400 * 1024},
        {.cluster_size = 4096, .size = 1 << 20, .v2 = true, .backing_size = 2 << 20},
    };
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/qcow2/image/refusals", test_refusals);
    g_test_add_func("/qcow2/image/autoclear", test_autoclear);
    g_test_add_func("/qcow2/image/overlap-marks-corrupt", test_overlap_marks_corrupt);
    g_test_add_func("/qcow2/image/wrong-refcount-of-table", test_wrong_refcount_of_table);
    g_test_add_func("/qcow2/image/reftable-grows", test_reftable_grows);
    g_test_add_data_func("/qcow2/image/resize", &grows[0], test_resize);
    g_test_add_data_func("/qcow2/image/resize-backing", &grows[1], test_resize);
    g_test_add_data_func("/qcow2/image/resize-v2-backing", &grows[2], test_resize);
    g_test_add_func("/qcow2/image/flush-cost", test_flush_cost);
    g_test_add_func("/qcow2/image/no-early-reuse", test_no_early_reuse);
    g_test_add_func("/qcow2/image/map", test_map);
    g_test_add_func("/qcow2/image/create-refusals", test_create_refusals);
    g_test_add_func("/qcow2/image/overlap-options", test_overlap_options);
    g_test_add_func("/qcow2/image/overlap-refusals", test_overlap_refusals);
    g_test_add_func("/qcow2/image/discard-no-unref", test_discard_no_unref);
    return g_test_run();
}
