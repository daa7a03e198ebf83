#include "tests/model/world.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/bytes.h"
#include "base/loop.h"
#include "libblock/libblock.h"
#include "tests/tools/ram.h"

static const char *const kind_names[] = {"raw over ram", "raw over a file", "a slice of raw",
                                         "qcow2 over ram", "qcow2 over a file"};
enum { SLICE_OFFSET = 4096, TOP = 0, SOURCE = 7 };

bool world_is_qcow2(const struct world *world)
{
    return world->kind == WORLD_QCOW2_RAM || world->kind == WORLD_QCOW2_FILE;
}

char *world_describe(const struct world *world)
{
    if (!world_is_qcow2(world))
        return g_strdup_printf("%s, %" PRId64 " bytes", kind_names[world->kind], world->size);
    return g_strdup_printf(
        "%s, %" PRId64 " bytes, cluster %d, v%d, refcount_bits %d, %d backing files%s",
        kind_names[world->kind], world->size, 1 << world->cluster_bits, world->version,
        world->refcount_bits, world->depth, world->compressed ? ", compressed at first" : "");
}

void world_must(struct world *world, bool ok, GError *error, const char *what)
{
    if (ok && !error)
        return;
    g_autofree char *text = world_describe(world);
    g_error("%s: %s: %s", text, what, error ? error->message : "failed without a message");
}

static char *layer_name(struct world *world, int layer)
{
    if (world->kind == WORLD_RAW_FILE || world->kind == WORLD_QCOW2_FILE)
        return g_strdup_printf("%s/%d.img", world->folder, layer);
    return g_strdup_printf("ram:%d", layer);
}

static enum world_kind choose_kind(struct rng *rng, enum world_family family)
{
    static const int plain[] = {WORLD_RAW_RAM, WORLD_RAW_FILE, WORLD_RAW_SLICE, WORLD_RAW_SLICE};
    if (family == FAMILY_PLAIN && rng_percent(rng, 40))
        return plain[rng_below(rng, G_N_ELEMENTS(plain))];
    return rng_percent(rng, 80) ? WORLD_QCOW2_RAM : WORLD_QCOW2_FILE;
}

static void choose_size(struct world *world)
{
    struct rng *rng = &world->rng;
    int64_t cluster = world_is_qcow2(world) ? INT64_C(1) << world->cluster_bits : 4096;
    int64_t most = cluster > 64 * KiB ? 3 * cluster : MIN(90 * cluster, 1 * MiB);
    if (rng_percent(rng, 20))
        most *= 2;
    world->align = world_is_qcow2(world) || rng_percent(rng, 70) ? 512 : 1;
    world->size = align_up(rng_between(rng, 1, most), world->align);
}

static void choose(struct world *world, enum world_family family)
{
    static const int bits[] = {9, 9, 9, 12, 12, 12, 12, 12, 16, 16, 16, 16, 10, 14, 18, 21};
    struct rng *rng = &world->rng;
    world->kind = choose_kind(rng, family);
    world->cluster_bits = bits[rng_below(rng, G_N_ELEMENTS(bits))];
    world->version = rng_percent(rng, 25) ? 2 : 3;
    world->refcount_bits = world->version == 2 ? 16 : 1 << rng_below(rng, 7);
    choose_size(world);
    if (family == FAMILY_PLAIN)
        return;
    /* A host cluster shared by several packed ones cannot be counted in few bits. */
    if (world->refcount_bits > 8 && rng_percent(rng, 35))
        world->compressed = true;
    else
        world->depth = (int)rng_between(rng, 1, 3);
}

static json_t *create_options(struct world *world, int layer, int depth)
{
    json_t *options = json_object();
    char text[32];
    snprintf(text, sizeof(text), "%d", 1 << world->cluster_bits);
    json_object_set_new(options, "cluster_size", json_string(text));
    snprintf(text, sizeof(text), "%d", world->refcount_bits);
    json_object_set_new(options, "refcount_bits", json_string(text));
    json_object_set_new(options, "compat", json_string(world->version == 2 ? "v2" : "v3"));
    if (world->version == 3 && rng_percent(&world->rng, 20))
        json_object_set_new(options, "lazy_refcounts", json_string("on"));
    if (layer < depth) {
        g_autofree char *below = layer_name(world, layer + 1);
        json_object_set_new(options, "backing_file", json_string(below));
        json_object_set_new(options, "backing_fmt", json_string("qcow2"));
    }
    return options;
}

static void create(struct world *world, const char *name, int64_t size, json_t *options)
{
    GError *error = NULL;
    bool ok = image_create(world->graph, name, world_is_qcow2(world) ? "qcow2" : "raw", size,
                           options, 0, NULL, &error);
    world_must(world, ok, error, "create");
    json_decref(options);
}

/* Now and then caches that hold next to nothing, and discards that keep their clusters. */
static json_t *open_options(struct rng *rng)
{
    json_t *options = json_object();
    if (rng_percent(rng, 30))
        json_object_update_new(options, json_pack("{s:s, s:s, s:s}", "l2-cache-size", "512",
                                                  "l2-cache-entry-size", "512",
                                                  "refcount-cache-size", "512"));
    if (rng_percent(rng, 20))
        json_object_set_new(options, "discard-no-unref", json_string("on"));
    return options;
}

struct blk_node *world_open(struct world *world, int layer, uint32_t flags)
{
    g_autofree char *name = layer_name(world, layer);
    GError *error = NULL;
    json_t *options = NULL;
    if (world->kind == WORLD_RAW_SLICE)
        options = json_pack("{s:s, s:s, s:I, s:I}", "driver", "raw", "file.filename", name,
                            "offset", (json_int_t)SLICE_OFFSET, "size", (json_int_t)world->size);
    if (options)
        options = json_unflatten(options, &error);
    else if (world_is_qcow2(world))
        options = open_options(&world->rng);
    struct blk_node *node =
        node_open(world->graph, world->kind == WORLD_RAW_SLICE ? NULL : name,
                  world_is_qcow2(world) ? "qcow2" : "raw", options, flags, &error);
    json_decref(options);
    world_must(world, node, error, "open");
    return node;
}

/* Random bytes over zero to five stretches of `node` and of `bytes`. */
static void scribble(struct world *world, struct blk_node *node, uint8_t *bytes, int64_t size)
{
    for (int64_t n = rng_below(&world->rng, 6); n > 0; n--) {
        int64_t offset = rng_below(&world->rng, size);
        int64_t length = 1 + rng_below(&world->rng, MIN(size - offset, 64 * KiB));
        memset(bytes + offset, (int)rng_between(&world->rng, 1, 255), (size_t)length);
        int r = node_write(node, offset, length, bytes + offset, 0);
        if (r < 0)
            g_error("scribble: %s", g_strerror(-r));
    }
}

/* Makes the layers from the bottom up; world->bytes is what the chain so far reads as. */
static void build_chain(struct world *world)
{
    uint8_t *below = NULL;
    int64_t below_size = 0;
    for (int layer = world->depth; layer >= 0; layer--) {
        int64_t size =
            layer ? align_up(rng_between(&world->rng, 1, world->size * 3 / 2), 512) : world->size;
        uint8_t *bytes = g_malloc0((gsize)size);
        if (below)
            memcpy(bytes, below, (size_t)MIN(size, below_size));
        g_autofree char *name = layer_name(world, layer);
        create(world, name, size + (world->kind == WORLD_RAW_SLICE ? 2 * SLICE_OFFSET : 0),
               world_is_qcow2(world) ? create_options(world, layer, world->depth) : NULL);
        if (layer == TOP)
            world->beneath = g_memdup2(bytes, (gsize)size);
        struct blk_node *node = world_open(world, layer, NODE_RDWR);
        scribble(world, node, bytes, size);
        GError *error = NULL;
        world_must(world, node_close(node, &error), error, "close");
        g_free(below);
        below = bytes;
        below_size = size;
    }
    world->bytes = below;
}

/* Replaces the top layer by a compressed copy of itself. */
static void compress(struct world *world)
{
    GError *error = NULL;
    g_autofree char *name = layer_name(world, TOP), *copy = layer_name(world, SOURCE);
    struct blk_node *source = world_open(world, TOP, 0);
    json_t *options = create_options(world, TOP, 0);
    if (world->version == 3 && rng_percent(&world->rng, 50))
        json_object_set_new(options, "compression_type", json_string("zstd"));
    create(world, copy, world->size, options);
    struct blk_node *target = world_open(world, SOURCE, NODE_RDWR);
    struct convert_args args = {.sources = &source,
                                .source_count = 1,
                                .target = target,
                                .target_is_fresh = true,
                                .compress = true,
                                .sparse_size = 4096,
                                .threads = (int)rng_between(&world->rng, 1, 2)};
    struct job *job = convert_job_new(&args);
    world_must(world, job_run(job, world->graph, NULL, NULL, &error), error, "convert -c");
    job_free(job);
    world_must(world, node_close(source, &error), error, "close");
    world_must(world, node_close(target, &error), error, "close");
    if (world->kind == WORLD_QCOW2_FILE)
        world_must(world, rename(copy, name) == 0, NULL, "rename");
    else
        ram_set(&ram_disks[TOP], ram_disks[SOURCE].bytes->data, ram_disks[SOURCE].bytes->len);
}

static void snapshot_free(void *arg)
{
    struct world_snapshot *snapshot = arg;
    g_free(snapshot->name);
    g_free(snapshot->bytes);
    g_free(snapshot);
}

void world_init(struct world *world, enum world_family family, uint64_t seed, const char *folder)
{
    *world = (struct world){.seed = seed, .rng = {seed}, .folder = g_strdup(folder)};
    for (int i = 0; i < RAM_DISKS; i++)
        ram_reset(i);
    choose(world, family);
    world->loop = loop_new(NULL);
    if (rng_percent(&world->rng, 20))
        loop_use_ring(world->loop, false);
    world->drivers = ram_drivers();
    world->graph = graph_new(world->loop, world->drivers);
    graph_set_trust(world->graph, GRAPH_TRUST_ALL);
    build_chain(world);
    if (world->compressed)
        compress(world);
    world->node = world_open(world, TOP, NODE_RDWR);
    world->snapshots = g_ptr_array_new_with_free_func(snapshot_free);
    for (int i = 0; i <= world->depth; i++)
        ram_disks[i].shake = &world->rng;
}

void world_reopen(struct world *world, bool writable)
{
    GError *error = NULL;
    world_must(world, node_close(world->node, &error), error, "close");
    world->node = world_open(world, TOP, writable ? NODE_RDWR : 0);
}

static uint8_t *resized(uint8_t *bytes, int64_t old_size, int64_t size)
{
    bytes = g_realloc(bytes, (gsize)size);
    if (size > old_size)
        memset(bytes + old_size, 0, (size_t)(size - old_size));
    return bytes;
}

void world_resize(struct world *world, int64_t size)
{
    struct blk_node *backing = node_backing(world->node);
    int64_t old = world->size, end = backing ? MIN(node_size(backing), size) : 0;
    world->bytes = resized(world->bytes, old, size);
    world->beneath = resized(world->beneath, old, size);
    if (old < end)
        g_assert_cmpint(node_read(backing, old, end - old, world->beneath + old), ==, 0);
    world->size = size;
}

GBytes *world_image_bytes(struct world *world)
{
    g_autofree char *name = layer_name(world, TOP);
    char *contents = NULL;
    gsize length = 0;
    if (g_str_has_prefix(name, "ram:"))
        return g_bytes_new(ram_disks[TOP].bytes->data, ram_disks[TOP].bytes->len);
    if (!g_file_get_contents(name, &contents, &length, NULL))
        g_error("cannot read %s", name);
    return g_bytes_new_take(contents, length);
}

void world_set_image_bytes(struct world *world, const char *bytes, gsize size)
{
    g_autofree char *name = layer_name(world, TOP);
    if (g_str_has_prefix(name, "ram:"))
        ram_set(&ram_disks[TOP], bytes, (int64_t)size);
    else
        g_assert_true(g_file_set_contents(name, bytes, (gssize)size, NULL));
}

void world_done(struct world *world)
{
    GError *error = NULL;
    if (world->node)
        world_must(world, node_close(world->node, &error), error, "close");
    graph_free(world->graph);
    loop_free(world->loop);
    g_free(world->drivers);
    g_free(world->folder);
    g_free(world->bytes);
    g_free(world->beneath);
    g_ptr_array_unref(world->snapshots);
}
