/*
 * A commit takes what is changed in memory through up to four stages:
 *
 *     1  refcount blocks, and L2 tables that no L1 entry on the disk points to
 *     2  refcount table entries
 *     3  other L2 tables, and L1 entries
 *     4  in memory: the refcounts of what 3 has let go
 *
 * with a barrier after each stage that wrote something and has a successor. Guest
 * data was written before its entry changed in memory, so the first barrier covers
 * it. While stages 1 to 3 run, L1, L2 and the refcount table hold still
 * (`committing`): nothing can slip into a later stage without having been in the
 * earlier ones. Refcounts may go up meanwhile; what they are for waits for the
 * next commit. Stage 4 changes memory only; the lower refcounts are written with
 * the next stage 1, since a crash before that only leaks.
 */
#include "qcow2/commit.h"

#include <errno.h>

#include "qcow2/alloc.h"
#include "qcow2/corrupt.h"
#include "qcow2/reftable.h"

enum { SECTOR = 512, MAX_DIRTY = 16 * 1024 * 1024, MAX_FREED = 1 << 18 };

/* ---- pieces ---- */

int qcow2_co_write_entries(struct qcow2_image *image, int64_t offset, const uint64_t *entries,
                           int64_t count, struct bitmap *dirty)
{
    enum { PER_SECTOR = SECTOR / 8, PER_WRITE = 4096 };
    uint64_t *buf = g_try_new(uint64_t, PER_WRITE);
    int ret = buf ? 0 : -ENOMEM;
    for (int64_t i = bitmap_next_set(dirty, 0); i < count && !ret; i = bitmap_next_set(dirty, i)) {
        int64_t from = align_down(i, PER_SECTOR);
        int64_t stop = min_i64(bitmap_next_clear(dirty, i), from + PER_WRITE);
        int64_t to = min_i64(align_up(stop, PER_SECTOR), count);
        for (int64_t k = from; k < to; k++) {
            buf[k - from] = htobe64(entries[k]);
        }
        ret = node_co_pwrite(image->node->file, offset + from * 8, (to - from) * 8, buf);
        if (!ret) {
            bitmap_clear(dirty, from, to - from);
        }
    }
    g_free(buf);
    return ret;
}

int qcow2_co_write_header(struct qcow2_image *image)
{
    enum { FROM = QCOW2_AT_SIZE, TO = QCOW2_AT_AUTOCLEAR + 8 };
    uint8_t buf[TO];
    qcow2_header_fields(&image->header, buf);
    int to = image->header.version >= 3 ? TO : QCOW2_V2_HEADER;
    int ret = node_co_pwrite(image->node->file, FROM, to - FROM, buf + FROM);
    return ret ? ret : node_co_flush(image->node->file);
}

static bool is_unlinked(const struct qcow2_table *table, void *arg)
{
    const struct qcow2_image *image = arg;
    return bitmap_test(image->l1_unlinked, table->tag);
}

static bool has_links(const struct qcow2_image *image)
{
    return image->l1_is_dirty || qcow2_cache_dirty_bytes(image->l2);
}

/* ---- stages ---- */

static int co_write_links(struct qcow2_image *image)
{
    int ret = qcow2_cache_co_write(image->l2, NULL, NULL);
    if (ret || !image->l1_is_dirty) {
        return ret;
    }
    node_co_event(image->node->file, BLK_EVENT_L1_UPDATE);
    bitmap_clear(image->l1_unlinked, 0, image->header.l1_entries);
    ret = qcow2_co_write_entries(image, image->header.l1_offset, image->l1,
                                 image->header.l1_entries, image->l1_dirty);
    image->l1_is_dirty = ret;
    return ret;
}

static int co_write_stages(struct qcow2_image *image)
{
    struct blk_node *file = image->node->file;
    bool links = has_links(image);
    int ret = qcow2_cache_co_write(image->refblocks, NULL, NULL);
    if (!ret && links) {
        ret = qcow2_cache_co_write(image->l2, is_unlinked, image);
    }
    if (!ret && (links || image->reftable_is_dirty)) {
        ret = node_co_flush(file);
    }
    if (!ret && image->reftable_is_dirty) {
        ret = qcow2_co_reftable_write(image);
        ret = ret || !links ? ret : node_co_flush(file);
    }
    return ret || !links ? ret : co_write_links(image);
}

/* Frees what is in `freed`; what could not be freed yet goes back to the list. */
static int co_finish_freed(struct qcow2_image *image, GArray *freed, int ret)
{
    ret = ret ? ret : node_co_flush(image->node->file);
    if (ret) {
        g_array_prepend_vals(image->freed, freed->data, freed->len);
        return ret;
    }
    return qcow2_co_release(image, freed);
}

int qcow2_co_commit_locked(struct qcow2_image *image)
{
    if (image->broken) {
        return image->broken;
    }
    if (!has_links(image) && !image->freed->len && !image->reftable_is_dirty &&
        !qcow2_cache_dirty_bytes(image->refblocks)) {
        return 0;
    }
    GArray *freed = image->freed;
    image->freed = g_array_new(false, false, sizeof(struct qcow2_freed));
    image->committing = true;
    int ret = co_write_stages(image);
    image->committing = false;
    co_queue_wake_all(&image->commit_waiters);
    if (freed->len) {
        ret = co_finish_freed(image, freed, ret);
    }
    g_array_unref(freed);
    return ret;
}

int qcow2_co_commit(struct qcow2_image *image)
{
    co_mutex_co_lock(&image->commit_lock);
    int ret = qcow2_co_commit_locked(image);
    co_mutex_unlock(&image->commit_lock);
    return ret;
}

/* Other programs may not expect a file that ends within a cluster that is in use. */
static int co_complete_file(struct qcow2_image *image)
{
    struct blk_node *file = image->node->file;
    GError *error = NULL;
    if (!file->growable || !image->write_started || node_size(file) >= image->fresh_from ||
        node_co_resize(file, image->fresh_from, "off", &error)) {
        return 0;
    }
    int ret = -error_errno(error);
    g_error_free(error);
    return ret;
}

int qcow2_co_commit_all(struct qcow2_image *image)
{
    int ret = qcow2_co_commit(image);
    if (!ret && qcow2_cache_dirty_bytes(image->refblocks)) {
        ret = qcow2_co_commit(image);
    }
    return ret ? ret : co_complete_file(image);
}

int qcow2_co_flush(struct blk_node *node)
{
    struct qcow2_image *image = qcow2_image(node);
    return image->writable ? qcow2_co_commit(image) : 0;
}

/* ---- before a write ---- */

static int co_settle_autoclear(struct qcow2_image *image)
{
    int ret = 0;
    co_mutex_co_lock(&image->start_lock);
    if (!image->write_started && image->header.autoclear) {
        image->header.autoclear = 0;
        ret = qcow2_co_write_header(image);
        image->broken = ret;
    }
    image->write_started = !ret;
    co_mutex_unlock(&image->start_lock);
    return ret;
}

int qcow2_co_write_begin(struct qcow2_image *image)
{
    int ret = qcow2_check_writable(image);
    if (!ret && !image->write_started) {
        ret = co_settle_autoclear(image);
    }
    int64_t dirty = qcow2_cache_dirty_bytes(image->l2) + qcow2_cache_dirty_bytes(image->refblocks);
    bool much = dirty >= MAX_DIRTY || (!ret && image->freed->len >= MAX_FREED);
    return ret || !much ? ret : qcow2_co_commit(image);
}
