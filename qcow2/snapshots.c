/*
 * The snapshot table is decoded through a window, since its length is only known
 * at its end. For writing, the places of all tables that snapshots use are
 * learned: L1 tables and the snapshot table belong to one owner each (`meta`), an
 * L2 table may serve several snapshots and the active disk (`shared_l2`), but
 * never twice within one L1 table.
 */
#include "qcow2/snapshots.h"

#include <errno.h>
#include <inttypes.h>

#include "qcow2/alloc.h"

enum {
    WINDOW = 2 * QCOW2_SNAPSHOT_MAX_ENTRY,
    MAX_L1_BYTES_TOTAL = 1 << 30, /* of all snapshots together, for writing */
};

/* ---- the list ---- */

/* What is read of the table. */
struct window {
    uint8_t *buf;
    int64_t offset, length; /* of `buf` in the file */
    int64_t end;            /* the table is not longer than this */
};

/* Moves the window so that it begins at `offset`. */
static int window_co_move(struct qcow2_image *image, struct window *w, int64_t offset)
{
    w->offset = offset;
    w->length = min_i64(WINDOW, w->end - offset);
    return w->length <= 0 ? -EIO : node_co_pread(image->node->file, offset, w->length, w->buf);
}

static bool window_co_next(struct qcow2_image *image, struct window *w, int64_t *pos,
                           struct qcow2_snapshot *ret_snapshot, GError **error)
{
    bool low = *pos + QCOW2_SNAPSHOT_MAX_ENTRY > w->offset + w->length;
    if (low && w->offset + w->length<w->end && * pos> w->offset) {
        int ret = window_co_move(image, w, *pos);
        if (ret) {
            return error_set_errno(error, -ret, "could not read the snapshot table");
        }
    }
    int64_t into = *pos - w->offset;
    int64_t n =
        qcow2_snapshot_decode(w->buf + into, max_i64(w->length - into, 0), ret_snapshot, error);
    *pos += n;
    return n > 0 ||
           (n < 0 ? false
                  : error_set(error, EINVAL, "the snapshot table is cut off at 0x%" PRIx64, *pos));
}

static bool co_decode_table(struct qcow2_image *image, struct window *w, GError **error)
{
    const struct qcow2_header *h = &image->header;
    int64_t pos = h->snapshots_offset;
    int ret = window_co_move(image, w, pos);
    if (ret) {
        return error_set_errno(error, -ret, "could not read the snapshot table at 0x%" PRIx64, pos);
    }
    for (uint32_t i = 0; i < h->snapshots; i++) {
        struct qcow2_snapshot snapshot;
        if (!window_co_next(image, w, &pos, &snapshot, error)) {
            g_prefix_error(error, "snapshot %u of %u: ", i, h->snapshots);
            return false;
        }
        snapshot.size = snapshot.size < 0 ? h->size : snapshot.size;
        g_array_append_val(image->snapshots, snapshot);
    }
    image->snaptable_bytes = min_i64(pos, w->end) - h->snapshots_offset;
    return true;
}

bool qcow2_co_snapshots_load(struct qcow2_image *image, GError **error)
{
    const struct qcow2_header *h = &image->header;
    image->snapshots = qcow2_snapshots_new();
    image->snaptable_bytes = 0;
    if (!h->snapshots) {
        return true;
    }
    int64_t limit = h->snapshots_offset + QCOW2_MAX_SNAPTABLE_BYTES;
    struct window w = {.end = min_i64(limit, node_size(image->node->file))};
    if (h->snapshots_offset >= w.end) {
        return error_set(error, EINVAL,
                         "the snapshot table at 0x%" PRIx64 " is past the end of the file",
                         h->snapshots_offset);
    }
    w.buf = g_malloc(WINDOW);
    bool ok = co_decode_table(image, &w, error);
    g_free(w.buf);
    return ok;
}

/* ---- L1 tables ---- */

uint64_t *qcow2_co_snapshot_l1(struct qcow2_image *image, const struct qcow2_snapshot *snapshot,
                               int64_t min_entries, GError **error)
{
    int64_t bytes = (int64_t)snapshot->l1_entries * 8;
    if (!qcow2_snapshot_check_l1(snapshot, image->cluster_bits, error)) {
        return NULL;
    }
    if (bytes && snapshot->l1_offset + bytes > node_size(image->node->file)) {
        error_set(error, EINVAL,
                  "the L1 table of snapshot '%s' at 0x%" PRIx64 " is past the end of the file",
                  snapshot->name, snapshot->l1_offset);
        return NULL;
    }
    int64_t entries = max_i64(snapshot->l1_entries, min_entries);
    uint64_t *l1 = g_try_malloc0((gsize)(entries + 1) * 8);
    int ret = !l1     ? -ENOMEM
              : bytes ? node_co_pread(image->node->file, snapshot->l1_offset, bytes, l1)
                      : 0;
    if (ret) {
        error_set_errno(error, -ret, "could not read the L1 table of snapshot '%s' of '%s'",
                        snapshot->name, node_filename(image->node));
        g_free(l1);
        return NULL;
    }
    for (uint32_t i = 0; i < snapshot->l1_entries; i++) {
        l1[i] = be64toh(l1[i]);
    }
    return l1;
}

/* ---- places ---- */

/* The active L2 tables, which snapshots may use as well. */
static struct metaset *active_l2(const struct qcow2_image *image)
{
    struct metaset *set = metaset_new();
    for (uint32_t i = 0; i < image->header.l1_entries; i++) {
        struct qcow2_entry l1 = qcow2_l1_decode(image->l1[i], image->cluster_bits);
        if (l1.kind == QCOW2_NORMAL) {
            metaset_add(set, l1.host_off >> image->cluster_bits, 1);
        }
    }
    return set;
}

/* Notes one L2 table of a snapshot. `mine`: those of this L1 table. */
static bool note_l2(struct qcow2_image *image, const struct metaset *active, struct metaset *mine,
                    uint64_t raw, GError **error)
{
    struct qcow2_entry l1 = qcow2_l1_decode(raw, image->cluster_bits);
    int64_t cluster = l1.host_off >> image->cluster_bits;
    if (l1.kind == QCOW2_UNALLOCATED) {
        return true;
    }
    if (l1.kind == QCOW2_CORRUPT || l1.host_off >= node_size(image->node->file)) {
        return error_set(error, EINVAL, "L1 entry 0x%" PRIx64 " is corrupt", raw);
    }
    int ret = metaset_add(mine, cluster, 1);
    if (ret == -EEXIST ||
        (metaset_test(image->meta, cluster, 1) && !metaset_test(active, cluster, 1))) {
        return error_set(error, EINVAL,
                         "L2 table at 0x%" PRIx64 " overlaps another table; the image needs a "
                         "repair ('check -r all') before it can be written",
                         l1.host_off);
    }
    if (!ret && !metaset_test(image->shared_l2, cluster, 1)) {
        ret = metaset_add(image->shared_l2, cluster, 1);
    }
    return !ret || error_set(error, -ret, "too many scattered tables to write to the image");
}

static bool co_note_snapshot(struct qcow2_image *image, const struct metaset *active,
                             const struct qcow2_snapshot *s, GError **error)
{
    g_autofree uint64_t *l1 = qcow2_co_snapshot_l1(image, s, 0, error);
    struct metaset *mine = metaset_new();
    bool ok = l1;
    for (uint32_t i = 0; ok && i < s->l1_entries; i++) {
        ok = note_l2(image, active, mine, l1[i], error);
    }
    metaset_free(mine);
    if (l1 && !ok) {
        g_prefix_error(error, "snapshot '%s': ", s->name);
    }
    return ok;
}

/* The tables that have one owner each, before any L2 table is compared with them. */
static bool note_l1_tables(struct qcow2_image *image, GError **error)
{
    int64_t total = 0;
    for (guint i = 0; i < image->snapshots->len; i++) {
        const struct qcow2_snapshot *s = qcow2_snapshot_at(image, (int)i);
        int64_t bytes = (int64_t)s->l1_entries * 8;
        total += bytes;
        if (!qcow2_snapshot_check_l1(s, image->cluster_bits, error) ||
            (bytes && !qcow2_note_table(image, s->l1_offset, div_up(bytes, image->cluster_size),
                                        "L1 table of snapshot", i, error))) {
            return false;
        }
    }
    return total <= MAX_L1_BYTES_TOTAL ||
           error_set(error, EFBIG,
                     "the L1 tables of the snapshots take %" PRId64 " bytes (at most %d can be "
                     "protected while the image is written)",
                     total, MAX_L1_BYTES_TOTAL);
}

bool qcow2_co_snapshots_note(struct qcow2_image *image, GError **error)
{
    const struct qcow2_header *h = &image->header;
    if (!h->snapshots) {
        return true;
    }
    int64_t clusters = div_up(image->snaptable_bytes, image->cluster_size);
    bool ok = qcow2_note_table(image, h->snapshots_offset, clusters, "snapshot table", 0, error) &&
              note_l1_tables(image, error);
    struct metaset *active = ok ? active_l2(image) : NULL;
    for (guint i = 0; ok && i < image->snapshots->len; i++) {
        ok = co_note_snapshot(image, active, qcow2_snapshot_at(image, (int)i), error);
    }
    metaset_free(active);
    return ok;
}
