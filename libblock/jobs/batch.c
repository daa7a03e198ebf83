/*
 * Planning: maps are asked for in large pieces and kept as sorted lists of data extents. Runs and
 * items are computed from the lists with binary searches, so nothing but offsets travels between
 * threads, and cutting the work twice gives the same pieces.
 */
#include "libblock/jobs/batch.h"

#include <errno.h>

enum {
    SECTOR = 512,
    MAP_EXTENTS = 1024,   /* asked for at once */
    BATCH_EXTENTS = 4608, /* more than a 2 MiB cluster can hold in sectors, so that a batch always
                             covers a cluster */
};

static int64_t padded_size(const struct blk_node *node)
{
    return align_up(node_size(node), SECTOR);
}

int64_t lane_size(const struct lane *lane)
{
    int64_t size = 0;
    for (int i = 0; i < lane->count; i++) {
        size += padded_size(lane->nodes[i]);
    }
    return size;
}

/* The node that holds `offset`, and where it begins; NULL past the end. */
static struct blk_node *find_node(const struct lane *lane, int64_t offset, int64_t *ret_start)
{
    int64_t start = 0;
    for (int i = 0; i < lane->count; i++) {
        int64_t size = padded_size(lane->nodes[i]);
        if (offset < start + size) {
            *ret_start = start;
            return lane->nodes[i];
        }
        start += size;
    }
    return NULL;
}

struct blk_node *lane_node(const struct lane *lane, int64_t offset)
{
    int64_t start;
    struct blk_node *node = find_node(lane, offset, &start);
    return node ? node : lane->nodes[lane->count - 1];
}

bool batch_add(struct extent_list *list, const struct blk_extent *extent, struct blk_node *node,
               int64_t start)
{
    if (extent->flags & EXTENT_ZERO) {
        return true;
    }
    struct blk_extent moved = *extent;
    moved.offset += start;
    moved.depth = 0;
    if (!(moved.flags & EXTENT_OFFSET)) {
        moved.flags = EXTENT_DATA;
        moved.leaf = node;
        moved.leaf_offset = extent->offset;
    }
    return extents_add(list, &moved);
}

/* Appends the data of one node's piece of the lane and moves *pos to where the map stopped. */
static int co_map_some(struct blk_node *node, int64_t start, int64_t end, int64_t *pos,
                       struct extent_list *list)
{
    struct extent_list part = {.limit = MAP_EXTENTS};
    int64_t at = *pos - start, length = min_i64(node_size(node), end - start) - at;
    int ret =
        length > 0 ? node_co_map(node, at, length, MAP_CHAIN | MAP_LEAF | MAP_HOLES, &part) : 0;
    for (int i = 0; !ret && i < part.count; i++) {
        if (!batch_add(list, &part.items[i], node, start)) {
            ret = -ENOMEM;
        }
    }
    if (!ret && part.count) {
        const struct blk_extent *last = &part.items[part.count - 1];
        *pos = start + last->offset + last->length;
    } else if (!ret && length > 0) {
        ret = -EIO;
    }
    if (!ret && *pos == start + node_size(node)) {
        *pos = start + padded_size(node);
    }
    extents_done(&part);
    return ret;
}

/* Lists the data of [from, end), or less when it comes in too many pieces; *ret_end says how far
 * it came. */
static int co_map_lane(const struct lane *lane, int64_t from, int64_t end, int max_extents,
                       struct extent_list *list, int64_t *ret_end)
{
    int64_t pos = from, start;
    while (pos < end && list->count < max_extents) {
        struct blk_node *node = find_node(lane, pos, &start);
        if (!node) {
            pos = end;
            break;
        }
        int ret = co_map_some(node, start, end, &pos, list);
        if (ret) {
            return ret;
        }
    }
    *ret_end = min_i64(pos, end);
    return 0;
}

/* Forgets what lies at or past `end`. */
static void cut_list(struct extent_list *list, int64_t end)
{
    while (list->count && list->items[list->count - 1].offset >= end) {
        list->count--;
    }
    if (list->count) {
        struct blk_extent *last = &list->items[list->count - 1];
        if (!(last->flags & EXTENT_COMPRESSED)) {
            last->length = min_i64(last->length, end - last->offset);
        }
    }
}

/* An item should hold a compressed cluster whole, lest it be decompressed twice. */
static int64_t fitting_chunk(const struct batch *batch, int64_t chunk)
{
    for (int lane = 0; lane < batch->lane_count; lane++) {
        for (int i = 0; i < batch->lanes[lane].count; i++) {
            const struct blk_extent *extent = &batch->lanes[lane].items[i];
            if (extent->flags & EXTENT_COMPRESSED) {
                chunk = max_i64(chunk, extent->length);
            }
        }
    }
    return align_up(chunk, batch->align);
}

/* ---- what both lanes share ---- */

/* Both extents stand for the same bytes of one leaf. */
static bool is_same(const struct blk_extent *a, const struct blk_extent *b)
{
    if (!(a->flags & b->flags & EXTENT_OFFSET) || a->leaf != b->leaf ||
        (a->flags ^ b->flags) & EXTENT_COMPRESSED) {
        return false;
    }
    if (a->flags & EXTENT_COMPRESSED) {
        return a->offset == b->offset && a->length == b->length && a->leaf_offset == b->leaf_offset;
    }
    return a->leaf_offset - a->offset == b->leaf_offset - b->offset;
}

/* Appends to `cuts` the aligned stretches that lanes 0 and 1 have in common. */
static void find_common(const struct batch *batch, GArray *cuts)
{
    const struct extent_list *a = &batch->lanes[0], *b = &batch->lanes[1];
    for (int i = 0, j = 0; i < a->count && j < b->count;) {
        const struct blk_extent *x = &a->items[i], *y = &b->items[j];
        int64_t x_end = x->offset + x->length, y_end = y->offset + y->length;
        struct range cut = {align_up(max_i64(x->offset, y->offset), batch->align),
                            align_down(min_i64(x_end, y_end), batch->align)};
        bool partly = cut.offset > x->offset || cut.end < x_end;
        if (cut.offset < cut.end && is_same(x, y) && !(partly && x->flags & EXTENT_COMPRESSED)) {
            g_array_append_val(cuts, cut);
        }
        i += x_end <= y_end;
        j += y_end <= x_end;
    }
}

/* Appends bytes [from, to) of `extent`. */
static bool add_part(struct extent_list *list, const struct blk_extent *extent,
                     const struct lane *lane, int64_t from, int64_t to)
{
    struct blk_extent part = *extent;
    part.offset = from;
    part.length = to - from;
    part.leaf_offset += from - extent->offset;
    if ((extent->flags & EXTENT_COMPRESSED) && part.length < extent->length) {
        part.flags = EXTENT_DATA;
        part.leaf = find_node(lane, from, &part.leaf_offset);
        part.leaf_offset = from - part.leaf_offset;
    }
    return to <= from || extents_add(list, &part);
}

/* Appends the parts of `extent` that the cuts from number *first on leave. */
static bool add_uncut(struct extent_list *list, const struct blk_extent *extent,
                      const struct lane *lane, const GArray *cuts, guint *first)
{
    int64_t end = extent->offset + extent->length, pos = extent->offset;
    for (; *first < cuts->len; (*first)++) {
        struct range cut = g_array_index(cuts, struct range, *first);
        if (cut.offset >= end) {
            break;
        }
        if (!add_part(list, extent, lane, pos, cut.offset)) {
            return false;
        }
        pos = max_i64(pos, cut.end);
        if (cut.end > end) {
            break;
        }
    }
    return add_part(list, extent, lane, pos, end);
}

int batch_cut(struct batch *batch, const struct lane *lanes, const GArray *cuts)
{
    int ret = 0;
    for (int i = 0; cuts->len && !ret && i < batch->lane_count; i++) {
        struct extent_list *list = &batch->lanes[i], left = {0};
        guint first = 0;
        for (int k = 0; !ret && k < list->count; k++) {
            ret = add_uncut(&left, &list->items[k], &lanes[i], cuts, &first) ? 0 : -ENOMEM;
        }
        extents_done(list);
        *list = left;
    }
    return ret;
}

/* What both lanes hold alike is nobody's work: whole aligned stretches of it are dropped. */
static int drop_common(struct batch *batch, const struct lane *lanes)
{
    g_autoptr(GArray) cuts = g_array_new(false, false, sizeof(struct range));
    if (batch->lane_count == 2) {
        find_common(batch, cuts);
    }
    return batch_cut(batch, lanes, cuts);
}

struct batch *batch_new(int64_t offset, int64_t align, int lane_count)
{
    struct batch *batch = g_new0(struct batch, 1);
    *batch = (struct batch){
        .offset = offset, .end = offset, .align = align, .lane_count = lane_count, .refs = 1};
    return batch;
}

void batch_settle(struct batch *batch, int64_t end, int64_t chunk)
{
    batch->end = end;
    batch->chunk = fitting_chunk(batch, chunk);
}

static int co_map_lanes(const struct batch_plan *plan, struct batch *batch, int max_extents,
                        int *ret_lane)
{
    batch->end = plan->total;
    for (int i = 0; i < batch->lane_count; i++) {
        extents_clear(&batch->lanes[i]);
        int ret = co_map_lane(&plan->lanes[i], batch->offset, batch->end, max_extents,
                              &batch->lanes[i], &batch->end);
        if (ret) {
            *ret_lane = i;
            return ret;
        }
    }
    if (batch->end < plan->total) {
        batch->end = align_down(batch->end, batch->align);
    }
    return 0;
}

int batch_co_map(const struct batch_plan *plan, int64_t from, struct batch **ret_batch,
                 int *ret_lane)
{
    struct batch *batch = batch_new(from, plan->align, plan->lane_count);
    for (int max = BATCH_EXTENTS; batch->end == from; max *= 2) {
        int ret = co_map_lanes(plan, batch, max, ret_lane);
        if (ret) {
            batch_unref(batch);
            return ret;
        }
    }
    for (int i = 0; i < batch->lane_count; i++) {
        cut_list(&batch->lanes[i], batch->end);
    }
    batch_settle(batch, batch->end, plan->chunk);
    int ret = drop_common(batch, plan->lanes);
    if (ret) {
        batch_unref(batch);
        *ret_lane = 0;
        return ret;
    }
    *ret_batch = batch;
    return 0;
}

struct batch *batch_ref(struct batch *batch)
{
    __atomic_add_fetch(&batch->refs, 1, __ATOMIC_RELAXED);
    return batch;
}

void batch_unref(struct batch *batch)
{
    if (__atomic_sub_fetch(&batch->refs, 1, __ATOMIC_ACQ_REL) == 0) {
        for (int i = 0; i < batch->lane_count; i++) {
            extents_done(&batch->lanes[i]);
        }
        g_free(batch);
    }
}

int64_t batch_bytes(const struct batch *batch)
{
    int64_t bytes = 0;
    for (int lane = 0; lane < batch->lane_count; lane++) {
        for (int i = 0; i < batch->lanes[lane].count; i++) {
            bytes += batch->lanes[lane].items[i].length;
        }
    }
    return bytes;
}

int extents_find(const struct extent_list *list, int64_t offset)
{
    int low = 0, high = list->count;
    while (low < high) {
        int middle = (low + high) / 2;
        const struct blk_extent *extent = &list->items[middle];
        if (extent->offset + extent->length > offset) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

/* The end of the aligned stretch that `list` continues from `end` on, at most up to `limit`. */
static int64_t run_grow(const struct batch *batch, const struct extent_list *list, int64_t end,
                        int64_t limit)
{
    for (int i = extents_find(list, end); i < list->count && end < limit; i++) {
        const struct blk_extent *extent = &list->items[i];
        if (extent->offset > end && align_down(extent->offset, batch->align) > end) {
            break;
        }
        end = min_i64(limit, align_up(extent->offset + extent->length, batch->align));
    }
    return end;
}

bool batch_next_run(const struct batch *batch, int64_t from, int64_t max, struct range *ret_run)
{
    int64_t start = INT64_MAX;
    for (int i = 0; i < batch->lane_count; i++) {
        const struct extent_list *list = &batch->lanes[i];
        int first = extents_find(list, from);
        if (first < list->count) {
            start = min_i64(start, max_i64(from, list->items[first].offset));
        }
    }
    if (start >= batch->end) {
        return false;
    }
    start = align_down(start, batch->align);
    int64_t end = start, grown, limit = min_i64(start + max, batch->end);
    do {
        grown = end;
        for (int i = 0; i < batch->lane_count; i++) {
            end = run_grow(batch, &batch->lanes[i], end, limit);
        }
    } while (end > grown && batch->lane_count > 1);
    *ret_run = (struct range){start, end};
    return true;
}

int64_t batch_item_end(const struct batch *batch, int64_t from)
{
    struct range run = {from, from};
    for (int64_t left = batch->chunk; left > 0; left -= run.end - run.offset) {
        if (!batch_next_run(batch, run.end, left, &run)) {
            return batch->end;
        }
    }
    return run.end;
}
