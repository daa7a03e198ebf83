/*
 * Emptying in a time that does not depend on how much there is to forget: an empty
 * L1 table and refcounts that count nothing but themselves are written past the
 * end of the file, and one write of the header moves to them. Then everything
 * before is free, the tables of a new image are written there in the same way, and
 * the file is cut off behind them.
 *
 *     | header | tables and data ... | refcount table, blocks, empty L1 |    1
 *     | header | refcount table, blocks, empty L1 |                          2
 *
 * Snapshots keep what they refer to, and a device has no place past its end: there
 * everything that is active is let go in one transaction.
 */
#include "qcow2/empty.h"

#include <errno.h>

#include "qcow2/alloc.h"
#include "qcow2/commit.h"
#include "qcow2/create.h"
#include "qcow2/layout.h"
#include "qcow2/open.h"
#include "qcow2/snapshot.h"

/* ---- new tables ---- */

/* Tables at the end of the file. Clusters. */
struct spare {
    int64_t first, table, blocks, l1, end;
    int64_t low, high; /* refcount blocks that count the area; block 0 comes on top if not one */
};

static void plan_spare(const struct qcow2_image *image, struct spare *s)
{
    int64_t file_end = max_i64(node_size(image->node->file), image->fresh_from);
    s->first = div_up(file_end, image->cluster_size);
    s->l1 = div_up((int64_t)image->header.l1_entries * 8, image->cluster_size);
    s->low = s->first >> image->refblock_bits;
    s->table = s->blocks = 0;
    for (int64_t last = -1; last != s->table + s->blocks;) {
        last = s->table + s->blocks;
        s->end = s->first + s->table + s->blocks + s->l1;
        s->high = (s->end - 1) >> image->refblock_bits;
        s->blocks = s->high - s->low + 1 + (s->low > 0);
        s->table = div_up((s->high + 1) * 8, image->cluster_size);
    }
}

/* Fills refcount block number `index`: 1 for the header and for the area. */
static void fill_block(const struct qcow2_image *image, const struct spare *s, int64_t index,
                       uint8_t *buf)
{
    int64_t base = index << image->refblock_bits, end = (index + 1) << image->refblock_bits;
    memset(buf, 0, (size_t)image->cluster_size);
    if (!index) {
        qcow2_refcount_set(buf, 0, image->header.refcount_order, 1);
    }
    for (int64_t c = max_i64(base, s->first); c < min_i64(end, s->end); c++) {
        qcow2_refcount_set(buf, c - base, image->header.refcount_order, 1);
    }
}

static int co_write_spare(struct qcow2_image *image, const struct spare *s, uint8_t *table,
                          uint8_t *block)
{
    struct blk_node *file = image->node->file;
    int bits = image->cluster_bits, ret = 0;
    int64_t at = s->first + s->table, index = s->low ? 0 : s->low;
    for (int64_t k = 0; k < s->blocks && !ret; k++, at++) {
        fill_block(image, s, index, block);
        store_be64(table + 8 * index, (uint64_t)at << bits);
        ret = node_co_pwrite(file, at << bits, image->cluster_size, block);
        index = index < s->low ? s->low : index + 1;
    }
    ret = ret ? ret : node_co_pwrite(file, s->first << bits, s->table << bits, table);
    return ret || !s->l1 ? ret : node_co_zero(file, at << bits, s->l1 << bits, 0);
}

static int co_make_spare(struct qcow2_image *image, struct spare *s)
{
    plan_spare(image, s);
    if ((s->table << image->cluster_bits) > QCOW2_MAX_REFTABLE_BYTES ||
        s->end > INT64_C(1) << (56 - image->cluster_bits)) {
        return -EFBIG;
    }
    uint8_t *table = g_try_malloc0((gsize)(s->table << image->cluster_bits));
    uint8_t *block = g_try_malloc((gsize)image->cluster_size);
    int ret = table && block ? co_write_spare(image, s, table, block) : -ENOMEM;
    g_free(table);
    g_free(block);
    return ret;
}

/* ---- moving to them ---- */

/* The tables on the disk are empty and are those of `tables`: lets the header say so, and forgets
 * what is in memory. */
static bool co_switch(struct qcow2_image *image, const struct qcow2_header *tables, GError **error)
{
    struct qcow2_header *h = &image->header;
    int ret = node_co_flush(image->node->file);
    if (!ret) {
        h->l1_offset = tables->l1_offset;
        h->l1_entries = tables->l1_entries;
        h->reftable_offset = tables->reftable_offset;
        h->reftable_clusters = tables->reftable_clusters;
        ret = qcow2_co_write_header(image);
        image->broken = ret;
    }
    if (ret) {
        return error_set_errno(error, -ret, "could not empty '%s'", node_filename(image->node));
    }
    memset(image->l1, 0, h->l1_entries * sizeof(uint64_t));
    image->l1_is_dirty = image->reftable_is_dirty = false;
    if (!qcow2_caches_reset(image, error) || !qcow2_co_refcounts_reload(image, error)) {
        image->broken = -ENOMEM;
        g_prefix_error(error, "could not empty '%s': ", node_filename(image->node));
        return false;
    }
    return true;
}

static bool co_move_behind(struct qcow2_image *image, GError **error)
{
    struct spare s;
    int ret = co_make_spare(image, &s);
    if (ret) {
        return error_set_errno(error, -ret, "could not empty '%s'", node_filename(image->node));
    }
    int bits = image->cluster_bits;
    struct qcow2_header tables = {
        .l1_offset = s.l1 ? (s.end - s.l1) << bits : 0,
        .l1_entries = image->header.l1_entries,
        .reftable_offset = s.first << bits,
        .reftable_clusters = (uint32_t)s.table,
    };
    return co_switch(image, &tables, error);
}

/* To the places that the tables of a new image have; what follows is cut off. */
static bool co_move_front(struct qcow2_image *image, GError **error)
{
    struct blk_node *file = image->node->file;
    struct qcow2_layout l;
    if (!qcow2_layout_plan(image->header.size, image->cluster_bits, image->header.refcount_order,
                           false, &l, error)) {
        return false;
    }
    int64_t end = l.total << image->cluster_bits;
    if (end > image->header.reftable_offset) {
        return true;
    }
    int ret = qcow2_co_write_tables(file, &l);
    if (ret) {
        return error_set_errno(error, -ret, "could not empty '%s'", node_filename(image->node));
    }
    struct qcow2_header tables = {
        .l1_offset = l.l1_offset,
        .l1_entries = (uint32_t)l.l1_entries,
        .reftable_offset = l.reftable_offset,
        .reftable_clusters = (uint32_t)l.reftable_clusters,
    };
    if (!co_switch(image, &tables, error) || !node_co_resize(file, end, "off", error)) {
        return false;
    }
    image->fresh_from = end;
    return true;
}

bool qcow2_co_empty(struct blk_node *node, GError **error)
{
    struct qcow2_image *image = qcow2_image(node);
    int ret = qcow2_co_write_begin(image);
    ret = ret ? ret : qcow2_co_commit_all(image);
    if (ret) {
        return error_set_errno(error, -ret, "could not empty '%s'", node_filename(node));
    }
    if (image->header.snapshots || !node->file->growable) {
        return qcow2_co_drop_active(node, error);
    }
    return co_move_behind(image, error) && co_move_front(image, error);
}
