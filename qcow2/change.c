/*
 * What the actions on a whole image have in common: begin, compute `state`, end.
 */
#include "qcow2/change.h"

#include <errno.h>
#include <inttypes.h>

#include "qcow2/snapshots.h"

static GArray *copy_list(const GArray *list)
{
    GArray *copy = qcow2_snapshots_new();
    for (guint i = 0; i < list->len; i++) {
        struct qcow2_snapshot s;
        qcow2_snapshot_copy(&g_array_index(list, struct qcow2_snapshot, i), &s);
        g_array_append_val(copy, s);
    }
    return copy;
}

static int state_init(const struct qcow2_image *image, int64_t entries, int64_t size,
                      struct qcow2_state *state)
{
    entries = max_i64(entries, 1);
    *state = (struct qcow2_state){.l1 = g_try_malloc0((gsize)(entries + 1) * 8),
                                  .l1_entries = entries,
                                  .size = size,
                                  .snapshots = copy_list(image->snapshots)};
    return state->l1 ? 0 : -ENOMEM;
}

static void change_done(struct qcow2_change *change)
{
    qcow2_tree_done(&change->tree);
    g_free(change->state.l1);
    if (change->state.snapshots) {
        g_array_unref(change->state.snapshots);
    }
}

int qcow2_change_co_begin(struct qcow2_image *image, int64_t entries, int64_t size,
                          struct qcow2_change *ret_change)
{
    struct qcow2_change *c = ret_change;
    *c = (struct qcow2_change){.txn = {.image = image}};
    int ret = qcow2_txn_co_begin(image, &c->txn);
    if (ret) {
        return ret;
    }
    ret = qcow2_tree_init(&c->tree, &c->txn);
    ret = ret ? ret : state_init(image, entries, size, &c->state);
    if (ret) {
        qcow2_txn_co_abort(&c->txn);
        change_done(c);
    }
    return ret;
}

bool qcow2_change_error(const struct qcow2_change *change, int ret, const char *verb,
                        GError **error)
{
    const struct qcow2_image *image = change->txn.image;
    const char *name = node_filename(image->node);
    if (ret == -EOVERFLOW) {
        return error_set(error, EINVAL,
                         "could not %s '%s': refcounts of %d bits cannot count another reference "
                         "to a cluster ('amend -o refcount_bits=16' makes them wider)",
                         verb, name, 1 << image->header.refcount_order);
    }
    if (ret == -EIO && change->txn.problem) {
        return error_set(error, EIO,
                         "could not %s '%s': the image has %s (0x%" PRIx64
                         "); it needs a repair ('check -r all')",
                         verb, name, change->txn.problem, change->txn.where);
    }
    return error_set_errno(error, -ret, "could not %s '%s'", verb, name);
}

bool qcow2_change_co_end(struct qcow2_change *change, int ret, bool discard, const char *verb,
                         GError **error)
{
    if (ret) {
        qcow2_txn_co_abort(&change->txn);
    } else {
        ret = qcow2_txn_co_finish(&change->txn, &change->state, discard);
    }
    change_done(change);
    return !ret || qcow2_change_error(change, ret, verb, error);
}

int qcow2_change_co_drop(struct qcow2_change *change, const uint64_t *l1, int64_t entries)
{
    int ret = 0;
    for (int64_t i = 0; i < entries && !ret; i++) {
        ret = l1[i] ? qcow2_tree_co_drop(&change->tree, l1[i]) : 0;
    }
    return ret;
}
