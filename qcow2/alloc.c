/*
 * Refcounts live in blocks of the refcount cache; free clusters are found by
 * walking them from free_hint up. A refcount in memory is never lower than what
 * the disk needs: it goes up before anything refers to the cluster, and down only
 * in qcow2_co_release(), after the tables that stopped referring to it are
 * durable. So blocks may be written at any time, and a cluster with refcount 0 in
 * memory may be used at once.
 *
 * A missing block is placed in the range that it describes, at the free cluster
 * that was found there, and counts itself. Growing the refcount table is in
 * reftable.c.
 */
#include "qcow2/alloc.h"

#include <errno.h>
#include <inttypes.h>

#include "qcow2/commit.h"
#include "qcow2/corrupt.h"
#include "qcow2/refblock.h"
#include "qcow2/reftable.h"
#include "qcow2/snapshots.h"

enum { TABLE_IS_FULL = 1 }; /* from co_find_and_take(): grow the refcount table and try again */

/* ---- opening ---- */

bool qcow2_note_table(struct qcow2_image *image, int64_t offset, int64_t clusters, const char *what,
                      int64_t number, GError **error)
{
    if (offset >= node_size(image->node->file)) {
        return error_set(error, EINVAL,
                         "%s %" PRId64 " at 0x%" PRIx64 " is past the end of the file", what,
                         number, offset);
    }
    int ret = metaset_add(image->meta, offset >> image->cluster_bits, clusters);
    if (ret == -EEXIST) {
        return error_set(error, EINVAL,
                         "%s %" PRId64 " at 0x%" PRIx64 " overlaps another table; the image needs "
                         "a repair ('check -r all') before it can be written",
                         what, number, offset);
    }
    return !ret || error_set(error, -ret, "too many scattered tables to write to the image");
}

static bool note_l2_tables(struct qcow2_image *image, GError **error)
{
    for (int64_t i = 0; i < image->header.l1_entries; i++) {
        struct qcow2_entry l1 = qcow2_l1_decode(image->l1[i], image->cluster_bits);
        if (l1.kind == QCOW2_CORRUPT) {
            return error_set(error, EINVAL, "L1 entry %" PRId64 " is corrupt (0x%" PRIx64 ")", i,
                             image->l1[i]);
        }
        if (l1.kind == QCOW2_NORMAL &&
            !qcow2_note_table(image, l1.host_off, 1, "L2 table", i, error)) {
            return false;
        }
    }
    return true;
}

static bool note_refblocks(struct qcow2_image *image, GError **error)
{
    for (int64_t i = 0; i < image->reftable_entries; i++) {
        int64_t offset = qcow2_reftable_decode(image->reftable[i], image->cluster_bits);
        if (offset < 0) {
            return error_set(error, EINVAL,
                             "refcount table entry %" PRId64 " is corrupt (0x%" PRIx64 ")", i,
                             image->reftable[i]);
        }
        if (offset && !qcow2_note_table(image, offset, 1, "refcount block", i, error)) {
            return false;
        }
    }
    return true;
}

static bool co_note_metadata(struct qcow2_image *image, GError **error)
{
    const struct qcow2_header *h = &image->header;
    int64_t l1_clusters = div_up((int64_t)h->l1_entries * 8, image->cluster_size);
    image->meta = metaset_new();
    image->shared_l2 = metaset_new();
    return !metaset_add(image->meta, 0, 1) &&
           (!l1_clusters ||
            qcow2_note_table(image, h->l1_offset, l1_clusters, "L1 table", 0, error)) &&
           qcow2_note_table(image, h->reftable_offset, h->reftable_clusters, "refcount table", 0,
                            error) &&
           note_refblocks(image, error) && note_l2_tables(image, error) &&
           qcow2_co_snapshots_note(image, error);
}

/* An image that does not count its own header is damaged, or no image but a raw disk whose guest
 * has put a header there: nothing is to be written on the word of its tables. */
static bool co_check_header_count(struct qcow2_image *image, GError **error)
{
    uint64_t count = 0;
    int ret = qcow2_co_refcounts_read(image, 0, 1, &count);
    if (ret) {
        return error_set_errno(error, -ret, "could not read the refcount of the header");
    }
    qcow2_cache_drop(image->refblocks, (int64_t)image->reftable[0], image->cluster_size);
    return count ||
           error_set(error, EINVAL,
                     "the refcount of the header is zero: this is a raw disk that begins "
                     "like a qcow2 image (say -f raw), or needs a repair ('check -r all')");
}

bool qcow2_co_refcounts_open(struct qcow2_image *image, GError **error)
{
    image->freed = g_array_new(false, false, sizeof(struct qcow2_freed));
    image->l1_dirty = bitmap_try_new(image->header.l1_entries + 1);
    image->l1_unlinked = bitmap_try_new(image->header.l1_entries + 1);
    if (!image->l1_dirty || !image->l1_unlinked) {
        return error_set(error, ENOMEM, "no memory to track %u L1 entries",
                         image->header.l1_entries);
    }
    if (!qcow2_co_reftable_load(image, error) || !co_note_metadata(image, error) ||
        !co_check_header_count(image, error)) {
        return false;
    }
    struct blk_node *file = image->node->file;
    image->fresh_from = file->growable ? align_up(node_size(file), image->cluster_size) : INT64_MAX;
    image->writable = true;
    return true;
}

void qcow2_refcounts_done(struct qcow2_image *image)
{
    if (image->freed) {
        g_array_unref(image->freed);
    }
    g_free(image->reftable);
    bitmap_free(image->reftable_dirty);
    metaset_free(image->meta);
    metaset_free(image->shared_l2);
}

bool qcow2_co_refcounts_reload(struct qcow2_image *image, GError **error)
{
    qcow2_refcounts_done(image);
    bitmap_free(image->l1_dirty);
    bitmap_free(image->l1_unlinked);
    image->freed = NULL;
    image->reftable = NULL;
    image->reftable_dirty = NULL;
    image->meta = NULL;
    image->shared_l2 = NULL;
    image->l1_dirty = NULL;
    image->l1_unlinked = NULL;
    image->writable = false;
    image->free_hint = 0;
    image->packed_end = 0;
    return qcow2_co_refcounts_open(image, error);
}

/* ---- taking clusters ---- */

/* Makes the refcount block that describes `cluster`, in that free cluster itself. */
int qcow2_co_make_block(struct qcow2_image *image, int64_t cluster)
{
    int64_t block = cluster >> image->refblock_bits;
    int64_t offset = cluster << image->cluster_bits;
    node_co_event(image->node->file, BLK_EVENT_REFBLOCK_ALLOC);
    while (image->committing) {
        co_queue_co_wait(&image->commit_waiters);
    }
    int ret = metaset_add(image->meta, cluster, 1);
    if (ret) {
        return ret == -EEXIST ? qcow2_co_corrupt(image, "free cluster", cluster) : ret;
    }
    for (int64_t at = 0; at < image->cluster_size; at += image->slice_size) {
        if (!qcow2_cache_add_zero(image->refblocks, offset + at)) {
            qcow2_cache_drop(image->refblocks, offset, image->cluster_size);
            metaset_remove(image->meta, cluster, 1);
            return -ENOMEM;
        }
    }
    image->reftable[block] = (uint64_t)offset;
    bitmap_set(image->reftable_dirty, block, 1);
    image->reftable_is_dirty = true;
    image->fresh_from = max_i64(image->fresh_from, offset + image->cluster_size);
    struct qcow2_place place;
    ret = qcow2_co_place(image, cluster, &place);
    if (!ret) {
        qcow2_place_set(image, &place, place.index, place.index + 1, 1);
    }
    return ret;
}

/* The last cluster number + 1 that this image and its file can hold. */
int64_t qcow2_cluster_limit(const struct qcow2_image *image)
{
    const struct blk_node *file = image->node->file;
    int64_t limit = INT64_C(1) << (56 - image->cluster_bits);
    return file->growable ? limit : min_i64(limit, node_size(file) >> image->cluster_bits);
}

/* Cuts a run of free clusters so that all of it, or nothing, is fresh. */
static int64_t cut_at_fresh(const struct qcow2_image *image, int64_t cluster, int64_t count)
{
    int64_t fresh = image->fresh_from >> image->cluster_bits;
    return cluster < fresh ? min_i64(count, fresh - cluster) : count;
}

/* Marks `count` free clusters at free_hint as used; they become the caller's. */
static void take_run(struct qcow2_image *image, const struct qcow2_place *place, int64_t count,
                     struct qcow2_run *ret_run)
{
    int64_t offset = image->free_hint << image->cluster_bits;
    qcow2_place_set(image, place, place->index, place->index + count, 1);
    *ret_run = (struct qcow2_run){
        .offset = offset,
        .count = count,
        .fresh = offset >= image->fresh_from,
    };
    image->free_hint += count;
    image->fresh_from = max_i64(image->fresh_from, image->free_hint << image->cluster_bits);
}

/* How many refcounts from place->index on are `zero` (or are not), at most `max`. */
static int64_t count_free(const struct qcow2_image *image, const struct qcow2_place *place,
                          bool zero, int64_t max)
{
    int64_t n = 0;
    while (n < max && (qcow2_place_get(image, place, place->index + n) == 0) == zero) {
        n++;
    }
    return n;
}

/* Moves free_hint to the next free cluster and finds its place; the place has no table when the
 * cluster's block is yet to be made. */
static int co_find_free(struct qcow2_image *image, int64_t limit, struct qcow2_place *ret_place)
{
    while (image->free_hint < limit) {
        int ret = qcow2_co_place(image, image->free_hint, ret_place);
        if (ret) {
            return ret;
        }
        int64_t left = ret_place->end - ret_place->index;
        int64_t used = ret_place->table ? count_free(image, ret_place, false, left) : 0;
        image->free_hint += used;
        ret_place->index += used;
        if (used < left) {
            return image->free_hint < limit ? 0 : -ENOSPC;
        }
    }
    return -ENOSPC;
}

static int co_find_and_take(struct qcow2_image *image, int64_t want, struct qcow2_run *ret_run)
{
    int64_t limit = qcow2_cluster_limit(image);
    struct qcow2_place place;
    int ret;
    while (!(ret = co_find_free(image, limit, &place)) && !place.table) {
        bool full = image->free_hint >> image->refblock_bits >= image->reftable_entries;
        ret = full ? TABLE_IS_FULL : qcow2_co_make_block(image, image->free_hint);
        if (ret) {
            return ret;
        }
    }
    if (ret) {
        return ret;
    }
    int64_t cluster = image->free_hint;
    int64_t max = min_i64(min_i64(want, limit - cluster), place.end - place.index);
    int64_t n = cut_at_fresh(image, cluster, count_free(image, &place, true, max));
    if (qcow2_is_metadata(image, cluster, n)) {
        return qcow2_co_corrupt(image, "free cluster", cluster);
    }
    take_run(image, &place, n, ret_run);
    return 0;
}

int qcow2_co_alloc(struct qcow2_image *image, int64_t want, struct qcow2_run *ret_run)
{
    node_co_event(image->node->file, BLK_EVENT_CLUSTER_ALLOC);
    for (;;) {
        co_mutex_co_lock(&image->alloc_lock);
        int ret = image->broken ? image->broken : co_find_and_take(image, want, ret_run);
        co_mutex_unlock(&image->alloc_lock);
        if (ret != TABLE_IS_FULL) {
            return ret;
        }
        ret = qcow2_co_reftable_grow(image);
        if (ret) {
            return ret;
        }
    }
}

int qcow2_co_alloc_table(struct qcow2_image *image, int64_t count, int64_t *ret_offset)
{
    int64_t start = 0, have = 0;
    int64_t first_hint = image->free_hint;
    while (have < count) {
        struct qcow2_run run;
        int ret = qcow2_co_alloc(image, count - have, &run);
        bool joins = !ret && have && run.offset == start + (have << image->cluster_bits);
        if (have && !joins) {
            int64_t hint = image->free_hint;
            qcow2_co_alloc_undo(image, start, have << image->cluster_bits);
            image->free_hint = max_i64(image->free_hint, hint);
            have = 0;
        }
        if (ret) {
            return ret;
        }
        start = have ? start : run.offset;
        have += run.count;
    }
    image->free_hint = min_i64(image->free_hint, first_hint);
    int ret = metaset_add(image->meta, start >> image->cluster_bits, count);
    if (ret) {
        qcow2_co_alloc_undo(image, start, count << image->cluster_bits);
        return ret;
    }
    *ret_offset = start;
    return 0;
}

/* ---- compressed clusters ---- */

/* Adds one to the refcount of `cluster`, which is `expect_used`. False when it cannot be. */
static int co_share(struct qcow2_image *image, int64_t cluster, bool expect_used, bool *ret_done)
{
    struct qcow2_place place;
    int ret = qcow2_co_place(image, cluster, &place);
    if (ret) {
        return ret;
    }
    uint64_t old = qcow2_place_get(image, &place, place.index);
    *ret_done = place.table && (old > 0) == expect_used && cluster < qcow2_cluster_limit(image) &&
                old < qcow2_refcount_max(image->header.refcount_order) &&
                (expect_used || !qcow2_is_metadata(image, cluster, 1));
    if (*ret_done) {
        qcow2_place_set(image, &place, place.index, place.index + 1, old + 1);
    }
    return 0;
}

/* Takes the bytes behind the last compressed cluster, if they and the next cluster are to be had.
 */
static int co_extend_packed(struct qcow2_image *image, int64_t length, int64_t *ret_offset,
                            bool *ret_done)
{
    int64_t offset = image->packed_end;
    int64_t first = offset >> image->cluster_bits;
    int64_t last = (offset + length - 1) >> image->cluster_bits;
    bool done = false;
    int ret = co_share(image, first, true, &done);
    if (!ret && done && last > first) {
        ret = co_share(image, last, false, &done);
        if (ret || !done) {
            struct qcow2_place place;
            int undo = qcow2_co_place(image, first, &place);
            if (!undo) {
                uint64_t value = qcow2_place_get(image, &place, place.index);
                qcow2_place_set(image, &place, place.index, place.index + 1, value - 1);
            }
        } else {
            image->fresh_from = max_i64(image->fresh_from, (last + 1) << image->cluster_bits);
        }
    }
    *ret_done = !ret && done;
    *ret_offset = offset;
    return ret;
}

static void packed_advance(struct qcow2_image *image, int64_t end)
{
    image->packed_end = is_aligned(end, image->cluster_size) ? 0 : end;
}

int qcow2_co_alloc_packed(struct qcow2_image *image, int64_t length, int64_t *ret_offset)
{
    bool done = false;
    node_co_event(image->node->file, BLK_EVENT_CLUSTER_ALLOC_BYTES);
    co_mutex_co_lock(&image->alloc_lock);
    int ret = image->broken;
    if (!ret && image->packed_end) {
        ret = co_extend_packed(image, length, ret_offset, &done);
        if (done) {
            packed_advance(image, *ret_offset + length);
        }
    }
    co_mutex_unlock(&image->alloc_lock);
    if (ret || done) {
        return ret;
    }
    struct qcow2_run run;
    ret = qcow2_co_alloc(image, 1, &run);
    if (ret) {
        return ret;
    }
    packed_advance(image, run.offset + length);
    *ret_offset = run.offset;
    return 0;
}

/* ---- giving back ---- */

/* A cluster got free: the next search may begin there, and no packed data is added to it. */
static void note_free(struct qcow2_image *image, int64_t cluster)
{
    image->free_hint = min_i64(image->free_hint, cluster);
    if (image->packed_end && image->packed_end >> image->cluster_bits == cluster) {
        image->packed_end = 0;
    }
}

/* Gives those clusters of [first, end) back to the file that only one entry referred to. */
static int co_discard_clusters(struct qcow2_image *image, int64_t first, int64_t end)
{
    int64_t start = first;
    for (int64_t c = first; c <= end; c++) {
        struct qcow2_place place;
        int ret = c < end ? qcow2_co_place(image, c, &place) : 0;
        if (ret) {
            return ret;
        }
        if (c < end && qcow2_place_get(image, &place, place.index) == 1) {
            continue;
        }
        if (c > start) {
            node_co_discard(image->node->file, start << image->cluster_bits,
                            (c - start) << image->cluster_bits);
        }
        start = c + 1;
    }
    return 0;
}

/* Metadata is never freed. A cluster that is metadata and, in an image that was repaired, the
 * guest's as well, has a refcount of 2 at least. */
static int co_check_lower(struct qcow2_image *image, int64_t first, int64_t end)
{
    if (!qcow2_is_metadata(image, first, end - first)) {
        return 0;
    }
    for (int64_t c = first; c < end; c++) {
        struct qcow2_place place;
        int ret = qcow2_is_metadata(image, c, 1) ? qcow2_co_place(image, c, &place) : 1;
        if (ret < 0) {
            return ret;
        }
        if (!ret && qcow2_place_get(image, &place, place.index) < 2) {
            return qcow2_co_corrupt(image, "freed cluster", c);
        }
    }
    return 0;
}

/* Lowers the refcount of each cluster that [offset, +length) touches. */
static int co_lower(struct qcow2_image *image, int64_t offset, int64_t length, bool discard)
{
    int64_t first = offset >> image->cluster_bits;
    int64_t end = div_up(offset + length, image->cluster_size);
    node_co_event(image->node->file, BLK_EVENT_CLUSTER_FREE);
    int ret = co_check_lower(image, first, end);
    ret = ret || !discard ? ret : co_discard_clusters(image, first, end);
    for (int64_t c = first; c < end && !ret; c++) {
        struct qcow2_place place;
        ret = qcow2_co_place(image, c, &place);
        if (ret) {
            return ret;
        }
        uint64_t old = qcow2_place_get(image, &place, place.index);
        if (!old) {
            return qcow2_co_corrupt(image, "refcount of freed cluster", c);
        }
        qcow2_place_set(image, &place, place.index, place.index + 1, old - 1);
        if (old == 1) {
            note_free(image, c);
        }
    }
    return ret;
}

void qcow2_co_alloc_undo(struct qcow2_image *image, int64_t offset, int64_t length)
{
    co_mutex_co_lock(&image->alloc_lock);
    co_lower(image, offset, length, false);
    co_mutex_unlock(&image->alloc_lock);
}

/* Whole clusters that follow the last freed ones are noted with them. */
static bool join_freed(struct qcow2_image *image, const struct qcow2_freed *freed)
{
    if (!image->freed->len || !is_aligned(freed->offset | freed->length, image->cluster_size)) {
        return false;
    }
    struct qcow2_freed *last =
        &g_array_index(image->freed, struct qcow2_freed, image->freed->len - 1);
    if (!is_aligned(last->offset | last->length, image->cluster_size) ||
        last->offset + last->length != freed->offset || last->discard != freed->discard) {
        return false;
    }
    last->length += freed->length;
    return true;
}

void qcow2_free_later(struct qcow2_image *image, const struct qcow2_entry *old, bool discard)
{
    struct qcow2_freed freed = {old->host_off, old->length, discard};
    if (old->host_off && !join_freed(image, &freed)) {
        g_array_append_val(image->freed, freed);
    }
}

int qcow2_co_release(struct qcow2_image *image, const GArray *freed)
{
    int ret = 0;
    co_mutex_co_lock(&image->alloc_lock);
    for (guint i = 0; i < freed->len && !ret; i++) {
        const struct qcow2_freed *f = &g_array_index(freed, struct qcow2_freed, i);
        ret = co_lower(image, f->offset, f->length, f->discard);
    }
    co_mutex_unlock(&image->alloc_lock);
    return ret;
}
