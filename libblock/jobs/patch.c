/*
 * Reading and comparing take every core; writes go to the target in ascending order, straight to
 * its leaf where the target keeps no state, else through the node in its owner's loop.
 */
#include "libblock/jobs/patch.h"

#include <errno.h>

#include "libblock/jobs/pipeline.h"
#include "libblock/jobs/reader.h"
#include "libblock/jobs/sink.h"

enum {
    CHUNK = 512 * 1024, /* of each lane */
    CHUNK_DIRECT = 1024 * 1024,
    SMALL = 2 * 1024 * 1024,
    DEPTH = 4,
    MAX_THREADS = 8,
    MAX_BUFFERS = 64 * 1024 * 1024,
    SPARSE = 4096,
};

struct patch {
    const struct patch_task *task;
    struct sink sink;
    struct loop *owner;
    int64_t chunk;
};

struct patch_slot {
    struct patch *patch;
    struct reader reader;
    struct sink_batch writes;
    uint8_t *data[BATCH_LANES];
    int64_t size;
    GArray *cells; /* struct cell */
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
    struct patch_slot *slot = g_new0(struct patch_slot, 1);
    slot->patch = user;
    slot->cells = g_array_new(false, false, sizeof(struct cell));
    reader_init(&slot->reader, share, slot->patch->owner, NULL);
    return slot;
}

static void slot_free(void *arg)
{
    struct patch_slot *slot = arg;
    reader_done(&slot->reader);
    sink_batch_done(&slot->writes);
    for (int i = 0; i < BATCH_LANES; i++) {
        buffer_free(slot->data[i]);
    }
    g_array_unref(slot->cells);
    g_free(slot);
}

static bool slot_reserve(struct patch_slot *slot, const struct batch *batch)
{
    if (batch->chunk > slot->size) {
        slot->size = batch->chunk;
        for (int i = 0; i < batch->lane_count; i++) {
            buffer_free(slot->data[i]);
            slot->data[i] = buffer_try_new(batch->chunk);
            slot->size = slot->data[i] ? slot->size : 0;
        }
    }
    return slot->size >= batch->chunk;
}

/* ---- deciding ---- */

static void add_cell(struct patch_slot *slot, enum cell_kind kind, int64_t offset, int64_t length,
                     uint8_t *data)
{
    struct cell cell = {.kind = kind, .offset = offset, .length = length, .data = data};
    g_array_append_val(slot->cells, cell);
}

/* The aligned stretches of a run that differ; `base` NULL: from zero. */
static void add_different(struct patch_slot *slot, const struct range *run, int64_t align,
                          uint8_t *data, const uint8_t *base)
{
    int64_t length = run->end - run->offset;
    for (int64_t at = 0, n; at < length; at += n) {
        n = min_i64(align, length - at);
        bool zero = bytes_are_zero(data + at, n);
        bool same = base ? memcmp(data + at, base + at, n) == 0 : zero;
        if (!same) {
            bool short_form = zero && !slot->patch->task->plain_zeroes;
            add_cell(slot, short_form ? CELL_ZERO : CELL_DATA, run->offset + at, n, data + at);
        }
    }
}

/* Reads one run to `at` in the buffers and notes what is to be written of it. */
static int co_take_run(struct patch_slot *slot, const struct batch *batch, const struct range *run,
                       int64_t at)
{
    int ret = 0;
    for (int i = 0; i < batch->lane_count && !ret; i++) {
        ret = reader_co_read(&slot->reader, &batch->lanes[i], run->offset, run->end - run->offset,
                             slot->data[i] + at);
    }
    if (!ret && slot->patch->task->rule == PATCH_ALL) {
        add_cell(slot, CELL_DATA, run->offset, run->end - run->offset, slot->data[0] + at);
    } else if (!ret) {
        add_different(slot, run, batch->align, slot->data[0] + at,
                      batch->lane_count > 1 ? slot->data[1] + at : NULL);
    }
    return ret;
}

static int co_take_item(struct patch_slot *slot, const struct pipeline_item *item)
{
    struct range run = {item->offset, item->offset};
    int64_t left = item->batch->chunk;
    g_array_set_size(slot->cells, 0);
    while (run.end < item->end && batch_next_run(item->batch, run.end, left, &run) &&
           run.offset < item->end) {
        int ret = co_take_run(slot, item->batch, &run, item->batch->chunk - left);
        if (ret) {
            return ret;
        }
        left -= run.end - run.offset;
    }
    return 0;
}

/* ---- writing ---- */

/* Cells that follow each other without a gap are handed to the sink together. */
static int co_write_cells(struct patch_slot *slot)
{
    struct sink *sink = &slot->patch->sink;
    const struct cell *cells = (const struct cell *)slot->cells->data;
    int count = (int)slot->cells->len, ret = 0;
    for (int i = 0, n; i < count && !ret; i += n) {
        n = 1;
        while (i + n < count &&
               cells[i + n].offset == cells[i + n - 1].offset + cells[i + n - 1].length) {
            n++;
        }
        ret = sink_co_place(sink, &slot->writes, cells + i, n);
        ret = ret ? ret : sink_co_write(sink, &slot->writes);
    }
    return ret;
}

static int64_t cell_bytes(const struct patch_slot *slot)
{
    int64_t bytes = 0;
    for (guint i = 0; i < slot->cells->len; i++) {
        const struct cell *cell = &g_array_index(slot->cells, struct cell, i);
        bytes += cell->kind == CELL_DATA ? cell->length : 0;
    }
    return bytes;
}

static bool co_put_item(struct pipeline *pipeline, struct patch_slot *slot,
                        const struct pipeline_item *item, GError **error)
{
    struct patch *patch = slot->patch;
    bool in_turn = patch->sink.order != SINK_ORDER_NONE;
    if (in_turn && !pipeline_co_take_turn(pipeline, item)) {
        return true;
    }
    job_co_throttle(patch->task->job, cell_bytes(slot));
    int ret = co_write_cells(slot);
    if (ret) {
        return error_set_errno(error, -ret, "could not write '%s' near byte %" PRId64,
                               node_filename(patch->task->target), item->offset);
    }
    if (in_turn) {
        pipeline_pass_turn(pipeline);
    }
    return true;
}

static bool patch_co_item(struct pipeline *pipeline, void *arg, const struct pipeline_item *item,
                          GError **error)
{
    struct patch_slot *slot = arg;
    if (!slot_reserve(slot, item->batch)) {
        return error_set(error, ENOMEM, "not enough memory for a buffer of %" PRId64 " bytes",
                         item->batch->chunk);
    }
    int ret = co_take_item(slot, item);
    if (ret) {
        return error_set_errno(error, -ret, "could not read '%s' at byte %" PRId64,
                               node_filename(slot->reader.failed_node), slot->reader.failed_offset);
    }
    return co_put_item(pipeline, slot, item, error);
}

/* ---- the task ---- */

static struct batch *patch_co_plan(void *user, int64_t from, GError **error)
{
    struct patch *patch = user;
    return patch->task->co_plan(patch->task->user, from, patch->chunk, error);
}

static bool patch_co_pipeline(struct patch *patch, GError **error)
{
    const struct patch_task *task = patch->task;
    int64_t slots = MAX_BUFFERS / (patch->chunk * task->lane_count);
    int64_t threads = min_i64(task->threads ? task->threads : pool_cpus(), MAX_THREADS);
    threads = max_i64(1, min_i64(threads, slots));
    struct pipeline_task work = {
        .job = task->job,
        .user = patch,
        .total = task->total,
        .threads = (int)threads,
        .depth = (int)max_i64(1, min_i64(DEPTH, slots / threads)),
        .small = SMALL,
        .co_plan = patch_co_plan,
        .share_new = share_new,
        .share_free = share_free,
        .slot_new = slot_new,
        .slot_free = slot_free,
        .co_item = patch_co_item,
    };
    return pipeline_co_run(&work, error);
}

bool patch_co_run(const struct patch_task *task, GError **error)
{
    struct patch patch = {.task = task, .owner = loop_current()};
    struct sink_options options = {
        .target = task->target,
        .in_use = true,
        .compress = task->compress,
        .sparse_size = task->rule == PATCH_DIFFERENT ? SPARSE : 0,
    };
    if (!sink_co_open(&patch.sink, &options, error)) {
        return false;
    }
    bool direct = node_limits(patch.sink.facts.leaf)->memory_align > 1;
    patch.chunk = max_i64(direct ? CHUNK_DIRECT : CHUNK, patch.sink.facts.cluster_size);
    job_add_total(task->job, task->total);
    bool done = patch_co_pipeline(&patch, error);
    int ret = sink_co_close(&patch.sink, done);
    return done && (!ret || error_set_errno(error, -ret, "could not finish '%s'",
                                            node_filename(task->target)));
}
