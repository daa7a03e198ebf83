#include "tests/crash/workload.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "base/bytes.h"
#include "base/loop.h"
#include "base/pool-impl.h"
#include "libblock/libblock.h"
#include "tests/crash/changes.h"
#include "tests/tools/ram.h"

enum { MAX_SECTORS = 256, CROWD_SECTORS = 1024, WIDE_SECTORS = 9 * 1024, MAX_WORKERS = 8 };

/* One of the guests of a workload. */
struct worker {
    struct workload *w;
    int64_t first, sectors; /* its stretch of the disk */
    int64_t left;           /* operations */
};

void workload_fail(struct workload *w, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    g_autofree char *cut = w->cuts ? cuts_describe(w->cuts) : g_strdup("the workload");
    g_error("SEED=%" PRIu64 " COUNT=1 (cluster %" PRId64 ", %s, generation %d): %s: %s", w->seed,
            w->cluster, w->backing ? "backing file" : "no backing file", w->generation, cut, text);
}

static void must(struct workload *w, const char *what, int result)
{
    if (result < 0)
        workload_fail(w, "%s: %s", what, g_strerror(-result));
}

static int64_t position(const struct workload *w)
{
    return cuts_position(w->cuts);
}

/* A new position of its own, also when the operation does nothing to the disk. */
static int64_t begin_operation(void)
{
    return ram_mark(&ram_disks[TOP]);
}

/* ---- images ---- */

/* Caches that hold so little that tables are written and read again all the time. */
static json_t *small_caches(void)
{
    return json_pack("{s:s, s:s, s:s}", "l2-cache-size", "512", "l2-cache-entry-size", "512",
                     "refcount-cache-size", "512");
}

struct blk_node *workload_open(struct workload *w, int disk, uint32_t flags)
{
    g_autofree char *name = g_strdup_printf("ram:%d", disk);
    GError *error = NULL;
    json_t *options = rng_percent(&w->rng, 40) ? small_caches() : NULL;
    struct blk_node *node = node_open(w->graph, name, "qcow2", options, flags, &error);
    json_decref(options);
    if (!node)
        workload_fail(w, "open: %s", error->message);
    return node;
}

void workload_close(struct workload *w, struct blk_node *node)
{
    GError *error = NULL;
    if (!node_close(node, &error))
        workload_fail(w, "close: %s", error->message);
}

uint64_t *workload_read(struct workload *w, struct blk_node *node)
{
    int64_t size = node_size(node);
    g_autofree uint8_t *bytes = g_malloc((gsize)size + 1);
    uint64_t *stamps = g_new0(uint64_t, (gsize)MAX(w->sectors, size / SECTOR) + 1);
    must(w, "read", node_read(node, 0, size, bytes));
    for (int64_t i = 0; i < size / SECTOR; i++)
        if (!stamp_read(bytes + i * SECTOR, &stamps[i]))
            workload_fail(w, "sector %" PRId64 " is torn", i);
    return stamps;
}

static void create_image(struct workload *w)
{
    struct rng *rng = &w->rng;
    GError *error = NULL;
    w->v2 = !w->setup->wide && rng_percent(rng, 20);
    w->lazy = !w->v2 && rng_percent(rng, 25);
    g_autofree char *cluster = g_strdup_printf("%" PRId64, w->cluster);
    g_autofree char *bits = g_strdup_printf("%d", w->v2            ? 16
                                                  : w->setup->wide ? 64
                                                                   : 1 << rng_below(rng, 7));
    json_t *options =
        json_pack("{s:s, s:s, s:s, s:s}", "cluster_size", cluster, "refcount_bits", bits, "compat",
                  w->v2 ? "v2" : "v3", "lazy_refcounts", w->lazy ? "on" : "off");
    if (w->backing)
        json_object_update_new(options, json_pack("{s:s, s:s}", "backing_file", "ram:2",
                                                  "backing_fmt", w->backing->format));
    if (!image_create(w->graph, "ram:0", "qcow2", w->size, options, 0, NULL, &error))
        g_error("create: %s", error->message);
    json_decref(options);
}

struct blk_node *workload_open_base(struct workload *w, const struct base *base)
{
    g_autofree char *name = g_strdup_printf("ram:%d", base->disk);
    GError *error = NULL;
    struct blk_node *node = node_open(w->graph, name, base->format, NULL, 0, &error);
    if (!node)
        workload_fail(w, "open backing file: %s", error->message);
    return node;
}

const uint64_t *workload_beneath(const struct workload *w)
{
    return w->backing ? w->backing->stamps : w->nothing;
}

static void write_base(struct workload *w, struct base *base, const uint8_t *bytes)
{
    g_autofree char *name = g_strdup_printf("ram:%d", base->disk);
    GError *error = NULL;
    bool qcow2 = g_str_equal(base->format, "qcow2");
    json_t *options = qcow2 ? json_pack("{s:s}", "cluster_size", "4096") : NULL;
    if (!image_create(w->graph, name, base->format, base->size, options, 0, NULL, &error))
        g_error("create %s: %s", name, error->message);
    json_decref(options);
    struct blk_node *node = node_open(w->graph, name, base->format, NULL, NODE_RDWR, &error);
    if (!node)
        g_error("open %s: %s", name, error->message);
    must(w, "filling a backing file", node_write(node, 0, base->size, bytes, 0));
    workload_close(w, node);
}

/* A backing file that is a bit shorter than the image or as long as it may get. */
static void make_base(struct workload *w, int i)
{
    struct base *base = &w->bases[i];
    int64_t sectors = rng_percent(&w->rng, 50) ? MAX(1, w->size / SECTOR * 2 / 3) : w->sectors;
    g_autofree uint8_t *bytes = g_malloc((gsize)sectors * SECTOR);
    base->disk = FIRST_BASE + i;
    base->size = sectors * SECTOR;
    base->format = rng_percent(&w->rng, 70) ? "raw" : "qcow2";
    base->stamps = g_new0(uint64_t, (gsize)w->sectors);
    for (int64_t k = 0; k < sectors; k++) {
        base->stamps[k] = UINT64_C(0xbac0000000000000) + ((uint64_t)i << 32) + (uint64_t)k;
        stamp_fill(bytes + k * SECTOR, base->stamps[k]);
    }
    write_base(w, base, bytes);
    base->history = history_new(w->sectors, base->size, base->stamps);
}

/* ---- guests ---- */

static void note(struct workload *w, int64_t offset, int64_t length, uint64_t stamp, int64_t begin,
                 bool fua)
{
    for (int64_t i = 0; i < length / SECTOR; i++)
        history_write(w->history, offset / SECTOR + i, stamp ? stamp + (uint64_t)i : 0, begin,
                      position(w), fua ? HISTORY_DURABLE : 0);
}

/* Stamps nobody has used. */
static uint64_t fill(struct workload *w, uint8_t *bytes, int64_t length)
{
    uint64_t stamp = w->next_stamp;
    for (int64_t i = 0; i < length / SECTOR; i++)
        stamp_fill(bytes + i * SECTOR, w->next_stamp++);
    return stamp;
}

static void co_do_write(struct worker *worker, int64_t offset, int64_t length)
{
    struct workload *w = worker->w;
    struct iovec slot;
    g_autofree uint8_t *bytes = g_malloc((gsize)length);
    int64_t begin = begin_operation();
    bool fua = rng_percent(&w->rng, 8);
    uint64_t stamp = fill(w, bytes, length);
    struct span span = span_of(&slot, bytes, (size_t)length);
    must(w, "write", node_co_write(w->node, offset, length, span, fua ? REQ_FUA : 0));
    note(w, offset, length, stamp, begin, fua);
}

/* Up to three whole clusters within the worker's stretch; nothing where there is none. */
static void co_do_write_compressed(struct worker *worker, int64_t offset)
{
    struct workload *w = worker->w;
    struct iovec slot;
    int64_t end = (worker->first + worker->sectors) * SECTOR;
    int64_t start = align_up(offset, w->cluster);
    int64_t stop = end == w->size ? end : align_down(end, w->cluster);
    int64_t most = w->cluster * rng_between(&w->rng, 1, 3), length = MIN(stop - start, most);
    if (length <= 0)
        return;
    g_autofree uint8_t *bytes = g_malloc((gsize)length);
    int64_t begin = begin_operation();
    uint64_t stamp = fill(w, bytes, length);
    struct span span = span_of(&slot, bytes, (size_t)length);
    must(w, "compressed write", node_co_write_compressed(w->node, start, length, span));
    note(w, start, length, stamp, begin, false);
}

static void co_do_discard(struct worker *worker, int64_t offset, int64_t length)
{
    struct workload *w = worker->w;
    int64_t begin = begin_operation();
    must(w, "discard", node_co_discard(w->node, offset, length));
    for (int64_t i = offset / SECTOR; i < (offset + length) / SECTOR; i++)
        history_write(w->history, i, workload_beneath(w)[i], begin, position(w), HISTORY_LOOSE);
}

static void co_do_zero(struct worker *worker, int64_t offset, int64_t length)
{
    struct workload *w = worker->w;
    int64_t begin = begin_operation();
    uint32_t fua = rng_percent(&w->rng, 8) ? REQ_FUA : 0;
    uint32_t flags = fua | (rng_percent(&w->rng, 50) ? REQ_MAY_UNMAP : 0);
    must(w, "zero", node_co_zero(w->node, offset, length, flags));
    note(w, offset, length, 0, begin, fua);
}

static void co_do_flush(struct workload *w)
{
    int64_t begin = begin_operation();
    must(w, "flush", node_co_flush(w->node));
    history_flush(w->history, begin, position(w));
}

static void co_do_one(struct worker *worker)
{
    struct workload *w = worker->w;
    int64_t dice = rng_below(&w->rng, 100);
    int64_t offset = (worker->first + rng_below(&w->rng, worker->sectors)) * SECTOR;
    int64_t most = rng_percent(&w->rng, 70) ? 8192 : w->size;
    most = MIN(most, (worker->first + worker->sectors) * SECTOR - offset);
    int64_t length = (1 + rng_below(&w->rng, most / SECTOR)) * SECTOR;
    if (dice < 48)
        co_do_write(worker, offset, length);
    else if (dice < 58)
        co_do_write_compressed(worker, offset);
    else if (dice < 69)
        co_do_zero(worker, offset, length);
    else if (dice < 82)
        co_do_discard(worker, offset, length);
    else
        co_do_flush(w);
}

static void co_work(void *arg)
{
    struct worker *worker = arg;
    for (; worker->left > 0; worker->left--)
        co_do_one(worker);
}

/* Runs all the guests of a round to their end. Their stretches meet within clusters. */
static void do_round(struct workload *w, int64_t most)
{
    struct worker workers[MAX_WORKERS];
    int64_t sectors = w->size / SECTOR, next = 0, busy;
    int count = (int)MIN(w->setup->workers, sectors);
    for (int i = 0; i < count; i++) {
        int64_t end = sectors * (i + 1) / count;
        workers[i] = (struct worker){w, next, end - next, rng_between(&w->rng, 1, most)};
        next = end;
        loop_spawn(w->loop, co_work, &workers[i]);
    }
    do {
        busy = 0;
        for (int i = 0; i < count; i++)
            busy += workers[i].left > 0;
        if (busy)
            loop_turn(w->loop, true);
    } while (busy);
}

void workload_reopen(struct workload *w)
{
    int64_t begin = begin_operation();
    workload_close(w, w->node);
    history_flush(w->history, begin, position(w));
    w->node = workload_open(w, TOP, NODE_RDWR);
}

/* ---- the whole ---- */

static void fill_wide_co_run(void *arg)
{
    struct worker *all = arg;
    co_do_write(all, 0, all->w->size);
    co_do_flush(all->w);
}

/* Data all over a disk that was small when its refcount table was made. */
static void fill_wide(struct workload *w)
{
    struct worker all = {w, 0, w->sectors, 0};
    int64_t begin = begin_operation(), old = w->size / SECTOR;
    GError *error = NULL;
    if (!node_resize(w->node, w->sectors * SECTOR, "off", &error))
        workload_fail(w, "growing: %s", error->message);
    w->size = w->sectors * SECTOR;
    for (int64_t i = old; i < w->sectors; i++)
        history_write(w->history, i, 0, begin, position(w), HISTORY_DURABLE);
    history_resize(w->history, w->size, begin, position(w));
    loop_call(w->loop, fill_wide_co_run, &all);
}

static void run_rounds(struct workload *w)
{
    if (w->setup->wide && !w->generation)
        fill_wide(w);
    int64_t rounds = w->setup->changes ? rng_between(&w->rng, 1, 5) : 1;
    for (int64_t i = 0; i < rounds; i++) {
        do_round(w, w->setup->changes ? 6 : 40);
        for (int64_t n = w->setup->changes ? rng_between(&w->rng, 0, 3) : 0; n > 0; n--)
            changes_do_one(w);
        if (rng_percent(&w->rng, 15))
            workload_reopen(w);
    }
}

/* From opening to closing, with everything recorded. */
static void run_recorded(struct workload *w)
{
    w->cuts = cuts_record();
    ram_disks[TOP].shake = &w->rng;
    for (int i = 0; i < BASES; i++)
        ram_disks[w->bases[i].disk].shake = &w->rng;
    w->node = workload_open(w, TOP, NODE_RDWR);
    run_rounds(w);
    int64_t begin = begin_operation();
    workload_close(w, w->node);
    history_flush(w->history, begin, position(w));
    w->node = NULL;
    if (g_getenv("VERBOSE"))
        cuts_print_log(w->cuts);
}

/* Writes without a record, so that not every image begins empty. */
static void prefill(struct workload *w)
{
    w->node = workload_open(w, TOP, NODE_RDWR);
    for (int64_t n = rng_below(&w->rng, 5); n > 0; n--) {
        int64_t offset = rng_below(&w->rng, w->size / SECTOR) * SECTOR;
        int64_t length = (1 + rng_below(&w->rng, (w->size - offset) / SECTOR)) * SECTOR;
        g_autofree uint8_t *bytes = g_malloc((gsize)length);
        fill(w, bytes, length);
        must(w, "first write", node_write(w->node, offset, length, bytes, 0));
    }
    g_autofree uint64_t *stamps = workload_read(w, w->node);
    w->history = history_new(w->sectors, w->size, stamps);
    workload_close(w, w->node);
}

void workload_init(struct workload *w, const struct setup *setup, uint64_t seed)
{
    *w = (struct workload){.setup = setup, .seed = seed, .rng = {seed}, .next_stamp = 1};
    w->loop = loop_new(NULL);
    pool_set_in_place(loop_pool(w->loop));
    w->drivers = ram_drivers();
    w->graph = graph_new(w->loop, w->drivers);
    graph_set_trust(w->graph, GRAPH_TRUST_ALL);
    w->cluster = INT64_C(1) << setup->cluster_bits;
}

static void choose_size(struct workload *w)
{
    bool crowd = w->setup->workers > 1 && w->cluster == SECTOR; /* tables are made all the time */
    int64_t most = crowd ? CROWD_SECTORS : MIN(MAX(2 * w->cluster / SECTOR, 128), MAX_SECTORS);
    int64_t sectors = rng_between(&w->rng, 1, most);
    w->sectors = sectors + MAX_SECTORS;
    if (w->cluster > 64 * KiB) {
        sectors = 2 * w->cluster / SECTOR;
        w->sectors = sectors + 512;
    } else if (w->setup->wide) {
        w->sectors = WIDE_SECTORS;
    }
    w->size = sectors * SECTOR;
}

void workload_run(struct workload *w)
{
    for (int i = 0; i < RAM_DISKS; i++)
        ram_reset(i);
    choose_size(w);
    w->nothing = g_new0(uint64_t, (gsize)w->sectors);
    for (int i = 0; i < BASES; i++)
        make_base(w, i);
    w->backing = rng_percent(&w->rng, 50) ? &w->bases[0] : NULL;
    create_image(w);
    prefill(w);
    run_recorded(w);
}

/* The snapshots of the image that `node` shows, read-only, are part of its history. */
static void take_over_snapshots(struct workload *w, struct blk_node *node)
{
    GError *error = NULL;
    GArray *list = node_snapshot_list(node, NULL);
    for (guint i = 0; list && i < list->len; i++) {
        const char *name = g_array_index(list, struct blk_snapshot, i).name;
        if (!node_snapshot_do(node, SNAPSHOT_LOAD, name, &error))
            workload_fail(w, "snapshot %s: %s", name, error->message);
        g_autofree uint64_t *stamps = workload_read(w, node);
        history_snapshot_add(w->history, name, node_size(node), stamps, -1, -1);
    }
    if (list)
        g_array_unref(list);
}

static void take_over_base(struct workload *w, struct base *base)
{
    struct blk_node *node = workload_open_base(w, base);
    history_free(base->history);
    g_free(base->stamps);
    base->size = node_size(node);
    base->stamps = workload_read(w, node);
    base->history = history_new(w->sectors, base->size, base->stamps);
    workload_close(w, node);
}

/* Which backing file the header names: "ram:N", or none. */
static void take_over_backing(struct workload *w)
{
    const uint8_t *header = ram_disks[TOP].bytes->data;
    uint64_t name = load_be64(header + 8);
    w->backing = name ? &w->bases[header[name + 4] - '0' - FIRST_BASE] : NULL;
}

void workload_run_again(struct workload *w)
{
    cuts_free(g_steal_pointer(&w->cuts));
    history_free(g_steal_pointer(&w->history));
    struct blk_node *node = workload_open(w, TOP, 0);
    g_autofree uint64_t *stamps = workload_read(w, node);
    w->size = node_size(node);
    w->history = history_new(w->sectors, w->size, stamps);
    take_over_snapshots(w, node);
    for (int i = 0; i < BASES; i++)
        take_over_base(w, &w->bases[i]);
    take_over_backing(w);
    workload_close(w, node);
    w->generation++;
    run_recorded(w);
}

void workload_done(struct workload *w)
{
    graph_free(w->graph);
    loop_free(w->loop);
    g_free(w->drivers);
    g_free(w->nothing);
    for (int i = 0; i < BASES; i++) {
        g_free(w->bases[i].stamps);
        history_free(w->bases[i].history);
    }
    history_free(w->history);
    if (w->cuts)
        cuts_free(w->cuts);
}
