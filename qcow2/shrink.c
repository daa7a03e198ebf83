/*
 * Shrinking is one change of the whole image: an L1 table as long as the new disk
 * needs, and a copy of the last L2 table without the entries past the end. Once
 * that is durable, nothing is left that refers to what lay behind: tables that had to
 * be written at the end of the file move into the room that was made, and the file's
 * free end is cut off.
 */
#include "qcow2/shrink.h"

#include <errno.h>

#include "qcow2/change.h"
#include "qcow2/vmstate.h"

bool qcow2_has_vmstate(const struct qcow2_image *image)
{
    int64_t i = qcow2_vmstate_index(image, image->node->size);
    while (i < image->header.l1_entries && !image->l1[i]) {
        i++;
    }
    return i < image->header.l1_entries;
}

/* Gives the last L1 entry a table without the entries from `first` on. */
static int co_cut_table(struct qcow2_change *c, int64_t index, int64_t first)
{
    const struct qcow2_image *image = c->txn.image;
    uint64_t raw = image->l1[index];
    int64_t entries = INT64_C(1) << image->l2_bits, copy;
    int ret = qcow2_tree_co_read(&c->tree, raw, c->tree.table);
    if (ret || bytes_are_zero(c->tree.table + first * 8, (size_t)(entries - first) * 8)) {
        return ret;
    }
    ret = qcow2_tree_co_count(&c->tree, c->tree.table, first, entries, false);
    memset(c->tree.table + first * 8, 0, (size_t)(entries - first) * 8);
    ret = ret ? ret : qcow2_tree_co_store(&c->tree, c->tree.table, &copy);
    c->state.l1[index] = ret ? 0 : qcow2_l1_encode(copy, true);
    int64_t old = qcow2_l1_decode(raw, image->cluster_bits).host_off;
    return ret ? ret : qcow2_txn_co_count(&c->txn, old, image->cluster_size, false);
}

static int co_cut(struct qcow2_change *c, int64_t size)
{
    const struct qcow2_image *image = c->txn.image;
    int64_t kept = min_i64(qcow2_vmstate_index(image, size), image->header.l1_entries);
    int64_t clusters = div_up(size, image->cluster_size);
    int64_t first = clusters & ((INT64_C(1) << image->l2_bits) - 1);
    memcpy(c->state.l1, image->l1, (size_t)kept * 8);
    int ret = kept && first && image->l1[kept - 1] ? co_cut_table(c, kept - 1, first) : 0;
    return ret ? ret : qcow2_change_co_drop(c, image->l1 + kept, image->header.l1_entries - kept);
}

/* ---- the file's end ---- */

/* Gives active L2 tables behind `limit` another place. */
static int co_move_tables(struct qcow2_change *c, int64_t limit)
{
    const struct qcow2_image *image = c->txn.image;
    int ret = 0;
    for (int64_t i = 0; i < image->header.l1_entries && !ret; i++) {
        struct qcow2_entry l1 = qcow2_l1_decode(image->l1[i], image->cluster_bits);
        int64_t offset = l1.host_off;
        if (l1.copied && offset >= limit) {
            ret = qcow2_tree_co_read(&c->tree, image->l1[i], c->tree.table);
            ret = ret ? ret : qcow2_tree_co_store(&c->tree, c->tree.table, &offset);
            ret = ret ? ret : qcow2_txn_co_count(&c->txn, l1.host_off, image->cluster_size, false);
        }
        c->state.l1[i] = qcow2_l1_encode(offset, l1.copied);
    }
    return ret;
}

static int co_move_blocks(struct qcow2_change *c, int64_t limit)
{
    const struct qcow2_image *image = c->txn.image;
    int ret = 0;
    for (int64_t i = 0; i < image->reftable_entries && !ret; i++) {
        ret = (int64_t)image->reftable[i] >= limit ? qcow2_txn_co_move_block(&c->txn, i) : 0;
    }
    return ret;
}

/* What the change wrote behind `limit`, the end of the file before it, moves to where it has made
 * room. When that fails the file stays longer. */
static void co_tidy(struct qcow2_image *image, int64_t limit)
{
    struct qcow2_change change;
    if (image->broken || image->free_hint << image->cluster_bits >= limit ||
        qcow2_change_co_begin(image, image->header.l1_entries, image->node->size, &change)) {
        return;
    }
    int ret = co_move_tables(&change, limit);
    ret = ret ? ret : co_move_blocks(&change, limit);
    qcow2_change_co_end(&change, ret, true, "shrink", NULL);
}

/* The cluster after the last one that is used. */
static int co_find_end(struct qcow2_image *image, int64_t *ret_end)
{
    int64_t end = div_up(node_size(image->node->file), image->cluster_size);
    while (end > 0) {
        struct qcow2_place place;
        int ret = qcow2_co_place(image, end - 1, &place);
        if (ret) {
            return ret;
        }
        int64_t i = place.index;
        while (i >= 0 && !qcow2_place_get(image, &place, i)) {
            i--;
        }
        end -= place.index - i;
        if (i >= 0) {
            break;
        }
    }
    *ret_end = end;
    return 0;
}

/* A tail that cannot be cut off stays: it only takes space. */
static void co_cut_file(struct qcow2_image *image)
{
    struct blk_node *file = image->node->file;
    int64_t end;
    co_mutex_co_lock(&image->alloc_lock);
    bool known = file->growable && !image->broken && !co_find_end(image, &end);
    if (known && end > 0 && end << image->cluster_bits < node_size(file) &&
        node_co_resize(file, end << image->cluster_bits, "off", NULL)) {
        image->fresh_from = end << image->cluster_bits;
    }
    co_mutex_unlock(&image->alloc_lock);
}

bool qcow2_co_shrink(struct qcow2_image *image, int64_t size, GError **error)
{
    struct qcow2_change change;
    int64_t limit = image->fresh_from;
    int ret = qcow2_change_co_begin(image, qcow2_vmstate_index(image, size), size, &change);
    if (ret) {
        return qcow2_change_error(&change, ret, "shrink", error);
    }
    ret = co_cut(&change, size);
    if (!qcow2_change_co_end(&change, ret, true, "shrink", error)) {
        return false;
    }
    co_tidy(image, limit);
    co_cut_file(image);
    return true;
}
