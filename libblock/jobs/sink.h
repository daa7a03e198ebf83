/*
 * The target of a convert job. Where the format can plan (struct plan_ops),
 * space is given out in order and the bytes go straight to the leaf from any
 * thread; otherwise every request goes through the target node in its owner's loop.
 */
#ifndef CAIRN_LIBBLOCK_SINK_H
#define CAIRN_LIBBLOCK_SINK_H

#include "libblock/driver.h"
#include "libblock/libblock.h"

enum { SINK_BLOCK = 4096 }; /* packed bytes are written in such blocks, or clusters if smaller */

struct sink_options {
    struct blk_node *target;
    bool fresh;   /* just created: reads as zero, or as the backing file */
    bool is_zero; /* not fresh, but known to read as zero */
    bool in_use;  /* holds data: a format that keeps tables is written through its node */
    bool compress;
    int64_t sparse_size; /* as in struct convert_args */
};

/* Bytes of the packed stream that do not fill a block yet. */
struct sink_tail {
    int64_t offset; /* in the leaf, block-aligned */
    int64_t length;
    uint8_t data[SINK_BLOCK];
};

/* What has to be done in the order of items for the outcome to be always the same. */
enum sink_order {
    SINK_ORDER_NONE,
    SINK_ORDER_PLACES,
    SINK_ORDER_WRITES,
};

struct sink {
    struct sink_options options;
    struct loop *owner;
    const struct plan_ops *ops; /* NULL: through the node */
    struct plan *plan;
    struct plan_facts facts;
    int64_t block; /* bytes: the unit of packed writes */
    int64_t unit;  /* bytes: the unit of the zero scan */
    enum sink_order order;
    bool skip_zeroes;      /* zero ranges need no work */
    bool packs;            /* the caller compresses; else the target's driver does, if asked to */
    struct sink_tail tail; /* with the turn */
};

enum cell_kind {
    CELL_SKIP, /* as the backing file has it */
    CELL_ZERO,
    CELL_DATA,
    CELL_PACKED,
};

/* What becomes of one cluster of the target; zeroes and copies may be many clusters. */
struct cell {
    enum cell_kind kind;
    int64_t offset, length; /* in the target; shorter than a cluster at its end only */
    uint8_t *data;          /* `length` bytes; of CELL_PACKED: `packed` bytes */
    int64_t packed;
    struct blk_node *source; /* NULL, or a leaf to copy the bytes from, before `data` is used */
    int64_t source_offset;
};

/* A write that was decided on. */
struct sink_write {
    int64_t offset, length;  /* in the leaf, or in the target when there is no plan */
    uint8_t *data;           /* NULL: zeroes */
    struct blk_node *source; /* as in struct cell */
    int64_t source_offset;
    bool packed;
};

/* One item's writes, reused. */
struct sink_batch {
    struct sink_write *writes;
    int count, capacity;
    uint8_t *stream; /* packed bytes, `stream_size` of which are allocated */
    int64_t stream_size, stream_used;
};

/* Opens the target for converting; false with *error. */
bool sink_co_open(struct sink *sink, const struct sink_options *options, GError **error);

/* Writes what is left and frees; without `commit` only frees. 0 or -errno. */
int sink_co_close(struct sink *sink, bool commit);

/* With the turn, unless order is NONE: finds places for the cells, which follow each other in the
 * target, and notes the writes. Once between two calls of sink_co_write(). */
int sink_co_place(struct sink *sink, struct sink_batch *batch, const struct cell *cells, int count);

/* Carries out the noted writes. */
int sink_co_write(struct sink *sink, struct sink_batch *batch);

void sink_batch_done(struct sink_batch *batch);

/* The next stretch of `buf` at or after *pos that is not a run of at least `sparse` zero bytes, in
 * steps of `unit`; *pos moves to its start and its end is returned; -1 when only zeroes are left.
 */
int64_t data_next(const uint8_t *buf, int64_t length, int64_t unit, int64_t sparse, int64_t *pos);

#endif
