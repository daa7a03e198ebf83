/*
 * All refcounts are written anew, in the new width, to one stretch of clusters
 * that the image does not use:
 *
 *     | refcount table | blocks that count something |
 *
 * One write of the header moves to them, and says the new width in the same sector.
 * They count everything but the old table and its blocks, so these are free from
 * then on; and before that, nobody knows of the new ones.
 */
#include "qcow2/refwidth.h"

#include <errno.h>
#include <inttypes.h>

#include "qcow2/alloc.h"
#include "qcow2/commit.h"
#include "qcow2/open.h"
#include "qcow2/refblock.h"
#include "qcow2/rewrite.h"

struct refwidth {
    struct qcow2_image *image;
    struct job *job;
    int order;
    int64_t per_block;          /* clusters that one new block counts */
    int64_t start, room;        /* clusters taken for the new structure */
    int64_t limit;              /* clusters to count */
    int64_t indexes, table;     /* entries of the new table in use; its clusters */
    int64_t used;               /* blocks that count something */
    struct bitmap *wanted;      /* of these indexes */
    struct metaset *old;        /* clusters of the old structure */
    uint64_t *counts, *entries; /* of one block; of the table, big endian */
    uint8_t *block;
};

/* ---- what there is ---- */

static int note_old(struct refwidth *r)
{
    const struct qcow2_image *image = r->image;
    int bits = image->cluster_bits;
    int ret =
        metaset_add(r->old, image->header.reftable_offset >> bits, image->header.reftable_clusters);
    for (int64_t i = 0; i < image->reftable_entries && !ret; i++) {
        int64_t offset = qcow2_reftable_decode(image->reftable[i], bits);
        ret = offset > 0 ? metaset_add(r->old, offset >> bits, 1) : 0;
    }
    return ret;
}

/* The refcounts that new block `index` is to hold, in r->counts. */
static int co_read_counts(struct refwidth *r, int64_t index)
{
    int64_t first = index * r->per_block, end = min_i64(first + r->per_block, r->limit);
    int64_t used = r->start + r->table + r->used;
    memset(r->counts, 0, (size_t)r->per_block * sizeof(uint64_t));
    int ret = qcow2_co_refcounts_read(r->image, first, end - first, r->counts);
    for (int64_t c = first; c < end && !ret; c++) {
        bool spare = c >= used && c < r->start + r->room;
        if (spare || metaset_test(r->old, c, 1)) {
            r->counts[c - first] = 0;
        }
    }
    return ret;
}

/* Finds out which new blocks are wanted, and whether every refcount fits. */
static bool co_survey(struct refwidth *r, GError **error)
{
    uint64_t max = qcow2_refcount_max(r->order);
    int64_t wanted = 0;
    r->used = r->room - r->table;
    for (int64_t index = 0; index < r->indexes; index++) {
        int ret = co_read_counts(r, index);
        bool any = false;
        for (int64_t i = 0; i < r->per_block && !ret; i++) {
            any |= r->counts[i] != 0;
            if (r->counts[i] > max) {
                int64_t cluster = index * r->per_block + i;
                return error_set(error, ERANGE,
                                 "Cannot decrease refcount entry width to %d bits: Cluster at "
                                 "offset 0x%" PRIx64 " has a refcount of %" PRIu64,
                                 1 << r->order, cluster << r->image->cluster_bits, r->counts[i]);
            }
        }
        if (ret) {
            return error_set_errno(error, -ret, "could not read the refcounts of '%s'",
                                   node_filename(r->image->node));
        }
        if (any) {
            bitmap_set(r->wanted, index, 1);
            wanted++;
        }
        if (r->job) {
            job_add_done(r->job, 1);
        }
    }
    r->used = wanted;
    return true;
}

/* ---- the new structure ---- */

/* Clusters of the file, or of what was given out of it. */
static int64_t count_clusters(const struct qcow2_image *image)
{
    const struct blk_node *file = image->node->file;
    int64_t clusters = div_up(node_size(file), image->cluster_size);
    return file->growable ? max_i64(clusters, div_up(image->fresh_from, image->cluster_size))
                          : clusters;
}

static void co_give_room_back(struct refwidth *r)
{
    metaset_remove(r->image->meta, r->start, r->room);
    qcow2_co_alloc_undo(r->image, r->start << r->image->cluster_bits,
                        r->room << r->image->cluster_bits);
    r->start = 0;
}

/* Room for a table, and for a block for every index, of `clusters` and the room behind them. */
static void plan_room(struct refwidth *r, int64_t clusters)
{
    int64_t last;
    r->room = 0;
    do {
        last = r->room;
        r->indexes = div_up(clusters + last, r->per_block);
        r->table = div_up(r->indexes * 8, r->image->cluster_size);
        r->room = r->table + r->indexes;
    } while (r->room > last);
}

/* A refcount block or table that is made for the room itself lies behind the file as well. */
static int co_take_room(struct refwidth *r)
{
    struct qcow2_image *image = r->image;
    int64_t clusters = count_clusters(image), offset;
    for (int64_t more = 0;; more = more * 2 + 2) {
        plan_room(r, clusters + more);
        if (r->table << image->cluster_bits > QCOW2_MAX_REFTABLE_BYTES) {
            return -EFBIG;
        }
        int ret = qcow2_co_alloc_table(image, r->room, &offset);
        if (ret) {
            return ret;
        }
        r->start = offset >> image->cluster_bits;
        r->limit = max_i64(count_clusters(image), r->start + r->room);
        if (div_up(r->limit, r->per_block) <= r->indexes) {
            return 0;
        }
        co_give_room_back(r);
    }
}

static int co_write_structure(struct refwidth *r)
{
    struct blk_node *file = r->image->node->file;
    int bits = r->image->cluster_bits, ret = 0;
    int64_t at = r->start + r->table;
    for (int64_t i = 0; i < r->indexes && !ret; i++) {
        if (r->job) {
            job_add_done(r->job, 1);
        }
        if (!bitmap_test(r->wanted, i)) {
            continue;
        }
        ret = co_read_counts(r, i);
        for (int64_t k = 0; k < r->per_block && !ret; k++) {
            qcow2_refcount_set(r->block, k, r->order, r->counts[k]);
        }
        ret = ret ? ret : node_co_pwrite(file, at << bits, r->image->cluster_size, r->block);
        r->entries[i] = htobe64((uint64_t)at++ << bits);
    }
    ret = ret ? ret : node_co_pwrite(file, r->start << bits, r->table << bits, r->entries);
    return ret ? ret : node_co_flush(file);
}

static bool co_switch(struct refwidth *r, GError **error)
{
    struct qcow2_image *image = r->image;
    struct qcow2_header header = qcow2_header_copy(&image->header);
    header.refcount_order = r->order;
    header.reftable_offset = r->start << image->cluster_bits;
    header.reftable_clusters = (uint32_t)r->table;
    if (!qcow2_co_rewrite_header(image, &header, error)) {
        qcow2_header_clear(&header);
        return false;
    }
    image->refblock_bits = image->cluster_bits + 3 - r->order;
    if (!qcow2_caches_reset(image, error) || !qcow2_co_refcounts_reload(image, error)) {
        image->broken = -ENOMEM;
        return false;
    }
    return true;
}

/* ---- all of it ---- */

/* Looks at every refcount of the `clusters` before anything is taken. */
static bool co_check_fit(struct refwidth *r, int64_t clusters, GError **error)
{
    r->limit = clusters;
    r->indexes = div_up(clusters, r->per_block);
    r->wanted = bitmap_try_new(r->indexes + 1);
    r->counts = g_try_new(uint64_t, r->per_block);
    if (r->job) {
        job_add_total(r->job, 3 * r->indexes);
    }
    if (!r->wanted || !r->counts) {
        return error_set(error, ENOMEM, "no memory for the refcounts of '%s'",
                         node_filename(r->image->node));
    }
    bool fits = co_survey(r, error);
    g_clear_pointer(&r->wanted, bitmap_free);
    return fits;
}

/* Everything is as planned but for the blocks that are not wanted. */
static int prepare(struct refwidth *r)
{
    r->wanted = bitmap_try_new(r->indexes + 1);
    r->entries = g_try_malloc0((gsize)(r->table << r->image->cluster_bits));
    r->block = g_try_malloc((gsize)r->image->cluster_size);
    return r->wanted && r->entries && r->block ? note_old(r) : -ENOMEM;
}

static bool co_change(struct refwidth *r, GError **error)
{
    if (!co_check_fit(r, count_clusters(r->image), error)) {
        return false;
    }
    int ret = co_take_room(r);
    ret = ret ? ret : prepare(r);
    if (!ret && !co_survey(r, error)) {
        return false;
    }
    ret = ret ? ret : co_write_structure(r);
    return ret ? error_set_errno(error, -ret, "could not write new refcounts to '%s'",
                                 node_filename(r->image->node))
               : co_switch(r, error);
}

bool qcow2_co_set_refwidth(struct qcow2_image *image, int order, struct job *job, GError **error)
{
    struct refwidth r = {.image = image,
                         .job = job,
                         .order = order,
                         .per_block = INT64_C(1) << (image->cluster_bits + 3 - order),
                         .old = metaset_new()};
    bool done = co_change(&r, error);
    if (!done && r.start && image->header.refcount_order != order && !image->broken) {
        co_give_room_back(&r);
    }
    metaset_free(r.old);
    bitmap_free(r.wanted);
    g_free(r.counts);
    g_free(r.entries);
    g_free(r.block);
    return done;
}
