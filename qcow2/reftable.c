/*
 * The refcount table lies in one piece, so growing it means a new one elsewhere.
 * All of it comes from clusters that the old table cannot count, at the first
 * cluster past its reach:
 *
 *     | new refcount blocks | new table |     counted by these blocks
 *
 * and is durable before the header points to it; until then the old table is as
 * good as ever, and the new clusters do not exist for anybody.
 */
#include "qcow2/reftable.h"

#include <errno.h>
#include <inttypes.h>

#include "qcow2/alloc.h"
#include "qcow2/commit.h"
#include "qcow2/corrupt.h"

bool qcow2_co_reftable_load(struct qcow2_image *image, GError **error)
{
    const struct qcow2_header *h = &image->header;
    int64_t bytes = (int64_t)h->reftable_clusters << image->cluster_bits;
    int64_t inside = min_i64(bytes, node_size(image->node->file) - h->reftable_offset);
    if (inside <= 0) {
        return error_set(error, EINVAL,
                         "the refcount table at 0x%" PRIx64 " is past the end of the file",
                         h->reftable_offset);
    }
    image->reftable_entries = bytes / 8;
    image->reftable = g_try_malloc0((gsize)bytes);
    image->reftable_dirty = bitmap_try_new(image->reftable_entries);
    if (!image->reftable || !image->reftable_dirty) {
        return error_set(error, ENOMEM, "no memory for a refcount table of %" PRId64 " bytes",
                         bytes);
    }
    node_co_event(image->node->file, BLK_EVENT_REFTABLE_LOAD);
    int ret = node_co_pread(image->node->file, h->reftable_offset, inside, image->reftable);
    if (ret) {
        return error_set_errno(error, -ret, "could not read the refcount table");
    }
    for (int64_t i = 0; i < image->reftable_entries; i++) {
        image->reftable[i] = be64toh(image->reftable[i]);
    }
    return true;
}

int qcow2_co_reftable_write(struct qcow2_image *image)
{
    node_co_event(image->node->file, BLK_EVENT_REFBLOCK_ALLOC_HOOKUP);
    int ret = image->reftable_is_dirty
                  ? qcow2_co_write_entries(image, image->header.reftable_offset, image->reftable,
                                           image->reftable_entries, image->reftable_dirty)
                  : 0;
    image->reftable_is_dirty = image->reftable_is_dirty && ret;
    return ret;
}

/* The table that is being made. */
struct growth {
    int64_t start;         /* first cluster of the new area */
    int64_t blocks, table; /* clusters of each part */
    int64_t entries;
    uint64_t *reftable; /* host byte order */
    struct bitmap *dirty;
};

/* How large: at least half as large again, and large enough to count itself. */
static int plan_growth(const struct qcow2_image *image, struct growth *g)
{
    int64_t per_block = INT64_C(1) << image->refblock_bits;
    int64_t per_cluster = image->cluster_size / 8;
    g->start = image->reftable_entries << image->refblock_bits;
    g->blocks = 0;
    do {
        g->blocks++;
        int64_t entries = max_i64(image->reftable_entries + image->reftable_entries / 2,
                                  image->reftable_entries + g->blocks);
        g->table = div_up(entries, per_cluster);
    } while (g->blocks + g->table > g->blocks * per_block);
    g->entries = g->table * per_cluster;
    if (g->entries * 8 > QCOW2_MAX_REFTABLE_BYTES) {
        return -EFBIG;
    }
    g->reftable = g_try_malloc0((gsize)(g->entries * 8));
    g->dirty = bitmap_try_new(g->entries);
    return g->reftable && g->dirty ? 0 : -ENOMEM;
}

/* Writes refcount block number `i` of the new area: 1 for each cluster of the area. */
static int co_write_block(struct qcow2_image *image, const struct growth *g, int64_t i,
                          uint8_t *buf)
{
    int64_t per_block = INT64_C(1) << image->refblock_bits;
    int64_t used = min_i64(per_block, g->blocks + g->table - i * per_block);
    memset(buf, 0, (size_t)image->cluster_size);
    for (int64_t c = 0; c < used; c++) {
        qcow2_refcount_set(buf, c, image->header.refcount_order, 1);
    }
    return node_co_pwrite(image->node->file, (g->start + i) << image->cluster_bits,
                          image->cluster_size, buf);
}

static int co_write_growth(struct qcow2_image *image, struct growth *g)
{
    int64_t old = image->reftable_entries;
    memcpy(g->reftable, image->reftable, (size_t)old * 8);
    uint8_t *buf = g_try_malloc((gsize)image->cluster_size);
    int ret = buf ? 0 : -ENOMEM;
    node_co_event(image->node->file, BLK_EVENT_REFBLOCK_ALLOC_WRITE_BLOCKS);
    for (int64_t i = 0; i < g->blocks && !ret; i++) {
        g->reftable[old + i] = (uint64_t)(g->start + i) << image->cluster_bits;
        ret = co_write_block(image, g, i, buf);
    }
    g_free(buf);
    bitmap_set(g->dirty, 0, g->entries);
    node_co_event(image->node->file, BLK_EVENT_REFBLOCK_ALLOC_WRITE_TABLE);
    int64_t table_off = (g->start + g->blocks) << image->cluster_bits;
    ret = ret ? ret : qcow2_co_write_entries(image, table_off, g->reftable, g->entries, g->dirty);
    return ret ? ret : node_co_flush(image->node->file);
}

/* Points the header to the new table. */
static int co_switch(struct qcow2_image *image, struct growth *g)
{
    struct qcow2_header *h = &image->header;
    struct qcow2_entry old = {.kind = QCOW2_NORMAL,
                              .host_off = h->reftable_offset,
                              .length = (int64_t)h->reftable_clusters << image->cluster_bits};
    metaset_remove(image->meta, h->reftable_offset >> image->cluster_bits, h->reftable_clusters);
    metaset_add(image->meta, g->start, g->blocks + g->table);
    h->reftable_offset = (g->start + g->blocks) << image->cluster_bits;
    h->reftable_clusters = (uint32_t)g->table;
    node_co_event(image->node->file, BLK_EVENT_REFBLOCK_ALLOC_SWITCH_TABLE);
    int ret = qcow2_co_write_header(image);
    if (ret) {
        image->broken = ret;
        return ret;
    }
    g_free(image->reftable);
    bitmap_free(image->reftable_dirty);
    image->reftable = g->reftable;
    image->reftable_dirty = g->dirty;
    image->reftable_entries = g->entries;
    g->reftable = NULL;
    g->dirty = NULL;
    int64_t end = (g->start + g->blocks + g->table) << image->cluster_bits;
    image->fresh_from = max_i64(image->fresh_from, end);
    qcow2_free_later(image, &old, false);
    return 0;
}

static int co_grow_locked(struct qcow2_image *image, int64_t seen_entries)
{
    if (image->reftable_entries != seen_entries || image->reftable_is_dirty) {
        return 0;
    }
    struct growth growth = {0};
    int ret = plan_growth(image, &growth);
    int64_t end = (growth.start + growth.blocks + growth.table) << image->cluster_bits;
    if (!ret && !image->node->file->growable && end > node_size(image->node->file)) {
        ret = -ENOSPC;
    }
    if (!ret && qcow2_is_metadata(image, growth.start, growth.blocks + growth.table)) {
        ret = qcow2_co_corrupt(image, "free cluster", growth.start);
    }
    ret = ret ? ret : co_write_growth(image, &growth);
    ret = ret ? ret : co_switch(image, &growth);
    g_free(growth.reftable);
    bitmap_free(growth.dirty);
    return ret;
}

int qcow2_co_reftable_grow(struct qcow2_image *image)
{
    int64_t seen = image->reftable_entries;
    node_co_event(image->node->file, BLK_EVENT_REFTABLE_GROW);
    co_mutex_co_lock(&image->commit_lock);
    int ret = qcow2_co_commit_locked(image);
    co_mutex_co_lock(&image->alloc_lock);
    ret = ret ? ret : co_grow_locked(image, seen);
    co_mutex_unlock(&image->alloc_lock);
    co_mutex_unlock(&image->commit_lock);
    return ret;
}
