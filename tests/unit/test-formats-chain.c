/*
 * Commit and rebase over random chains of images in memory: of different sizes,
 * clusters and formats, with data, zeroes, discards and compressed clusters. What
 * the top reads as is known beforehand and must not change.
 */
#include <errno.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "libblock/driver.h"
#include "tests/tools/qcow2-ref.h"
#include "tests/tools/ram.h"

enum { SECTOR = 512, MAX_LAYERS = 4, MAX_SECTORS = 600 };

struct chain {
    struct loop *loop;
    const struct blk_driver **drivers;
    struct blk_graph *graph;
    struct rng rng;
    int layers; /* disks 0 .. layers - 1, the top is the last */
    int64_t size;
    uint8_t *bytes; /* what the top reads as */
};

static void chain_init(struct chain *c, uint64_t seed)
{
    *c = (struct chain){.rng = {seed}, .loop = loop_new(NULL), .drivers = ram_drivers()};
    c->graph = graph_new(c->loop, c->drivers);
    graph_set_trust(c->graph, GRAPH_TRUST_ALL);
    g_test_message("seed %" G_GUINT64_FORMAT, seed);
}

static void chain_done(struct chain *c)
{
    graph_free(c->graph);
    loop_free(c->loop);
    g_free(c->drivers);
    g_free(c->bytes);
}

static struct blk_node *open_disk(struct chain *c, int disk, const char *driver, uint32_t flags)
{
    g_autofree char *name = g_strdup_printf("ram:%d", disk);
    g_autoptr(GError) error = NULL;
    struct blk_node *node = node_open(c->graph, name, driver, NULL, flags, &error);
    g_assert_no_error(error);
    return node;
}

static void close_disk(struct blk_node *node)
{
    g_autoptr(GError) error = NULL;
    node_close(node, &error);
    g_assert_no_error(error);
}

static int co_write_packed(struct blk_node *node, int64_t offset, int64_t length, uint8_t *bytes)
{
    struct iovec slot;
    return node_co_write_compressed(node, offset, length, span_of(&slot, bytes, (size_t)length));
}

struct packed_call {
    struct blk_node *node;
    int64_t offset, length;
    uint8_t *bytes;
    int result;
};

static void packed_co_run(void *arg)
{
    struct packed_call *call = arg;
    call->result = co_write_packed(call->node, call->offset, call->length, call->bytes);
}

/* Random requests, some of them compressed where the format can. */
static void scribble(struct chain *c, struct blk_node *node, int64_t cluster, uint8_t mark)
{
    g_autofree uint8_t *buf = g_malloc((gsize)max_i64(node_size(node), cluster));
    for (int64_t i = rng_below(&c->rng, 10); i > 0 && node_size(node); i--) {
        int64_t offset = rng_below(&c->rng, node_size(node));
        int64_t length = 1 + rng_below(&c->rng, min_i64(node_size(node) - offset, 30 * SECTOR));
        int64_t dice = rng_below(&c->rng, 100);
        memset(buf, mark + (int)rng_below(&c->rng, 8), (size_t)max_i64(length, cluster));
        if (dice < 20) {
            g_assert_cmpint(node_zero(node, offset, length, REQ_MAY_UNMAP), ==, 0);
        } else if (dice < 30) {
            g_assert_cmpint(node_discard(node, offset, length), ==, 0);
        } else if (dice < 45 && cluster) {
            offset = align_down(offset, cluster);
            length = min_i64(cluster, node_size(node) - offset);
            struct packed_call call = {node, offset, length, buf, -EIO};
            loop_call(c->loop, packed_co_run, &call);
            g_assert_cmpint(call.result, ==, 0);
        } else {
            g_assert_cmpint(node_write(node, offset, length, buf, 0), ==, 0);
        }
    }
}

/* Makes disk `disk` an image of its own, or one over `backing` (-1: none). */
static void make_image(struct chain *c, int disk, int backing, bool raw, const char *backing_format)
{
    static const char *const clusters[] = {"512", "4096", "65536"};
    g_autofree char *name = g_strdup_printf("ram:%d", disk);
    g_autoptr(GError) error = NULL;
    const char *cluster = clusters[rng_below(&c->rng, 3)];
    json_t *options = raw ? json_object()
                          : json_pack("{s:s, s:s}", "cluster_size", cluster, "compat",
                                      rng_percent(&c->rng, 25) ? "v2" : "v3");
    if (backing >= 0) {
        g_autofree char *below = g_strdup_printf("ram:%d", backing);
        json_object_set_new(options, "backing_file", json_string(below));
        json_object_set_new(options, "backing_fmt", json_string(backing_format));
    }
    ram_reset(disk);
    int64_t size = rng_below(&c->rng, MAX_SECTORS) * SECTOR;
    image_create(c->graph, name, raw ? "raw" : "qcow2", size, options, 0, NULL, &error);
    g_assert_no_error(error);
    json_decref(options);
    struct blk_node *node = open_disk(c, disk, raw ? "raw" : "qcow2", NODE_RDWR);
    scribble(c, node, raw ? 0 : atoi(cluster), (uint8_t)(1 + 40 * disk));
    close_disk(node);
}

static uint8_t *read_all(struct blk_node *node)
{
    uint8_t *bytes = g_malloc((gsize)max_i64(node_size(node), 1));
    g_assert_cmpint(node_read(node, 0, node_size(node), bytes), ==, 0);
    return bytes;
}

/* A chain whose lowest image may be raw; returns the format of that. */
static const char *make_chain(struct chain *c, int layers)
{
    const char *lowest = rng_percent(&c->rng, 30) ? "raw" : "qcow2";
    c->layers = layers;
    for (int i = 0; i < layers; i++) {
        make_image(c, i, i - 1, i == 0 && !strcmp(lowest, "raw"), i == 1 ? lowest : "qcow2");
    }
    struct blk_node *top = open_disk(c, layers - 1, layers == 1 ? lowest : "qcow2", 0);
    c->size = node_size(top);
    c->bytes = read_all(top);
    close_disk(top);
    return lowest;
}

static void verify_top(struct chain *c, int disk)
{
    const GByteArray *file = ram_disks[disk].bytes;
    struct qcow2_ref ref = qcow2_ref_check(file->data, file->len);
    g_assert_cmpstr(ref.first, ==, "");
    struct blk_node *top = open_disk(c, disk, "qcow2", 0);
    g_autofree uint8_t *bytes = read_all(top);
    g_assert_cmpint(node_size(top), ==, c->size);
    g_assert_cmpmem(bytes, c->size, c->bytes, c->size);
    close_disk(top);
}

static void run(struct chain *c, struct job *job)
{
    g_autoptr(GError) error = NULL;
    job_run(job, c->graph, NULL, NULL, &error);
    g_assert_no_error(error);
    job_free(job);
}

static struct blk_node *below(struct blk_node *node, int steps)
{
    while (steps-- > 0) {
        node = node_backing(node);
    }
    return node;
}

/* ---- commit ---- */

static void commit_once(uint64_t seed)
{
    struct chain c;
    chain_init(&c, seed);
    const char *lowest = make_chain(&c, (int)rng_between(&c.rng, 2, MAX_LAYERS));
    int depth = (int)rng_between(&c.rng, 1, c.layers - 1);
    int disk = c.layers - 1 - depth;
    struct blk_node *top = open_disk(&c, c.layers - 1, "qcow2", NODE_RDWR);
    struct commit_args args = {.top = top,
                               .base = below(top, depth),
                               .keep = depth > 1 || rng_percent(&c.rng, 30),
                               .threads = (int)rng_between(&c.rng, 1, 3)};
    g_autofree uint8_t *old = read_all(args.base);
    int64_t old_size = node_size(args.base);
    run(&c, commit_job_new(&args));
    g_assert_false(node_is_writable(args.base));
    close_disk(top);
    verify_top(&c, c.layers - 1);
    struct blk_node *base = open_disk(&c, disk, disk ? "qcow2" : lowest, 0);
    g_autofree uint8_t *bytes = read_all(base);
    g_assert_cmpint(node_size(base), ==, max_i64(old_size, c.size));
    g_assert_cmpmem(bytes, c.size, c.bytes, c.size);
    for (int64_t i = c.size; i < old_size; i++) {
        g_assert_cmpint(bytes[i], ==, old[i]);
    }
    if (!args.keep) {
        struct extent_list list = {0};
        struct blk_node *node = open_disk(&c, c.layers - 1, "qcow2", 0);
        g_assert_cmpint(node_map(node, 0, c.size, 0, &list), ==, 0);
        for (int i = 0; i < list.count; i++) {
            g_assert_cmphex(list.items[i].flags & EXTENT_ALLOCATED, ==, 0);
        }
        extents_done(&list);
        close_disk(node);
    }
    close_disk(base);
    chain_done(&c);
}

static void test_commit(void)
{
    uint64_t runs = g_test_slow() ? 20000 : 400;
    for (uint64_t seed = 1; seed <= runs; seed++) {
        commit_once(seed);
    }
}

/* A base that cannot be written leaves everything as it was, and the overlay full. */
static void test_commit_fails(void)
{
    struct chain c;
    g_autoptr(GError) error = NULL;
    chain_init(&c, 7);
    make_chain(&c, 3);
    struct blk_node *top = open_disk(&c, 2, "qcow2", NODE_RDWR);
    struct job *job = commit_job_new(&(struct commit_args){.top = top, .base = below(top, 1)});
    job_cancel(job);
    g_assert_false(job_run(job, c.graph, NULL, NULL, &error));
    g_assert_error(error, CAIRN_ERROR, ECANCELED);
    g_assert_false(node_is_writable(below(top, 1)));
    job_free(job);
    g_clear_error(&error);
    job = commit_job_new(&(struct commit_args){.top = top, .base = top});
    g_assert_false(job_run(job, c.graph, NULL, NULL, &error));
    g_assert_error(error, CAIRN_ERROR, EINVAL);
    job_free(job);
    close_disk(top);
    verify_top(&c, 2);
    chain_done(&c);
}

/* ---- rebase ---- */

/* What the overlay is to stand on: nothing, a new image, one of its own chain, or an overlay over
 * that. */
static int choose_backing(struct chain *c, const char *lowest, const char **ret_format)
{
    int64_t dice = rng_below(&c->rng, 4);
    *ret_format = "qcow2";
    if (dice == 0) {
        return -1;
    }
    if (dice == 1) {
        int disk = (int)rng_below(&c->rng, c->layers - 1);
        *ret_format = disk ? "qcow2" : lowest;
        return disk;
    }
    bool raw = dice == 2 && rng_percent(&c->rng, 30);
    *ret_format = raw ? "raw" : "qcow2";
    make_image(c, MAX_LAYERS, dice == 3 ? 0 : -1, raw, lowest);
    return MAX_LAYERS;
}

static void rebase_once(uint64_t seed)
{
    struct chain c;
    chain_init(&c, seed);
    const char *lowest = make_chain(&c, (int)rng_between(&c.rng, 2, MAX_LAYERS)), *format;
    int disk = choose_backing(&c, lowest, &format);
    g_autofree char *name = disk >= 0 ? g_strdup_printf("ram:%d", disk) : NULL;
    struct blk_node *top = open_disk(&c, c.layers - 1, "qcow2", NODE_RDWR);
    struct blk_node *backing = disk >= 0 ? open_disk(&c, disk, format, 0) : NULL;
    struct rebase_args args = {.overlay = top,
                               .backing = backing,
                               .name = name,
                               .format = disk >= 0 ? format : NULL,
                               .compress = rng_percent(&c.rng, 30),
                               .threads = (int)rng_between(&c.rng, 1, 3)};
    run(&c, rebase_job_new(&args));
    close_disk(top);
    node_close(backing, NULL);
    verify_top(&c, c.layers - 1);
    chain_done(&c);
}

static void test_rebase(void)
{
    uint64_t runs = g_test_slow() ? 20000 : 400;
    for (uint64_t seed = 1; seed <= runs; seed++) {
        rebase_once(seed);
    }
}

/* An image without a backing file gets one, and must not begin to show it. */
static void test_rebase_from_none(void)
{
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct chain c;
        chain_init(&c, seed);
        make_image(&c, 0, -1, false, NULL);
        make_image(&c, 1, -1, false, NULL);
        struct blk_node *top = open_disk(&c, 0, "qcow2", NODE_RDWR);
        struct blk_node *backing = open_disk(&c, 1, "qcow2", 0);
        c.size = node_size(top);
        c.bytes = read_all(top);
        struct rebase_args args = {top, backing, "ram:1", "qcow2", false, 1};
        run(&c, rebase_job_new(&args));
        close_disk(top);
        close_disk(backing);
        verify_top(&c, 0);
        chain_done(&c);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/formats/chain/commit", test_commit);
    g_test_add_func("/formats/chain/commit-fails", test_commit_fails);
    g_test_add_func("/formats/chain/rebase", test_rebase);
    g_test_add_func("/formats/chain/rebase-from-none", test_rebase_from_none);
    return g_test_run();
}
