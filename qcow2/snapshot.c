/*
 * A snapshot is a second L1 table over the same clusters, with the size of the
 * disk and the time. Each action computes the tables as they shall be and counts
 * what they refer to, in one change of the image (change.h):
 *
 *     create   everything active is counted once more; both L1 tables are alike
 *     apply    the active tree is let go, the snapshot's is counted once more
 *     delete   the snapshot's tree is let go; what is the active disk's alone then is marked so
 *
 * A machine's state lies behind the guest's disk, from the next L1 entry on.
 * Creating moves it to the snapshot; applying brings it back.
 */
#include "qcow2/snapshot.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "qcow2/change.h"
#include "qcow2/snapshots.h"
#include "qcow2/vmstate.h"

#define NS_PER_S INT64_C(1000000000)

/* ---- list ---- */

static void clear_public(gpointer item)
{
    struct blk_snapshot *s = item;
    g_free(s->id);
    g_free(s->name);
}

static GArray *co_list(struct blk_node *node, GError **error)
{
    struct qcow2_image *image = qcow2_image(node);
    GArray *list = g_array_new(false, true, sizeof(struct blk_snapshot));
    g_array_set_clear_func(list, clear_public);
    for (guint i = 0; i < image->snapshots->len; i++) {
        const struct qcow2_snapshot *s = qcow2_snapshot_at(image, (int)i);
        struct blk_snapshot out = {
            .id = g_strdup(s->id),
            .name = g_strdup(s->name),
            .vm_state_size = s->vm_state_size,
            .date_ns = (int64_t)s->date_sec * NS_PER_S + s->date_nsec,
            .vm_clock_ns = s->vm_clock_ns,
            .icount = (int64_t)s->icount,
            .size = s->size,
        };
        g_array_append_val(list, out);
    }
    return list;
}

/* ---- create ---- */

/* One more than the largest number among the ids. */
static char *new_id(const struct qcow2_image *image)
{
    unsigned long max = 0;
    for (guint i = 0; i < image->snapshots->len; i++) {
        unsigned long id = strtoul(qcow2_snapshot_at(image, (int)i)->id, NULL, 10);
        max = MAX(max, id);
    }
    return g_strdup_printf("%lu", max + 1);
}

static bool check_create(struct blk_node *node, const struct blk_snapshot *wanted, GError **error)
{
    const struct qcow2_image *image = qcow2_image(node);
    const char *name = node_filename(node);
    if (image->snapshots->len >= QCOW2_MAX_SNAPSHOTS) {
        return error_set(error, EFBIG, "'%s' has %u snapshots, the most that qcow2 allows", name,
                         image->snapshots->len);
    }
    if (strlen(wanted->name) > UINT16_MAX || (wanted->id && strlen(wanted->id) > UINT16_MAX)) {
        return error_set(error, EINVAL, "a snapshot's name may have %d bytes at most", UINT16_MAX);
    }
    for (guint i = 0; wanted->id && i < image->snapshots->len; i++) {
        if (!strcmp(qcow2_snapshot_at(image, (int)i)->id, wanted->id)) {
            return error_set(error, EEXIST, "'%s' has a snapshot with id '%s' already", name,
                             wanted->id);
        }
    }
    return true;
}

/* Fills both L1 tables: the state's, and the snapshot's in `l1`. */
static int co_share_active(struct qcow2_change *a, uint64_t *l1)
{
    const struct qcow2_image *image = a->txn.image;
    int64_t vm_index = qcow2_vmstate_index(image, image->header.size);
    int ret = 0;
    for (int64_t i = 0; i < image->header.l1_entries && !ret; i++) {
        if (i >= vm_index) {
            l1[i] = image->l1[i] & ~(UINT64_C(1) << 63);
            continue;
        }
        ret = qcow2_tree_co_share(&a->tree, image->l1[i], false, &l1[i]);
        a->state.l1[i] = l1[i];
    }
    return ret;
}

static int co_write_snapshot_l1(struct qcow2_change *a, const uint64_t *l1, int64_t entries,
                                int64_t *ret_offset)
{
    const struct qcow2_image *image = a->txn.image;
    int64_t bytes = entries * 8;
    int ret = qcow2_txn_co_take(&a->txn, div_up(bytes, image->cluster_size), ret_offset);
    uint64_t *be = ret ? NULL : g_try_malloc((gsize)bytes);
    if (!be) {
        return ret ? ret : -ENOMEM;
    }
    for (int64_t i = 0; i < entries; i++) {
        be[i] = htobe64(l1[i]);
    }
    ret = node_co_pwrite(image->node->file, *ret_offset, bytes, be);
    g_free(be);
    return ret;
}

static void append_snapshot(struct qcow2_change *a, const struct blk_snapshot *wanted,
                            int64_t l1_offset, int64_t l1_entries)
{
    const struct qcow2_image *image = a->txn.image;
    struct qcow2_snapshot s = {
        .id = wanted->id ? g_strdup(wanted->id) : new_id(image),
        .name = g_strdup(wanted->name),
        .l1_offset = l1_offset,
        .l1_entries = (uint32_t)l1_entries,
        .date_sec = (uint32_t)(wanted->date_ns / NS_PER_S),
        .date_nsec = (uint32_t)(wanted->date_ns % NS_PER_S),
        .vm_clock_ns = wanted->vm_clock_ns,
        .vm_state_size = wanted->vm_state_size,
        .size = image->header.size,
        .icount = (uint64_t)wanted->icount,
    };
    g_array_append_val(a->state.snapshots, s);
}

static bool co_create(struct blk_node *node, const struct blk_snapshot *wanted, GError **error)
{
    struct qcow2_image *image = qcow2_image(node);
    struct qcow2_change a;
    if (!check_create(node, wanted, error)) {
        return false;
    }
    int64_t entries = max_i64(image->header.l1_entries, 1), offset = 0;
    int ret = qcow2_change_co_begin(image, entries, image->header.size, &a);
    if (ret) {
        return qcow2_change_error(&a, ret, "snapshot", error);
    }
    uint64_t *l1 = g_try_malloc0((gsize)entries * 8);
    ret = l1 ? co_share_active(&a, l1) : -ENOMEM;
    ret = ret ? ret : co_write_snapshot_l1(&a, l1, entries, &offset);
    g_free(l1);
    append_snapshot(&a, wanted, offset, entries);
    return qcow2_change_co_end(&a, ret, false, "snapshot", error);
}

/* ---- apply ---- */

/* The state's L1 table takes the place of the active one. */
static int co_replace_active(struct qcow2_change *a, const uint64_t *l1, int64_t snapshot_entries)
{
    const struct qcow2_image *image = a->txn.image;
    int64_t active = image->header.l1_entries;
    int ret = 0;
    for (int64_t i = 0; i < max_i64(active, a->state.l1_entries) && !ret; i++) {
        uint64_t from = i < active ? image->l1[i] : 0, to = i < snapshot_entries ? l1[i] : 0;
        uint64_t entry = 0;
        ret = from || to ? qcow2_tree_co_replace(&a->tree, from, to, &entry) : 0;
        if (entry) {
            a->state.l1[i] = entry;
        }
    }
    return ret;
}

/* L1 entries that a snapshot's disk of `size` bytes and its VM state need; -1 with *error. */
static int64_t entries_for(const struct qcow2_image *image, const struct qcow2_snapshot *s,
                           int64_t size, GError **error)
{
    int64_t entries = qcow2_l1_entries(size, image->cluster_bits);
    if (entries < 0) {
        error_set(error, EFBIG, "snapshot '%s' has a disk of %" PRId64 " bytes, which is too large",
                  s->name, size);
        return -1;
    }
    return max_i64(entries, s->l1_entries);
}

static bool co_apply(struct blk_node *node, int index, GError **error)
{
    struct qcow2_image *image = qcow2_image(node);
    const struct qcow2_snapshot *s = qcow2_snapshot_at(image, index);
    int64_t size = s->size;
    int64_t entries = entries_for(image, s, size, error);
    g_autofree uint64_t *l1 = entries < 0 ? NULL : qcow2_co_snapshot_l1(image, s, entries, error);
    struct qcow2_change a;
    if (!l1) {
        return false;
    }
    int ret = qcow2_change_co_begin(image, entries, size, &a);
    if (ret) {
        return qcow2_change_error(&a, ret, "apply a snapshot of", error);
    }
    ret = co_replace_active(&a, l1, s->l1_entries);
    return qcow2_change_co_end(&a, ret, ((struct qcow2_options *)node->options)->discard_snapshot,
                               "apply a snapshot of", error);
}

/* ---- delete ---- */

/* Active tables whose clusters the snapshot may have shared are marked anew. */
static int co_mark_active(struct qcow2_change *a, const uint64_t *l1, int64_t entries)
{
    const struct qcow2_image *image = a->txn.image;
    int ret = 0;
    for (int64_t i = 0; i < image->header.l1_entries && !ret; i++) {
        a->state.l1[i] = image->l1[i];
        if (i < entries && l1[i]) {
            ret = qcow2_tree_co_mark(&a->tree, image->l1[i], &a->state.l1[i]);
        }
    }
    return ret;
}

static bool co_delete(struct blk_node *node, int index, GError **error)
{
    struct qcow2_image *image = qcow2_image(node);
    const struct qcow2_snapshot *s = qcow2_snapshot_at(image, index);
    g_autofree uint64_t *l1 = qcow2_co_snapshot_l1(image, s, 0, error);
    int64_t entries = s->l1_entries, bytes = entries * 8;
    struct qcow2_change a;
    if (!l1) {
        return false;
    }
    int ret = qcow2_change_co_begin(image, image->header.l1_entries, image->header.size, &a);
    if (ret) {
        return qcow2_change_error(&a, ret, "delete a snapshot of", error);
    }
    ret = qcow2_change_co_drop(&a, l1, entries);
    ret = ret || !bytes ? ret : qcow2_txn_co_count(&a.txn, s->l1_offset, bytes, false);
    ret = ret ? ret : co_mark_active(&a, l1, entries);
    g_array_remove_index(a.state.snapshots, (guint)index);
    return qcow2_change_co_end(&a, ret, ((struct qcow2_options *)node->options)->discard_snapshot,
                               "delete a snapshot of", error);
}

/* ---- for amend ---- */

bool qcow2_co_drop_active(struct blk_node *node, GError **error)
{
    struct qcow2_image *image = qcow2_image(node);
    struct qcow2_change a;
    int ret = qcow2_change_co_begin(image, image->header.l1_entries, image->header.size, &a);
    if (ret) {
        return qcow2_change_error(&a, ret, "empty", error);
    }
    ret = qcow2_change_co_drop(&a, image->l1, image->header.l1_entries);
    return qcow2_change_co_end(&a, ret, true, "empty", error);
}

bool qcow2_co_complete_snapshots(struct blk_node *node, GError **error)
{
    struct qcow2_image *image = qcow2_image(node);
    struct qcow2_change a;
    int ret = qcow2_change_co_begin(image, image->header.l1_entries, image->header.size, &a);
    if (ret) {
        return qcow2_change_error(&a, ret, "amend", error);
    }
    memcpy(a.state.l1, image->l1, (size_t)image->header.l1_entries * 8);
    for (guint i = 0; i < a.state.snapshots->len; i++) {
        struct qcow2_snapshot *s = &g_array_index(a.state.snapshots, struct qcow2_snapshot, i);
        s->size = s->size < 0 ? image->header.size : s->size;
    }
    return qcow2_change_co_end(&a, 0, false, "amend", error);
}

/* ---- load ---- */

static bool co_load(struct blk_node *node, int index, GError **error)
{
    struct qcow2_image *image = qcow2_image(node);
    const struct qcow2_snapshot *s = qcow2_snapshot_at(image, index);
    int64_t size = s->size;
    int64_t entries = entries_for(image, s, size, error);
    if (entries < 0) {
        return false;
    }
    if (image->writable) {
        return error_set(error, EINVAL, "'%s' is open for writing; a snapshot is shown read-only",
                         node_filename(node));
    }
    uint64_t *l1 = qcow2_co_snapshot_l1(image, s, entries, error);
    if (!l1) {
        return false;
    }
    g_free(image->l1);
    image->l1 = l1;
    image->header.l1_entries = (uint32_t)entries;
    image->header.size = size;
    node->size = size;
    return true;
}

const struct snapshot_ops qcow2_snapshot_ops = {
    .co_list = co_list,
    .co_create = co_create,
    .co_apply = co_apply,
    .co_delete = co_delete,
    .co_load = co_load,
    .co_vmstate_read = qcow2_co_vmstate_read,
    .co_vmstate_write = qcow2_co_vmstate_write,
};
