#include "tests/fault/images.h"

#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/opts.h"
#include "libblock/jobs/convert.h"
#include "tests/tools/rng.h"

enum { SIZE = 200 * 1024 + 512, CLUSTER = 4096 };

static void expect(bool ok, GError *error, const char *what)
{
    if (!ok)
        g_error("%s: %s", what, error ? error->message : "failed");
}

/* Data, text, zeroes, a hole, and a last sector. */
static void make_source(const char *name)
{
    struct rng rng = {7};
    uint8_t *bytes = g_malloc0(SIZE);
    for (int i = 0; i < 40 * 1024; i += 8)
        store_be64(bytes + i, rng_next(&rng));
    memset(bytes + 64 * 1024, 't', 40 * 1024);
    memset(bytes + SIZE - 512, 'e', 512);
    g_assert_true(g_file_set_contents(name, (char *)bytes, SIZE, NULL));
    g_free(bytes);
}

static void create(struct blk_graph *graph, const char *name, const char *text)
{
    GError *error = NULL;
    json_t *options = opts_parse(text, NULL, NULL);
    bool backed = strstr(text, "backing_file");
    expect(image_create(graph, name, "qcow2", backed ? -1 : SIZE, options, 0, NULL, &error), error,
           name);
    json_decref(options);
}

static struct blk_node *open_image(struct blk_graph *graph, const char *name, const char *format,
                                   uint32_t flags)
{
    GError *error = NULL;
    struct blk_node *node = node_open(graph, name, format, NULL, flags, &error);
    expect(node, error, name);
    return node;
}

static void copy(struct blk_graph *graph, const char *from, const char *to, bool compress)
{
    GError *error = NULL;
    struct blk_node *source = open_image(graph, from, "raw", 0);
    struct blk_node *target = open_image(graph, to, "qcow2", NODE_RDWR);
    struct convert_args args = {.sources = &source,
                                .source_count = 1,
                                .target = target,
                                .target_is_fresh = true,
                                .target_is_zero = true,
                                .compress = compress,
                                .sparse_size = CLUSTER};
    struct job *job = convert_job_new(&args);
    expect(job_run(job, graph, NULL, NULL, &error), error, to);
    job_free(job);
    node_close(source, NULL);
    node_close(target, NULL);
}

/* Writes `letter` to parts of the image. */
static void scribble(struct blk_graph *graph, const char *name, char letter, int64_t from,
                     int64_t step)
{
    struct blk_node *node = open_image(graph, name, "qcow2", NODE_RDWR);
    uint8_t bytes[3000];
    memset(bytes, letter, sizeof(bytes));
    for (int64_t at = from; at + (int64_t)sizeof(bytes) < SIZE; at += step)
        g_assert_cmpint(node_write(node, at, sizeof(bytes), bytes, 0), ==, 0);
    g_assert_cmpint(node_zero(node, from + step / 2 / CLUSTER * CLUSTER, 2 * CLUSTER, 0), ==, 0);
    g_assert_true(node_close(node, NULL));
}

/* False while snapshots are not built. */
static bool take_snapshot(struct blk_graph *graph, const char *name, const char *snapshot)
{
    struct blk_snapshot what = {
        .name = (char *)snapshot, .date_ns = 1700000000000000000, .icount = -1};
    struct blk_node *node = open_image(graph, name, "qcow2", NODE_RDWR);
    bool ok = node_snapshot_create(node, &what, NULL);
    node_close(node, NULL);
    return ok;
}

static void keep(GHashTable *images, const char *name)
{
    char *text;
    gsize length;
    g_assert_true(g_file_get_contents(name, &text, &length, NULL));
    g_hash_table_insert(images, g_strdup(name), g_bytes_new_take(text, length));
}

static void copy_file(const char *from, const char *to)
{
    g_autofree char *text = NULL;
    gsize length;
    g_assert_true(g_file_get_contents(from, &text, &length, NULL));
    g_assert_true(g_file_set_contents(to, text, (gssize)length, NULL));
}

/* Overwrites 2 bytes of the first refcount block: 16-bit refcounts. */
static void set_refcount(const char *name, int cluster, uint16_t value)
{
    g_autofree char *text = NULL;
    gsize length;
    g_assert_true(g_file_get_contents(name, &text, &length, NULL));
    uint64_t table = load_be64(text + 48);
    uint64_t block = load_be64(text + table);
    store_be16(text + block + 2 * cluster, value);
    g_assert_true(g_file_set_contents(name, text, (gssize)length, NULL));
}

static void make_plain(struct blk_graph *graph)
{
    make_source("source.raw");
    make_source("work.raw");
    create(graph, "image.qcow2", "cluster_size=4k");
    copy(graph, "source.raw", "image.qcow2", false);
    create(graph, "packed.qcow2", "cluster_size=16k");
    copy(graph, "source.raw", "packed.qcow2", true);
}

static void make_chain(struct blk_graph *graph)
{
    copy_file("image.qcow2", "base.qcow2");
    create(graph, "over.qcow2", "cluster_size=4k,backing_file=base.qcow2,backing_fmt=qcow2");
    scribble(graph, "over.qcow2", 'o', 9000, 50000);
    create(graph, "top.qcow2", "cluster_size=512,backing_file=over.qcow2,backing_fmt=qcow2");
    scribble(graph, "top.qcow2", 't', 30000, 90000);
}

static bool make_snapshots(struct blk_graph *graph)
{
    copy_file("image.qcow2", "snaps.qcow2");
    if (!take_snapshot(graph, "snaps.qcow2", "one"))
        return false;
    scribble(graph, "snaps.qcow2", '1', 5000, 40000);
    g_assert_true(take_snapshot(graph, "snaps.qcow2", "two"));
    scribble(graph, "snaps.qcow2", '2', 15000, 60000);
    return true;
}

/* One that is sound but wastes space, and one that is not sound. */
static void make_damaged(void)
{
    copy_file("image.qcow2", "leaky.qcow2");
    set_refcount("leaky.qcow2", 900, 1);
    set_refcount("leaky.qcow2", 6, 3);
    copy_file("image.qcow2", "broken.qcow2");
    set_refcount("broken.qcow2", 901, 1);
    set_refcount("broken.qcow2", 5, 0);
    set_refcount("broken.qcow2", 6, 0);
}

GHashTable *images_make(struct blk_graph *graph)
{
    static const char *const names[] = {"source.raw",   "work.raw",    "image.qcow2",
                                        "packed.qcow2", "base.qcow2",  "over.qcow2",
                                        "top.qcow2",    "leaky.qcow2", "broken.qcow2"};
    GHashTable *images =
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)g_bytes_unref);
    make_plain(graph);
    make_chain(graph);
    make_damaged();
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
        keep(images, names[i]);
    if (make_snapshots(graph))
        keep(images, "snaps.qcow2");
    else
        g_unlink("snaps.qcow2");
    return images;
}
