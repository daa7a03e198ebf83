/*
 * L2 tables change in memory only, and only while no commit is under way. A new
 * or copied table is put together in the cache before its L1 entry shows it to
 * anybody, in one go without a yield.
 */
#include "qcow2/link.h"

#include <errno.h>

#include "qcow2/alloc.h"
#include "qcow2/corrupt.h"
#include "qcow2/map.h"

static void co_wait_commit(struct qcow2_image *image)
{
    while (image->committing) {
        co_queue_co_wait(&image->commit_waiters);
    }
}

/* Reads the table at `offset` whole into `buf`. */
static int co_copy_table(struct qcow2_image *image, int64_t offset, uint8_t *buf)
{
    int ret = 0;
    for (int64_t at = 0; at < image->cluster_size && !ret; at += image->slice_size) {
        struct qcow2_table *table;
        ret = qcow2_cache_co_get(image->l2, offset + at, &table);
        if (!ret) {
            memcpy(buf + at, table->data, (size_t)image->slice_size);
        }
    }
    return ret;
}

/* Puts a table with the contents of `buf` (NULL: zeroes) into the cache, wholly dirty. */
static int add_table(struct qcow2_image *image, int64_t offset, int64_t tag, const uint8_t *buf)
{
    for (int64_t at = 0; at < image->cluster_size; at += image->slice_size) {
        struct qcow2_table *table = qcow2_cache_add_zero(image->l2, offset + at);
        if (!table) {
            qcow2_cache_drop(image->l2, offset, image->cluster_size);
            return -ENOMEM;
        }
        table->tag = tag;
        if (buf) {
            memcpy(table->data, buf + at, (size_t)image->slice_size);
        }
    }
    return 0;
}

/* Gives L1 entry `index` a table of its own: a new one, or a copy of `old`. */
static int co_make_table(struct qcow2_image *image, int64_t index, const struct qcow2_entry *old)
{
    int64_t offset;
    uint8_t *buf = NULL;
    int ret = qcow2_co_alloc_table(image, 1, &offset);
    if (ret) {
        return ret;
    }
    if (old->host_off) {
        node_co_event(image->node->file, BLK_EVENT_L2_ALLOC_COW_READ);
        buf = g_try_malloc((gsize)image->cluster_size);
        ret = buf ? co_copy_table(image, old->host_off, buf) : -ENOMEM;
    }
    node_co_event(image->node->file, BLK_EVENT_L2_ALLOC_WRITE);
    co_wait_commit(image);
    ret = ret ? ret : add_table(image, offset, index, buf);
    g_free(buf);
    if (ret) {
        metaset_remove(image->meta, offset >> image->cluster_bits, 1);
        qcow2_co_alloc_undo(image, offset, image->cluster_size);
        return ret;
    }
    image->l1[index] = qcow2_l1_encode(offset, true);
    bitmap_set(image->l1_dirty, index, 1);
    bitmap_set(image->l1_unlinked, index, 1);
    image->l1_is_dirty = true;
    if (old->host_off) {
        metaset_remove(image->meta, old->host_off >> image->cluster_bits, 1);
        qcow2_free_later(image, old, false);
    }
    return 0;
}

/* Makes the table of L1 entry `index` changeable, once, however many ask for it. */
static int co_own_table(struct qcow2_image *image, int64_t index)
{
    co_mutex_co_lock(&image->l2_lock);
    struct qcow2_entry l1 = qcow2_l1_decode(image->l1[index], image->cluster_bits);
    int ret = 0;
    if (l1.kind == QCOW2_CORRUPT) {
        ret = qcow2_co_corrupt(image, "L1 entry", index);
    } else if (!l1.copied) {
        ret = co_make_table(image, index, &l1);
    }
    co_mutex_unlock(&image->l2_lock);
    return ret;
}

int qcow2_co_slice_for_update(struct qcow2_image *image, int64_t offset,
                              struct qcow2_table **ret_table, int *ret_index)
{
    int64_t l1_index = qcow2_l1_index(image, offset);
    for (;;) {
        struct qcow2_entry l1 = qcow2_l1_decode(image->l1[l1_index], image->cluster_bits);
        if (!l1.copied) {
            int ret = co_own_table(image, l1_index);
            if (ret) {
                return ret;
            }
            continue;
        }
        int64_t at = qcow2_slice_offset(image, l1.host_off, offset, ret_index);
        int ret = qcow2_cache_co_get(image->l2, at, ret_table);
        if (ret) {
            return ret;
        }
        if (!image->committing) {
            (*ret_table)->tag = l1_index;
            return image->broken;
        }
        co_queue_co_wait(&image->commit_waiters);
    }
}

int qcow2_entry_replace(struct qcow2_image *image, struct qcow2_table *table, int index,
                        const struct qcow2_entry *entry, bool discard)
{
    uint8_t *p = table->data + 8 * index;
    struct qcow2_entry old =
        qcow2_l2_decode(load_be64(p), image->cluster_bits, image->header.version);
    if (old.kind == QCOW2_CORRUPT) {
        return -EIO;
    }
    store_be64(p, qcow2_l2_encode(entry, image->cluster_bits));
    qcow2_cache_dirty(image->l2, table, 8 * index, 8 * index + 8);
    if (old.host_off != entry->host_off || old.kind == QCOW2_COMPRESSED) {
        qcow2_free_later(image, &old, discard);
    }
    return 0;
}

int qcow2_co_link(struct qcow2_image *image, int64_t guest, int64_t host, int64_t count,
                  int64_t *ret_done)
{
    int per_slice = (int)(image->slice_size / 8);
    int64_t done = 0;
    int ret = 0;
    while (done < count && !ret) {
        struct qcow2_table *table;
        int index;
        ret =
            qcow2_co_slice_for_update(image, guest + (done << image->cluster_bits), &table, &index);
        for (; !ret && index < per_slice && done < count; index++) {
            struct qcow2_entry entry = {.kind = QCOW2_NORMAL,
                                        .copied = true,
                                        .host_off = host + (done << image->cluster_bits)};
            ret = qcow2_entry_replace(image, table, index, &entry, false);
            done += !ret;
        }
    }
    *ret_done = done;
    return ret;
}

int qcow2_co_link_packed(struct qcow2_image *image, int64_t guest, int64_t host, int64_t length)
{
    struct qcow2_table *table;
    int index;
    node_co_event(image->node->file, BLK_EVENT_L2_UPDATE_COMPRESSED);
    int ret = qcow2_co_slice_for_update(image, guest, &table, &index);
    struct qcow2_entry entry = {.kind = QCOW2_COMPRESSED, .host_off = host, .length = length};
    return ret ? ret : qcow2_entry_replace(image, table, index, &entry, false);
}
