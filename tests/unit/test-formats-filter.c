/*
 * Filters over qcow2: what a read copies up, what a write compresses, and what
 * a comparison finds.
 */
#include <errno.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <string.h>

#include "formats/formats.h"
#include "libblock/driver.h"

enum { CLUSTER = 65536, SIZE = 10 * CLUSTER };

struct bench {
    struct loop *loop;
    struct blk_graph *graph;
    char *dir, *base, *top;
};

static void create(struct bench *b, const char *path, const char *backing)
{
    GError *error = NULL;
    json_t *options =
        backing ? json_pack("{s:s, s:s}", "backing_file", backing, "backing_fmt", "qcow2") : NULL;
    image_create(b->graph, path, "qcow2", SIZE, options, 0, NULL, &error);
    g_assert_no_error(error);
    json_decref(options);
}

static struct blk_node *open_tree(struct bench *b, const char *format, const char *path,
                                  uint32_t flags, GError **error)
{
    g_autofree char *text = g_strdup_printf(format, path);
    json_t *options = json_unflatten(json_parse_text(text, "test", NULL), NULL);
    struct blk_node *node = node_open(b->graph, NULL, NULL, options, flags, error);
    json_decref(options);
    return node;
}

static struct blk_node *must_open(struct bench *b, const char *format, const char *path)
{
    GError *error = NULL;
    struct blk_node *node = open_tree(b, format, path, NODE_RDWR, &error);
    g_assert_no_error(error);
    return node;
}

static void fill(struct blk_node *node, int cluster, int count, int byte)
{
    g_autofree uint8_t *buf = g_malloc((gsize)count * CLUSTER);
    memset(buf, byte, (gsize)count * CLUSTER);
    g_assert_cmpint(node_write(node, cluster * CLUSTER, count * CLUSTER, buf, 0), ==, 0);
}

/* base: clusters 1, 2 and 3 hold 1; top: cluster 2 holds 2. */
static void bench_init(struct bench *b, gconstpointer data)
{
    b->loop = loop_new(NULL);
    b->graph = graph_new(b->loop, formats_drivers);
    b->dir = g_dir_make_tmp("filter-XXXXXX", NULL);
    b->base = g_build_filename(b->dir, "base", NULL);
    b->top = g_build_filename(b->dir, "top", NULL);
    create(b, b->base, NULL);
    struct blk_node *node = node_open(b->graph, b->base, "qcow2", NULL, NODE_RDWR, NULL);
    fill(node, 1, 3, 1);
    node_close(node, NULL);
    create(b, b->top, b->base);
    node = node_open(b->graph, b->top, "qcow2", NULL, NODE_RDWR, NULL);
    fill(node, 2, 1, 2);
    node_close(node, NULL);
}

static void bench_done(struct bench *b, gconstpointer data)
{
    graph_free(b->graph);
    loop_free(b->loop);
    g_unlink(b->base);
    g_unlink(b->top);
    g_assert_cmpint(g_rmdir(b->dir), ==, 0);
    g_free(b->base);
    g_free(b->top);
    g_free(b->dir);
}

/* Which layer provides each cluster: its depth, '.' for none; 'z' marks zeroes of the top. */
static void assert_layers(struct blk_node *node, const char *want)
{
    char got[SIZE / CLUSTER + 1] = {0};
    for (int i = 0; i < SIZE / CLUSTER; i++) {
        struct extent_list list = {0};
        g_assert_cmpint(node_map(node, i * CLUSTER, CLUSTER, MAP_CHAIN, &list), ==, 0);
        const struct blk_extent *e = &list.items[0];
        bool provided = e->flags & EXTENT_ALLOCATED;
        got[i] = provided ? (e->flags & EXTENT_ZERO ? 'z' : (char)('0' + e->depth)) : '.';
        extents_done(&list);
    }
    g_assert_cmpstr(got, ==, want);
}

static void read_byte(struct blk_node *node, int64_t offset, int want)
{
    uint8_t byte;
    g_assert_cmpint(node_read(node, offset, 1, &byte), ==, 0);
    g_assert_cmpint(byte, ==, want);
}

static void test_copy(struct bench *b, gconstpointer data)
{
    struct blk_node *node = must_open(
        b, "{'driver':'copy-on-read','file.driver':'qcow2','file.file.filename':'%s'}", b->top);
    assert_layers(node, ".101......");
    read_byte(node, CLUSTER + 7, 1);
    read_byte(node, 2 * CLUSTER + 7, 2);
    assert_layers(node, ".001......");
    static uint8_t all[SIZE];
    g_assert_cmpint(node_read(node, 0, SIZE, all), ==, 0);
    g_assert_cmpint(all[0] + all[3 * CLUSTER] + all[SIZE - 1], ==, 1);
    assert_layers(node, "z000zzzzzz");
    g_assert_true(node_close(node, NULL));
}

static void test_bottom(struct bench *b, gconstpointer data)
{
    struct blk_node *node = must_open(b,
                                      "{'driver':'copy-on-read','file.driver':'qcow2',"
                                      "'file.node-name':'here','bottom':'here',"
                                      "'file.file.filename':'%s'}",
                                      b->top);
    read_byte(node, CLUSTER, 1);
    read_byte(node, 0, 0);
    assert_layers(node, ".101......");
    g_assert_true(node_close(node, NULL));
}

static void on_done(struct blk_request *request, int result)
{
    *(int *)request->user = result;
}

/* A copy that began before a write must not undo it. */
static void test_copy_and_write(struct bench *b, gconstpointer data)
{
    struct blk_node *node = must_open(b,
                                      "{'driver':'copy-on-read','file.driver':'qcow2',"
                                      "'file.file.driver':'blkdebug',"
                                      "'file.file.image.filename':'%s'}",
                                      b->top);
    uint8_t got[512], mine[512];
    memset(mine, 9, sizeof(mine));
    int results[2] = {1, 1};
    struct iovec iov[2] = {{got, sizeof(got)}, {mine, sizeof(mine)}};
    struct blk_request read = {REQ_READ, 0, CLUSTER, 512, &iov[0], NULL, &results[0]};
    struct blk_request write = {REQ_WRITE, 0, CLUSTER, 512, &iov[1], NULL, &results[1]};
    read.done = write.done = on_done;
    g_assert_true(node_debug_break(node, "cor_write", "A", NULL));
    node_submit(node, &read);
    while (!node_debug_is_suspended(node, "A")) {
        loop_turn(b->loop, false);
    }
    node_submit(node, &write);
    loop_turn(b->loop, false);
    g_assert_cmpint(results[1], ==, 1);
    g_assert_true(node_debug_resume(node, "A", NULL));
    while (results[0] > 0 || results[1] > 0) {
        loop_turn(b->loop, true);
    }
    read_byte(node, CLUSTER + 511, 9);
    read_byte(node, CLUSTER + 512, 1);
    g_assert_true(node_close(node, NULL));
}

static void test_copy_refusals(struct bench *b, gconstpointer data)
{
    g_autoptr(GError) first = NULL;
    g_autoptr(GError) second = NULL;
    g_assert_null(
        open_tree(b, "{'driver':'copy-on-read','file.driver':'qcow2','file.file.filename':'%s'}",
                  b->top, 0, &first));
    g_assert_nonnull(strstr(first->message, "read-only"));
    g_assert_null(open_tree(b,
                            "{'driver':'copy-on-read','bottom':'nowhere','file.driver':'qcow2',"
                            "'file.file.filename':'%s'}",
                            b->top, NODE_RDWR, &second));
    g_assert_nonnull(strstr(second->message, "nowhere"));
}

/* Whole clusters and parts of one all end up compressed, and hold what was written. */
static void test_compress(struct bench *b, gconstpointer data)
{
    struct blk_node *node = must_open(
        b, "{'driver':'compress','file.driver':'qcow2','file.file.filename':'%s'}", b->top);
    fill(node, 5, 2, 5);
    g_assert_cmpint(node_write(node, CLUSTER + 100, 3, "abc", 0), ==, 0);
    struct extent_list list = {0};
    g_assert_cmpint(node_map(node, 0, SIZE, 0, &list), ==, 0);
    int64_t packed = 0;
    for (int i = 0; i < list.count; i++) {
        packed += list.items[i].flags & EXTENT_COMPRESSED ? list.items[i].length : 0;
    }
    extents_done(&list);
    g_assert_cmpint(packed, ==, 3 * CLUSTER);
    read_byte(node, 5 * CLUSTER, 5);
    read_byte(node, CLUSTER + 99, 1);
    read_byte(node, CLUSTER + 101, 'b');
    read_byte(node, CLUSTER + 103, 1);
    g_assert_true(node_close(node, NULL));
}

static void test_compress_refusal(struct bench *b, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    g_assert_null(
        open_tree(b, "{'driver':'compress','file.filename':'%s'}", b->top, NODE_RDWR, &error));
    g_assert_cmpstr(error->message, ==, "Compression is not supported for underlying format: file");
}

/* ---- blkverify ---- */

static void on_report(enum report_kind kind, const char *text, void *user)
{
    g_string_append_printf(user, "%s\n", text);
}

static struct blk_node *open_verified(struct bench *b, GString *told)
{
    g_autofree char *raw = g_build_filename(b->dir, "raw", NULL);
    g_autofree char *name = g_strdup_printf("blkverify:%s:%s", raw, b->base);
    g_autofree uint8_t *bytes = g_malloc0(SIZE);
    memset(bytes + CLUSTER, 1, 3 * CLUSTER);
    g_assert_true(g_file_set_contents(raw, (char *)bytes, SIZE, NULL));
    GError *error = NULL;
    graph_set_report(b->graph, on_report, told);
    struct blk_node *node = node_open(b->graph, name, "raw", NULL, NODE_RDWR, &error);
    g_assert_no_error(error);
    return node;
}

/* Changes one byte of the raw image behind the filter's back. */
static void damage(struct bench *b, int64_t offset)
{
    g_autofree char *raw = g_build_filename(b->dir, "raw", NULL);
    FILE *file = fopen(raw, "r+e");
    g_assert_true(!fseek(file, offset, SEEK_SET) && fputc(7, file) == 7 && !fclose(file));
}

static void test_verify(struct bench *b, gconstpointer data)
{
    g_autoptr(GString) told = g_string_new(NULL);
    struct blk_node *node = open_verified(b, told);
    uint8_t buf[4096];
    g_assert_cmpint(node_size(node), ==, SIZE);
    fill(node, 2, 2, 9);
    g_assert_cmpint(node_write(node, 100, 3, "abc", REQ_FUA), ==, 0);
    g_assert_cmpint(node_zero(node, CLUSTER + 50, 100, REQ_MAY_UNMAP), ==, 0);
    g_assert_cmpint(node_discard(node, 5 * CLUSTER, CLUSTER), ==, 0);
    g_assert_cmpint(node_flush(node), ==, 0);
    for (int64_t at = 0; at < SIZE; at += (int64_t)sizeof(buf)) {
        g_assert_cmpint(node_read(node, at, sizeof(buf), buf), ==, 0);
    }
    g_assert_cmpstr(told->str, ==, "");
    damage(b, 70001);
    g_assert_cmpint(node_read(node, 69632, 4096, buf), ==, -EIO);
    g_assert_cmpint(node_read(node, 70002, 100, buf), ==, 0);
    g_assert_cmpstr(told->str, ==,
                    "blkverify: read offset=69632 bytes=4096 contents mismatch at offset 70001\n");
    g_assert_true(node_close(node, NULL));
    g_autofree char *raw = g_build_filename(b->dir, "raw", NULL);
    g_unlink(raw);
}

static void test_verify_results(struct bench *b, gconstpointer data)
{
    g_autoptr(GString) told = g_string_new(NULL);
    graph_set_report(b->graph, on_report, told);
    struct blk_node *node = must_open(b,
                                      "{'driver':'blkverify','raw.driver':'mem','raw.size':'1M',"
                                      "'test.driver':'blkdebug','test.image.driver':'qcow2',"
                                      "'test.inject-error.0.event':'none',"
                                      "'test.inject-error.0.iotype':'write',"
                                      "'test.image.file.filename':'%s'}",
                                      b->base);
    g_assert_cmpint(node_write(node, 0, 3, "abc", 0), ==, -EIO);
    g_assert_cmpstr(told->str, ==,
                    "blkverify: write offset=0 bytes=3 return value mismatch 0 != -5\n");
    g_assert_true(node_close(node, NULL));
}

static void test_verify_refusals(struct bench *b, gconstpointer data)
{
    static const char *const trees[] = {
        "{'driver':'blkverify','test.filename':'%s'}",
        "{'driver':'blkverify','raw':'/nonexistent','test.filename':'%s'}",
        "{'driver':'blkverify','raw.driver':'mem','raw.size':'1k','test.filename':'%s'}",
    };
    for (size_t i = 0; i < G_N_ELEMENTS(trees); i++) {
        g_autoptr(GError) error = NULL;
        g_assert_null(open_tree(b, trees[i], b->base, NODE_RDWR, &error));
        g_test_message("%s", error->message);
    }
    g_autoptr(GError) error = NULL;
    g_assert_null(node_open(b->graph, "blkverify:alone", "raw", NULL, 0, &error));
    g_assert_nonnull(strstr(error->message, "blkverify:RAW:TEST"));
}

#define ADD(path, test) g_test_add(path, struct bench, NULL, bench_init, test, bench_done)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("/filter/copy-on-read", test_copy);
    ADD("/filter/copy-on-read/bottom", test_bottom);
    ADD("/filter/copy-on-read/write", test_copy_and_write);
    ADD("/filter/copy-on-read/refusals", test_copy_refusals);
    ADD("/filter/compress", test_compress);
    ADD("/filter/compress/refusal", test_compress_refusal);
    ADD("/filter/blkverify", test_verify);
    ADD("/filter/blkverify/results", test_verify_results);
    ADD("/filter/blkverify/refusals", test_verify_refusals);
    return g_test_run();
}
