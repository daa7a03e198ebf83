/*
 * blklog: every prefix of a log, replayed, is what the image was at that time.
 */
#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>

#include "libblock/drivers/blklog.h"
#include "tests/unit/libblock-fixture.h"

enum { SIZE = 8192, STEPS = 60 };

static struct blk_node *open_mem(struct fixture *f)
{
    json_t *options = json_pack("{s:s}", "driver", "mem");
    struct blk_node *mem = node_open(f->graph, NULL, NULL, options, NODE_RDWR, NULL);
    json_decref(options);
    g_assert_nonnull(mem);
    return mem;
}

static void random_step(GRand *rand, struct blk_node *node)
{
    static uint8_t buf[SIZE];
    int64_t size = node_size(node);
    int64_t offset = g_rand_int_range(rand, 0, size);
    int64_t length = g_rand_int_range(rand, 1, size - offset + 1);
    memset(buf, g_rand_int_range(rand, 1, 256), length);
    switch (g_rand_int_range(rand, 0, 5)) {
    case 0: g_assert_cmpint(node_zero(node, offset, length, REQ_MAY_UNMAP), ==, 0); break;
    case 1: g_assert_cmpint(node_discard(node, offset, length), ==, 0); break;
    case 2: g_assert_true(node_resize(node, g_rand_int_range(rand, 4096, SIZE), NULL, NULL)); break;
    default: g_assert_cmpint(node_write(node, offset, length, buf, 0), ==, 0); break;
    }
}

static void assert_same(struct blk_node *node, const uint8_t *want, int64_t size)
{
    static uint8_t got[SIZE];
    g_assert_cmpint(node_size(node), ==, size);
    g_assert_cmpint(node_read(node, 0, size, got), ==, 0);
    g_assert_cmpmem(got, size, want, size);
}

static void test_prefixes(void)
{
    static uint8_t history[STEPS + 1][SIZE];
    int64_t sizes[STEPS + 1];
    struct fixture f;
    fixture_init(&f);
    GRand *rand = g_rand_new_with_seed(7);
    struct blk_node *mem = open_mem(&f);
    struct blk_node *node = node_open_over(mem, "blklog", NULL, NODE_RDWR, NULL);
    g_assert_true(node_resize(node, SIZE, NULL, NULL));
    for (int i = 0; i <= STEPS; i++) {
        sizes[i] = node_size(node);
        g_assert_cmpint(node_read(mem, 0, sizes[i], history[i]), ==, 0);
        random_step(rand, node);
    }
    GBytes *log = blklog_copy(node);
    for (int i = 0; i <= STEPS; i++) {
        struct blk_node *again = open_mem(&f);
        g_assert_true(blklog_replay(log, i + 2, again));
        assert_same(again, history[i], sizes[i]);
        node_close(again, NULL);
    }
    g_bytes_unref(log);
    node_close(node, NULL);
    node_close(mem, NULL);
    g_rand_free(rand);
    fixture_done(&f);
}

static void test_records(void)
{
    struct fixture f;
    fixture_init(&f);
    struct blk_node *mem = open_mem(&f);
    struct blk_node *node = node_open_over(mem, "blklog", NULL, NODE_RDWR, NULL);
    g_assert_cmpint(node_write(node, 3, 2, "ab", REQ_FUA), ==, 0);
    blklog_mark(node, "here");
    g_assert_cmpint(node_flush(node), ==, 0);
    GBytes *log = blklog_copy(node);
    const enum blklog_type want[] = {BLKLOG_RESIZE, BLKLOG_WRITE, BLKLOG_MARK, BLKLOG_FLUSH};
    struct blklog_record r;
    size_t pos = 0;
    for (size_t i = 0; i < G_N_ELEMENTS(want); i++) {
        g_assert_true(blklog_next(log, &pos, &r));
        g_assert_cmpint(r.type, ==, want[i]);
        if (r.type == BLKLOG_WRITE) {
            g_assert_cmpint(r.offset, ==, 3);
            g_assert_cmpint(r.flags, ==, REQ_FUA);
            g_assert_cmpmem(r.data, r.data_length, "ab", 2);
        }
    }
    g_assert_false(blklog_next(log, &pos, &r));
    g_bytes_unref(log);
    node_close(node, NULL);
    node_close(mem, NULL);
    fixture_done(&f);
}

/* A log cut off at any byte gives whole records or none. */
static void test_cut_off(void)
{
    struct fixture f;
    fixture_init(&f);
    struct blk_node *mem = open_mem(&f);
    struct blk_node *node = node_open_over(mem, "blklog", NULL, NODE_RDWR, NULL);
    g_assert_cmpint(node_write(node, 0, 5, "abcde", 0), ==, 0);
    GBytes *log = blklog_copy(node);
    size_t size = g_bytes_get_size(log);
    for (size_t cut = 0; cut < size; cut++) {
        GBytes *part = g_bytes_new_from_bytes(log, 0, cut);
        struct blklog_record r;
        size_t pos = 0;
        int count = 0;
        while (blklog_next(part, &pos, &r)) {
            count++;
        }
        g_assert_cmpint(count, ==, cut >= 48 ? 1 : 0);
        g_bytes_unref(part);
    }
    g_bytes_unref(log);
    node_close(node, NULL);
    node_close(mem, NULL);
    fixture_done(&f);
}

static void test_file(void)
{
    struct fixture f;
    g_autofree char *path = NULL;
    g_close(g_file_open_tmp("blklog-XXXXXX", &path, NULL), NULL);
    fixture_init(&f);
    json_t *options = json_pack("{s:s}", "log", path);
    struct blk_node *mem = open_mem(&f);
    struct blk_node *node = node_open_over(mem, "blklog", options, NODE_RDWR, NULL);
    g_assert_cmpint(node_write(node, 0, 5, "abcde", 0), ==, 0);
    g_assert_true(node_close(node, NULL));
    char *text;
    gsize length;
    g_assert_true(g_file_get_contents(path, &text, &length, NULL));
    GBytes *log = g_bytes_new_take(text, length);
    struct blk_node *again = open_mem(&f);
    g_assert_true(blklog_replay(log, 2, again));
    assert_same(again, (const uint8_t *)"abcde", 5);
    g_assert_false(blklog_replay(log, 4, again));
    g_bytes_unref(log);
    json_decref(options);
    node_close(again, NULL);
    node_close(mem, NULL);
    fixture_done(&f);
    g_unlink(path);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/blklog/prefixes", test_prefixes);
    g_test_add_func("/blklog/records", test_records);
    g_test_add_func("/blklog/cut-off", test_cut_off);
    g_test_add_func("/blklog/file", test_file);
    return g_test_run();
}
