#include "tests/crash/changes.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "base/loop.h"
#include "libblock/jobs/commit.h"
#include "libblock/jobs/rebase.h"
#include "libblock/libblock.h"
#include "tests/tools/ram.h"
#include "tests/tools/tally.h"

struct change {
    const char *name;
    int weight;                      /* how often, beside the others */
    bool (*run)(struct workload *w); /* false: nothing to do, or refused */
    int64_t count;
};

/* What a coroutine function is called with, from outside of coroutines. */
struct call {
    struct blk_node *node;
    json_t *options;
    bool ok;
    GError *error;
};

static int64_t position(const struct workload *w)
{
    return cuts_position(w->cuts);
}

/* True when it was done; false when the format says that it cannot. */
static bool done(struct workload *w, const char *what, bool ok, GError *error)
{
    static const int refusals[] = {ENOTSUP, EINVAL, ERANGE, EOVERFLOW, EFBIG, EEXIST, EBUSY};
    bool refused = false;
    if (ok)
        return true;
    for (size_t i = 0; i < G_N_ELEMENTS(refusals); i++)
        refused = refused || g_error_matches(error, CAIRN_ERROR, refusals[i]);
    if (!refused)
        workload_fail(w, "%s: %s", what, error->message);
    if (g_getenv("VERBOSE"))
        fprintf(stderr, "%s: %s\n", what, error->message);
    g_clear_error(&error);
    return false;
}

/* ---- snapshots ---- */

/* One of the snapshots that there are now, or NULL. */
static const struct history_snapshot *pick_snapshot(struct workload *w)
{
    int count, have = 0;
    const struct history_snapshot *all = history_snapshots(w->history, &count), *pick = NULL;
    for (int i = 0; i < count; i++)
        if (all[i].deleted_begin == INT64_MAX && rng_below(&w->rng, ++have) == 0)
            pick = &all[i];
    return pick;
}

static bool snapshot_create(struct workload *w)
{
    g_autofree char *name = g_strdup_printf("s%d", w->names);
    g_autofree uint64_t *stamps = workload_read(w, w->node);
    struct blk_snapshot snapshot = {.name = name, .icount = -1, .date_ns = 1};
    int64_t begin = ram_mark(&ram_disks[TOP]);
    GError *error = NULL;
    bool ok = node_snapshot_create(w->node, &snapshot, &error);
    if (!done(w, "snapshot create", ok, error))
        return false;
    history_snapshot_add(w->history, name, w->size, stamps, begin, position(w));
    w->names++;
    return true;
}

static bool snapshot_delete(struct workload *w)
{
    const struct history_snapshot *snapshot = pick_snapshot(w);
    int64_t begin = ram_mark(&ram_disks[TOP]);
    GError *error = NULL;
    if (!snapshot)
        return false;
    bool ok = node_snapshot_do(w->node, SNAPSHOT_DELETE, snapshot->name, &error);
    if (!done(w, "snapshot delete", ok, error))
        return false;
    history_snapshot_delete(w->history, snapshot->name, begin, position(w));
    return true;
}

/* Every sector from `first` to `end` reads as `stamps` now. */
static void note_all(struct workload *w, int64_t first, int64_t end, const uint64_t *stamps,
                     int64_t begin, uint32_t flags)
{
    for (int64_t i = first; i < end; i++)
        history_write(w->history, i, stamps ? stamps[i] : 0, begin, position(w), flags);
}

static void note_size(struct workload *w, int64_t size, int64_t begin)
{
    if (size != w->size)
        history_resize(w->history, size, begin, position(w));
    w->size = size;
}

static bool snapshot_apply(struct workload *w)
{
    const struct history_snapshot *snapshot = pick_snapshot(w);
    int64_t begin = ram_mark(&ram_disks[TOP]);
    GError *error = NULL;
    if (!snapshot)
        return false;
    bool ok = node_snapshot_do(w->node, SNAPSHOT_APPLY, snapshot->name, &error);
    if (!done(w, "snapshot apply", ok, error))
        return false;
    note_all(w, 0, snapshot->size / SECTOR, snapshot->stamps, begin, HISTORY_DURABLE);
    note_size(w, snapshot->size, begin);
    return true;
}

/* ---- sizes ---- */

static bool resize_to(struct workload *w, int64_t size, const char *preallocation)
{
    int64_t begin = ram_mark(&ram_disks[TOP]), old = w->size / SECTOR;
    GError *error = NULL;
    bool ok = node_resize(w->node, size, preallocation, &error);
    if (!done(w, "resize", ok, error))
        return false;
    note_all(w, old, size / SECTOR, NULL, begin, HISTORY_DURABLE);
    note_all(w, size / SECTOR, old, workload_beneath(w), begin, HISTORY_LOOSE | HISTORY_DURABLE);
    note_size(w, size, begin);
    return true;
}

static bool grow(struct workload *w)
{
    static const char *const modes[] = {"off", "off", "off", "metadata", "falloc", "full"};
    int64_t room = w->sectors - w->size / SECTOR;
    int64_t most = w->cluster > 64 * KiB || w->setup->wide ? room : MIN(room, 64);
    const char *mode = modes[rng_below(&w->rng, w->cluster > 64 * KiB ? 3 : G_N_ELEMENTS(modes))];
    return room > 0 && resize_to(w, w->size + rng_between(&w->rng, 1, most) * SECTOR, mode);
}

static bool shrink(struct workload *w)
{
    int64_t sectors = w->size / SECTOR;
    return sectors > 1 && resize_to(w, rng_between(&w->rng, 1, sectors - 1) * SECTOR, "off");
}

/* ---- formats ---- */

static void amend_co_run(void *arg)
{
    struct call *call = arg;
    call->ok = node_co_amend(call->node, call->options, false, NULL, &call->error);
}

static bool amend_to(struct workload *w, json_t *options)
{
    struct call call = {.node = w->node, .options = options};
    ram_mark(&ram_disks[TOP]);
    loop_call(w->loop, amend_co_run, &call);
    json_decref(options);
    return done(w, "amend", call.ok, call.error);
}

static bool amend_version(struct workload *w)
{
    return amend_to(w, json_pack("{s:s}", "compat", rng_percent(&w->rng, 50) ? "0.10" : "1.1"));
}

static bool amend_refcounts(struct workload *w)
{
    g_autofree char *bits = g_strdup_printf("%d", 1 << rng_below(&w->rng, 7));
    return amend_to(w, json_pack("{s:s}", "refcount_bits", bits));
}

static bool amend_lazy(struct workload *w)
{
    const char *state = rng_percent(&w->rng, 50) ? "on" : "off";
    return amend_to(w, json_pack("{s:s}", "lazy_refcounts", state));
}

static void empty_co_run(void *arg)
{
    struct call *call = arg;
    call->ok = node_co_empty(call->node, &call->error);
}

static bool empty(struct workload *w)
{
    struct call call = {.node = w->node};
    int64_t begin = ram_mark(&ram_disks[TOP]);
    loop_call(w->loop, empty_co_run, &call);
    if (!done(w, "empty", call.ok, call.error))
        return false;
    note_all(w, 0, w->size / SECTOR, workload_beneath(w), begin, HISTORY_DURABLE);
    return true;
}

/* ---- backing files ---- */

static bool has_snapshots(const struct workload *w)
{
    int count;
    const struct history_snapshot *all = history_snapshots(w->history, &count);
    while (count && all[count - 1].deleted_begin < INT64_MAX)
        count--;
    return count;
}

static bool run_job(struct workload *w, struct job *job, const char *what)
{
    GError *error = NULL;
    bool ok = job_run(job, w->graph, NULL, NULL, &error);
    job_free(job);
    return done(w, what, ok, error);
}

/* The backing file reads as the image does, which stays as it is all the time. Snapshots, which
 * show the backing file in their holes, would not. */
static bool commit(struct workload *w)
{
    struct base *base = w->backing;
    struct commit_args args = {.top = w->node, .base = node_backing(w->node), .threads = 1};
    if (!base || has_snapshots(w))
        return false;
    g_autofree uint64_t *stamps = workload_read(w, w->node);
    int64_t begin = ram_mark(&ram_disks[TOP]);
    if (!run_job(w, commit_job_new(&args), "commit"))
        return false;
    for (int64_t i = 0; i < w->size / SECTOR; i++) {
        history_write(base->history, i, stamps[i], begin, position(w), HISTORY_DURABLE);
        base->stamps[i] = stamps[i];
    }
    if (base->size < w->size)
        history_resize(base->history, w->size, begin, position(w));
    base->size = MAX(base->size, w->size);
    workload_reopen(w);
    return true;
}

static bool rebase(struct workload *w)
{
    struct base *base = rng_percent(&w->rng, 80) ? &w->bases[rng_below(&w->rng, BASES)] : NULL;
    g_autofree char *name = base ? g_strdup_printf("ram:%d", base->disk) : NULL;
    struct rebase_args args = {.overlay = w->node, .name = name, .threads = 1};
    if (has_snapshots(w))
        return false;
    args.format = base ? base->format : NULL;
    args.backing = base ? workload_open_base(w, base) : NULL;
    args.compress = rng_percent(&w->rng, 20);
    bool ok = run_job(w, rebase_job_new(&args), "rebase");
    if (base)
        workload_close(w, args.backing);
    w->backing = ok ? base : w->backing;
    workload_reopen(w);
    return ok;
}

/* ---- repair ---- */

static bool repair(struct workload *w)
{
    struct blk_check check = {0};
    GError *error = NULL;
    int64_t begin = ram_mark(&ram_disks[TOP]);
    uint32_t fix = CHECK_FIX_LEAKS | (rng_percent(&w->rng, 50) ? CHECK_FIX_ERRORS : 0);
    workload_close(w, w->node);
    history_flush(w->history, begin, position(w));
    w->node = workload_open(w, TOP, NODE_RDWR | NODE_REPAIR);
    bool ok = node_check(w->node, fix, &check, &error);
    ok = done(w, "check", ok, error);
    if (ok && (check.corruptions || check.check_errors || check.leaks))
        workload_fail(w, "check -r leaves %" PRId64 " corruptions, %" PRId64 " leaks",
                      check.corruptions, check.leaks);
    workload_close(w, w->node);
    w->node = workload_open(w, TOP, NODE_RDWR);
    return ok;
}

/* ---- the list ---- */

static struct change changes[] = {
    {"snapshot-create", 2, snapshot_create, 0},
    {"snapshot-apply", 1, snapshot_apply, 0},
    {"snapshot-delete", 1, snapshot_delete, 0},
    {"grow", 1, grow, 0},
    {"shrink", 1, shrink, 0},
    {"amend-compat", 1, amend_version, 0},
    {"amend-refcounts", 1, amend_refcounts, 0},
    {"amend-lazy", 1, amend_lazy, 0},
    {"empty", 1, empty, 0},
    {"repair", 1, repair, 0},
    {"commit", 1, commit, 0},
    {"rebase", 1, rebase, 0},
};

static struct change *pick_change(struct workload *w)
{
    int64_t total = 0, dice;
    for (size_t i = 0; i < G_N_ELEMENTS(changes); i++)
        total += changes[i].weight;
    dice = rng_below(&w->rng, total);
    for (struct change *change = changes;; change++)
        if ((dice -= change->weight) < 0)
            return change;
}

void changes_do_one(struct workload *w)
{
    struct change *change = pick_change(w);
    if (g_getenv("VERBOSE"))
        fprintf(stderr, "%" PRId64 ": %s\n", position(w), change->name);
    change->count += change->run(w);
}

void changes_print(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(changes); i++)
        tally_print(changes[i].name, changes[i].count);
}
