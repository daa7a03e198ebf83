/*
 * Convert: source extents in, placed clusters out. For each item: read its runs into one buffer,
 * find out what every cluster of the target is (zero, as in the backing file, data), compress the
 * data; then, with the turn, give out places; then write.
 */
#include "libblock/jobs/convert.h"

#include <errno.h>

#include "libblock/jobs/batch.h"
#include "libblock/jobs/pipeline.h"
#include "libblock/jobs/reader.h"
#include "libblock/jobs/sink.h"
#include "libblock/libblock.h"

enum {
    CHUNK = 512 * 1024,              /* stays in a core's cache between reading and writing */
    CHUNK_PACKING = 256 * 1024,      /* with room for what it is packed to, twice */
    CHUNK_DIRECT = 1024 * 1024,      /* past the page cache the device likes more */
    CHUNK_OFFLOAD = 8 * 1024 * 1024, /* no buffer is touched */
    SMALL = 2 * 1024 * 1024,         /* not worth a thread */
    DEPTH = 5, /* others get on while one waits for the processor, and all for its turn */
    BUFFERS = 6 * 1024 * 1024,      /* bytes of all slots, where that is a slot for each thread */
    MAX_BUFFERS = 64 * 1024 * 1024, /* however many threads */
    PLAIN_THREADS = 8,              /* copying gains nothing from more */
};

struct convert {
    struct convert_args args;
    struct job *job;
    struct loop *owner;
    struct lane lanes[BATCH_LANES]; /* the sources; the backing file */
    struct batch_plan plan;
    struct sink sink;
    struct reader_salvage salvage;
};

/* What the slots of a worker share. */
struct convert_share {
    struct reader_share reader;
    struct codec_ctx *codec; /* encoder, or NULL */
};

/* A slot's buffers. */
struct convert_slot {
    struct convert *convert;
    struct codec_ctx *codec; /* the share's */
    struct reader reader;
    struct sink_batch writes;
    uint8_t *data, *base,
        *packed;  /* as the item's runs, end to end: sources, backing, compressed */
    int64_t size; /* bytes of data and base; of packed, if used, the same */
    struct cell *cells;
    int cell_count, cell_capacity;
};

static void *share_new(void *user)
{
    struct convert *convert = user;
    const struct convert_args *args = &convert->args;
    struct convert_share *share = g_new0(struct convert_share, 1);
    if (convert->sink.packs) {
        share->codec = codec_ctx_new(&(struct codec_options){
            convert->sink.facts.codec, args->compress_level, args->window_bits});
    }
    return share;
}

static void share_free(void *arg)
{
    struct convert_share *share = arg;
    reader_share_done(&share->reader);
    codec_ctx_free(share->codec);
    g_free(share);
}

static void *slot_new(void *user, void *arg)
{
    struct convert *convert = user;
    struct convert_share *share = arg;
    struct convert_slot *slot = g_new0(struct convert_slot, 1);
    slot->convert = convert;
    slot->codec = share->codec;
    reader_init(&slot->reader, &share->reader, convert->owner, &convert->salvage);
    return slot;
}

static void slot_free(void *arg)
{
    struct convert_slot *slot = arg;
    reader_done(&slot->reader);
    sink_batch_done(&slot->writes);
    buffer_free(slot->data);
    buffer_free(slot->base);
    buffer_free(slot->packed);
    g_free(slot->cells);
    g_free(slot);
}

/* Room for the runs of an item of this batch. */
static bool slot_reserve(struct convert_slot *slot, const struct batch *batch)
{
    int64_t size = batch->chunk, cells = 2 * (batch->chunk / batch->align) + 1;
    if (size > slot->size) {
        buffer_free(slot->data);
        buffer_free(slot->base);
        buffer_free(slot->packed);
        slot->data = buffer_try_new(size);
        slot->base = batch->lane_count > 1 ? buffer_try_new(size) : NULL;
        slot->packed = slot->codec ? buffer_try_new(size) : NULL;
        slot->size =
            slot->data && (slot->base || batch->lane_count == 1) && (slot->packed || !slot->codec)
                ? size
                : 0;
    }
    if (cells > slot->cell_capacity) {
        g_free(slot->cells);
        slot->cells = g_try_new(struct cell, cells);
        slot->cell_capacity = slot->cells ? (int)cells : 0;
    }
    return slot->size >= size && slot->cells;
}

/* ---- reading ---- */

static bool read_error(struct convert_slot *slot, int ret, GError **error)
{
    struct blk_node *node = slot->reader.failed_node;
    return error_set_errno(error, -ret, "could not read '%s' at byte %" PRId64, node_filename(node),
                           slot->reader.failed_offset);
}

/* The leaf extent that alone makes up the run, for the kernel to copy; or NULL. */
static const struct blk_extent *whole_extent(const struct convert *convert,
                                             const struct batch *batch, const struct range *run)
{
    if (!convert->args.copy_offload || convert->args.compress || !convert->sink.ops ||
        batch->lane_count > 1) {
        return NULL;
    }
    const struct blk_extent *extent =
        &batch->lanes[0].items[extents_find(&batch->lanes[0], run->offset)];
    bool plain = (extent->flags & EXTENT_OFFSET) && !(extent->flags & EXTENT_COMPRESSED);
    bool whole = extent->offset <= run->offset && extent->offset + extent->length >= run->end;
    return plain && whole ? extent : NULL;
}

/* ---- deciding ---- */

static struct cell *add_cell(struct convert_slot *slot, enum cell_kind kind, int64_t offset,
                             int64_t length, uint8_t *data)
{
    struct cell *cell = &slot->cells[slot->cell_count++];
    *cell = (struct cell){.kind = kind, .offset = offset, .length = length, .data = data};
    return cell;
}

/* Cells of a run, by where its buffer holds something. */
static void decide_run(struct convert_slot *slot, const struct range *run, uint8_t *data)
{
    const struct convert *convert = slot->convert;
    int64_t cluster = convert->plan.align, length = run->end - run->offset;
    int64_t sparse = convert->args.sparse_size, pos = 0;
    int64_t end = sparse ? data_next(data, length, convert->sink.unit, sparse, &pos) : length;
    for (int64_t at = 0; at < length; at += cluster) {
        int64_t n = min_i64(cluster, length - at);
        while (sparse && end >= 0 && end <= at) {
            pos = end;
            end = data_next(data, length, convert->sink.unit, sparse, &pos);
        }
        bool empty = end < 0 || pos >= at + n;
        add_cell(slot, empty ? CELL_ZERO : CELL_DATA, run->offset + at, n, data + at);
    }
}

/* What the backing file holds already stays unallocated. */
static void compare_run(struct convert_slot *slot, int first_cell, const uint8_t *base)
{
    for (int i = first_cell; i < slot->cell_count; i++) {
        struct cell *cell = &slot->cells[i];
        if (memcmp(cell->data, base, cell->length) == 0) {
            cell->kind = CELL_SKIP;
        }
        base += cell->length;
    }
}

/* Compresses every data cell that gets smaller. A cluster at the image's end is filled up with
 * zeroes, for which the buffer has room. */
static int co_compress(struct convert_slot *slot)
{
    int64_t cluster = slot->convert->plan.align, used = 0;
    for (int i = 0; i < slot->cell_count; i++) {
        struct cell *cell = &slot->cells[i];
        if (cell->kind != CELL_DATA) {
            continue;
        }
        memset(cell->data + cell->length, 0, cluster - cell->length);
        int64_t packed =
            codec_compress(slot->codec, cell->data, cluster, slot->packed + used, cluster - 1);
        if (packed < 0 && packed != -ENOSPC) {
            return (int)packed;
        }
        if (packed > 0) {
            cell->kind = CELL_PACKED;
            cell->data = slot->packed + used;
            cell->packed = packed;
            used += packed;
        }
    }
    return 0;
}

/* Reads one run to `at` in the buffers and appends its cells. */
static int co_take_run(struct convert_slot *slot, const struct batch *batch,
                       const struct range *run, int64_t at)
{
    const struct blk_extent *copied = whole_extent(slot->convert, batch, run);
    int64_t length = run->end - run->offset;
    uint8_t *data = slot->data + at;
    if (copied) {
        struct cell *cell = add_cell(slot, CELL_DATA, run->offset, length, data);
        cell->source = copied->leaf;
        cell->source_offset = copied->leaf_offset + run->offset - copied->offset;
        return 0;
    }
    int ret = reader_co_read(&slot->reader, &batch->lanes[0], run->offset, length, data);
    if (!ret && batch->lane_count > 1) {
        ret = reader_co_read(&slot->reader, &batch->lanes[1], run->offset, length, slot->base + at);
    }
    if (!ret) {
        int first = slot->cell_count;
        decide_run(slot, run, data);
        if (batch->lane_count > 1) {
            compare_run(slot, first, slot->base + at);
        }
    }
    return ret;
}

/* Between runs all lanes are zero; with a backing file that is what it shows already. */
static void add_gap(struct convert_slot *slot, const struct batch *batch, int64_t from, int64_t to)
{
    if (to > from) {
        add_cell(slot, batch->lane_count > 1 ? CELL_SKIP : CELL_ZERO, from, to - from, NULL);
    }
}

/* Reads the item's runs; afterwards the cells cover it. */
static int co_take_item(struct convert_slot *slot, const struct pipeline_item *item)
{
    int64_t pos = item->offset, at = 0;
    struct range run;
    slot->cell_count = 0;
    while (pos < item->end && batch_next_run(item->batch, pos, item->batch->chunk - at, &run) &&
           run.offset < item->end) {
        add_gap(slot, item->batch, pos, run.offset);
        int ret = co_take_run(slot, item->batch, &run, at);
        if (ret) {
            return ret;
        }
        at += run.end - run.offset;
        pos = run.end;
    }
    add_gap(slot, item->batch, pos, item->end);
    return 0;
}

static bool write_error(struct convert_slot *slot, const struct pipeline_item *item, int ret,
                        GError **error)
{
    return error_set_errno(error, -ret, "could not write '%s' at byte %" PRId64,
                           node_filename(slot->convert->args.target), item->offset);
}

/* Notes the item's writes and, where the target asks for it, carries them out. */
static bool co_place_item(struct convert_slot *slot, const struct pipeline_item *item,
                          GError **error)
{
    struct sink *sink = &slot->convert->sink;
    job_co_throttle(slot->convert->job, item->end - item->offset);
    int ret = sink_co_place(sink, &slot->writes, slot->cells, slot->cell_count);
    if (!ret && sink->order == SINK_ORDER_WRITES) {
        ret = sink_co_write(sink, &slot->writes);
    }
    return ret ? write_error(slot, item, ret, error) : true;
}

/* Finds places in the target, in the order of items if that matters, and writes. */
static bool co_put_item(struct pipeline *pipeline, struct convert_slot *slot,
                        const struct pipeline_item *item, GError **error)
{
    struct sink *sink = &slot->convert->sink;
    bool in_turn = sink->order != SINK_ORDER_NONE;
    if (in_turn && !pipeline_co_take_turn(pipeline, item)) {
        return true;
    }
    if (!co_place_item(slot, item, error)) {
        return false;
    }
    if (in_turn) {
        pipeline_pass_turn(pipeline);
    }
    int ret = sink_co_write(sink, &slot->writes);
    return ret ? write_error(slot, item, ret, error) : true;
}

static bool convert_co_item(struct pipeline *pipeline, void *arg, const struct pipeline_item *item,
                            GError **error)
{
    struct convert_slot *slot = arg;
    if (!slot_reserve(slot, item->batch)) {
        return error_set(error, ENOMEM, "not enough memory for a buffer of %" PRId64 " bytes",
                         item->batch->chunk);
    }
    int ret = co_take_item(slot, item);
    if (ret) {
        return read_error(slot, ret, error);
    }
    ret = slot->codec ? co_compress(slot) : 0;
    if (ret) {
        return write_error(slot, item, ret, error);
    }
    return co_put_item(pipeline, slot, item, error);
}

/* ---- the job ---- */

static struct batch *convert_co_plan(void *user, int64_t from, GError **error)
{
    struct convert *convert = user;
    struct batch *batch;
    int lane = 0, ret = batch_co_map(&convert->plan, from, &batch, &lane);
    if (ret) {
        struct blk_node *node =
            lane ? convert->args.target_backing : lane_node(&convert->lanes[0], from);
        error_set_errno(error, -ret, "could not map '%s' from byte %" PRId64 " on",
                        node_filename(node), from);
        return NULL;
    }
    return batch;
}

static bool check_sizes(const struct convert *convert, GError **error)
{
    const struct lane *lane = &convert->lanes[0];
    int64_t target = node_size(convert->args.target);
    struct blk_node *last = lane->nodes[lane->count - 1];
    int64_t padding = align_up(node_size(last), 512) - node_size(last);
    if (lane_size(lane) - padding > target) {
        return error_set(error, ENOSPC,
                         "target '%s' has %" PRId64 " bytes, but %" PRId64 " are to be written",
                         node_filename(convert->args.target), target, lane_size(lane) - padding);
    }
    return true;
}

static bool is_direct(const struct convert *convert)
{
    bool direct = node_limits(convert->sink.facts.leaf)->request_align > 1;
    for (int i = 0; i < convert->lanes[0].count; i++) {
        direct |= node_limits(convert->lanes[0].nodes[i])->memory_align > 1;
    }
    return direct;
}

static int64_t chunk_size(const struct convert *convert)
{
    if (convert->args.copy_offload) {
        return CHUNK_OFFLOAD;
    }
    if (convert->args.compress) {
        return CHUNK_PACKING;
    }
    return is_direct(convert) ? CHUNK_DIRECT : CHUNK;
}

static void convert_plan(struct convert *convert)
{
    const struct convert_args *args = &convert->args;
    int64_t align = convert->sink.facts.cluster_size, size = lane_size(&convert->lanes[0]);
    size = args->target_is_fresh ? align_up(size, align) : size;
    convert->plan = (struct batch_plan){
        .lanes = convert->lanes,
        .lane_count = args->target_backing ? 2 : 1,
        .total = min_i64(size, node_size(args->target)),
        .align = align,
        .chunk = align_up(chunk_size(convert), align),
    };
}

/* As many workers and slots as there are processors for, within the memory that is theirs. */
static void convert_parallel(const struct convert *convert, struct pipeline_task *task)
{
    bool packs = convert->sink.packs;
    int64_t slot = convert->plan.chunk * (packs ? 3 : convert->plan.lane_count);
    int64_t threads = convert->args.threads ? convert->args.threads : pool_cpus();
    threads = min_i64(threads, packs ? MAX_BUFFERS / slot : PLAIN_THREADS);
    task->threads = (int)max_i64(1, min_i64(threads, MAX_BUFFERS / slot));
    task->depth = (int)max_i64(1, min_i64(DEPTH, BUFFERS / slot / task->threads));
}

static bool convert_co_copy(struct convert *convert, GError **error)
{
    struct pipeline_task task = {
        .job = convert->job,
        .user = convert,
        .total = convert->plan.total,
        .small = SMALL,
        .co_plan = convert_co_plan,
        .share_new = share_new,
        .share_free = share_free,
        .slot_new = slot_new,
        .slot_free = slot_free,
        .co_item = convert_co_item,
    };
    convert_parallel(convert, &task);
    job_add_total(convert->job, convert->plan.total);
    return pipeline_co_run(&task, error);
}

static bool convert_co_run(struct job *job, void *arg, GError **error)
{
    struct convert *convert = arg;
    const struct convert_args *args = &convert->args;
    struct sink_options options = {
        .target = args->target,
        .fresh = args->target_is_fresh,
        .is_zero = args->target_is_zero,
        .compress = args->compress,
        .sparse_size = args->sparse_size,
    };
    convert->job = job;
    convert->owner = loop_current();
    if (!check_sizes(convert, error) || !sink_co_open(&convert->sink, &options, error)) {
        return false;
    }
    convert_plan(convert);
    bool copied = convert_co_copy(convert, error);
    int ret = sink_co_close(&convert->sink, copied);
    ret = ret || !copied ? ret : node_co_flush(args->target);
    if (copied && ret) {
        return error_set_errno(error, -ret, "could not finish '%s'", node_filename(args->target));
    }
    return copied;
}

static void convert_free(void *arg)
{
    struct convert *convert = arg;
    g_free(convert->args.sources);
    g_free(convert);
}

struct job *convert_job_new(const struct convert_args *args)
{
    static const struct job_type type = {"convert", convert_co_run, convert_free};
    struct convert *convert = g_new0(struct convert, 1);
    convert->args = *args;
    convert->args.sources = g_memdup2(args->sources, sizeof(*args->sources) * args->source_count);
    convert->lanes[0] = (struct lane){convert->args.sources, args->source_count};
    convert->lanes[1] = (struct lane){&convert->args.target_backing, 1};
    convert->salvage = (struct reader_salvage){args->salvage, args->unreadable, args->user};
    return job_new(&type, convert);
}
