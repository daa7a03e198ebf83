/*
 * Commit: the map of the chain says what lies above the base. Data there is copied into the base,
 * zeroes are zeroed there by the planner. Whatever is written is hidden by the layers above until
 * those are emptied or dropped, so the top reads the same all the time.
 */
#include "libblock/jobs/commit.h"

#include <errno.h>

#include "libblock/jobs/patch.h"

enum { MAP_EXTENTS = 1024, BATCH_EXTENTS = 4096 };

struct commit {
    struct commit_args args;
    struct job *job;
    int depth; /* of the base in the chain */
};

/* ---- planning ---- */

/* Zeroes [range->offset, range->end) of the base and begins a new range. */
static int co_zero_range(struct commit *commit, struct range *range)
{
    int64_t length = range->end - range->offset;
    int ret = length ? node_co_zero(commit->args.base, range->offset, length, REQ_MAY_UNMAP) : 0;
    range->offset = range->end = 0;
    return ret;
}

/* Takes one extent of the chain: data into the lane, zeroes into `zeroes`. */
static int co_take_extent(struct commit *commit, const struct blk_extent *extent,
                          struct extent_list *lane, struct range *zeroes)
{
    if (extent->depth >= commit->depth) {
        return 0;
    }
    if (!(extent->flags & EXTENT_ZERO)) {
        return batch_add(lane, extent, commit->args.top, 0) ? 0 : -ENOMEM;
    }
    int ret = zeroes->end != extent->offset ? co_zero_range(commit, zeroes) : 0;
    zeroes->offset = zeroes->end == extent->offset ? zeroes->offset : extent->offset;
    zeroes->end = extent->offset + extent->length;
    return ret;
}

/* Maps on from *pos until the batch is full. */
static int co_fill_batch(struct commit *commit, struct batch *batch, int64_t *pos)
{
    struct blk_node *top = commit->args.top;
    struct extent_list list = {.limit = MAP_EXTENTS};
    struct range zeroes = {0, 0};
    int ret = 0;
    while (!ret && *pos < node_size(top) && batch->lanes[0].count < BATCH_EXTENTS) {
        extents_clear(&list);
        ret = node_co_map(top, *pos, node_size(top) - *pos, MAP_CHAIN | MAP_LEAF, &list);
        ret = !ret && !list.count ? -EIO : ret;
        for (int i = 0; i < list.count && !ret; i++) {
            ret = co_take_extent(commit, &list.items[i], &batch->lanes[0], &zeroes);
            *pos = list.items[i].offset + list.items[i].length;
        }
    }
    extents_done(&list);
    return ret ? ret : co_zero_range(commit, &zeroes);
}

static struct batch *commit_co_plan(void *user, int64_t from, int64_t chunk, GError **error)
{
    struct commit *commit = user;
    struct batch *batch = batch_new(from, 1, 1);
    int64_t pos = from;
    int ret = co_fill_batch(commit, batch, &pos);
    if (ret) {
        batch_unref(batch);
        error_set_errno(error, -ret, "could not go on with '%s' at byte %" PRId64,
                        node_filename(commit->args.top), pos);
        return NULL;
    }
    batch_settle(batch, pos, chunk);
    return batch;
}

/* ---- the job ---- */

static bool find_depth(struct commit *commit, GError **error)
{
    struct blk_node *node = commit->args.top;
    while (node && node != commit->args.base) {
        node = node_backing(node);
        commit->depth++;
    }
    return (node && commit->depth) ||
           error_set(error, EINVAL, "the image to commit into is not in the chain of '%s'",
                     node_filename(commit->args.top));
}

static bool co_copy(struct commit *commit, GError **error)
{
    struct blk_node *top = commit->args.top, *base = commit->args.base;
    struct patch_task task = {
        .job = commit->job,
        .target = base,
        .rule = PATCH_ALL,
        .lane_count = 1,
        .total = node_size(top),
        .threads = commit->args.threads,
        .user = commit,
        .co_plan = commit_co_plan,
    };
    if (node_size(base) < node_size(top) && !node_co_resize(base, node_size(top), "off", error)) {
        return false;
    }
    if (!patch_co_run(&task, error)) {
        return false;
    }
    int ret = node_co_flush(base);
    return !ret || error_set_errno(error, -ret, "could not flush '%s'", node_filename(base));
}

static bool commit_co_run(struct job *job, void *arg, GError **error)
{
    struct commit *commit = arg;
    struct blk_node *base = commit->args.base;
    uint32_t writes = NODE_RDWR | NODE_UNSHARED;
    commit->job = job;
    if (!find_depth(commit, error)) {
        return false;
    }
    bool writable = node_is_writable(base);
    if (!writable && !node_co_reopen(base, writes, error)) {
        return false;
    }
    bool done = co_copy(commit, error);
    if (!writable && !node_co_reopen(base, 0, done ? error : NULL)) {
        done = false;
    }
    return done && (commit->args.keep || node_co_empty(commit->args.top, error));
}

struct job *commit_job_new(const struct commit_args *args)
{
    static const struct job_type type = {"commit", commit_co_run, g_free};
    struct commit *commit = g_new0(struct commit, 1);
    commit->args = *args;
    return job_new(&type, commit);
}
