/*
 * Growing; shrinking is in shrink.c. A larger L1 table is written elsewhere, made durable, and then
 * the header moves to it and to the new size in one write; the old table's clusters go the way of
 * all freed clusters. New guest space reads as zero: where a backing file is longer than the disk
 * was, that needs zero clusters.
 */
#include "qcow2/resize.h"

#include <errno.h>
#include <inttypes.h>

#include "qcow2/alloc.h"
#include "qcow2/commit.h"
#include "qcow2/preallocate.h"
#include "qcow2/shrink.h"
#include "qcow2/write.h"
#include "qcow2/zero.h"

enum { SECTOR = 512 };

/* A larger L1 table that is not in use yet. */
struct larger_l1 {
    uint64_t *table;
    struct bitmap *dirty, *unlinked;
    int64_t entries, offset, clusters;
};

static void larger_l1_done(struct larger_l1 *l)
{
    g_free(l->table);
    bitmap_free(l->dirty);
    bitmap_free(l->unlinked);
}

static int co_prepare(struct qcow2_image *image, int64_t entries, struct larger_l1 *l)
{
    l->entries = entries;
    l->clusters = div_up(entries * 8, image->cluster_size);
    l->table = g_try_malloc0((gsize)(entries + 1) * 8);
    l->dirty = bitmap_try_new(entries + 1);
    l->unlinked = bitmap_try_new(entries + 1);
    if (!l->table || !l->dirty || !l->unlinked) {
        return -ENOMEM;
    }
    node_co_event(image->node->file, BLK_EVENT_L1_GROW_ALLOC_TABLE);
    return qcow2_co_alloc_table(image, l->clusters, &l->offset);
}

/* Makes `l` the image's table. L1 holds still: commit_lock is held and `committing` set. */
static int co_switch(struct qcow2_image *image, struct larger_l1 *l)
{
    struct qcow2_header *h = &image->header;
    struct qcow2_entry old = {.kind = QCOW2_NORMAL,
                              .host_off = h->l1_offset,
                              .length = align_up((int64_t)h->l1_entries * 8, image->cluster_size)};
    memcpy(l->table, image->l1, (size_t)h->l1_entries * 8);
    bitmap_set(l->dirty, 0, l->entries);
    node_co_event(image->node->file, BLK_EVENT_L1_GROW_WRITE_TABLE);
    int ret = qcow2_co_write_entries(image, l->offset, l->table, l->entries, l->dirty);
    ret = ret ? ret : node_co_flush(image->node->file);
    if (ret) {
        return ret;
    }
    node_co_event(image->node->file, BLK_EVENT_L1_GROW_ACTIVATE_TABLE);
    h->l1_offset = l->offset;
    bool had_table = h->l1_entries;
    h->l1_entries = (uint32_t)l->entries;
    ret = qcow2_co_write_header(image);
    if (ret) {
        image->broken = ret;
        return ret;
    }
    struct larger_l1 mine = {image->l1, image->l1_dirty, image->l1_unlinked, 0, 0, 0};
    image->l1 = l->table;
    image->l1_dirty = l->dirty;
    image->l1_unlinked = l->unlinked;
    *l = mine;
    if (had_table) {
        metaset_remove(image->meta, old.host_off >> image->cluster_bits,
                       old.length >> image->cluster_bits);
        qcow2_free_later(image, &old, false);
    }
    return 0;
}

/* Everything is committed first, so that the new table holds only what is durable. */
static int co_switch_committed(struct qcow2_image *image, struct larger_l1 *l)
{
    co_mutex_co_lock(&image->commit_lock);
    int ret;
    do {
        ret = qcow2_co_commit_locked(image);
    } while (!ret && image->l1_is_dirty);
    image->committing = true;
    ret = ret ? ret : co_switch(image, l);
    image->committing = false;
    co_queue_wake_all(&image->commit_waiters);
    co_mutex_unlock(&image->commit_lock);
    return ret;
}

int qcow2_co_l1_reach(struct qcow2_image *image, int64_t entries)
{
    struct larger_l1 l = {0};
    if (entries <= image->header.l1_entries) {
        return 0;
    }
    int ret = co_prepare(image, entries, &l);
    /* The blocks that count the new table must be durable before the header points to it. */
    if (!ret && (ret = co_switch_committed(image, &l)) && !image->broken) {
        metaset_remove(image->meta, l.offset >> image->cluster_bits, l.clusters);
        qcow2_co_alloc_undo(image, l.offset, l.clusters << image->cluster_bits);
    }
    larger_l1_done(&l);
    return ret;
}

static int co_write_zeroes(struct qcow2_image *image, int64_t from, int64_t to)
{
    enum { CHUNK = 1024 * 1024 };
    uint8_t *buf = g_try_malloc0((gsize)min_i64(CHUNK, to - from));
    int ret = buf ? 0 : -ENOMEM;
    struct range_hold hold;
    int64_t start = image_cluster_start(image, from);
    range_lock_co_lock(&image->guest, &hold, start, image_cluster_end(image, to) - start, true);
    for (int64_t n; from < to && !ret; from += n) {
        struct iovec slot;
        n = min_i64(CHUNK, to - from);
        ret = qcow2_co_write_held(image, from, n, span_of(&slot, buf, (size_t)n));
    }
    range_lock_unlock(&image->guest, &hold);
    g_free(buf);
    return ret;
}

/* Guest [from, to) must not show what the backing file, or the rest of a cluster, holds there. */
static int co_hide_old(struct blk_node *node, int64_t from, int64_t to)
{
    struct qcow2_image *image = qcow2_image(node);
    int64_t whole = min_i64(image_cluster_end(image, from), to);
    int64_t backed = node->backing ? min_i64(node_size(node->backing), to) : 0;
    backed = min_i64(image_cluster_end(image, backed), to);
    int ret = qcow2_co_write_begin(image);
    if (!ret && from < whole) {
        ret = co_write_zeroes(image, from, whole);
    }
    if (ret || backed <= whole) {
        return ret;
    }
    ret = qcow2_co_zero(node, whole, backed - whole, REQ_MAY_UNMAP);
    return ret == -ENOTSUP ? co_write_zeroes(image, whole, backed) : ret;
}

static bool check_resize(struct blk_node *node, int64_t size, const char *preallocation,
                         GError **error)
{
    struct qcow2_image *image = qcow2_image(node);
    const char *const modes[] = {"off", "metadata", "falloc", "full", NULL};
    if (!g_strv_contains(modes, preallocation)) {
        return error_set(error, EINVAL, "Invalid preallocation mode '%s'", preallocation);
    }
    if (size < node->size && strcmp(preallocation, "off")) {
        return error_set(error, EINVAL, "Preallocation can only be used for growing images");
    }
    if (size % SECTOR) {
        return error_set(error, EINVAL, "The new size must be a multiple of %d", SECTOR);
    }
    if (image->header.snapshots && image->header.version < 3) {
        return error_set(error, ENOTSUP, "Can't resize a v2 image which has snapshots");
    }
    return qcow2_l1_entries(size, image->cluster_bits) >= 0 ||
           error_set(error, EFBIG,
                     "%" PRId64 " bytes are too large for clusters of %" PRId64
                     " bytes; use larger clusters",
                     size, image->cluster_size);
}

static int co_grow(struct blk_node *node, int64_t size, const char *preallocation)
{
    struct qcow2_image *image = qcow2_image(node);
    int64_t old_size = node->size;
    int64_t entries = qcow2_l1_entries(size, image->cluster_bits);
    int ret = qcow2_co_write_begin(image);
    ret = ret ? ret : qcow2_co_l1_reach(image, entries);
    if (ret) {
        return ret;
    }
    node->size = size;
    ret = co_hide_old(node, old_size, size);
    if (!ret && strcmp(preallocation, "off")) {
        ret = qcow2_co_preallocate(image, old_size, size, preallocation);
    }
    ret = ret ? ret : qcow2_co_commit(image);
    ret = ret ? ret : node_co_flush(node->file);
    if (ret) {
        node->size = old_size;
        return ret;
    }
    image->header.size = size;
    image->broken = qcow2_co_write_header(image);
    return image->broken;
}

/* What was prepared behind the disk, or is VM state there, must not become part of it. */
static bool co_clear_behind(struct qcow2_image *image, GError **error)
{
    return image->broken || qcow2_co_shrink(image, image->node->size, error);
}

bool qcow2_co_resize(struct blk_node *node, int64_t size, const char *preallocation, GError **error)
{
    struct qcow2_image *image = qcow2_image(node);
    preallocation = preallocation ? preallocation : "off";
    if (!check_resize(node, size, preallocation, error)) {
        return false;
    }
    if (size <= node->size) {
        return size == node->size || qcow2_co_shrink(image, size, error);
    }
    if (qcow2_has_vmstate(image) && !co_clear_behind(image, error)) {
        return false;
    }
    int ret = co_grow(node, size, preallocation);
    if (ret) {
        co_clear_behind(image, NULL);
        return error_set_errno(error, -ret, "could not grow '%s' to %" PRId64 " bytes",
                               node_filename(node), size);
    }
    return true;
}
