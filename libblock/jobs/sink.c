/*
 * Placing is done in the turn and fast: no data moves, except that packed clusters are gathered
 * into one stream of whole blocks. The last block of the stream is seldom full when an item ends;
 * it waits in sink->tail for the item that continues it, so every write is aligned, whatever the
 * cache mode. Writing happens after the turn, and leaves out what is zero already.
 */
#include "libblock/jobs/sink.h"

#include <errno.h>

#include "libblock/jobs/reader.h"

enum {
    SCAN_UNIT = 4096,
    SECTOR = 512,
};

int64_t data_next(const uint8_t *buf, int64_t length, int64_t unit, int64_t sparse, int64_t *pos)
{
    int64_t start = -1, zeroes = 0;
    for (int64_t at = *pos; at < length; at += unit) {
        int64_t n = min_i64(unit, length - at);
        if (!bytes_are_zero(buf + at, n)) {
            if (start < 0) {
                start = zeroes < sparse ? *pos : at;
            }
            zeroes = 0;
        } else {
            zeroes += n;
            if (start >= 0 && zeroes >= sparse) {
                *pos = start;
                return at + n - zeroes;
            }
        }
    }
    if (start < 0 && (zeroes >= sparse || *pos >= length)) {
        return -1;
    }
    *pos = start < 0 ? *pos : start;
    return length;
}

/* ---- opening and closing ---- */

/* The granularity in which a target without a plan is written. */
static bool co_describe_node(struct blk_node *target, struct plan_facts *facts, GError **error)
{
    struct blk_info info;
    if (!node_co_info(target, &info, error)) {
        return false;
    }
    int64_t cluster = max_i64(info.cluster_size, node_limits(target)->request_align);
    node_info_clear(&info);
    *facts = (struct plan_facts){
        .cluster_size = max_i64(cluster, SCAN_UNIT), .leaf = target, .zero_from = INT64_MAX};
    return true;
}

static bool co_begin(struct sink *sink, GError **error)
{
    const struct sink_options *options = &sink->options;
    bool through = options->in_use && !node_is_leaf(options->target);
    const struct plan_ops *ops = through ? NULL : options->target->driver->plan;
    int ret = ops && ops->co_begin ? ops->co_begin(options->target, options->fresh, &sink->plan)
                                   : -ENOTSUP;
    if (ret == -ENOTSUP) {
        return co_describe_node(options->target, &sink->facts, error);
    }
    if (ret) {
        return error_set_errno(error, -ret, "could not prepare '%s'",
                               node_filename(options->target));
    }
    sink->ops = ops;
    ops->describe(sink->plan, &sink->facts);
    return true;
}

bool sink_co_open(struct sink *sink, const struct sink_options *options, GError **error)
{
    *sink = (struct sink){.options = *options, .owner = loop_current()};
    if (!co_begin(sink, error)) {
        return false;
    }
    const struct blk_limits *limits = node_limits(sink->facts.leaf);
    sink->block = min_i64(SINK_BLOCK, sink->facts.cluster_size);
    sink->unit = options->sparse_size >= SCAN_UNIT ? SCAN_UNIT : SECTOR;
    sink->unit = min_i64(max_i64(sink->unit, limits->request_align), sink->facts.cluster_size);
    if (!sink->ops) {
        sink->order =
            driver_is_format(options->target->driver) ? SINK_ORDER_WRITES : SINK_ORDER_NONE;
    } else {
        sink->order = sink->facts.unordered ? SINK_ORDER_NONE : SINK_ORDER_PLACES;
    }
    bool free_zeroes = options->is_zero || (!sink->ops && options->fresh);
    sink->skip_zeroes = free_zeroes && options->sparse_size > 0 && !node_backing(options->target);
    const struct plan_ops *ops = options->target->driver->plan;
    sink->packs = options->compress && sink->ops && ops->co_place_packed;
    if (options->compress && !sink->packs && (sink->ops || !ops || !ops->co_write_packed)) {
        sink_co_close(sink, false);
        return error_set(error, ENOTSUP, "'%s' cannot be written compressed",
                         node_filename(options->target));
    }
    return true;
}

/* ---- through a node, in its owner's loop ---- */

struct node_write {
    struct sink *sink;
    struct blk_node *node;
    const struct sink_write *write;
    int result;
};

/* The driver compresses whole clusters; what a longer target leaves of the last one stays plain. */
static bool driver_compresses(const struct sink *sink, const struct sink_write *write)
{
    int64_t end = write->offset + write->length;
    return sink->options.compress && !sink->ops &&
           (is_aligned(end, sink->facts.cluster_size) || end == node_size(sink->options.target));
}

static void node_co_serve_write(void *arg)
{
    struct node_write *job = arg;
    struct sink *sink = job->sink;
    const struct sink_write *write = job->write;
    struct iovec slot;
    struct span span = span_of(&slot, write->data, write->length);
    if (!write->data) {
        job->result = node_co_zero(job->node, write->offset, write->length,
                                   sink->options.sparse_size ? REQ_MAY_UNMAP : 0);
    } else if (driver_compresses(sink, write)) {
        job->result = node_co_write_compressed(job->node, write->offset, write->length, span);
    } else {
        job->result = node_co_write(job->node, write->offset, write->length, span, 0);
    }
}

static int co_write_node(struct sink *sink, struct blk_node *node, const struct sink_write *write)
{
    struct node_write job = {.sink = sink, .node = node, .write = write};
    return loop_co_call(sink->owner, node_co_serve_write, &job) ? job.result : -ENOMEM;
}

/* ---- noting writes ---- */

static int add_write(struct sink_batch *batch, const struct sink_write *write)
{
    if (batch->count == batch->capacity) {
        int capacity = batch->capacity ? batch->capacity * 2 : 32;
        struct sink_write *writes = g_try_renew(struct sink_write, batch->writes, capacity);
        if (!writes) {
            return -ENOMEM;
        }
        batch->writes = writes;
        batch->capacity = capacity;
    }
    batch->writes[batch->count++] = *write;
    return 0;
}

void sink_batch_done(struct sink_batch *batch)
{
    g_free(batch->writes);
    buffer_free(batch->stream);
    *batch = (struct sink_batch){0};
}

/* Places a run of data cells: contiguous in the target and in memory. */
static int co_place_data(struct sink *sink, struct sink_batch *batch, const struct cell *first,
                         int64_t length)
{
    int64_t done = 0;
    while (done < length) {
        struct sink_write write = {.offset = first->offset + done,
                                   .length = length - done,
                                   .data = first->data + done,
                                   .source = first->source,
                                   .source_offset = first->source_offset + done};
        if (sink->ops) {
            write.length =
                sink->ops->co_place(sink->plan, first->offset + done, length - done, &write.offset);
        }
        if (write.length <= 0) {
            return write.length ? (int)write.length : -EIO;
        }
        int ret = add_write(batch, &write);
        if (ret) {
            return ret;
        }
        done += write.length;
    }
    return 0;
}

/* The end of an image may be no multiple of what the leaf takes: libblock then does it. */
static int co_zero_leaf(struct sink *sink, int64_t offset, int64_t length)
{
    struct blk_node *leaf = sink->facts.leaf;
    if (is_aligned(offset | length, node_limits(leaf)->zero_align)) {
        return leaf_co_zero(leaf, offset, length, 0);
    }
    return co_write_node(sink, leaf, &(struct sink_write){.offset = offset, .length = length});
}

/* Zeroes that the format has no word for: space is placed and zeroed in the leaf. */
static int co_place_zeroes(struct sink *sink, int64_t offset, int64_t length)
{
    while (length > 0) {
        int64_t at, placed = sink->ops->co_place(sink->plan, offset, length, &at);
        int ret = placed > 0 ? co_zero_leaf(sink, at, placed) : (placed ? (int)placed : -EIO);
        if (ret) {
            return ret;
        }
        offset += placed;
        length -= placed;
    }
    return 0;
}

static int co_place_zero(struct sink *sink, struct sink_batch *batch, int64_t offset,
                         int64_t length)
{
    if (sink->skip_zeroes || length == 0) {
        return 0;
    }
    if (!sink->ops) {
        return add_write(batch, &(struct sink_write){.offset = offset, .length = length});
    }
    uint32_t flags = sink->options.sparse_size ? REQ_MAY_UNMAP : 0;
    int ret = sink->ops->co_zero(sink->plan, offset, length, flags);
    return ret == -ENOTSUP ? co_place_zeroes(sink, offset, length) : ret;
}

/* ---- the packed stream ---- */

/* Bytes of the stream that are noted as one write when it breaks off or the item ends. */
struct segment {
    int64_t offset; /* in the leaf */
    uint8_t *data;
    int64_t length;
};

static int note_packed(struct sink_batch *batch, const struct segment *segment, int64_t length)
{
    struct sink_write write = {
        .offset = segment->offset, .length = length, .data = segment->data, .packed = true};
    return length ? add_write(batch, &write) : 0;
}

/* The stream goes on elsewhere: the last block is filled up with zeroes. */
static int segment_close(struct sink *sink, struct sink_batch *batch, struct segment *segment)
{
    int64_t length = align_up(segment->length, sink->block);
    memset(segment->data + segment->length, 0, length - segment->length);
    batch->stream_used += length;
    int ret = note_packed(batch, segment, length);
    *segment = (struct segment){0};
    return ret;
}

/* Begins with what the item before left over. */
static void segment_open(struct sink *sink, struct sink_batch *batch, struct segment *segment)
{
    struct sink_tail *tail = &sink->tail;
    *segment = (struct segment){tail->offset, batch->stream + batch->stream_used, tail->length};
    memcpy(segment->data, tail->data, tail->length);
    tail->length = 0;
}

/* What does not fill a block is left to the next item. */
static int segment_leave(struct sink *sink, struct sink_batch *batch, struct segment *segment)
{
    struct sink_tail *tail = &sink->tail;
    int64_t whole = align_down(segment->length, sink->block);
    batch->stream_used += whole;
    tail->offset = segment->offset + whole;
    tail->length = segment->length - whole;
    memcpy(tail->data, segment->data + whole, tail->length);
    return note_packed(batch, segment, whole);
}

static int segment_add(struct sink *sink, struct sink_batch *batch, struct segment *segment,
                       const struct cell *cell, int64_t leaf_offset)
{
    if (segment->length && segment->offset + segment->length != leaf_offset) {
        int ret = segment_close(sink, batch, segment);
        if (ret) {
            return ret;
        }
    }
    if (!segment->length) {
        *segment = (struct segment){leaf_offset, batch->stream + batch->stream_used, 0};
    }
    memcpy(segment->data + segment->length, cell->data, cell->packed);
    segment->length += cell->packed;
    return 0;
}

/* Room for the cells if none of them gets smaller: most items then want the same. */
static bool stream_reserve(struct sink_batch *batch, const struct cell *cells, int count)
{
    int64_t wanted = 3 * SINK_BLOCK;
    for (int i = 0; i < count; i++) {
        wanted += cells[i].kind == CELL_ZERO || cells[i].kind == CELL_SKIP ? 0 : cells[i].length;
    }
    batch->stream_used = 0;
    if (wanted > batch->stream_size) {
        buffer_free(batch->stream);
        batch->stream = buffer_try_new(wanted);
        batch->stream_size = batch->stream ? wanted : 0;
    }
    return batch->stream != NULL;
}

/* ---- placing ---- */

/* How many cells from the first on can be placed together. */
static int cell_group(const struct cell *cells, int count)
{
    int n = 1;
    while (
        n < count && cells[n].kind == cells[0].kind &&
        (cells[0].kind != CELL_DATA || (cells[n].data == cells[n - 1].data + cells[n - 1].length &&
                                        !cells[n].source && !cells[0].source))) {
        n++;
    }
    return n;
}

static int co_place_packed(struct sink *sink, struct sink_batch *batch, struct segment *segment,
                           const struct cell *cell)
{
    int64_t leaf_offset;
    int ret = sink->ops->co_place_packed(sink->plan, cell->offset, cell->packed, &leaf_offset);
    return ret ? ret : segment_add(sink, batch, segment, cell, leaf_offset);
}

int sink_co_place(struct sink *sink, struct sink_batch *batch, const struct cell *cells, int count)
{
    struct segment segment = {0};
    if (sink->packs) {
        if (!stream_reserve(batch, cells, count)) {
            return -ENOMEM;
        }
        segment_open(sink, batch, &segment);
    }
    int ret = 0;
    for (int i = 0, n; !ret && i < count; i += n) {
        const struct cell *last;
        n = cells[i].kind == CELL_PACKED ? 1 : cell_group(cells + i, count - i);
        last = &cells[i + n - 1];
        int64_t length = last->offset + last->length - cells[i].offset;
        switch (cells[i].kind) {
        case CELL_SKIP: break;
        case CELL_ZERO: ret = co_place_zero(sink, batch, cells[i].offset, length); break;
        case CELL_DATA: ret = co_place_data(sink, batch, &cells[i], length); break;
        case CELL_PACKED: ret = co_place_packed(sink, batch, &segment, &cells[i]); break;
        }
    }
    return !ret && sink->packs ? segment_leave(sink, batch, &segment) : ret;
}

/* ---- writing ---- */

static int co_write_leaf(struct sink *sink, const struct sink_write *write)
{
    struct blk_node *leaf = sink->facts.leaf;
    if (!is_aligned(write->offset | write->length, node_limits(leaf)->request_align)) {
        return co_write_node(sink, leaf, write);
    }
    return leaf_co_write(leaf, write->offset, write->length, write->data);
}

/* Writes what is not zero, where unwritten bytes of the leaf are. */
static int co_write_sparse(struct sink *sink, const struct sink_write *write)
{
    if (write->packed || !sink->options.sparse_size || write->offset < sink->facts.zero_from) {
        return co_write_leaf(sink, write);
    }
    int64_t pos = 0, end;
    while ((end = data_next(write->data, write->length, sink->unit, sink->options.sparse_size,
                            &pos)) >= 0) {
        struct sink_write part = *write;
        part.offset += pos;
        part.data += pos;
        part.length = end - pos;
        int ret = co_write_leaf(sink, &part);
        if (ret) {
            return ret;
        }
        pos = end;
    }
    return 0;
}

/* Lets the kernel copy; where it cannot, the bytes are read after all. */
static int co_write_copied(struct sink *sink, const struct sink_write *write)
{
    struct blk_node *source = write->source, *leaf = sink->facts.leaf;
    const struct blk_driver *driver = leaf->driver;
    if (driver == source->driver && driver->co_copy_range &&
        driver->co_copy_range(source, write->source_offset, leaf, write->offset, write->length) ==
            0) {
        return 0;
    }
    int ret = leaf_co_read(source, write->source_offset, write->length, write->data);
    return ret ? ret : co_write_sparse(sink, write);
}

int sink_co_write(struct sink *sink, struct sink_batch *batch)
{
    int ret = 0;
    for (int i = 0; !ret && i < batch->count; i++) {
        const struct sink_write *write = &batch->writes[i];
        if (!sink->ops) {
            ret = co_write_node(sink, sink->options.target, write);
        } else if (write->source) {
            ret = co_write_copied(sink, write);
        } else {
            ret = co_write_sparse(sink, write);
        }
    }
    batch->count = 0;
    return ret;
}

int sink_co_close(struct sink *sink, bool commit)
{
    struct sink_tail *tail = &sink->tail;
    int ret = 0;
    if (commit && tail->length) {
        uint8_t *block = buffer_try_new(SINK_BLOCK);
        if (block) {
            memset(block, 0, SINK_BLOCK);
            memcpy(block, tail->data, tail->length);
            ret = leaf_co_write(sink->facts.leaf, tail->offset, sink->block, block);
        } else {
            ret = -ENOMEM;
        }
        buffer_free(block);
    }
    if (sink->ops) {
        int finished = sink->ops->co_finish(sink->plan, commit && !ret);
        ret = ret ? ret : finished;
    }
    return ret;
}
