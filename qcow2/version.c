/*
 * Version 3 knows all that version 2 does, so going up is another header, after
 * the snapshot table has all that version 3 wants there. Going
 * down, zero clusters are replaced first, which version 2 does not know: by holes
 * where nothing lies below, else by clusters of zero bytes. The guest sees no
 * difference, so each of these steps is as any write, and the header comes last.
 */
#include "qcow2/version.h"

#include <errno.h>

#include "qcow2/commit.h"
#include "qcow2/corrupt.h"
#include "qcow2/link.h"
#include "qcow2/map.h"
#include "qcow2/rewrite.h"
#include "qcow2/snapshot.h"
#include "qcow2/snapshots.h"
#include "qcow2/write.h"

enum { CHUNK = 1024 * 1024 };

/* ---- what version 2 cannot say ---- */

/* Whether an L2 table at `offset` has zero clusters. */
static int co_has_zeroes(struct qcow2_image *image, int64_t offset, bool *ret_zeroes)
{
    int per_slice = (int)(image->slice_size / 8);
    *ret_zeroes = false;
    for (int64_t at = 0; at < image->cluster_size && !*ret_zeroes; at += image->slice_size) {
        struct qcow2_table *table;
        int ret = qcow2_cache_co_get(image->l2, offset + at, &table);
        if (ret) {
            return ret;
        }
        for (int i = 0; i < per_slice; i++) {
            struct qcow2_entry e =
                qcow2_l2_decode(load_be64(table->data + 8 * i), image->cluster_bits, 3);
            *ret_zeroes |= e.kind == QCOW2_ZERO || e.kind == QCOW2_ZERO_ALLOC;
        }
    }
    return 0;
}

/* The tables of snapshots are left as they are, so version 2 must know what they say. */
static bool co_check_snapshot(struct qcow2_image *image, const struct qcow2_snapshot *s,
                              GError **error)
{
    g_autofree uint64_t *l1 = qcow2_co_snapshot_l1(image, s, 0, error);
    if ((s->size >= 0 && s->size != image->header.size) || s->vm_state_size > UINT32_MAX) {
        return error_set(error, ENOTSUP, "Internal snapshots prevent downgrade of image");
    }
    for (uint32_t i = 0; l1 && i < s->l1_entries; i++) {
        struct qcow2_entry entry = qcow2_l1_decode(l1[i], image->cluster_bits);
        bool zeroes = false;
        int ret = entry.kind == QCOW2_NORMAL ? co_has_zeroes(image, entry.host_off, &zeroes) : 0;
        if (ret || zeroes) {
            return error_set(error, ret ? -ret : ENOTSUP,
                             "Internal snapshots prevent downgrade of image: '%s' has %s", s->name,
                             ret ? "unreadable tables" : "zero clusters");
        }
    }
    return l1;
}

bool qcow2_co_check_downgrade(struct qcow2_image *image, int order, GError **error)
{
    const struct qcow2_header *h = &image->header;
    if (order != 4) {
        return error_set(error, EINVAL, "compat=0.10 requires refcount_bits=16");
    }
    if (h->compression != QCOW2_ZLIB) {
        return error_set(error, ENOTSUP,
                         "compat=0.10 knows compressed clusters of zlib only; this image's are "
                         "zstd");
    }
    if (h->incompatible) {
        return error_set(error, ENOTSUP,
                         "compat=0.10 does not know the features 0x%" PRIx64 " of this image",
                         h->incompatible);
    }
    if (h->extra && !bytes_are_zero(h->extra, h->extra_length)) {
        return error_set(error, ENOTSUP, "compat=0.10 has no place for unknown header fields");
    }
    for (guint i = 0; i < image->snapshots->len; i++) {
        if (!co_check_snapshot(image, qcow2_snapshot_at(image, (int)i), error)) {
            return false;
        }
    }
    return true;
}

/* ---- zero clusters ---- */

/* The zero clusters of the slice at `offset` become holes, as far as there are any in a row. */
static int co_make_holes(struct qcow2_image *image, int64_t offset, int64_t end)
{
    const struct qcow2_entry hole = {.kind = QCOW2_UNALLOCATED};
    int index, per_slice = (int)(image->slice_size / 8);
    struct qcow2_table *table;
    int ret = qcow2_co_slice_for_update(image, offset, &table, &index);
    for (; !ret && index < per_slice && offset < end; index++, offset += image->cluster_size) {
        ret = qcow2_entry_replace(image, table, index, &hole, true);
    }
    return ret;
}

static int co_write_zeroes(struct qcow2_image *image, int64_t offset, int64_t end)
{
    int64_t size = max_i64(CHUNK, image->cluster_size);
    uint8_t *buf = g_try_malloc0((gsize)size);
    int ret = buf ? 0 : -ENOMEM;
    for (int64_t n; offset < end && !ret; offset += n) {
        struct iovec slot;
        n = min_i64(size, end - offset);
        ret = qcow2_co_write_begin(image);
        ret = ret ? ret : qcow2_co_write_held(image, offset, n, span_of(&slot, buf, (size_t)n));
    }
    g_free(buf);
    return ret;
}

/* Replaces the zero clusters in [offset, end). Past the disk nothing shows through a hole. */
static int co_replace_zeroes(struct qcow2_image *image, int64_t offset, int64_t end)
{
    int64_t shown = image->node->backing ? min_i64(end, image->node->size) : offset;
    int ret = shown > offset ? co_write_zeroes(image, offset, shown) : 0;
    int64_t rest = max_i64(offset, image_cluster_end(image, max_i64(shown, 0)));
    return ret || rest >= end ? ret : co_make_holes(image, rest, end);
}

/* Everything that L1 reaches, beyond the disk's end too. */
static int co_replace_all(struct qcow2_image *image, struct job *job)
{
    int64_t end = (int64_t)image->header.l1_entries << (image->cluster_bits + image->l2_bits);
    int64_t pos = 0;
    int ret = 0;
    if (job) {
        job_add_total(job, end);
    }
    while (pos < end && !ret) {
        struct qcow2_extent extent;
        ret = qcow2_co_write_begin(image);
        ret = ret ? ret : qcow2_co_lookup(image, pos, end - pos, &extent);
        bool zero = !ret && (extent.kind == QCOW2_ZERO || extent.kind == QCOW2_ZERO_ALLOC);
        if (zero) {
            ret = co_replace_zeroes(image, pos, pos + extent.length);
        }
        pos += ret ? 0 : extent.length;
        if (job && !ret) {
            job_add_done(job, extent.length);
        }
    }
    ret = ret ? ret : qcow2_co_commit_all(image);
    return ret ? ret : node_co_flush(image->node->file);
}

/* ---- the header ---- */

bool qcow2_co_set_version(struct qcow2_image *image, int version, struct job *job, GError **error)
{
    if (version > 2 && image->header.snapshots &&
        !qcow2_co_complete_snapshots(image->node, error)) {
        return false;
    }
    int ret = version < 3 ? co_replace_all(image, job) : 0;
    if (ret) {
        return error_set_errno(error, -ret, "could not replace the zero clusters of '%s'",
                               node_filename(image->node));
    }
    struct qcow2_header header = qcow2_header_copy(&image->header);
    header.version = version;
    if (version < 3) {
        header.incompatible = header.compatible = header.autoclear = 0;
        g_clear_pointer(&header.extra, g_free);
        header.extra_length = 0;
    }
    if (!qcow2_co_rewrite_header(image, &header, error)) {
        qcow2_header_clear(&header);
        return false;
    }
    return true;
}
