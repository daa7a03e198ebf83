/*
 * Each L1 table counts its whole tree: an L2 table that two L1 tables share has
 * refcount 2, and so has every cluster in it. COPIED, which only the active tables
 * have to keep right, says that a refcount is 1. A table whose flags change is
 * written to a new cluster, since nothing changes in place within a transaction.
 */
#include "qcow2/tree.h"

#include <errno.h>

#define COPIED (UINT64_C(1) << 63)

static int64_t table_entries(const struct qcow2_tree *tree)
{
    return INT64_C(1) << tree->txn->image->l2_bits;
}

int qcow2_tree_init(struct qcow2_tree *tree, struct qcow2_txn *txn)
{
    gsize size = (gsize)txn->image->cluster_size;
    *tree = (struct qcow2_tree){txn, g_try_malloc(size), g_try_malloc(size)};
    return tree->table && tree->other ? 0 : -ENOMEM;
}

void qcow2_tree_done(struct qcow2_tree *tree)
{
    g_free(tree->table);
    g_free(tree->other);
}

static struct qcow2_entry decode_l1(struct qcow2_tree *tree, uint64_t raw)
{
    return qcow2_l1_decode(raw, tree->txn->image->cluster_bits);
}

int qcow2_tree_co_read(struct qcow2_tree *tree, uint64_t raw, uint8_t *buf)
{
    const struct qcow2_image *image = tree->txn->image;
    struct qcow2_entry l1 = decode_l1(tree, raw);
    if (l1.kind == QCOW2_CORRUPT ||
        (l1.host_off && l1.host_off + image->cluster_size > node_size(image->node->file))) {
        return qcow2_txn_problem(tree->txn, "a corrupt L1 entry", (int64_t)raw);
    }
    if (!l1.host_off) {
        memset(buf, 0, (size_t)image->cluster_size);
        return 0;
    }
    return node_co_pread(image->node->file, l1.host_off, image->cluster_size, buf);
}

int qcow2_tree_co_count(struct qcow2_tree *tree, const uint8_t *buf, int64_t from, int64_t to,
                        bool up)
{
    const struct qcow2_image *image = tree->txn->image;
    int ret = 0;
    for (int64_t i = from, run; i < to && !ret; i += run) {
        struct qcow2_entry e;
        run = qcow2_l2_run(buf, (int)i, (int)to, image->cluster_bits, image->header.version, &e);
        if (e.kind == QCOW2_CORRUPT) {
            return qcow2_txn_problem(tree->txn, "a corrupt L2 entry",
                                     (int64_t)load_be64(buf + 8 * i));
        }
        if (e.host_off) {
            int64_t length = e.kind == QCOW2_COMPRESSED ? e.length : run << image->cluster_bits;
            ret = qcow2_txn_co_count(tree->txn, e.host_off, length, up);
        }
    }
    return ret;
}

int qcow2_tree_co_store(struct qcow2_tree *tree, const uint8_t *buf, int64_t *ret_offset)
{
    const struct qcow2_image *image = tree->txn->image;
    int ret = qcow2_txn_co_take(tree->txn, 1, ret_offset);
    return ret ? ret : node_co_pwrite(image->node->file, *ret_offset, image->cluster_size, buf);
}

/* Clears COPIED in all entries; true when one had it. */
static bool clear_copied(const struct qcow2_tree *tree, uint8_t *buf)
{
    uint8_t seen = 0;
    for (int64_t i = 0; i < table_entries(tree); i++) {
        seen |= buf[8 * i];
        buf[8 * i] &= 0x7f;
    }
    return seen & 0x80;
}

/* Counts the L2 table itself for a newcomer, once its entries are counted; see
 * qcow2_tree_co_share(). */
static int co_share_table(struct qcow2_tree *tree, uint8_t *buf, int64_t offset, bool keep,
                          uint64_t *ret_raw)
{
    int64_t size = tree->txn->image->cluster_size, copy;
    *ret_raw = qcow2_l1_encode(offset, false);
    if (!clear_copied(tree, buf)) {
        return qcow2_txn_co_count(tree->txn, offset, size, true);
    }
    int ret = qcow2_tree_co_store(tree, buf, &copy);
    if (ret) {
        return ret;
    }
    *ret_raw = qcow2_l1_encode(copy, keep);
    if (keep) {
        return 0;
    }
    ret = qcow2_txn_co_count(tree->txn, copy, size, true);
    return ret ? ret : qcow2_txn_co_count(tree->txn, offset, size, false);
}

int qcow2_tree_co_share(struct qcow2_tree *tree, uint64_t raw, bool keep, uint64_t *ret_raw)
{
    struct qcow2_entry l1 = decode_l1(tree, raw);
    if (l1.kind == QCOW2_UNALLOCATED) {
        *ret_raw = 0;
        return 0;
    }
    int ret = qcow2_tree_co_read(tree, raw, tree->table);
    ret = ret ? ret : qcow2_tree_co_count(tree, tree->table, 0, table_entries(tree), true);
    return ret ? ret : co_share_table(tree, tree->table, l1.host_off, keep, ret_raw);
}

int qcow2_tree_co_drop(struct qcow2_tree *tree, uint64_t raw)
{
    int64_t offset = decode_l1(tree, raw).host_off;
    int ret = qcow2_tree_co_read(tree, raw, tree->table);
    ret = ret ? ret : qcow2_tree_co_count(tree, tree->table, 0, table_entries(tree), false);
    return ret || !offset
               ? ret
               : qcow2_txn_co_count(tree->txn, offset, tree->txn->image->cluster_size, false);
}

/* Empties the entries of `a` and `b` that are equal but for COPIED. */
static void forget_equal(const struct qcow2_tree *tree, uint8_t *a, uint8_t *b)
{
    for (int64_t i = 0; i < table_entries(tree); i++) {
        if (((load_be64(a + 8 * i) ^ load_be64(b + 8 * i)) & ~COPIED) == 0) {
            store_be64(a + 8 * i, 0);
            store_be64(b + 8 * i, 0);
        }
    }
}

int qcow2_tree_co_replace(struct qcow2_tree *tree, uint64_t from, uint64_t to, uint64_t *ret_raw)
{
    int64_t old = decode_l1(tree, from).host_off, new = decode_l1(tree, to).host_off;
    int64_t size = tree->txn->image->cluster_size, all = table_entries(tree);
    int ret = qcow2_tree_co_read(tree, from, tree->other);
    ret = ret ? ret : qcow2_tree_co_read(tree, to, tree->table);
    *ret_raw = to & ~COPIED;
    if (ret || old == new) {
        return ret;
    }
    forget_equal(tree, tree->other, tree->table);
    ret = qcow2_tree_co_count(tree, tree->other, 0, all, false);
    ret = ret || !old ? ret : qcow2_txn_co_count(tree->txn, old, size, false);
    ret = ret ? ret : qcow2_tree_co_count(tree, tree->table, 0, all, true);
    if (ret || !new) {
        return ret;
    }
    ret = qcow2_tree_co_read(tree, to, tree->table);
    return ret ? ret : co_share_table(tree, tree->table, new, true, ret_raw);
}

/* Sets COPIED of each entry as its refcount says; *ret_changed: one was wrong. */
static int co_mark_entries(struct qcow2_tree *tree, uint8_t *buf, bool *ret_changed)
{
    const struct qcow2_image *image = tree->txn->image;
    *ret_changed = false;
    for (int64_t i = 0; i < table_entries(tree); i++) {
        uint64_t raw = load_be64(buf + 8 * i), count;
        struct qcow2_entry e = qcow2_l2_decode(raw, image->cluster_bits, image->header.version);
        if (e.kind != QCOW2_NORMAL && e.kind != QCOW2_ZERO_ALLOC) {
            continue;
        }
        int ret = qcow2_txn_co_get(tree->txn, e.host_off >> image->cluster_bits, &count);
        if (ret) {
            return ret;
        }
        if (e.copied != (count == 1)) {
            store_be64(buf + 8 * i, raw ^ COPIED);
            *ret_changed = true;
        }
    }
    return 0;
}

int qcow2_tree_co_mark(struct qcow2_tree *tree, uint64_t raw, uint64_t *ret_raw)
{
    const struct qcow2_image *image = tree->txn->image;
    int64_t offset = decode_l1(tree, raw).host_off, copy;
    uint64_t count;
    bool changed;
    int ret = qcow2_tree_co_read(tree, raw, tree->table);
    ret = ret || !offset ? ret : qcow2_txn_co_get(tree->txn, offset >> image->cluster_bits, &count);
    if (ret || !offset) {
        *ret_raw = 0;
        return ret;
    }
    *ret_raw = qcow2_l1_encode(offset, count == 1);
    if (count != 1) {
        return 0;
    }
    ret = co_mark_entries(tree, tree->table, &changed);
    if (ret || !changed) {
        return ret;
    }
    ret = qcow2_tree_co_store(tree, tree->table, &copy);
    *ret_raw = qcow2_l1_encode(copy, true);
    return ret ? ret : qcow2_txn_co_count(tree->txn, offset, image->cluster_size, false);
}
