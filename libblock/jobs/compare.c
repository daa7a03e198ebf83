/*
 * Compare: two lanes, read side by side wherever either holds data; what both map to zero, or to
 * the same bytes of the same leaf, is never read. The lower of the differences that workers find
 * wins, and stops everything past it, so the answer does not depend on who finds what first.
 *
 * Strict comparison of allocation works on the maps alone, in the planner, which sees all offsets
 * before the workers do.
 */
#include "libblock/jobs/compare.h"

#include <errno.h>
#include <pthread.h>

#include "libblock/jobs/batch.h"
#include "libblock/jobs/pipeline.h"
#include "libblock/jobs/reader.h"
#include "libblock/libblock.h"

enum {
    CHUNK = 256 * 1024, /* of each side */
    SMALL = 2 * 1024 * 1024,
    DEPTH = 1, /* nobody waits for a turn */
    DEPTH_DIRECT = 4,
    MAX_BUFFERS = 32 * 1024 * 1024,
    STRICT_EXTENTS = 1024,
    STRICT_FLAGS = EXTENT_DATA | EXTENT_ZERO | EXTENT_ALLOCATED | EXTENT_COMPRESSED,
};

struct compare {
    struct compare_args args;
    struct compare_result *result;
    struct loop *owner;
    struct lane lanes[2];
    struct batch_plan plan;
    int64_t common;       /* bytes that both have */
    pthread_mutex_t lock; /* of *result */
};

struct compare_slot {
    struct compare *compare;
    struct reader reader;
    uint8_t *data[2];
    int64_t size;
};

static void *share_new(void *user)
{
    return g_new0(struct reader_share, 1);
}

static void share_free(void *share)
{
    reader_share_done(share);
    g_free(share);
}

static void *slot_new(void *user, void *share)
{
    struct compare *compare = user;
    struct compare_slot *slot = g_new0(struct compare_slot, 1);
    slot->compare = compare;
    reader_init(&slot->reader, share, compare->owner, NULL);
    return slot;
}

static void slot_free(void *arg)
{
    struct compare_slot *slot = arg;
    reader_done(&slot->reader);
    buffer_free(slot->data[0]);
    buffer_free(slot->data[1]);
    g_free(slot);
}

static bool slot_reserve(struct compare_slot *slot, int64_t size)
{
    if (size > slot->size) {
        for (int i = 0; i < 2; i++) {
            buffer_free(slot->data[i]);
            slot->data[i] = buffer_try_new(size);
        }
        slot->size = slot->data[0] && slot->data[1] ? size : 0;
    }
    return slot->size >= size;
}

/* Keeps the lowest difference; where allocation and contents differ at one place, allocation. */
static void note_difference(struct compare *compare, enum compare_verdict verdict, int64_t offset)
{
    struct compare_result *result = compare->result;
    pthread_mutex_lock(&compare->lock);
    if (result->verdict == COMPARE_EQUAL || offset < result->offset) {
        result->verdict = verdict;
        result->offset = offset;
    }
    pthread_mutex_unlock(&compare->lock);
}

/* ---- contents ---- */

/* Index of the first byte that differs, or `length`. */
static int64_t first_difference(const uint8_t *a, const uint8_t *b, int64_t length)
{
    int64_t at = 0;
    for (int64_t step = 4096; step > 0; step /= 64) {
        while (at + step <= length && memcmp(a + at, b + at, step) == 0) {
            at += step;
        }
    }
    return at;
}

static int co_read_run(struct compare_slot *slot, const struct batch *batch,
                       const struct range *run, int *ret_side)
{
    for (int i = 0; i < 2; i++) {
        int ret = reader_co_read(&slot->reader, &batch->lanes[i], run->offset,
                                 run->end - run->offset, slot->data[i]);
        if (ret) {
            *ret_side = i;
            return ret;
        }
    }
    return 0;
}

static bool read_error(struct compare_slot *slot, int side, int ret, GError **error)
{
    struct compare *compare = slot->compare;
    struct blk_node *node = side ? compare->args.b : compare->args.a;
    pthread_mutex_lock(&compare->lock);
    compare->result->node = node;
    pthread_mutex_unlock(&compare->lock);
    return error_set_errno(error, -ret, "could not read '%s' at byte %" PRId64,
                           node_filename(slot->reader.failed_node), slot->reader.failed_offset);
}

/* Compares one run; false with *error set, or with *ret_found when they differ. */
static bool co_compare_run(struct pipeline *pipeline, struct compare_slot *slot,
                           const struct batch *batch, const struct range *run, bool *ret_found,
                           GError **error)
{
    int side, ret = co_read_run(slot, batch, run, &side);
    if (ret) {
        return read_error(slot, side, ret, error);
    }
    int64_t length = run->end - run->offset;
    int64_t at = first_difference(slot->data[0], slot->data[1], length);
    *ret_found = at < length;
    if (*ret_found) {
        int64_t offset = run->offset + at;
        pipeline_stop_at(pipeline, offset);
        note_difference(slot->compare,
                        offset < slot->compare->common ? COMPARE_CONTENT : COMPARE_TAIL, offset);
    }
    return true;
}

static bool compare_co_item(struct pipeline *pipeline, void *arg, const struct pipeline_item *item,
                            GError **error)
{
    struct compare_slot *slot = arg;
    if (!slot_reserve(slot, item->batch->chunk)) {
        return error_set(error, ENOMEM, "not enough memory for a buffer of %" PRId64 " bytes",
                         item->batch->chunk);
    }
    struct range run = {item->offset, item->offset};
    bool found = false;
    while (!found && run.end < item->end &&
           batch_next_run(item->batch, run.end, item->batch->chunk, &run) &&
           run.offset < item->end) {
        run.end = min_i64(run.end, item->end);
        if (!co_compare_run(pipeline, slot, item->batch, &run, &found, error)) {
            return false;
        }
    }
    return true;
}

/* ---- allocation ---- */

static int co_map_side(struct blk_node *node, int64_t from, int64_t end, struct extent_list *list)
{
    extents_clear(list);
    list->limit = STRICT_EXTENTS;
    return node_co_map(node, from, end - from, MAP_CHAIN | MAP_HOLES, list);
}

/* The first place in [from, end) where the lists' flags differ; *ret_end is how far both reach. */
static int64_t flags_differ(const struct extent_list *a, const struct extent_list *b, int64_t from,
                            int64_t end, int64_t *ret_end)
{
    int i = 0, j = 0;
    int64_t pos = from;
    while (pos < end && i < a->count && j < b->count) {
        const struct blk_extent *x = &a->items[i], *y = &b->items[j];
        if ((x->flags ^ y->flags) & STRICT_FLAGS) {
            break;
        }
        int64_t x_end = x->offset + x->length, y_end = y->offset + y->length;
        pos = min_i64(x_end, y_end);
        i += pos == x_end;
        j += pos == y_end;
    }
    *ret_end = pos;
    return pos < end && i < a->count && j < b->count ? pos : -1;
}

/* Compares the allocation of [from, end) and notes a difference. On failure -errno, and *ret_side
 * is what could not be mapped. */
static int co_compare_allocation(struct compare *compare, int64_t from, int64_t end, int *ret_side)
{
    struct blk_node *nodes[2] = {compare->args.a, compare->args.b};
    struct extent_list lists[2] = {{0}, {0}};
    int ret = 0;
    int64_t differs = -1;
    while (!ret && from < end && differs < 0) {
        for (int i = 0; i < 2 && !ret; i++) {
            *ret_side = i;
            ret = co_map_side(nodes[i], from, end, &lists[i]);
        }
        int64_t before = from;
        differs = ret ? -1 : flags_differ(&lists[0], &lists[1], from, end, &from);
        ret = !ret && differs < 0 && from == before ? -EIO : ret;
    }
    if (differs >= 0) {
        note_difference(compare, COMPARE_ALLOCATION, differs);
        compare->plan.total = differs;
    }
    extents_done(&lists[0]);
    extents_done(&lists[1]);
    return ret;
}

/* ---- the job ---- */

static bool map_error(struct compare *compare, int side, int64_t from, int ret, GError **error)
{
    struct blk_node *node = side ? compare->args.b : compare->args.a;
    compare->result->node = node;
    compare->result->map_failed = true;
    return error_set_errno(error, -ret, "could not map '%s' from byte %" PRId64 " on",
                           node_filename(node), from);
}

static struct batch *compare_co_plan(void *user, int64_t from, GError **error)
{
    struct compare *compare = user;
    struct batch *batch;
    int side = 0, ret = batch_co_map(&compare->plan, from, &batch, &side);
    if (ret) {
        map_error(compare, side, from, ret, error);
        return NULL;
    }
    return batch;
}

static bool is_direct(const struct compare *compare)
{
    return node_limits(compare->args.a)->memory_align > 1 ||
           node_limits(compare->args.b)->memory_align > 1;
}

static bool co_compare_contents(struct job *job, struct compare *compare, GError **error)
{
    int64_t slots = MAX_BUFFERS / (CHUNK * 2);
    struct pipeline_task task = {
        .job = job,
        .user = compare,
        .total = compare->plan.total,
        .small = SMALL,
        .threads = (int)min_i64(compare->args.threads ? compare->args.threads : pool_cpus(), slots),
        .depth = is_direct(compare) ? DEPTH_DIRECT : DEPTH,
        .co_plan = compare_co_plan,
        .share_new = share_new,
        .share_free = share_free,
        .slot_new = slot_new,
        .slot_free = slot_free,
        .co_item = compare_co_item,
    };
    job_add_total(job, task.total);
    return pipeline_co_run(&task, error);
}

static bool compare_co_run(struct job *job, void *arg, GError **error)
{
    struct compare *compare = arg;
    int64_t a = node_size(compare->args.a), b = node_size(compare->args.b);
    compare->owner = loop_current();
    compare->common = min_i64(a, b);
    compare->plan = (struct batch_plan){
        .lanes = compare->lanes,
        .lane_count = 2,
        .total = compare->args.strict ? compare->common : max_i64(a, b),
        .align = 4096,
        .chunk = CHUNK,
    };
    if (compare->args.strict) {
        int side = 0, ret = co_compare_allocation(compare, 0, compare->common, &side);
        if (ret) {
            return map_error(compare, side, 0, ret, error);
        }
    }
    if (!co_compare_contents(job, compare, error)) {
        return false;
    }
    if (compare->args.strict && a != b) {
        note_difference(compare, COMPARE_TAIL, compare->common);
    }
    return true;
}

static void compare_free(void *arg)
{
    struct compare *compare = arg;
    pthread_mutex_destroy(&compare->lock);
    g_free(compare);
}

struct job *compare_job_new(const struct compare_args *args, struct compare_result *result)
{
    static const struct job_type type = {"compare", compare_co_run, compare_free};
    struct compare *compare = g_new0(struct compare, 1);
    compare->args = *args;
    compare->result = result;
    compare->lanes[0] = (struct lane){&compare->args.a, 1};
    compare->lanes[1] = (struct lane){&compare->args.b, 1};
    pthread_mutex_init(&compare->lock, NULL);
    *result = (struct compare_result){.verdict = COMPARE_EQUAL};
    return job_new(&type, compare);
}
