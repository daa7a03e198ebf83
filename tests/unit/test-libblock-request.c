/*
 * The request path: splitting, serialised read-modify-write, drained sections,
 * flushes that fail, FUA, submission with callbacks.
 */
#include <errno.h>
#include <string.h>

#include "tests/unit/libblock-fixture.h"

static const struct blk_limits loose = {
    .request_align = 1, .memory_align = 1, .zero_align = 1, .discard_align = 1};

static void test_splits(void)
{
    struct fixture f;
    struct blk_limits limits = loose;
    limits.max_transfer = 1000;
    limits.max_zero = 4000;
    uint8_t buf[3500];
    memset(buf, 5, sizeof(buf));
    fixture_open(&f, 10000, &limits);
    g_assert_cmpint(node_write(f.node, 1, 3500, buf, 0), ==, 0);
    g_assert_cmpint(f.strict->writes, ==, 4);
    memset(buf, 0, sizeof(buf));
    g_assert_cmpint(node_read(f.node, 1, 3500, buf), ==, 0);
    g_assert_cmpint(f.strict->reads, ==, 4);
    g_assert_cmpint(f.strict->longest, ==, 1000);
    g_assert_cmpint(buf[3499], ==, 5);
    g_assert_cmpint(node_zero(f.node, 0, 10000, 0), ==, 0);
    g_assert_cmpint(f.strict->zeroes, ==, 3);
    fixture_close(&f);
}

struct writer {
    struct fixture *f;
    int64_t offset, length;
    char byte;
    int result;
};

static void writer_co_run(void *arg)
{
    struct writer *w = arg;
    char buf[2048];
    memset(buf, w->byte, sizeof(buf));
    w->result = node_co_pwrite(w->f->node, w->offset, w->length, buf);
}

static void turn(struct fixture *f, int times)
{
    for (int i = 0; i < times; i++) {
        loop_turn(f->loop, false);
    }
}

/* Two writes to different halves of one block: neither may undo the other. */
static void test_serialises_blocks(void)
{
    struct fixture f;
    struct blk_limits limits = {
        .request_align = 512, .memory_align = 1, .zero_align = 512, .discard_align = 512};
    char buf[512];
    fixture_open(&f, 4096, &limits);
    struct writer a = {&f, 0, 256, 'a', 1}, b = {&f, 256, 256, 'b', 1}, c = {&f, 512, 512, 'c', 1};
    f.strict->hold = true;
    loop_spawn(f.loop, writer_co_run, &a);
    loop_spawn(f.loop, writer_co_run, &b);
    loop_spawn(f.loop, writer_co_run, &c);
    turn(&f, 3);
    g_assert_cmpint(f.strict->held, ==, 2); /* b waits for a, c for nobody */
    fixture_release(&f);
    turn(&f, 10);
    g_assert_cmpint(a.result + b.result + c.result, ==, 0);
    g_assert_cmpint(node_read(f.node, 0, 512, buf), ==, 0);
    g_assert_cmpint(buf[0], ==, 'a');
    g_assert_cmpint(buf[255], ==, 'a');
    g_assert_cmpint(buf[256], ==, 'b');
    g_assert_cmpint(buf[511], ==, 'b');
    fixture_close(&f);
}

struct drainer {
    struct fixture *f;
    bool begun;
};

static void drainer_co_run(void *arg)
{
    struct drainer *d = arg;
    node_co_drain_begin(d->f->node);
    g_assert_cmpint(d->f->node->in_flight, ==, 0);
    d->begun = true;
}

static void test_drains(void)
{
    struct fixture f;
    fixture_open(&f, 4096, &loose);
    struct writer before = {&f, 0, 10, 'a', 1}, during = {&f, 0, 10, 'b', 1};
    struct drainer d = {&f, false}, nested = {&f, false};
    f.strict->hold = true;
    loop_spawn(f.loop, writer_co_run, &before);
    loop_spawn(f.loop, drainer_co_run, &d);
    turn(&f, 3);
    g_assert_false(d.begun);
    fixture_release(&f);
    turn(&f, 3);
    g_assert_true(d.begun);
    g_assert_cmpint(before.result, ==, 0);

    loop_spawn(f.loop, drainer_co_run, &nested);
    loop_spawn(f.loop, writer_co_run, &during);
    turn(&f, 3);
    g_assert_true(nested.begun);
    g_assert_cmpint(f.strict->writes, ==, 1);
    node_drain_end(f.node);
    turn(&f, 3);
    g_assert_cmpint(during.result, ==, 1);
    node_drain_end(f.node);
    turn(&f, 3);
    g_assert_cmpint(during.result, ==, 0);
    fixture_close(&f);
}

static void test_flush_skips_clean_nodes(void)
{
    struct fixture f;
    fixture_open(&f, 4096, &loose);
    g_assert_cmpint(node_flush(f.node), ==, 0);
    g_assert_cmpint(f.strict->flushes, ==, 0);
    g_assert_cmpint(node_write(f.node, 0, 1, "x", 0), ==, 0);
    g_assert_cmpint(node_flush(f.node), ==, 0);
    g_assert_cmpint(node_flush(f.node), ==, 0);
    g_assert_cmpint(f.strict->flushes, ==, 1);
    g_assert_cmpint(node_discard(f.node, 0, 1), ==, 0);
    g_assert_cmpint(node_flush(f.node), ==, 0);
    g_assert_cmpint(f.strict->flushes, ==, 2);
    fixture_close(&f);
}

struct flusher {
    struct fixture *f;
    int result;
};

static void flusher_co_run(void *arg)
{
    struct flusher *l = arg;
    l->result = node_co_flush(l->f->node);
}

/* A write that ends while a flush is under way is not covered by it. */
static void test_flush_covers_what_ended_before(void)
{
    struct fixture f;
    fixture_open(&f, 4096, &loose);
    struct flusher l = {&f, 1};
    g_assert_cmpint(node_write(f.node, 0, 1, "x", 0), ==, 0);
    f.strict->hold = true;
    loop_spawn(f.loop, flusher_co_run, &l);
    turn(&f, 2);
    g_assert_cmpint(f.strict->held, ==, 1);
    f.strict->hold = false;
    g_assert_cmpint(node_write(f.node, 0, 1, "y", 0), ==, 0);
    fixture_release(&f);
    turn(&f, 2);
    g_assert_cmpint(l.result, ==, 0);
    g_assert_cmpint(node_flush(f.node), ==, 0);
    g_assert_cmpint(f.strict->flushes, ==, 2);
    fixture_close(&f);
}

/* A filter's failure may pass; that of the medium itself is final. */
static void test_flush_failure(void)
{
    struct fixture f;
    fixture_open(&f, 4096, &loose);
    g_assert_cmpint(node_write(f.node, 0, 1, "x", 0), ==, 0);
    f.strict->fail_flush = -ENOSPC;
    g_assert_cmpint(node_flush(f.node), ==, -ENOSPC);
    g_assert_cmpint(node_flush(f.node), ==, -ENOSPC);
    f.strict->fail_flush = 0;
    g_assert_cmpint(node_flush(f.node), ==, 0);
    f.mem->flush_error = -EIO;
    g_assert_cmpint(node_flush(f.node), ==, -EIO);
    g_autoptr(GError) error = NULL;
    g_assert_false(node_close(f.node, &error));
    g_assert_cmpint(error_errno(error), ==, EIO);
    g_assert_false(node_close(f.mem, NULL));
    fixture_done(&f);
}

/* What a failed flush lost does not come back because the next one succeeds. */
static void test_flush_failure_sticks(void)
{
    struct fixture f;
    g_autoptr(GError) error = NULL;
    fixture_init(&f);
    struct blk_node *node = node_open(f.graph, NULL, "brittle", NULL, NODE_RDWR, &error);
    g_assert_no_error(error);
    g_assert_cmpint(node_write(node, 0, 1, "x", 0), ==, 0);
    g_assert_cmpint(node_flush(node), ==, -EIO);
    g_assert_cmpint(node_flush(node), ==, -EIO);
    g_assert_cmpint(node_write(node, 0, 1, "x", 0), ==, 0);
    g_assert_cmpint(node_flush(node), ==, -EIO);
    g_assert_false(node_close(node, &error));
    g_assert_cmpint(error_errno(error), ==, EIO);
    fixture_done(&f);
}

static void test_fua(void)
{
    struct fixture f;
    fixture_open(&f, 4096, &loose);
    g_assert_cmpint(node_write(f.node, 0, 1, "x", REQ_FUA), ==, 0);
    g_assert_cmpint(f.strict->flushes, ==, 1);
    g_assert_cmpint(node_zero(f.node, 0, 1, REQ_FUA), ==, 0);
    g_assert_cmpint(f.strict->flushes, ==, 2);
    f.node->flags |= NODE_WRITETHROUGH;
    g_assert_cmpint(node_write(f.node, 0, 1, "x", 0), ==, 0);
    g_assert_cmpint(f.strict->flushes, ==, 3);
    f.strict->fail_flush = -EIO;
    g_assert_cmpint(node_write(f.node, 0, 1, "x", 0), ==, -EIO);
    f.strict->fail_flush = 0;
    f.node->flags |= NODE_NO_FLUSH;
    g_assert_cmpint(node_write(f.node, 0, 1, "x", REQ_FUA), ==, 0);
    g_assert_cmpint(f.strict->flushes, ==, 4);
    fixture_close(&f);
}

static void test_write_failure(void)
{
    struct fixture f;
    fixture_open(&f, 4096, &loose);
    f.strict->fail_write = -ENOSPC;
    g_assert_cmpint(node_write(f.node, 0, 1, "x", 0), ==, -ENOSPC);
    f.strict->no_zero = true;
    g_assert_cmpint(node_zero(f.node, 0, 1, 0), ==, -ENOSPC);
    f.strict->fail_write = 0;
    g_assert_cmpint(node_flush(f.node), ==, 0);
    g_assert_cmpint(f.strict->flushes, ==, 1); /* who knows how much was written */
    fixture_close(&f);
}

struct submitted {
    struct blk_request request;
    int done, result;
};

static void count_done(struct blk_request *request, int result)
{
    struct submitted *s = request->user;
    s->done++;
    s->result = result;
}

static void test_submits(void)
{
    struct fixture f;
    char in[4] = "abcd", out[4] = {0};
    fixture_open(&f, 4096, &loose);
    struct iovec iov_in = {in, 4}, iov_out[2] = {{out, 1}, {out + 1, 3}};
    struct submitted w = {{REQ_WRITE, 0, 8, 4, &iov_in, count_done, &w}, 0, 1};
    struct submitted r = {{REQ_READ, 0, 8, 4, iov_out, count_done, &r}, 0, 1};
    struct submitted bad = {{REQ_READ, 0, 4094, 4, iov_out, count_done, &bad}, 0, 1};
    struct submitted flush = {{REQ_FLUSH, 0, 0, 0, NULL, count_done, &flush}, 0, 1};
    node_submit(f.node, &w.request);
    turn(&f, 2);
    node_submit(f.node, &r.request);
    node_submit(f.node, &bad.request);
    node_submit(f.node, &flush.request);
    turn(&f, 4);
    g_assert_cmpint(w.done + r.done + bad.done + flush.done, ==, 4);
    g_assert_cmpint(w.result + r.result + flush.result, ==, 0);
    g_assert_cmpint(bad.result, ==, -EIO);
    g_assert_cmpmem(out, 4, "abcd", 4);
    fixture_close(&f);
}

enum { REMOTE = 200 };

struct remote {
    struct fixture *f;
    struct submitted all[REMOTE];
    struct iovec iov[REMOTE];
    char bytes[REMOTE];
};

static gpointer remote_thread(gpointer arg)
{
    struct remote *r = arg;
    for (int i = 0; i < REMOTE; i++) {
        r->bytes[i] = (char)i;
        r->iov[i] = (struct iovec){&r->bytes[i], 1};
        r->all[i].request =
            (struct blk_request){REQ_WRITE, 0, i, 1, &r->iov[i], count_done, &r->all[i]};
        node_submit(r->f->node, &r->all[i].request);
    }
    return NULL;
}

/* From another thread, while the loop runs here. */
static void test_submits_remotely(void)
{
    struct fixture f;
    struct remote *r = g_new0(struct remote, 1);
    char back[REMOTE];
    fixture_open(&f, 4096, &loose);
    r->f = &f;
    GThread *thread = g_thread_new("remote", remote_thread, r);
    while (!r->all[REMOTE - 1].done) {
        loop_turn(f.loop, true);
    }
    g_thread_join(thread);
    g_assert_cmpint(node_read(f.node, 0, REMOTE, back), ==, 0);
    for (int i = 0; i < REMOTE; i++) {
        g_assert_cmpint(r->all[i].done, ==, 1);
        g_assert_cmpint(r->all[i].result, ==, 0);
        g_assert_cmpint(back[i], ==, (char)i);
    }
    g_free(r);
    fixture_close(&f);
}

static void shrink_co_run(void *arg)
{
    struct fixture *f = arg;
    g_assert_true(node_co_resize(f->node, 100, NULL, NULL));
}

static void test_resizes(void)
{
    struct fixture f;
    fixture_open(&f, 4096, &loose);
    struct writer w = {&f, 0, 10, 'a', 1};
    f.strict->hold = true;
    loop_spawn(f.loop, writer_co_run, &w);
    loop_spawn(f.loop, shrink_co_run, &f);
    turn(&f, 3);
    g_assert_cmpint(node_size(f.node), ==, 4096); /* shrinking waits for the write */
    fixture_release(&f);
    turn(&f, 3);
    g_assert_cmpint(node_size(f.node), ==, 100);
    g_assert_cmpint(node_size(f.mem), ==, 100);
    g_autoptr(GError) error = NULL;
    g_assert_false(node_resize(f.node, -5, NULL, &error));
    g_assert_true(node_resize(f.node, 5000, NULL, NULL));
    g_assert_cmpint(node_size(f.mem), ==, 5000);
    fixture_close(&f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/request/splits", test_splits);
    g_test_add_func("/request/serialises-blocks", test_serialises_blocks);
    g_test_add_func("/request/drains", test_drains);
    g_test_add_func("/request/flush-skips-clean-nodes", test_flush_skips_clean_nodes);
    g_test_add_func("/request/flush-covers-what-ended-before", test_flush_covers_what_ended_before);
    g_test_add_func("/request/flush-failure", test_flush_failure);
    g_test_add_func("/request/flush-failure-sticks", test_flush_failure_sticks);
    g_test_add_func("/request/fua", test_fua);
    g_test_add_func("/request/write-failure", test_write_failure);
    g_test_add_func("/request/submits", test_submits);
    g_test_add_func("/request/submits-remotely", test_submits_remotely);
    g_test_add_func("/request/resizes", test_resizes);
    return g_test_run();
}
