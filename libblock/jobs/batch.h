/*
 * What is left to look at in a stretch of a job: extents planned ahead from
 * whole metadata tables, cut into items that fit a cache-sized buffer.
 *
 * A lane is one view of the job's bytes, one or several nodes end to end. Convert has one lane (two
 * with a backing file to compare with), compare has two. A batch lists the data of every lane in
 * [offset, end); what it does not list reads as zero. A batch is immutable once made and may be
 * read from any thread.
 */
#ifndef CAIRN_LIBBLOCK_BATCH_H
#define CAIRN_LIBBLOCK_BATCH_H

#include "libblock/libblock.h"

enum { BATCH_LANES = 2 };

struct lane {
    struct blk_node **nodes; /* end to end, each padded to a multiple of 512 bytes */
    int count;
};

/* Bytes of a lane with the padding. */
int64_t lane_size(const struct lane *lane);

/* The node that holds byte `offset`, or the last one. */
struct blk_node *lane_node(const struct lane *lane, int64_t offset);

/* The extents: offsets are the job's. Those without EXTENT_OFFSET are read through `leaf`, then the
 * lane's own node, at leaf_offset. */
struct batch {
    int64_t offset, end;
    int64_t align; /* of the work: a power of two */
    int64_t chunk; /* bytes an item holds at most; a multiple of align */
    int lane_count;
    struct extent_list lanes[BATCH_LANES];
    int refs;
};

struct batch_plan {
    const struct lane *lanes;
    int lane_count;
    int64_t total; /* where the job ends */
    int64_t align, chunk;
};

/* An empty batch at `offset`, for callers that list extents themselves; and its end when they
 * have: items hold `chunk` bytes, or more where a compressed cluster is larger. */
struct batch *batch_new(int64_t offset, int64_t align, int lane_count);
void batch_settle(struct batch *batch, int64_t end, int64_t chunk);

/* Drops the parts of the lanes that lie in one of `cuts`: struct range, in ascending order and
 * apart from each other. What is left of a compressed cluster is read through its lane's node. 0 or
 * -ENOMEM. */
int batch_cut(struct batch *batch, const struct lane *lanes, const GArray *cuts);

/* Adds an extent of `node`'s map to a lane, moved by `start`, unless it reads as zero. False when
 * memory is short. */
bool batch_add(struct extent_list *list, const struct blk_extent *extent, struct blk_node *node,
               int64_t start);

/* The batch that begins at `from`. On failure -errno, and *ret_lane is the lane. */
int batch_co_map(const struct batch_plan *plan, int64_t from, struct batch **ret_batch,
                 int *ret_lane);
struct batch *batch_ref(struct batch *batch);
void batch_unref(struct batch *batch);

/* Bytes that the lanes hold together. */
int64_t batch_bytes(const struct batch *batch);

/* A stretch of bytes. */
struct range {
    int64_t offset, end;
};

/* The first run at or after `from`: bytes that some lane holds, widened to the alignment, at most
 * `max` of them (a multiple of align). False when there is none left. */
bool batch_next_run(const struct batch *batch, int64_t from, int64_t max, struct range *ret_run);

/* Where the item that begins at `from` ends: its runs hold at most batch->chunk bytes. */
int64_t batch_item_end(const struct batch *batch, int64_t from);

/* Index of the first extent of `list` that ends after `offset`. */
int extents_find(const struct extent_list *list, int64_t offset);

#endif
