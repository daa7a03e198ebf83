/*
 * An open image: what the files of this folder share. Private to qcow2/.
 *
 * Everything here belongs to the node's loop. Between two yields a coroutine is
 * alone; what has to hold across a yield is named in the struct below.
 */
#ifndef CAIRN_QCOW2_IMAGE_H
#define CAIRN_QCOW2_IMAGE_H

#include "base/base.h"
#include "libblock/driver.h"
#include "qcow2/cache.h"
#include "qcow2/entry.h"
#include "qcow2/header.h"
#include "qcow2/metaset.h"

/* node->options: the driver's open options. */
struct qcow2_options {
    bool lazy_refcounts, discard_request, discard_snapshot, discard_other, discard_no_unref;
    int64_t cache_size, l2_cache_size, l2_cache_entry_size, refcount_cache_size;
    int64_t cache_clean_interval;
    json_t *overlap_check;
};

/* Host clusters that no entry in memory refers to any more. Their refcounts go down, and they may
 * be used again, when that is true on the disk as well. */
struct qcow2_freed {
    int64_t offset, length; /* bytes; any alignment for compressed data */
    bool discard;           /* give the space back to the file */
};

struct qcow2_image {
    struct blk_node *node;
    struct qcow2_header header;
    int cluster_bits;
    int64_t cluster_size;
    int64_t slice_size; /* bytes of an L2 table or refcount block that are cached together */
    int l2_bits;        /* log2 of the entries of an L2 table */
    int refblock_bits;  /* log2 of the entries of a refcount block */
    bool writable;      /* opened for writing, and nothing forbids it */
    bool write_started; /* autoclear bits are settled */
    int broken;         /* -errno once memory and disk can no longer be brought together, else 0 */
    uint32_t protect;   /* see protect.h */
    char *corrupt_reason; /* what ended writing, for the message at the end; or NULL */

    /* L1: one entry per L2 table, as stored but in host byte order. */
    uint64_t *l1;
    struct bitmap *l1_dirty;    /* differs from the disk */
    struct bitmap *l1_unlinked; /* no entry on the disk has pointed to this L2 table yet */
    bool l1_is_dirty;
    struct qcow2_cache *l2;

    /* Refcounts. Loaded with the first write. */
    uint64_t *reftable;
    int64_t reftable_entries;
    struct bitmap *reftable_dirty;
    bool reftable_is_dirty;
    struct qcow2_cache *refblocks;
    int64_t free_hint;    /* cluster number: nothing below is free */
    int64_t fresh_from;   /* host offset from which on the file has never been written: zeroes */
    struct metaset *meta; /* clusters that hold metadata: data never goes there */
    struct metaset *shared_l2; /* L2 tables of snapshots; some are the active ones as well */
    GArray *freed;             /* struct qcow2_freed */
    int64_t packed_end; /* host offset where the next compressed cluster may begin; 0: none */

    /* Held across yields. Order: guest ranges, l2_lock, alloc_lock; commit_lock and alloc_lock. */
    struct range_lock guest;     /* cluster-aligned guest ranges: in place shared, else exclusive */
    struct co_mutex start_lock;  /* the first write's preparations */
    struct co_mutex l2_lock;     /* making L2 tables */
    struct co_mutex alloc_lock;  /* refcounts */
    struct co_mutex commit_lock; /* one commit at a time */
    bool committing;             /* tables are on their way: L1, L2 and refcount table hold still */
    struct co_queue commit_waiters;

    GArray *snapshots;       /* struct qcow2_snapshot, or NULL */
    int64_t snaptable_bytes; /* what their table takes in the file */
    json_t *bitmap_list;     /* for info, or NULL */

    struct codec_ctx *codecs[8]; /* idle decompression contexts */
    int codec_count;
};

static inline struct qcow2_image *qcow2_image(struct blk_node *node)
{
    return node->state;
}

/* True when one of clusters [first, first + count) holds metadata. */
static inline bool qcow2_is_metadata(const struct qcow2_image *image, int64_t first, int64_t count)
{
    return metaset_test(image->meta, first, count) || metaset_test(image->shared_l2, first, count);
}

static inline int64_t image_cluster_start(const struct qcow2_image *image, int64_t offset)
{
    return align_down(offset, image->cluster_size);
}

static inline int64_t image_cluster_end(const struct qcow2_image *image, int64_t offset)
{
    return align_up(offset, image->cluster_size);
}

#endif
