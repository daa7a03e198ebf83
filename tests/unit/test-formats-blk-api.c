/*
 * The public API, used as a program outside would: blk.h and libblock.so only.
 */
#include <blk.h>
#include <errno.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>

struct bench {
    char *dir, *path;
};

static void bench_init(struct bench *b, gconstpointer data)
{
    b->dir = g_dir_make_tmp("blk-XXXXXX", NULL);
    b->path = g_build_filename(b->dir, "a.img", NULL);
    g_assert_true(blk_create(b->path, "raw", 1 << 20, NULL, NULL));
}

static void bench_done(struct bench *b, gconstpointer data)
{
    g_unlink(b->path);
    g_assert_cmpint(g_rmdir(b->dir), ==, 0);
    g_free(b->path);
    g_free(b->dir);
}

static struct blk *open_raw(struct bench *b, unsigned flags)
{
    struct blk *image = blk_open(b->path, "raw", flags, NULL);
    g_assert_nonnull(image);
    return image;
}

static void test_read_write(struct bench *b, gconstpointer data)
{
    char buf[4] = {0};
    struct blk *image = open_raw(b, BLK_READ_WRITE);
    g_assert_cmpint(blk_size(image), ==, 1 << 20);
    g_assert_cmpint(blk_write(image, "abc", 3, 1000, BLK_FUA), ==, 0);
    g_assert_cmpint(blk_read(image, buf, 3, 1000), ==, 0);
    g_assert_cmpstr(buf, ==, "abc");
    g_assert_cmpint(blk_zero(image, 2, 1000, BLK_MAY_UNMAP), ==, 0);
    g_assert_cmpint(blk_read(image, buf, 3, 1000), ==, 0);
    g_assert_cmpmem(buf, 3, "\0\0c", 3);
    g_assert_cmpint(blk_discard(image, 4096, 0), ==, 0);
    g_assert_cmpint(blk_flush(image), ==, 0);
    g_assert_cmpint(blk_read(image, buf, 3, (1 << 20) - 2), ==, -EIO);
    g_assert_true(blk_close(image, NULL));
    image = open_raw(b, BLK_READ_ONLY);
    g_assert_cmpint(blk_write(image, "x", 1, 0, 0), ==, -EPERM);
    g_assert_true(blk_close(image, NULL));
    g_assert_true(blk_close(NULL, NULL));
}

static void test_info_and_map(struct bench *b, gconstpointer data)
{
    static char page[65536] = "x";
    struct blk_facts facts;
    struct blk_segment s[4];
    struct blk *image = open_raw(b, BLK_READ_WRITE);
    g_assert_cmpint(blk_write(image, page, sizeof(page), 65536, 0), ==, 0);
    g_assert_true(blk_info(image, &facts, NULL));
    g_assert_cmpstr(facts.format, ==, "raw");
    g_assert_cmpint(facts.size, ==, 1 << 20);
    g_assert_cmpint(facts.actual_size, >=, 65536);
    g_assert_true(facts.writable);
    g_assert_null(facts.backing_file);
    g_assert_cmpint(blk_map(image, 1 << 20, 0, s, 4), ==, 3);
    g_assert_true(s[0].zero && !s[0].data && s[1].data && !s[1].zero && s[2].zero);
    g_assert_cmpint(s[1].offset, ==, 65536);
    g_assert_cmpint(s[1].length, ==, 65536);
    g_assert_cmpint(blk_map(image, 1 << 20, 0, s, 1), ==, 1);
    g_assert_cmpint(blk_map(image, 1 << 20, 0, s, 0), ==, -EINVAL);
    g_assert_true(blk_close(image, NULL));
}

static void test_errors(struct bench *b, gconstpointer data)
{
    char *error = NULL;
    g_assert_null(blk_open("/nonexistent/x.img", NULL, 0, &error));
    g_assert_nonnull(strstr(error, "/nonexistent/x.img"));
    g_assert_nonnull(strstr(error, "No such file or directory"));
    blk_free(error);
    g_assert_null(blk_open("/nonexistent/x.img", NULL, 0, NULL));
    g_assert_null(blk_open(b->path, "nope", 0, &error));
    g_assert_nonnull(strstr(error, "nope"));
    blk_free(error);
    g_assert_false(blk_create(b->path, "raw", 1, "preallocation=nope", &error));
    g_assert_nonnull(strstr(error, "nope"));
    blk_free(error);
}

struct counter {
    struct blk *image;
    int done, left, result;
};

static void again(void *user, int result)
{
    struct counter *c = user;
    c->done++;
    c->result |= result;
    if (c->left-- > 0) {
        struct blk_op op = {BLK_OP_FLUSH, 0, 0, 0, NULL, again, c};
        g_assert_cmpint(blk_submit(c->image, &op), ==, 0);
    }
}

static void test_submit(struct bench *b, gconstpointer data)
{
    char in[] = "hello", out[6] = {0};
    struct blk *image = open_raw(b, BLK_READ_WRITE);
    struct counter c = {image, 0, 2, 0};
    struct iovec iov_in = {in, 5}, iov_out = {out, 5};
    struct blk_op write_op = {BLK_OP_WRITE, 0, 7, 5, &iov_in, again, &c};
    struct blk_op read_op = {BLK_OP_READ, 0, 7, 5, &iov_out, again, &c};
    struct blk_op bad = {99, 0, 0, 0, NULL, again, &c};
    g_assert_cmpint(blk_submit(image, &bad), ==, -EINVAL);
    g_assert_cmpint(blk_submit(image, &write_op), ==, 0);
    while (blk_poll(image, true)) {
    }
    g_assert_cmpint(c.done, ==, 3);
    g_assert_cmpint(blk_submit(image, &read_op), ==, 0);
    g_assert_true(blk_close(image, NULL));
    g_assert_cmpint(c.result, ==, 0);
    g_assert_cmpstr(out, ==, "hello");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name, fn) g_test_add(name, struct bench, NULL, bench_init, fn, bench_done)
    ADD("/blk-api/read-write", test_read_write);
    ADD("/blk-api/info-and-map", test_info_and_map);
    ADD("/blk-api/errors", test_errors);
    ADD("/blk-api/submit", test_submit);
#undef ADD
    return g_test_run();
}
