/*
 * L1 table, refcount table and snapshot table are all found through the header,
 * whose fields lie in one sector. So a change of the whole image writes new tables
 * beside the old ones and then switches with one write:
 *
 *     new L2 tables, refcount blocks, L1, snapshot and refcount table
 *     | header |
 *     the old tables' clusters are free
 *
 * Refcounts change in copies of their blocks: the first change of a block moves it
 * to a free cluster (`moved`). Free is what neither the disk nor the new state
 * refers to: clusters whose refcount drops to zero here are `released` and not
 * used before the switch. Hence a crash leaves the old state or the new one, and
 * not even a leak.
 *
 * A block moves into a cluster that it, or a block moved before, counts; that is
 * why nothing here recurses deeper than one step.
 */
#include "qcow2/txn.h"

#include <errno.h>
#include <inttypes.h>

#include "qcow2/alloc.h"
#include "qcow2/commit.h"
#include "qcow2/snapshots.h"

enum { CHANGED = 1, USED = 2, MAX_DIRTY = 16 * 1024 * 1024 };

#define MAX_REFTABLE_ENTRIES (QCOW2_MAX_REFTABLE_BYTES / 8)

int qcow2_txn_problem(struct qcow2_txn *txn, const char *problem, int64_t where)
{
    txn->problem = problem;
    txn->where = where;
    return -EIO;
}

static int64_t block_of(const struct qcow2_txn *txn, int64_t cluster)
{
    return cluster >> txn->image->refblock_bits;
}

/* ---- beginning and ending ---- */

static bool is_pending(const struct qcow2_image *image)
{
    return image->l1_is_dirty || image->reftable_is_dirty || image->freed->len ||
           qcow2_cache_dirty_bytes(image->l2) || qcow2_cache_dirty_bytes(image->refblocks);
}

int qcow2_txn_co_begin(struct qcow2_image *image, struct qcow2_txn *ret_txn)
{
    int ret = qcow2_co_write_begin(image);
    if (ret) {
        return ret;
    }
    struct qcow2_txn txn = {.image = image,
                            .moved = bitmap_try_new(MAX_REFTABLE_ENTRIES),
                            .slice = g_try_malloc((gsize)image->slice_size)};
    co_mutex_co_lock(&image->commit_lock);
    ret = txn.moved && txn.slice ? 0 : -ENOMEM;
    while (!ret && is_pending(image)) {
        ret = qcow2_co_commit_locked(image);
    }
    if (ret) {
        co_mutex_unlock(&image->commit_lock);
        bitmap_free(txn.moved);
        g_free(txn.slice);
        return ret;
    }
    co_mutex_co_lock(&image->alloc_lock);
    txn.hint = image->free_hint;
    txn.released = metaset_new();
    txn.old_blocks = g_array_new(false, false, sizeof(int64_t));
    *ret_txn = txn;
    return 0;
}

static void txn_end(struct qcow2_txn *txn)
{
    co_mutex_unlock(&txn->image->alloc_lock);
    co_mutex_unlock(&txn->image->commit_lock);
    bitmap_free(txn->moved);
    metaset_free(txn->released);
    g_array_unref(txn->old_blocks);
    g_free(txn->slice);
}

/* What is in memory becomes what is on the disk again. */
static int co_reload(struct qcow2_txn *txn)
{
    struct qcow2_image *image = txn->image;
    GError *error = NULL;
    int64_t hint = image->free_hint;
    qcow2_cache_clear(image->l2);
    qcow2_cache_clear(image->refblocks);
    image->reftable_is_dirty = false;
    if (qcow2_co_refcounts_reload(image, &error)) {
        image->free_hint = hint;
        return 0;
    }
    image->broken = -error_errno(error);
    g_error_free(error);
    return image->broken;
}

void qcow2_txn_co_abort(struct qcow2_txn *txn)
{
    co_reload(txn);
    txn_end(txn);
}

/* ---- moving refcount blocks ---- */

/* Makes refcount block `block` live in `cluster`, which is free. */
static int co_move_block(struct qcow2_txn *txn, int64_t block, int64_t cluster)
{
    struct qcow2_image *image = txn->image;
    int64_t old = (int64_t)image->reftable[block], new = cluster << image->cluster_bits;
    txn->place_end = 0;
    for (int64_t at = 0; at < image->cluster_size; at += image->slice_size) {
        struct qcow2_table *table;
        int ret = qcow2_cache_co_get(image->refblocks, old + at, &table);
        if (ret) {
            return ret;
        }
        memcpy(txn->slice, table->data, (size_t)image->slice_size);
        table = qcow2_cache_add_zero(image->refblocks, new + at);
        if (!table) {
            return -ENOMEM;
        }
        memcpy(table->data, txn->slice, (size_t)image->slice_size);
    }
    qcow2_cache_drop(image->refblocks, old, image->cluster_size);
    image->reftable[block] = (uint64_t) new;
    bitmap_set(txn->moved, block, 1);
    g_array_append_val(txn->old_blocks, old);
    return 0;
}

/* Sets the refcount of a cluster whose block has moved. */
static int co_set(struct qcow2_txn *txn, int64_t cluster, uint64_t value)
{
    struct qcow2_place place;
    int ret = qcow2_co_place(txn->image, cluster, &place);
    if (!ret) {
        qcow2_place_set(txn->image, &place, place.index, place.index + 1, value);
    }
    txn->place_end = 0;
    return ret;
}

static int grow_reftable(struct qcow2_image *image, int64_t block)
{
    int64_t per_cluster = image->cluster_size / 8;
    int64_t entries = max_i64(image->reftable_entries + image->reftable_entries / 2, block + 1);
    entries = align_up(entries, per_cluster);
    struct bitmap *dirty = entries <= MAX_REFTABLE_ENTRIES ? bitmap_try_new(entries) : NULL;
    uint64_t *table = dirty ? g_try_realloc(image->reftable, (gsize)entries * 8) : NULL;
    if (!table) {
        bitmap_free(dirty);
        return entries <= MAX_REFTABLE_ENTRIES ? -ENOMEM : -EFBIG;
    }
    memset(table + image->reftable_entries, 0, (size_t)(entries - image->reftable_entries) * 8);
    bitmap_free(image->reftable_dirty);
    image->reftable = table;
    image->reftable_dirty = dirty;
    image->reftable_entries = entries;
    return 0;
}

/* ---- taking clusters ---- */

/* Looks at *cluster. 0: it is free, and its refcount may be changed. USED: it is not, and *cluster
 * is the next one to look at. CHANGED: clusters were taken on the way. */
static int co_probe(struct qcow2_txn *txn, int64_t *cluster)
{
    struct qcow2_image *image = txn->image;
    int64_t block = block_of(txn, *cluster);
    int ret = block < image->reftable_entries ? 0 : grow_reftable(image, block);
    if (ret) {
        return ret;
    }
    if (!image->reftable[block]) {
        ret = qcow2_co_make_block(image, *cluster);
        bitmap_set(txn->moved, block, 1);
        txn->place_end = 0;
        return ret ? ret : CHANGED;
    }
    struct qcow2_place place;
    ret = qcow2_co_place(image, *cluster, &place);
    txn->place_end = 0;
    if (ret) {
        return ret;
    }
    int64_t i = place.index;
    while (i < place.end && qcow2_place_get(image, &place, i)) {
        i++;
    }
    if (i > place.index || metaset_test(txn->released, *cluster, 1)) {
        *cluster += max_i64(i - place.index, 1);
        return USED;
    }
    if (qcow2_is_metadata(image, *cluster, 1)) {
        return qcow2_txn_problem(txn, "a table in a cluster with refcount 0", *cluster);
    }
    if (bitmap_test(txn->moved, block)) {
        return 0;
    }
    ret = co_move_block(txn, block, *cluster);
    ret = ret ? ret : co_set(txn, *cluster, 1);
    return ret ? ret : CHANGED;
}

int qcow2_txn_co_take(struct qcow2_txn *txn, int64_t count, int64_t *ret_offset)
{
    struct qcow2_image *image = txn->image;
    int64_t limit = qcow2_cluster_limit(image);
    int64_t first = txn->hint, end = first;
    while (end < first + count) {
        int64_t at = end;
        int ret = first + count > limit ? -ENOSPC : co_probe(txn, &at);
        if (ret < 0) {
            return ret;
        }
        first = ret == USED ? at : first;
        end = ret ? first : end + 1;
    }
    for (int64_t c = first; c < end; c++) {
        int ret = co_set(txn, c, 1);
        if (ret) {
            return ret;
        }
    }
    txn->hint = count == 1 ? end : txn->hint;
    image->fresh_from = max_i64(image->fresh_from, end << image->cluster_bits);
    *ret_offset = first << image->cluster_bits;
    return 0;
}

/* ---- counting ---- */

int qcow2_txn_co_move_block(struct qcow2_txn *txn, int64_t block)
{
    int64_t offset;
    if (bitmap_test(txn->moved, block)) {
        return 0;
    }
    int ret = qcow2_txn_co_take(txn, 1, &offset);
    if (ret) {
        return ret;
    }
    int64_t cluster = offset >> txn->image->cluster_bits;
    /* Taking the cluster may have moved the block already. */
    return bitmap_test(txn->moved, block) ? co_set(txn, cluster, 0)
                                          : co_move_block(txn, block, cluster);
}

static int co_own_block(struct qcow2_txn *txn, int64_t cluster)
{
    struct qcow2_image *image = txn->image;
    int64_t block = block_of(txn, cluster);
    if (block >= image->reftable_entries || !image->reftable[block]) {
        return qcow2_txn_problem(txn, "a reference to a cluster with refcount 0", cluster);
    }
    return qcow2_txn_co_move_block(txn, block);
}

/* Makes txn->place the one of `cluster`; its refcounts may be changed. */
static int co_reach(struct qcow2_txn *txn, int64_t cluster)
{
    struct qcow2_image *image = txn->image;
    if (cluster >= txn->place_first && cluster < txn->place_end) {
        return 0;
    }
    int ret = qcow2_cache_dirty_bytes(image->refblocks) < MAX_DIRTY
                  ? 0
                  : qcow2_cache_co_write(image->refblocks, NULL, NULL);
    ret = ret ? ret : co_own_block(txn, cluster);
    ret = ret ? ret : qcow2_co_place(image, cluster, &txn->place);
    txn->place_first = ret ? 0 : cluster - txn->place.index;
    txn->place_end = ret ? 0 : txn->place_first + txn->place.end;
    return ret;
}

/* Counts [first, end), all within txn->place, up or down. */
static int count_in_place(struct qcow2_txn *txn, int64_t first, int64_t end, bool up)
{
    struct qcow2_image *image = txn->image;
    int order = image->header.refcount_order;
    uint64_t max = qcow2_refcount_max(order);
    uint8_t *data = txn->place.table->data;
    int64_t from = first - txn->place_first, to = end - txn->place_first, zero = 0;
    for (int64_t i = from; i < to; i++) {
        uint64_t old = qcow2_refcount_get(data, i, order);
        if (!old) {
            return qcow2_txn_problem(txn, "a reference to a cluster with refcount 0",
                                     txn->place_first + i);
        }
        if (up && old == max) {
            return -EOVERFLOW;
        }
        qcow2_refcount_set(data, i, order, up ? old + 1 : old - 1);
        zero += !up && old == 1;
    }
    qcow2_place_dirty(image, &txn->place, from, to);
    if (zero == end - first) {
        return metaset_add(txn->released, first, zero);
    }
    int ret = 0;
    for (int64_t i = from; i < to && zero && !ret; i++) {
        ret = qcow2_refcount_get(data, i, order)
                  ? 0
                  : metaset_add(txn->released, txn->place_first + i, 1);
    }
    return ret;
}

int qcow2_txn_co_count(struct qcow2_txn *txn, int64_t offset, int64_t length, bool up)
{
    struct qcow2_image *image = txn->image;
    int64_t cluster = offset >> image->cluster_bits;
    int64_t end = div_up(offset + length, image->cluster_size);
    int ret = 0;
    for (int64_t stop; cluster < end && !ret; cluster = stop) {
        ret = co_reach(txn, cluster);
        stop = ret ? end : min_i64(end, txn->place_end);
        ret = ret ? ret : count_in_place(txn, cluster, stop, up);
    }
    return ret;
}

int qcow2_txn_co_get(struct qcow2_txn *txn, int64_t cluster, uint64_t *ret_refcount)
{
    struct qcow2_image *image = txn->image;
    if (cluster < txn->place_first || cluster >= txn->place_end) {
        int ret = qcow2_co_place(image, cluster, &txn->place);
        bool own = !ret && txn->place.table && bitmap_test(txn->moved, block_of(txn, cluster));
        txn->place_first = cluster - txn->place.index;
        txn->place_end = own ? txn->place_first + txn->place.end : 0;
        if (ret) {
            return ret;
        }
    }
    *ret_refcount = qcow2_place_get(image, &txn->place, cluster - txn->place_first);
    return 0;
}

/* ---- finishing ---- */

/* The header fields that a finished transaction sets. */
struct fields {
    int64_t l1_offset, l1_entries, size, snapshots_offset, snaptable_bytes, reftable_offset;
    uint32_t reftable_clusters;
};

static int co_write_words(struct qcow2_image *image, int64_t offset, const uint64_t *words,
                          int64_t count)
{
    struct bitmap *all = bitmap_try_new(count + 1);
    if (!all) {
        return -ENOMEM;
    }
    bitmap_set(all, 0, count);
    int ret = qcow2_co_write_entries(image, offset, words, count, all);
    bitmap_free(all);
    return ret;
}

static int co_write_l1(struct qcow2_txn *txn, const struct qcow2_state *state, struct fields *f)
{
    int64_t clusters = div_up(state->l1_entries * 8, txn->image->cluster_size);
    f->l1_entries = state->l1_entries;
    f->size = state->size;
    int ret = qcow2_txn_co_take(txn, clusters, &f->l1_offset);
    return ret ? ret : co_write_words(txn->image, f->l1_offset, state->l1, state->l1_entries);
}

static int co_write_snaptable(struct qcow2_txn *txn, const GArray *list, struct fields *f)
{
    struct qcow2_image *image = txn->image;
    int64_t bytes = 0, at = 0;
    for (guint i = 0; i < list->len; i++) {
        int64_t n = qcow2_snapshot_encoded_length(&g_array_index(list, struct qcow2_snapshot, i));
        bytes += n < 0 ? QCOW2_MAX_SNAPTABLE_BYTES + 1 : n;
    }
    if (!bytes || bytes > QCOW2_MAX_SNAPTABLE_BYTES) {
        return bytes ? -EFBIG : 0;
    }
    g_autofree uint8_t *buf = g_try_malloc((gsize)bytes);
    for (guint i = 0; buf && i < list->len; i++) {
        const struct qcow2_snapshot *s = &g_array_index(list, struct qcow2_snapshot, i);
        qcow2_snapshot_encode(s, buf + at);
        at += qcow2_snapshot_encoded_length(s);
    }
    f->snaptable_bytes = bytes;
    int ret = buf ? qcow2_txn_co_take(txn, div_up(bytes, image->cluster_size), &f->snapshots_offset)
                  : -ENOMEM;
    return ret ? ret : node_co_pwrite(image->node->file, f->snapshots_offset, bytes, buf);
}

/* Lets go of the tables that the header points to now. */
static int co_drop_old_tables(struct qcow2_txn *txn)
{
    const struct qcow2_header *h = &txn->image->header;
    int64_t reftable = (int64_t)h->reftable_clusters << txn->image->cluster_bits;
    int ret = 0;
    if (h->l1_entries) {
        ret = qcow2_txn_co_count(txn, h->l1_offset, (int64_t)h->l1_entries * 8, false);
    }
    if (!ret && h->snapshots) {
        ret = qcow2_txn_co_count(txn, h->snapshots_offset, txn->image->snaptable_bytes, false);
    }
    return ret ? ret : qcow2_txn_co_count(txn, h->reftable_offset, reftable, false);
}

/* Lets go of the places that refcount blocks have left, which may move others. */
static int co_drop_old_blocks(struct qcow2_txn *txn)
{
    int ret = 0;
    for (guint i = 0; i < txn->old_blocks->len && !ret; i++) {
        int64_t offset = g_array_index(txn->old_blocks, int64_t, i);
        ret = qcow2_txn_co_count(txn, offset, txn->image->cluster_size, false);
    }
    g_array_set_size(txn->old_blocks, 0);
    return ret;
}

/* Places the refcount table, which has to count itself and everything else. */
static int co_place_reftable(struct qcow2_txn *txn, struct fields *f)
{
    struct qcow2_image *image = txn->image;
    int64_t placed = 0;
    int ret = co_drop_old_blocks(txn);
    while (!ret && placed != image->reftable_entries) {
        if (placed) {
            ret = qcow2_txn_co_count(txn, f->reftable_offset, placed * 8, false);
        }
        placed = image->reftable_entries;
        f->reftable_clusters = (uint32_t)(placed * 8 >> image->cluster_bits);
        ret = ret ? ret : qcow2_txn_co_take(txn, f->reftable_clusters, &f->reftable_offset);
        ret = ret ? ret : co_drop_old_blocks(txn);
    }
    return ret;
}

static int co_write_header(struct qcow2_image *image, const struct fields *f, guint snapshots)
{
    struct qcow2_header *h = &image->header;
    h->l1_offset = f->l1_offset;
    h->l1_entries = (uint32_t)f->l1_entries;
    h->size = f->size;
    h->reftable_offset = f->reftable_offset;
    h->reftable_clusters = f->reftable_clusters;
    h->snapshots = snapshots;
    h->snapshots_offset = f->snapshots_offset;
    int ret = qcow2_co_write_header(image);
    image->broken = ret;
    return ret;
}

static int co_write_state(struct qcow2_txn *txn, const struct qcow2_state *state, struct fields *f)
{
    struct qcow2_image *image = txn->image;
    int ret = co_write_l1(txn, state, f);
    ret = ret ? ret : co_write_snaptable(txn, state->snapshots, f);
    ret = ret ? ret : co_drop_old_tables(txn);
    ret = ret ? ret : co_place_reftable(txn, f);
    ret = ret ? ret : qcow2_cache_co_write(image->refblocks, NULL, NULL);
    ret = ret ? ret
              : co_write_words(image, f->reftable_offset, image->reftable, image->reftable_entries);
    return ret ? ret : node_co_flush(image->node->file);
}

/* After the switch: memory follows. */
static void adopt(struct qcow2_image *image, struct qcow2_state *state, const struct fields *f)
{
    g_free(image->l1);
    image->l1 = state->l1;
    image->node->size = state->size;
    g_array_unref(image->snapshots);
    image->snapshots = state->snapshots;
    image->snaptable_bytes = f->snaptable_bytes;
    *state = (struct qcow2_state){0};
}

static void co_discard_run(int64_t first, int64_t count, void *arg)
{
    struct qcow2_image *image = arg;
    image->free_hint = min_i64(image->free_hint, first);
    node_co_discard(image->node->file, first << image->cluster_bits, count << image->cluster_bits);
}

static void note_run(int64_t first, int64_t count, void *arg)
{
    struct qcow2_image *image = arg;
    image->free_hint = min_i64(image->free_hint, first);
}

int qcow2_txn_co_finish(struct qcow2_txn *txn, struct qcow2_state *state, bool discard)
{
    struct qcow2_image *image = txn->image;
    struct fields fields = {0};
    int ret = co_write_state(txn, state, &fields);
    if (ret) {
        qcow2_txn_co_abort(txn);
        return ret;
    }
    ret = co_write_header(image, &fields, state->snapshots->len);
    if (!ret) {
        adopt(image, state, &fields);
        ret = co_reload(txn);
    }
    if (!ret) {
        metaset_each_run(txn->released, discard ? co_discard_run : note_run, image);
    }
    txn_end(txn);
    return ret;
}
