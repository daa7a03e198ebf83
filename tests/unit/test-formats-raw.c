/*
 * raw over files: creating, odd sizes, slices, maps, probing.
 */
#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "formats/formats.h"
#include "libblock/driver.h"

struct bench {
    struct loop *loop;
    struct blk_graph *graph;
    char *dir, *path;
};

static void bench_init(struct bench *b, gconstpointer data)
{
    GError *error = NULL;
    b->loop = loop_new(NULL);
    b->graph = graph_new(b->loop, formats_drivers);
    b->dir = g_dir_make_tmp("raw-XXXXXX", &error);
    g_assert_no_error(error);
    b->path = g_build_filename(b->dir, "a.img", NULL);
}

static void bench_done(struct bench *b, gconstpointer data)
{
    graph_free(b->graph);
    loop_free(b->loop);
    g_unlink(b->path);
    g_assert_cmpint(g_rmdir(b->dir), ==, 0);
    g_free(b->path);
    g_free(b->dir);
}

static void create(struct bench *b, int64_t size, const char *preallocation)
{
    GError *error = NULL;
    json_t *options = json_pack("{s:s}", "preallocation", preallocation);
    image_create(b->graph, b->path, "raw", size, options, 0, NULL, &error);
    g_assert_no_error(error);
    json_decref(options);
}

static struct blk_node *open_raw(struct bench *b, const char *json, uint32_t flags)
{
    GError *error = NULL;
    json_t *options = json ? json_parse_text(json, "test", NULL) : NULL;
    struct blk_node *node = node_open(b->graph, b->path, "raw", options, flags, &error);
    g_assert_no_error(error);
    json_decref(options);
    return node;
}

static void test_create(struct bench *b, gconstpointer data)
{
    struct stat st;
    create(b, 1000001, "off");
    g_assert_cmpint(stat(b->path, &st), ==, 0);
    g_assert_cmpint(st.st_size, ==, 1000001);
    g_assert_cmpint(st.st_blocks, ==, 0);
    create(b, 1000001, "full");
    g_assert_cmpint(stat(b->path, &st), ==, 0);
    g_assert_cmpint(st.st_size, ==, 1000001);
    g_assert_cmpint(st.st_blocks * 512, >=, 1000001);
    create(b, 65536, "falloc");
    g_assert_cmpint(stat(b->path, &st), ==, 0);
    g_assert_cmpint(st.st_blocks * 512, >=, 65536);
}

static void test_create_refuses(struct bench *b, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    json_t *options = json_pack("{s:s}", "cluster_size", "64k");
    g_assert_false(image_create(b->graph, b->path, "raw", 512, options, 0, NULL, &error));
    g_assert_nonnull(strstr(error->message, "cluster_size"));
    g_assert_false(g_file_test(b->path, G_FILE_TEST_EXISTS));
    json_decref(options);
    g_clear_error(&error);
    g_assert_false(image_create(b->graph, b->path, "raw", -1, NULL, 0, NULL, &error));
    g_assert_nonnull(strstr(error->message, "size"));
    g_clear_error(&error);
    g_assert_false(image_create(b->graph, b->path, "nope", 1, NULL, 0, NULL, &error));
    g_assert_nonnull(strstr(error->message, "nope"));
}

static void test_odd_size(struct bench *b, gconstpointer data)
{
    char buf[8] = {0};
    create(b, 1000001, "off");
    struct blk_node *node = open_raw(b, NULL, NODE_RDWR);
    g_assert_cmpint(node_size(node), ==, 1000001);
    g_assert_cmpint(node_write(node, 999999, 2, "ab", 0), ==, 0);
    g_assert_cmpint(node_write(node, 999999, 3, "abc", 0), ==, -EIO);
    g_assert_cmpint(node_read(node, 999998, 3, buf), ==, 0);
    g_assert_cmpmem(buf, 3, "\0ab", 3);
    g_assert_true(node_close(node, NULL));
    struct stat st;
    g_assert_cmpint(stat(b->path, &st), ==, 0);
    g_assert_cmpint(st.st_size, ==, 1000001);
}

static void test_slice(struct bench *b, gconstpointer data)
{
    char buf[8] = {0};
    create(b, 4096, "off");
    struct blk_node *node = open_raw(b, "{'offset': '1000', 'size': '100'}", NODE_RDWR);
    g_assert_cmpint(node_size(node), ==, 100);
    g_assert_cmpint(node_write(node, 0, 3, "abc", 0), ==, 0);
    g_assert_cmpint(node_write(node, 100, 1, "x", 0), ==, -EIO);
    g_assert_true(g_str_has_prefix(node_filename(node), "json:{"));
    g_assert_true(node_close(node, NULL));
    node = open_raw(b, NULL, 0);
    g_assert_cmpstr(node_filename(node), ==, b->path);
    g_assert_cmpint(node_read(node, 1000, 3, buf), ==, 0);
    g_assert_cmpmem(buf, 3, "abc", 3);
    g_assert_true(node_close(node, NULL));
    g_autoptr(GError) error = NULL;
    json_t *options = json_pack("{s:s, s:s}", "offset", "4000", "size", "97");
    g_assert_null(node_open(b->graph, b->path, "raw", options, 0, &error));
    g_assert_nonnull(strstr(error->message, "past the end"));
    json_decref(options);
}

/* A slice that begins inside a block of a device: the file below sorts it out. */
static void test_slice_direct(struct bench *b, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    char buf[600];
    create(b, 5000, "off");
    json_t *options = json_pack("{s:s, s:s}", "offset", "777", "size", "4000");
    struct blk_node *node =
        node_open(b->graph, b->path, "raw", options, NODE_RDWR | NODE_DIRECT, &error);
    json_decref(options);
    if (!node) {
        g_test_skip(error->message);
        return;
    }
    memset(buf, 'x', sizeof(buf));
    g_assert_cmpint(node_write(node, 3400, 600, buf, 0), ==, 0);
    g_assert_cmpint(node_zero(node, 3999, 1, 0), ==, 0);
    memset(buf, 0, sizeof(buf));
    g_assert_cmpint(node_read(node, 3399, 600, buf), ==, 0);
    g_assert_cmpint(buf[0], ==, 0);
    g_assert_cmpint(buf[1], ==, 'x');
    g_assert_cmpint(buf[599], ==, 'x');
    g_assert_cmpint(node_read(node, 3999, 1, buf), ==, 0);
    g_assert_cmpint(buf[0], ==, 0);
    g_assert_true(node_close(node, NULL));
}

/* The plan that convert uses puts every byte at its own place. */
static void plan_co_check(void *arg)
{
    struct blk_node *node = arg;
    struct plan *plan;
    struct plan_facts facts;
    int64_t at = 0;
    const struct plan_ops *ops = node->driver->plan;
    g_assert_cmpint(ops->co_begin(node, false, &plan), ==, 0);
    ops->describe(plan, &facts);
    g_assert_true(facts.leaf == node_file(node));
    g_assert_cmpint(facts.zero_from, ==, INT64_MAX);
    g_assert_cmpint(ops->co_place(plan, 8192, 4096, &at), ==, 4096);
    g_assert_cmpint(at, ==, 8192 + 4096);
    g_assert_cmpint(ops->co_zero(plan, 0, 4096, REQ_MAY_UNMAP), ==, 0);
    g_assert_cmpint(ops->co_finish(plan, true), ==, 0);

    g_assert_cmpint(ops->co_begin(node, true, &plan), ==, 0);
    ops->describe(plan, &facts);
    g_assert_cmpint(facts.zero_from, <=, 4096);
    g_assert_cmpint(ops->co_zero(plan, 4096, 4096, REQ_MAY_UNMAP), ==, 0);
    g_assert_cmpint(ops->co_zero(plan, 4096, 4096, 0), ==, -ENOTSUP);
    g_assert_cmpint(ops->co_finish(plan, false), ==, 0);
}

static void test_plan(struct bench *b, gconstpointer data)
{
    static char page[4096], back[4096];
    memset(page, 'x', sizeof(page));
    create(b, 65536, "off");
    struct blk_node *node = open_raw(b, "{'offset': '4096'}", NODE_RDWR);
    g_assert_cmpint(node_write(node, 0, 4096, page, 0), ==, 0);
    g_assert_cmpint(node_write(node, 4096, 4096, page, 0), ==, 0);
    loop_call(b->loop, plan_co_check, node);
    g_assert_cmpint(node_read(node, 0, 4096, back), ==, 0);
    g_assert_true(bytes_are_zero(back, 4096));
    g_assert_cmpint(node_read(node, 4096, 4096, back), ==, 0);
    g_assert_cmpmem(back, 4096, page, 4096);
    g_assert_true(node_close(node, NULL));
}

static void plan_co_check_device(void *arg)
{
    struct blk_node *node = arg;
    struct plan *plan;
    struct plan_facts facts;
    g_assert_cmpint(node->driver->plan->co_begin(node, true, &plan), ==, 0);
    node->driver->plan->describe(plan, &facts);
    g_assert_cmpint(facts.zero_from, ==, INT64_MAX);
    g_assert_cmpint(node->driver->plan->co_finish(plan, true), ==, 0);
}

/* What cannot grow was there before: it is not empty because somebody "created" it. */
static void test_plan_device(struct bench *b, gconstpointer data)
{
    struct blk_node *node = node_open(b->graph, "null-co://", "raw", NULL, NODE_RDWR, NULL);
    g_assert_nonnull(node);
    loop_call(b->loop, plan_co_check_device, node);
    g_assert_true(node_close(node, NULL));
}

static void test_map(struct bench *b, gconstpointer unused)
{
    struct extent_list list = {0};
    create(b, 1 << 20, "off");
    struct blk_node *node = open_raw(b, "{'offset': '4096'}", NODE_RDWR);
    static const char data_page[4096] = "x";
    g_assert_cmpint(node_write(node, 61440, 4096, data_page, 0), ==, 0);
    g_assert_cmpint(node_map(node, 0, INT64_MAX, MAP_LEAF | MAP_HOLES, &list), ==, 0);
    g_assert_cmpint(list.count, ==, 3);
    g_assert_cmpint(list.items[1].offset, ==, 61440);
    g_assert_cmpint(list.items[1].leaf_offset, ==, 65536);
    g_assert_true(list.items[1].flags & EXTENT_DATA);
    g_assert_true(list.items[1].leaf == node_file(node));
    g_assert_true(list.items[2].flags & EXTENT_ZERO);
    extents_clear(&list);
    g_assert_cmpint(node_map(node, 0, INT64_MAX, MAP_LEAF, &list), ==, 0);
    g_assert_cmpint(list.count, ==, 1);
    extents_done(&list);
    g_assert_true(node_close(node, NULL));
}

/* A guessed raw image must not become another format by what its guest writes. */
static void test_probed_guard(struct bench *b, gconstpointer data)
{
    static const char magic[512] = "QFI\xfb\0\0\0\3";
    char back[512];
    create(b, 65536, "off");
    struct blk_node *node = node_open(b->graph, b->path, NULL, NULL, NODE_RDWR, NULL);
    g_assert_nonnull(node);
    g_assert_true(node_was_probed(node));
    g_assert_cmpstr(node_driver_name(node), ==, "raw");
    g_assert_cmpint(node_write(node, 0, 4, "abcd", 0), ==, 0);
    g_assert_cmpint(node_write(node, 0, 512, magic, 0), ==, -EPERM);
    g_assert_cmpint(node_write(node, 4, 4, magic + 4, 0), ==, 0);
    g_assert_cmpint(node_write(node, 0, 4, magic, 0), ==, -EPERM);
    g_assert_cmpint(node_write(node, 512, 512, magic, 0), ==, 0);
    g_assert_cmpint(node_read(node, 0, 4, back), ==, 0);
    g_assert_cmpmem(back, 4, "abcd", 4);
    g_assert_true(node_close(node, NULL));

    node = open_raw(b, NULL, NODE_RDWR);
    g_assert_cmpint(node_write(node, 0, 512, magic, 0), ==, 0);
    g_assert_true(node_close(node, NULL));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name, fn) g_test_add(name, struct bench, NULL, bench_init, fn, bench_done)
    ADD("/raw/create", test_create);
    ADD("/raw/create-refuses", test_create_refuses);
    ADD("/raw/odd-size", test_odd_size);
    ADD("/raw/slice", test_slice);
    ADD("/raw/slice-direct", test_slice_direct);
    ADD("/raw/plan", test_plan);
    ADD("/raw/plan-device", test_plan_device);
    ADD("/raw/map", test_map);
    ADD("/raw/probed-guard", test_probed_guard);
#undef ADD
    return g_test_run();
}
