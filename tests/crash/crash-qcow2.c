/*
 * Power cuts. A seeded workload runs on a qcow2 image over a recording disk.
 * Then the disk is rebuilt as it may be after a cut at some operation: all
 * that a completed flush covers, and of the rest everything, everything but
 * one, or a random part with writes torn at 512 bytes. Each such state must
 * open, have no corruption by a checker that shares no code with qcow2/ (leaks
 * are allowed), keep all that the guest had flushed, and show no stale data.
 */
#include <glib.h>
#include <glib/gstdio.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"
#include "base/bytes.h"
#include "base/loop.h"
#include "libblock/libblock.h"
#include "tests/crash/history.h"
#include "tests/tools/qcow2-ref.h"
#include "tests/tools/ram.h"

enum { LIVE, STATE, BACKING }; /* the disks */
enum { WORKLOAD_STATES = 100, MAX_SECTORS = 256, MAX_WORKERS = 8 };

struct setup {
    int cluster_bits;
    bool backing;
    int states;
    int workers; /* guests at work at once, each on a stretch of its own; 0: one */
};

/* One of the guests of a workload. */
struct worker {
    struct crash *crash;
    struct blk_node *node;
    int64_t first, sectors; /* its stretch of the disk */
    int64_t left;           /* operations */
};

struct crash {
    const struct setup *setup;
    uint64_t seed;
    struct rng rng;
    struct loop *loop;
    const struct blk_driver **drivers;
    struct blk_graph *graph;
    int64_t size;
    uint64_t next_stamp;
    struct history *history;
    GByteArray *base, *durable, *state;
    int64_t applied; /* log position up to which `durable` goes */
};

G_GNUC_PRINTF(3, 4)
static void fail(struct crash *crash, int64_t cut, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    g_error("SEED=%" PRIu64 ", cluster %d, %s, cut before operation %" PRId64 ": %s", crash->seed,
            1 << crash->setup->cluster_bits, crash->setup->backing ? "backing file" : "no backing",
            cut, text);
}

static void must(struct crash *crash, const char *what, int result)
{
    if (result < 0)
        fail(crash, -1, "the workload's %s: %s", what, g_strerror(-result));
}

/* Caches that hold so little that tables are written and read again all the time. */
static json_t *small_caches(void)
{
    return json_pack("{s:s, s:s, s:s}", "l2-cache-size", "512", "l2-cache-entry-size", "512",
                     "refcount-cache-size", "512");
}

static struct blk_node *open_disk(struct crash *crash, int disk, uint32_t flags, int64_t cut)
{
    g_autofree char *name = g_strdup_printf("ram:%d", disk);
    GError *error = NULL;
    json_t *options = rng_percent(&crash->rng, 40) ? small_caches() : NULL;
    struct blk_node *node = node_open(crash->graph, name, "qcow2", options, flags, &error);
    json_decref(options);
    if (!node)
        fail(crash, cut, "open: %s", error->message);
    return node;
}

static void close_disk(struct crash *crash, struct blk_node *node, int64_t cut)
{
    GError *error = NULL;
    if (!node_close(node, &error))
        fail(crash, cut, "close: %s", error->message);
}

static void create_image(struct crash *crash)
{
    struct rng *rng = &crash->rng;
    GError *error = NULL;
    bool v2 = rng_percent(rng, 20);
    g_autofree char *cluster = g_strdup_printf("%d", 1 << crash->setup->cluster_bits);
    g_autofree char *bits = g_strdup_printf("%d", v2 ? 16 : 1 << rng_below(rng, 7));
    json_t *options = json_pack("{s:s, s:s, s:s}", "cluster_size", cluster, "refcount_bits", bits,
                                "compat", v2 ? "v2" : "v3");
    if (crash->setup->backing)
        json_object_update_new(
            options, json_pack("{s:s, s:s}", "backing_file", "ram:2", "backing_fmt", "raw"));
    if (!image_create(crash->graph, "ram:0", "qcow2", crash->size, options, 0, NULL, &error))
        g_error("create: %s", error->message);
    json_decref(options);
}

/* Fills the backing disk and starts the history with it. */
static void begin_history(struct crash *crash)
{
    int64_t sectors = crash->size / SECTOR;
    g_autofree uint64_t *base = g_new0(uint64_t, (gsize)sectors);
    g_autofree uint8_t *bytes = g_malloc0((gsize)crash->size);
    for (int64_t i = 0; crash->setup->backing && i < sectors * 2 / 3; i++) {
        base[i] = UINT64_C(0xbac0000000000000) + (uint64_t)i;
        stamp_fill(bytes + i * SECTOR, base[i]);
    }
    crash->history = history_new(sectors, base);
    ram_set(&ram_disks[BACKING], bytes, crash->size);
}

static int64_t position(void)
{
    return ram_disks[LIVE].log->len;
}

/* A new position of its own, also when the operation does nothing to the disk. */
static int64_t begin_operation(void)
{
    return ram_mark(&ram_disks[LIVE]);
}

static void note(struct crash *crash, int64_t offset, int64_t length, uint64_t stamp, bool counting,
                 int64_t begin, bool fua)
{
    for (int64_t i = 0; i < length / SECTOR; i++)
        history_write(crash->history, offset / SECTOR + i, counting ? stamp + (uint64_t)i : stamp,
                      begin, position(), fua);
}

static void co_do_write(struct crash *crash, struct blk_node *node, int64_t offset, int64_t length)
{
    struct iovec slot;
    g_autofree uint8_t *bytes = g_malloc((gsize)length);
    uint64_t stamp = crash->next_stamp;
    int64_t begin = begin_operation();
    bool fua = rng_percent(&crash->rng, 8);
    crash->next_stamp += (uint64_t)(length / SECTOR);
    for (int64_t i = 0; i < length / SECTOR; i++)
        stamp_fill(bytes + i * SECTOR, stamp + (uint64_t)i);
    struct span span = span_of(&slot, bytes, (size_t)length);
    must(crash, "write", node_co_write(node, offset, length, span, fua ? REQ_FUA : 0));
    note(crash, offset, length, stamp, true, begin, fua);
}

static void co_do_one(struct worker *w)
{
    struct crash *crash = w->crash;
    struct blk_node *node = w->node;
    int64_t dice = rng_below(&crash->rng, 100), begin = begin_operation();
    int64_t offset = (w->first + rng_below(&crash->rng, w->sectors)) * SECTOR;
    int64_t most = rng_percent(&crash->rng, 70) ? 8192 : crash->size;
    most = MIN(most, (w->first + w->sectors) * SECTOR - offset);
    int64_t length = (1 + rng_below(&crash->rng, most / SECTOR)) * SECTOR;
    if (dice < 55) {
        co_do_write(crash, node, offset, length);
    } else if (dice < 68) {
        uint32_t flags = rng_percent(&crash->rng, 50) ? REQ_MAY_UNMAP : 0;
        must(crash, "zero", node_co_zero(node, offset, length, flags));
        note(crash, offset, length, 0, false, begin, false);
    } else if (dice < 82) {
        must(crash, "discard", node_co_discard(node, offset, length));
        note(crash, offset, length, STAMP_DISCARDED, false, begin, false);
    } else {
        must(crash, "flush", node_co_flush(node));
        history_flush(crash->history, begin, position());
    }
}

static void co_work(void *arg)
{
    struct worker *w = arg;
    for (; w->left > 0; w->left--)
        co_do_one(w);
}

/* Runs all the guests of a workload to their end. Their stretches meet within clusters. */
static void do_all(struct crash *crash, struct blk_node *node)
{
    struct worker workers[MAX_WORKERS];
    int64_t sectors = crash->size / SECTOR, next = 0;
    int count = (int)MIN(MAX(1, crash->setup->workers), sectors), busy;
    for (int i = 0; i < count; i++) {
        int64_t end = sectors * (i + 1) / count;
        workers[i] = (struct worker){crash, node, next, end - next, 0};
        workers[i].left = rng_between(&crash->rng, 3, 40);
        next = end;
        loop_spawn(crash->loop, co_work, &workers[i]);
    }
    for (;;) {
        busy = 0;
        for (int i = 0; i < count; i++)
            busy += workers[i].left > 0;
        if (!busy)
            return;
        loop_turn(crash->loop, true);
    }
}

/* With VERBOSE: the recorded operations, as the positions in messages count them. */
static void print_log(void)
{
    static const char *const names[] = {"write",        "zero",       "resize",
                                        "flush begins", "flush ends", "mark"};
    const GArray *log = ram_disks[LIVE].log;
    for (guint i = 0; g_getenv("VERBOSE") && i < log->len; i++) {
        const struct ram_op *op = &g_array_index(log, struct ram_op, i);
        fprintf(stderr, "%u: %s %#" PRIx64 " +%#" PRIx64 "\n", i, names[op->kind], op->offset,
                op->length);
    }
}

/* Runs the workload; afterwards the disk's log holds all that happened. */
static void run_workload(struct crash *crash)
{
    ram_reset(LIVE);
    ram_reset(STATE);
    int64_t cluster = INT64_C(1) << crash->setup->cluster_bits;
    int64_t most = MIN(MAX(2 * cluster, 64 * KiB), MAX_SECTORS * SECTOR);
    crash->size =
        cluster > 64 * KiB ? 2 * cluster : align_up(rng_between(&crash->rng, SECTOR, most), SECTOR);
    begin_history(crash);
    create_image(crash);
    ram_disks[LIVE].shake = &crash->rng;
    crash->base = ram_disks[LIVE].bytes;
    g_byte_array_append(crash->durable, crash->base->data, crash->base->len);
    ram_record(&ram_disks[LIVE]);
    struct blk_node *node = open_disk(crash, LIVE, NODE_RDWR, 0);
    do_all(crash, node);
    int64_t begin = begin_operation();
    close_disk(crash, node, begin);
    history_flush(crash->history, begin, position());
    print_log();
}

/* Brings `durable` up to what is safe at the cut. */
static void advance_durable(struct crash *crash, const GArray *log, int64_t cut)
{
    int64_t safe = crash->applied;
    for (int64_t i = crash->applied; i < cut; i++) {
        const struct ram_op *op = &g_array_index(log, struct ram_op, i);
        if (op->kind == RAM_FLUSH_END)
            safe = MAX(safe, op->offset);
    }
    for (; crash->applied < safe; crash->applied++)
        ram_replay(crash->durable, &g_array_index(log, struct ram_op, crash->applied), -1);
}

enum loss { LOSE_NOTHING, LOSE_ONE, LOSE_RANDOM, LOSSES };

/* Rebuilds the disk as after a cut before operation `cut`. */
static void build_state(struct crash *crash, const GArray *log, int64_t cut, enum loss loss)
{
    struct rng *rng = &crash->rng;
    int64_t missing = crash->applied < cut ? rng_between(rng, crash->applied, cut - 1) : -1;
    g_byte_array_set_size(crash->state, 0);
    g_byte_array_append(crash->state, crash->durable->data, crash->durable->len);
    for (int64_t i = crash->applied; i < cut; i++) {
        const struct ram_op *op = &g_array_index(log, struct ram_op, i);
        int64_t keep = -1;
        if ((loss == LOSE_ONE && i == missing) || (loss == LOSE_RANDOM && rng_percent(rng, 40)))
            continue;
        if (loss == LOSE_RANDOM && op->kind == RAM_WRITE && rng_percent(rng, 30))
            keep = rng_below(rng, op->length / SECTOR + 1) * SECTOR;
        ram_replay(crash->state, op, keep);
    }
    ram_set(&ram_disks[STATE], crash->state->data, crash->state->len);
}

static void verify_refs(struct crash *crash, int64_t cut, const char *when)
{
    const GByteArray *bytes = ram_disks[STATE].bytes;
    struct qcow2_ref ref = qcow2_ref_check(bytes->data, bytes->len);
    if (ref.corruptions)
        fail(crash, cut, "%s: %" PRId64 " corruptions: %s", when, ref.corruptions, ref.first);
}

static void verify_sector(struct crash *crash, int64_t sector, const uint8_t *bytes, int64_t cut)
{
    uint64_t stamp = 0;
    bool whole = stamp_read(bytes, &stamp);
    if (whole && history_allows(crash->history, sector, stamp, cut))
        return;
    g_autofree char *history = history_describe(crash->history, sector, cut);
    fail(crash, cut, "guest sector %" PRId64 " reads as %#" PRIx64 "%s, but: %s", sector, stamp,
         whole ? "" : " and is torn", history);
}

static void verify_contents(struct crash *crash, struct blk_node *node, int64_t cut)
{
    g_autofree uint8_t *bytes = g_malloc((gsize)crash->size);
    int r = node_read(node, 0, crash->size, bytes);
    if (r < 0)
        fail(crash, cut, "read: %s", g_strerror(-r));
    for (int64_t i = 0; i < crash->size / SECTOR; i++)
        verify_sector(crash, i, bytes + i * SECTOR, cut);
}

/* The image must also stand further use. */
static void verify_use(struct crash *crash, int64_t cut)
{
    static const uint8_t zeroes[SECTOR];
    struct blk_node *node = open_disk(crash, STATE, NODE_RDWR, cut);
    int64_t offset = rng_below(&crash->rng, crash->size / SECTOR) * SECTOR;
    g_autofree uint8_t *keep = g_malloc(SECTOR);
    g_assert_cmpint(node_read(node, offset, SECTOR, keep), ==, 0);
    g_assert_cmpint(node_write(node, offset, SECTOR, zeroes, 0), ==, 0);
    g_assert_cmpint(node_write(node, offset, SECTOR, keep, 0), ==, 0);
    verify_contents(crash, node, cut);
    close_disk(crash, node, cut);
    verify_refs(crash, cut, "after further use");
}

static void verify_with_qemu_img(struct crash *crash, int64_t cut)
{
    g_autofree char *path = g_strdup_printf("%s/cairn-crash-%d.qcow2", g_get_tmp_dir(), getpid());
    const GByteArray *bytes = ram_disks[STATE].bytes;
    const char *argv[] = {"qemu-img", "check", "-q", "-f", "qcow2", path, NULL};
    int status = 0;
    g_assert_true(g_file_set_contents(path, (char *)bytes->data, bytes->len, NULL));
    if (g_spawn_sync(NULL, (char **)argv, NULL,
                     G_SPAWN_SEARCH_PATH | G_SPAWN_STDOUT_TO_DEV_NULL | G_SPAWN_STDERR_TO_DEV_NULL,
                     NULL, NULL, NULL, NULL, &status, NULL) &&
        status && !(WIFEXITED(status) && WEXITSTATUS(status) == 3))
        fail(crash, cut, "qemu-img check: status %#x, see %s", status, path);
    g_unlink(path);
}

static void verify_state(struct crash *crash, int64_t cut)
{
    int64_t dice = rng_below(&crash->rng, 400);
    verify_refs(crash, cut, "after the cut");
    if (dice == 0 && !crash->setup->backing)
        verify_with_qemu_img(crash, cut);
    struct blk_node *node = open_disk(crash, STATE, 0, cut);
    verify_contents(crash, node, cut);
    close_disk(crash, node, cut);
    if (dice % 8 == 0)
        verify_use(crash, cut);
}

/* Cuts the recorded workload in WORKLOAD_STATES places, front to back. */
static void cut_everywhere(struct crash *crash)
{
    const GArray *log = ram_disks[LIVE].log;
    for (int64_t i = 0; i < WORKLOAD_STATES; i++) {
        int64_t cut = (int64_t)log->len * i / (WORKLOAD_STATES - 1);
        advance_durable(crash, log, cut);
        build_state(crash, log, cut, (enum loss)rng_below(&crash->rng, LOSSES));
        verify_state(crash, cut);
    }
}

static void crash_run(const struct setup *setup, uint64_t seed)
{
    struct crash crash = {.setup = setup, .seed = seed, .rng = {seed}, .next_stamp = 1};
    crash.loop = loop_new(NULL);
    crash.drivers = ram_drivers();
    crash.graph = graph_new(crash.loop, crash.drivers);
    graph_set_trust(crash.graph, GRAPH_TRUST_ALL);
    crash.durable = g_byte_array_new();
    crash.state = g_byte_array_new();
    run_workload(&crash);
    cut_everywhere(&crash);
    graph_free(crash.graph);
    loop_free(crash.loop);
    history_free(crash.history);
    g_byte_array_unref(crash.durable);
    g_byte_array_unref(crash.state);
    g_free(crash.drivers);
}

static void test_setup(gconstpointer data)
{
    const struct setup *setup = data;
    const char *seed = g_getenv("SEED"), *count = g_getenv("COUNT");
    uint64_t first = seed ? g_ascii_strtoull(seed, NULL, 10) : 1;
    uint64_t runs = (uint64_t)setup->states / WORKLOAD_STATES;
    runs = count ? g_ascii_strtoull(count, NULL, 10) : g_test_slow() ? runs * 50 : runs;
    for (uint64_t i = 0; i < runs; i++)
        crash_run(setup, first + i);
}

int main(int argc, char **argv)
{
    static const struct setup setups[] = {
        {9, false, 700, 0}, {9, true, 300, 0},  {12, false, 300, 0},
        {12, true, 300, 0}, {16, true, 300, 0}, {21, false, 100, 0},
        {9, false, 300, 5}, {12, true, 500, 5}, {16, true, 300, 5},
    };
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(setups); i++) {
        g_autofree char *name = g_strdup_printf(
            "/crash/cluster-%d%s%s", 1 << setups[i].cluster_bits,
            setups[i].backing ? "-backing" : "", setups[i].workers ? "-parallel" : "");
        g_test_add_data_func(name, &setups[i], test_setup);
    }
    return g_test_run();
}
