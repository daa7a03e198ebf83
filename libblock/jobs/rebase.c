/*
 * Rebase: two lanes, the old chain below the overlay and the new one. Batches leave out what both
 * take from the same bytes of one file, and what the overlay holds itself; where the rest differs,
 * the old contents go into the overlay, by its clusters.
 */
#include "libblock/jobs/rebase.h"

#include <errno.h>

#include "libblock/jobs/patch.h"

enum { MAP_EXTENTS = 1024 };

struct rebase {
    struct rebase_args args;
    struct blk_node *old; /* or NULL */
    struct lane lanes[BATCH_LANES];
    struct batch_plan plan;
};

/* ---- planning ---- */

/* Appends the ranges of [from, end) that the overlay holds itself. */
static int co_find_own(const struct rebase *rebase, int64_t from, int64_t end, GArray *own)
{
    struct extent_list list = {.limit = MAP_EXTENTS};
    int ret = 0;
    while (from < end && !ret) {
        extents_clear(&list);
        ret = node_co_map(rebase->args.overlay, from, end - from, 0, &list);
        ret = !ret && !list.count ? -EIO : ret;
        for (int i = 0; i < list.count && !ret; i++) {
            const struct blk_extent *e = &list.items[i];
            struct range range = {e->offset, e->offset + e->length};
            from = range.end;
            if (e->flags & EXTENT_ALLOCATED) {
                g_array_append_val(own, range);
            }
        }
    }
    extents_done(&list);
    return ret;
}

static struct batch *rebase_co_plan(void *user, int64_t from, int64_t chunk, GError **error)
{
    struct rebase *rebase = user;
    struct batch *batch;
    int lane = 0;
    rebase->plan.chunk = chunk;
    int ret = batch_co_map(&rebase->plan, from, &batch, &lane);
    if (ret) {
        error_set_errno(error, -ret, "could not map '%s' from byte %" PRId64 " on",
                        node_filename(lane ? rebase->args.backing : rebase->old), from);
        return NULL;
    }
    g_autoptr(GArray) own = g_array_new(false, false, sizeof(struct range));
    ret = co_find_own(rebase, from, batch->end, own);
    ret = ret ? ret : batch_cut(batch, rebase->lanes, own);
    if (ret) {
        batch_unref(batch);
        error_set_errno(error, -ret, "could not map '%s' from byte %" PRId64 " on",
                        node_filename(rebase->args.overlay), from);
        return NULL;
    }
    return batch;
}

/* ---- the job ---- */

static bool co_find_cluster(struct rebase *rebase, GError **error)
{
    struct blk_info info;
    if (!node_co_info(rebase->args.overlay, &info, error)) {
        return false;
    }
    rebase->plan.align = max_i64(info.cluster_size, 512);
    node_info_clear(&info);
    return true;
}

static bool co_merge(struct rebase *rebase, struct job *job, GError **error)
{
    const struct rebase_args *args = &rebase->args;
    rebase->old = node_backing(args->overlay);
    rebase->lanes[0] = (struct lane){&rebase->old, rebase->old ? 1 : 0};
    rebase->lanes[1] = (struct lane){&rebase->args.backing, 1};
    rebase->plan.lanes = rebase->lanes;
    rebase->plan.lane_count = args->backing ? 2 : 1;
    rebase->plan.total = node_size(args->overlay);
    struct patch_task task = {
        .job = job,
        .target = args->overlay,
        .rule = PATCH_DIFFERENT,
        .plain_zeroes = !rebase->old,
        .compress = args->compress,
        .lane_count = rebase->plan.lane_count,
        .total = rebase->plan.total,
        .threads = args->threads,
        .user = rebase,
        .co_plan = rebase_co_plan,
    };
    if (!co_find_cluster(rebase, error) || !patch_co_run(&task, error)) {
        return false;
    }
    int ret = node_co_flush(args->overlay);
    return !ret ||
           error_set_errno(error, -ret, "could not flush '%s'", node_filename(args->overlay));
}

static bool rebase_co_run(struct job *job, void *arg, GError **error)
{
    struct rebase *rebase = arg;
    const struct rebase_args *args = &rebase->args;
    return co_merge(rebase, job, error) &&
           node_co_set_backing(args->overlay, args->name, args->format, error);
}

struct job *rebase_job_new(const struct rebase_args *args)
{
    static const struct job_type type = {"rebase", rebase_co_run, g_free};
    struct rebase *rebase = g_new0(struct rebase, 1);
    rebase->args = *args;
    return job_new(&type, rebase);
}
