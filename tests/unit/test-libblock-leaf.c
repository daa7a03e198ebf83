/*
 * Leaves from several threads, each with its own loop: memory and files, plain
 * and through the node calls that tell a foreign loop.
 */
#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/libblock-fixture.h"

enum { THREADS = 4, PIECES = 32, PIECE = 8192 };

struct worker {
    struct blk_node *leaf;
    int index;
    int result;
};

static int piece_co_check(struct blk_node *leaf, int64_t offset, uint8_t byte)
{
    static _Thread_local uint8_t buf[PIECE], back[PIECE];
    memset(buf, byte, PIECE);
    int ret = leaf_co_write(leaf, offset, PIECE / 2, buf);
    ret = ret ? ret : node_co_pwrite(leaf, offset + PIECE / 2, PIECE / 2, buf);
    ret = ret ? ret : leaf_co_read(leaf, offset, PIECE, back);
    ret = ret || !memcmp(buf, back, PIECE) ? ret : -EILSEQ;
    return ret ? ret : leaf_co_zero(leaf, offset, PIECE / 4, REQ_MAY_UNMAP);
}

/* Writes and reads pieces that interleave with those of the other threads. */
static void worker_co_run(void *arg)
{
    struct worker *w = arg;
    for (int i = 0; i < PIECES && !w->result; i++) {
        int64_t offset = ((int64_t)i * THREADS + w->index) * PIECE;
        w->result = piece_co_check(w->leaf, offset, 1 + w->index);
    }
}

static gpointer worker_thread(gpointer arg)
{
    struct worker *w = arg;
    struct loop *loop = loop_new(NULL);
    loop_call(loop, worker_co_run, w);
    loop_free(loop);
    co_thread_done();
    return NULL;
}

static void assert_pieces(struct blk_node *leaf)
{
    uint8_t *buf = g_malloc(PIECE);
    g_assert_cmpint(node_size(leaf), ==, PIECES * THREADS * PIECE);
    for (int i = 0; i < PIECES * THREADS; i++) {
        g_assert_cmpint(node_read(leaf, (int64_t)i * PIECE, PIECE, buf), ==, 0);
        g_assert_cmpint(buf[0], ==, 0);
        g_assert_cmpint(buf[PIECE / 4 - 1], ==, 0);
        g_assert_cmpint(buf[PIECE / 4], ==, 1 + i % THREADS);
        g_assert_cmpint(buf[PIECE - 1], ==, 1 + i % THREADS);
    }
    g_free(buf);
}

static void run_workers(struct blk_node *leaf)
{
    struct worker workers[THREADS];
    GThread *threads[THREADS];
    g_assert_true(node_is_leaf(leaf));
    for (int i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){leaf, i, 0};
        threads[i] = g_thread_new("worker", worker_thread, &workers[i]);
    }
    for (int i = 0; i < THREADS; i++) {
        g_thread_join(threads[i]);
        g_assert_cmpint(workers[i].result, ==, 0);
    }
    assert_pieces(leaf);
}

static void test_mem(void)
{
    struct fixture f;
    fixture_open(&f, 0, NULL);
    run_workers(f.mem);
    g_assert_false(node_is_leaf(f.node));
    fixture_close(&f);
}

static void test_file(gconstpointer data)
{
    struct fixture f;
    g_autofree char *path = NULL;
    g_autoptr(GError) error = NULL;
    g_close(g_file_open_tmp("leaf-XXXXXX", &path, NULL), NULL);
    fixture_init(&f);
    uint32_t flags = NODE_RDWR | GPOINTER_TO_UINT(data);
    struct blk_node *leaf = node_open(f.graph, path, "file", NULL, flags, &error);
    if (leaf) {
        run_workers(leaf);
        g_assert_cmpint(node_flush(leaf), ==, 0);
        g_assert_true(node_close(leaf, NULL));
    } else {
        g_test_skip(error->message);
    }
    fixture_done(&f);
    g_unlink(path);
}

struct refusal {
    struct fixture *f;
};

/* A loop that does not own the node cannot hold its ranges: no read-modify-write. */
static void refusal_co_run(void *arg)
{
    struct refusal *r = arg;
    struct blk_node *mem = r->f->mem;
    char buf[512] = {0};
    mem->limits.request_align = mem->limits.zero_align = 512;
    g_assert_cmpint(leaf_co_write(mem, 1, 10, buf), ==, -EINVAL);
    g_assert_cmpint(leaf_co_write(mem, 512, 512, buf), ==, 0);
    g_assert_cmpint(leaf_co_zero(mem, 5, 10, REQ_NO_FALLBACK), ==, -ENOTSUP);
    g_assert_cmpint(leaf_co_read(mem, 1, 10, buf), ==, 0);
    g_assert_cmpint(leaf_co_write(mem, -1, 10, buf), ==, -EINVAL);
    mem->flags &= ~(uint32_t)NODE_RDWR;
    g_assert_cmpint(leaf_co_write(mem, 512, 512, buf), ==, -EPERM);
    mem->flags |= NODE_RDWR;
}

static void test_refuses(void)
{
    struct fixture f;
    struct refusal r = {&f};
    fixture_open(&f, 4096, NULL);
    loop_call(f.loop, refusal_co_run, &r);
    fixture_close(&f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/leaf/mem", test_mem);
    g_test_add_data_func("/leaf/file", GUINT_TO_POINTER(0), test_file);
    g_test_add_data_func("/leaf/file-direct", GUINT_TO_POINTER(NODE_DIRECT), test_file);
    g_test_add_data_func("/leaf/file-server", GUINT_TO_POINTER(NODE_SERVER), test_file);
    g_test_add_func("/leaf/refuses", test_refuses);
    return g_test_run();
}
