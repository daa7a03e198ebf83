#include "tests/model/changes.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "base/bytes.h"
#include "base/loop.h"
#include "libblock/jobs/commit.h"
#include "libblock/jobs/rebase.h"
#include "libblock/libblock.h"
#include "tests/tools/tally.h"

struct change {
    const char *name;
    int weight;                       /* how often, beside the others */
    bool (*run)(struct world *world); /* false: nothing to do, or refused */
    int64_t count;
};

struct amend_call {
    struct blk_node *node;
    json_t *options;
    bool ok;
    GError *error;
};

/* True when it was done; false when the format says that it cannot. */
static bool done(struct world *world, const char *what, bool ok, GError *error)
{
    static const int refusals[] = {ENOTSUP, EINVAL, ERANGE, EOVERFLOW, EFBIG, EEXIST, EBUSY};
    bool refused = false;
    for (size_t i = 0; !ok && i < G_N_ELEMENTS(refusals); i++)
        refused = refused || g_error_matches(error, CAIRN_ERROR, refusals[i]);
    if (!ok && !refused)
        world_must(world, false, error, what);
    if (!ok && g_getenv("VERBOSE"))
        fprintf(stderr, "  %s: %s\n", what, error->message);
    g_clear_error(&error);
    return ok;
}

/* ---- snapshots ---- */

static struct world_snapshot *pick_snapshot(struct world *world)
{
    guint count = world->snapshots->len;
    return count ? g_ptr_array_index(world->snapshots, (guint)rng_below(&world->rng, count)) : NULL;
}

static bool snapshot_create(struct world *world)
{
    g_autofree char *name = g_strdup_printf("snapshot %d", world->names);
    struct blk_snapshot snapshot = {.name = name, .icount = -1, .date_ns = 1};
    GError *error = NULL;
    bool ok = node_snapshot_create(world->node, &snapshot, &error);
    if (!done(world, "snapshot create", ok, error))
        return false;
    struct world_snapshot *mine = g_new0(struct world_snapshot, 1);
    mine->name = g_steal_pointer(&name);
    mine->size = world->size;
    mine->bytes = g_memdup2(world->bytes, (gsize)world->size);
    g_ptr_array_add(world->snapshots, mine);
    world->names++;
    return true;
}

static bool snapshot_apply(struct world *world)
{
    const struct world_snapshot *mine = pick_snapshot(world);
    GError *error = NULL;
    if (!mine)
        return false;
    bool ok = node_snapshot_do(world->node, SNAPSHOT_APPLY, mine->name, &error);
    if (!done(world, "snapshot apply", ok, error))
        return false;
    world_resize(world, mine->size);
    memcpy(world->bytes, mine->bytes, (size_t)mine->size);
    return true;
}

static bool snapshot_delete(struct world *world)
{
    struct world_snapshot *mine = pick_snapshot(world);
    GError *error = NULL;
    if (!mine)
        return false;
    bool ok = node_snapshot_do(world->node, SNAPSHOT_DELETE, mine->name, &error);
    if (!done(world, "snapshot delete", ok, error))
        return false;
    g_ptr_array_remove(world->snapshots, mine);
    return true;
}

void changes_verify_snapshots(struct world *world)
{
    GError *error = NULL;
    for (guint i = 0; i < world->snapshots->len; i++) {
        const struct world_snapshot *mine = g_ptr_array_index(world->snapshots, i);
        bool ok = node_snapshot_do(world->node, SNAPSHOT_LOAD, mine->name, &error);
        world_must(world, ok, error, "snapshot load");
        g_assert_cmpint(node_size(world->node), ==, mine->size);
        g_autofree uint8_t *bytes = g_malloc((gsize)mine->size);
        g_assert_cmpint(node_read(world->node, 0, mine->size, bytes), ==, 0);
        if (memcmp(bytes, mine->bytes, (size_t)mine->size) != 0)
            world_must(world, false, NULL, mine->name);
    }
}

/* ---- sizes ---- */

static bool shrink(struct world *world)
{
    int64_t size = align_up(rng_between(&world->rng, 1, world->size), world->align);
    GError *error = NULL;
    bool ok = node_resize(world->node, size, "off", &error);
    if (!done(world, "shrink", ok, error))
        return false;
    world_resize(world, size);
    return true;
}

/* ---- formats ---- */

static void amend_co_run(void *arg)
{
    struct amend_call *call = arg;
    call->ok = node_co_amend(call->node, call->options, false, NULL, &call->error);
}

static bool amend(struct world *world)
{
    struct amend_call call = {.node = world->node};
    g_autofree char *bits = g_strdup_printf("%d", 1 << rng_below(&world->rng, 7));
    bool coin = rng_percent(&world->rng, 50);
    switch (rng_below(&world->rng, 3)) {
    case 0: call.options = json_pack("{s:s}", "compat", coin ? "0.10" : "1.1"); break;
    case 1: call.options = json_pack("{s:s}", "lazy_refcounts", coin ? "on" : "off"); break;
    default: call.options = json_pack("{s:s}", "refcount_bits", bits);
    }
    loop_call(world->loop, amend_co_run, &call);
    json_decref(call.options);
    return done(world, "amend", call.ok, call.error);
}

/* ---- backing files ---- */

static bool empty(struct world *world)
{
    GError *error = NULL;
    bool ok = node_empty(world->node, &error);
    if (!done(world, "empty", ok, error))
        return false;
    memcpy(world->bytes, world->beneath, (size_t)world->size);
    return true;
}

static bool run_job(struct world *world, struct job *job, const char *what)
{
    GError *error = NULL;
    bool ok = job_run(job, world->graph, NULL, NULL, &error);
    job_free(job);
    return done(world, what, ok, error);
}

/* The backing file then reads as the image does. Snapshots, which show it in their holes, would
 * not stay as they are. */
static bool commit(struct world *world)
{
    struct commit_args args = {.top = world->node, .base = node_backing(world->node)};
    args.threads = (int)rng_between(&world->rng, 1, 2);
    if (!args.base || world->snapshots->len || !run_job(world, commit_job_new(&args), "commit"))
        return false;
    memcpy(world->beneath, world->bytes, (size_t)world->size);
    world_reopen(world, true);
    return true;
}

/* From a backing file to none: everything that it provided is copied. */
static bool rebase(struct world *world)
{
    struct rebase_args args = {.overlay = world->node, .compress = rng_percent(&world->rng, 30)};
    args.threads = (int)rng_between(&world->rng, 1, 2);
    if (!world->depth || world->snapshots->len || !run_job(world, rebase_job_new(&args), "rebase"))
        return false;
    memset(world->beneath, 0, (size_t)world->size);
    world->depth = 0;
    world_reopen(world, true);
    return true;
}

/* ---- check ---- */

/* There is nothing to mend, and nothing is mended. */
static bool check(struct world *world)
{
    struct blk_check result = {0};
    GError *error = NULL;
    uint32_t fix = (uint32_t)rng_below(&world->rng, 4);
    world_must(world, node_close(world->node, &error), error, "close");
    world->node = world_open(world, 0, NODE_RDWR | NODE_REPAIR);
    bool ok = node_check(world->node, fix, &result, &error);
    ok = done(world, "check", ok, error);
    if (result.corruptions || result.leaks || result.check_errors || result.corruptions_fixed ||
        result.leaks_fixed)
        world_must(world, false, NULL, "check finds something");
    world_reopen(world, true);
    return ok;
}

/* ---- the list ---- */

static struct change changes[] = {
    {"snapshot-create", 3, snapshot_create, 0},
    {"snapshot-apply", 2, snapshot_apply, 0},
    {"snapshot-delete", 2, snapshot_delete, 0},
    {"shrink", 2, shrink, 0},
    {"amend", 2, amend, 0},
    {"empty", 1, empty, 0},
    {"commit", 2, commit, 0},
    {"rebase", 1, rebase, 0},
    {"check", 2, check, 0},
};

static struct change *pick_change(struct world *world)
{
    int64_t total = 0, dice;
    for (size_t i = 0; i < G_N_ELEMENTS(changes); i++)
        total += changes[i].weight;
    dice = rng_below(&world->rng, total);
    for (struct change *change = changes;; change++)
        if ((dice -= change->weight) < 0)
            return change;
}

void changes_do_one(struct world *world)
{
    struct change *change = pick_change(world);
    if (g_getenv("VERBOSE"))
        fprintf(stderr, "  %s\n", change->name);
    change->count += change->run(world);
}

void changes_print(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(changes); i++)
        tally_print(changes[i].name, changes[i].count);
}
