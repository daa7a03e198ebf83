/*
 * The file driver against an array of bytes: on tmpfs and on a disk, through
 * the page cache and with O_DIRECT, for tools and for servers, with io_uring
 * and without, on files of odd size. What is in the file at the end is read
 * back by other means.
 */
#include <errno.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libblock/drivers/file.h"
#include "tests/unit/libblock-fixture.h"

enum { SIZE = 3 * 65536 + 777, STEPS = 150 };

struct setting {
    const char *name, *dir;
    uint32_t flags;
    bool ring;
    bool bare; /* the file system can neither punch nor zero */
};

struct bench {
    struct fixture f;
    struct blk_node *node;
    char *dir, *path;
};

/* A scratch file of `size` bytes below `parent`. */
static void bench_open(struct bench *b, const char *parent, int64_t size, uint32_t flags)
{
    GError *error = NULL;
    fixture_init(&b->f);
    b->dir = g_build_filename(parent ? parent : g_get_tmp_dir(), "file-XXXXXX", NULL);
    g_assert_nonnull(g_mkdtemp(b->dir));
    b->path = g_build_filename(b->dir, "a.img", NULL);
    image_create(b->f.graph, b->path, "file", size, NULL, 0, NULL, &error);
    g_assert_no_error(error);
    b->node = node_open(b->f.graph, b->path, "file", NULL, NODE_RDWR | flags, &error);
    if (error) {
        g_assert_true(flags & NODE_DIRECT);
        g_test_skip(error->message);
        g_clear_error(&error);
    }
}

static void bench_close(struct bench *b)
{
    g_assert_true(node_close(b->node, NULL));
    fixture_done(&b->f);
    g_unlink(b->path);
    g_assert_cmpint(g_rmdir(b->dir), ==, 0);
    g_free(b->path);
    g_free(b->dir);
}

static void assert_content(struct bench *b, const uint8_t *want, int64_t size)
{
    g_autofree char *text = NULL;
    gsize length;
    g_assert_true(g_file_get_contents(b->path, &text, &length, NULL));
    g_assert_cmpint(length, ==, size);
    g_assert_true(!memcmp(text, want, size));
}

static void step(struct blk_node *node, GRand *rand, uint8_t *model)
{
    static uint8_t buf[SIZE + 1];
    int64_t align = g_rand_boolean(rand) ? 4096 : 1;
    int64_t offset = g_rand_int_range(rand, 0, SIZE) / align * align;
    int64_t length = g_rand_int_range(rand, 1, SIZE - offset + 1);
    switch (g_rand_int_range(rand, 0, 6)) {
    case 0:
        memset(model + offset, 0, length);
        g_assert_cmpint(node_zero(node, offset, length, 0), ==, 0);
        break;
    case 1:
        memset(model + offset, 0, length);
        g_assert_cmpint(node_zero(node, offset, length, REQ_MAY_UNMAP | REQ_FUA), ==, 0);
        break;
    case 2: g_assert_cmpint(node_flush(node), ==, 0); break;
    case 3:
        g_assert_cmpint(node_read(node, offset, length, buf + 1), ==, 0);
        g_assert_true(!memcmp(buf + 1, model + offset, length));
        break;
    default:
        memset(buf, g_rand_int_range(rand, 1, 256), length + 1);
        memcpy(model + offset, buf, length);
        g_assert_cmpint(node_write(node, offset, length, buf + 1, g_rand_boolean(rand)), ==, 0);
        break;
    }
}

static void test_model(gconstpointer data)
{
    const struct setting *setting = data;
    struct bench b;
    uint8_t *model = g_malloc0(SIZE);
    GRand *rand = g_rand_new_with_seed(11);
    bench_open(&b, setting->dir, SIZE, setting->flags);
    loop_use_ring(b.f.loop, setting->ring);
    if (b.node) {
        struct file_state *s = b.node->state;
        s->no_punch = s->no_zero_range = setting->bare;
        for (int i = 0; i < STEPS; i++) {
            step(b.node, rand, model);
        }
        assert_content(&b, model, SIZE);
    }
    bench_close(&b);
    g_rand_free(rand);
    g_free(model);
}

static void test_grows(gconstpointer data)
{
    struct bench b;
    uint8_t want[5000] = {0};
    bench_open(&b, NULL, 0, GPOINTER_TO_UINT(data));
    if (b.node) {
        memset(want + 4990, 'x', 10);
        g_assert_cmpint(node_write(b.node, 4990, 10, want + 4990, 0), ==, 0);
        g_assert_cmpint(node_size(b.node), ==, 5000);
        assert_content(&b, want, 5000);
        g_assert_cmpint(node_zero(b.node, 4000, 2000, REQ_MAY_UNMAP), ==, 0);
        g_assert_cmpint(node_size(b.node), ==, 6000);
        g_autofree uint8_t *zeroes = g_malloc0(6000);
        assert_content(&b, zeroes, 6000);
    }
    bench_close(&b);
}

static void test_map(void)
{
    struct bench b;
    struct extent_list list = {0};
    g_autofree uint8_t *data = g_malloc(65536);
    memset(data, 1, 65536);
    bench_open(&b, NULL, 1 << 20, 0);
    g_assert_cmpint(node_write(b.node, 131072, 65536, data, 0), ==, 0);
    g_assert_cmpint(node_map(b.node, 0, 1 << 20, MAP_HOLES, &list), ==, 0);
    g_assert_cmpint(list.count, ==, 3);
    g_assert_true(list.items[0].flags & EXTENT_ZERO);
    g_assert_cmpint(list.items[1].offset, ==, 131072);
    g_assert_cmpint(list.items[1].length, ==, 65536);
    g_assert_true(list.items[1].flags & EXTENT_DATA);
    extents_clear(&list);
    g_assert_cmpint(node_discard(b.node, 131072, 65536), ==, 0);
    g_assert_cmpint(node_map(b.node, 0, 1 << 20, MAP_HOLES, &list), ==, 0);
    g_assert_cmpint(list.count, ==, 1);
    extents_done(&list);
    bench_close(&b);
}

struct copy {
    struct blk_node *src, *dst;
    int result;
};

static void copy_co_run(void *arg)
{
    struct copy *c = arg;
    c->result = node_co_copy_range(c->src, 100, c->dst, 5000, 60000);
}

static void test_copy_range(void)
{
    struct bench b;
    uint8_t *want = g_malloc0(65536);
    bench_open(&b, NULL, 0, 0);
    g_autofree char *other = g_build_filename(b.dir, "b.img", NULL);
    g_assert_true(image_create(b.f.graph, other, "file", 65536, NULL, 0, NULL, NULL));
    struct blk_node *src = node_open(b.f.graph, other, "file", NULL, NODE_RDWR, NULL);
    for (int i = 0; i < 65536; i++) {
        want[i] = i * 7 + i / 256;
    }
    g_assert_cmpint(node_write(src, 0, 65536, want, 0), ==, 0);
    struct copy c = {src, b.node, 1};
    loop_call(b.f.loop, copy_co_run, &c);
    g_assert_cmpint(c.result, ==, 0);
    g_assert_cmpint(node_size(b.node), ==, 65000);
    memmove(want + 5000, want + 100, 60000);
    memset(want, 0, 5000);
    assert_content(&b, want, 65000);
    g_assert_true(node_close(src, NULL));
    g_unlink(other);
    bench_close(&b);
    g_free(want);
}

/* The system's refusal reaches the caller; nothing claims to be written. */
static void test_write_fails(void)
{
    struct bench b;
    struct rlimit limit = {65536, RLIM_INFINITY}, old;
    bench_open(&b, NULL, 0, 0);
    signal(SIGXFSZ, SIG_IGN);
    g_assert_cmpint(getrlimit(RLIMIT_FSIZE, &old), ==, 0);
    g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &limit), ==, 0);
    g_assert_cmpint(node_write(b.node, 65536, 1, "x", 0), ==, -EFBIG);
    g_assert_cmpint(node_size(b.node), ==, 0);
    g_autoptr(GError) error = NULL;
    g_assert_false(node_resize(b.node, 70000, NULL, &error));
    g_assert_nonnull(strstr(error->message, "70000"));
    g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &old), ==, 0);
    bench_close(&b);
}

static void test_resize(void)
{
    struct bench b;
    struct stat st;
    bench_open(&b, NULL, 1000, 0);
    g_assert_true(node_resize(b.node, 100000, "full", NULL));
    g_assert_cmpint(stat(b.path, &st), ==, 0);
    g_assert_cmpint(st.st_size, ==, 100000);
    g_assert_cmpint(st.st_blocks * 512, >=, 99000);
    g_assert_false(node_resize(b.node, 10, "full", NULL));
    g_assert_false(node_resize(b.node, 200000, "metadata", NULL));
    g_assert_true(node_resize(b.node, 10, "off", NULL));
    g_assert_cmpint(node_size(b.node), ==, 10);
    bench_close(&b);
}

/* A FIFO is refused at once rather than waited for. */
static void test_refuses_fifo(void)
{
    struct fixture f;
    g_autoptr(GError) error = NULL;
    g_autofree char *dir = g_dir_make_tmp("fifo-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "fifo", NULL);
    fixture_init(&f);
    g_assert_cmpint(mkfifo(path, 0600), ==, 0);
    g_assert_null(node_open(f.graph, path, "file", NULL, 0, &error));
    g_assert_nonnull(strstr(error->message, "neither a regular file nor a disk"));
    fixture_done(&f);
    g_unlink(path);
    g_rmdir(dir);
}

static void test_refuses(void)
{
    struct fixture f;
    g_autoptr(GError) error = NULL;
    fixture_init(&f);
    g_assert_null(node_open(f.graph, "/nonexistent/a.img", "file", NULL, 0, &error));
    g_assert_cmpint(error_errno(error), ==, ENOENT);
    g_assert_nonnull(strstr(error->message, "/nonexistent/a.img"));
    g_clear_error(&error);
    g_assert_null(node_open(f.graph, "/", "file", NULL, 0, &error));
    g_assert_nonnull(strstr(error->message, "directory"));
    g_clear_error(&error);
    json_t *options = json_pack("{s:s}", "colour", "red");
    g_assert_null(node_open(f.graph, "/dev/null", "file", options, 0, &error));
    g_clear_error(&error);
    g_assert_null(node_open(f.graph, "/etc/passwd", "file", options, 0, &error));
    g_assert_nonnull(strstr(error->message, "colour"));
    json_decref(options);
    fixture_done(&f);
}

/* io_uring and threads are made when a request needs them; a cached read needs neither. */
static int count_threads(void)
{
    int count = 0;
    g_autoptr(GDir) dir = g_dir_open("/proc/self/task", 0, NULL);
    while (g_dir_read_name(dir)) {
        count++;
    }
    return count;
}

static void test_needs_no_threads(void)
{
#ifdef __SANITIZE_THREAD__
    g_test_skip("the thread sanitizer starts a thread of its own");
    return;
#endif
    struct bench b;
    char buf[512] = {1};
    int before = count_threads();
    bench_open(&b, NULL, 65536, 0);
    g_assert_cmpint(node_write(b.node, 0, 512, buf, 0), ==, 0);
    g_assert_cmpint(node_read(b.node, 0, 512, buf), ==, 0);
    g_assert_cmpint(count_threads(), ==, before);
    bench_close(&b);
}

static const struct setting settings[] = {
    {"/file/model/disk", NULL, 0, true, false},
    {"/file/model/disk-server", NULL, NODE_SERVER, true, false},
    {"/file/model/disk-server-threads", NULL, NODE_SERVER, false, false},
    {"/file/model/disk-direct", NULL, NODE_DIRECT, true, false},
    {"/file/model/disk-direct-threads", NULL, NODE_DIRECT, false, false},
    {"/file/model/disk-direct-bare", NULL, NODE_DIRECT, true, true},
    {"/file/model/disk-bare", NULL, 0, true, true},
    {"/file/model/tmpfs", "/dev/shm", 0, true, false},
    {"/file/model/tmpfs-server", "/dev/shm", NODE_SERVER, true, false},
    {"/file/model/tmpfs-direct", "/dev/shm", NODE_DIRECT, true, false},
};

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(settings); i++) {
        g_test_add_data_func(settings[i].name, &settings[i], test_model);
    }
    g_test_add_data_func("/file/grows", GUINT_TO_POINTER(0), test_grows);
    g_test_add_data_func("/file/grows-direct", GUINT_TO_POINTER(NODE_DIRECT), test_grows);
    g_test_add_func("/file/map", test_map);
    g_test_add_func("/file/copy-range", test_copy_range);
    g_test_add_func("/file/write-fails", test_write_fails);
    g_test_add_func("/file/resize", test_resize);
    g_test_add_func("/file/refuses", test_refuses);
    g_test_add_func("/file/refuses-fifo", test_refuses_fifo);
    g_test_add_func("/file/needs-no-threads", test_needs_no_threads);
    return g_test_run();
}
