/*
 * What an entry becomes is decided by two pure functions; the rest walks the
 * entries of a range and replaces those that change. Host clusters that are let go
 * wait for the next commit (alloc.h).
 *
 *              zero, keep        zero, unmap    discard
 *     hole     - / Z with backing (both)        - / Z with backing
 *     Z        -                 -              -
 *     data     Z + host cluster  Z              hole / Z with backing
 *     packed   Z                 Z              as data
 *
 * With discard-no-unref nothing is let go: unmapping and discarding do as "zero,
 * keep". The file may still drop the bytes of such a host cluster: what it holds is
 * never read again, whether the entry reaches the disk before or after that.
 *
 * Version 2 has no Z: without a backing file a hole does as well; with one,
 * zeroing is left to libblock, which writes zeroes, and discarding does nothing: a
 * hole would show what the guest has overwritten, or never saw.
 */
#include "qcow2/zero.h"

#include <errno.h>

#include "qcow2/commit.h"
#include "qcow2/link.h"
#include "qcow2/map.h"
#include "qcow2/corrupt.h"

/* How one range is treated. */
struct treat {
    int version;
    bool has_backing, discard, unmap, keep, pass;
    GArray *kept; /* int64_t: host clusters that are kept and may lose their bytes; or NULL */
};

struct qcow2_entry qcow2_zeroed_entry(const struct qcow2_entry *old, int version, bool has_backing,
                                      bool unmap)
{
    struct qcow2_entry hole = {.kind = QCOW2_UNALLOCATED}, zero = {.kind = QCOW2_ZERO};
    bool owned = (old->kind == QCOW2_NORMAL || old->kind == QCOW2_ZERO_ALLOC) && old->copied;
    if (version < 3) {
        return hole;
    }
    if (old->kind == QCOW2_ZERO || (old->kind == QCOW2_UNALLOCATED && !has_backing)) {
        return *old;
    }
    if (owned && !unmap) {
        struct qcow2_entry kept = *old;
        kept.kind = QCOW2_ZERO_ALLOC;
        return kept;
    }
    return zero;
}

struct qcow2_entry qcow2_discarded_entry(const struct qcow2_entry *old, int version,
                                         bool has_backing, bool keep)
{
    if (keep && version >= 3) {
        return qcow2_zeroed_entry(old, version, has_backing, false);
    }
    if (version >= 3 && (has_backing || old->kind == QCOW2_ZERO)) {
        return (struct qcow2_entry){.kind = QCOW2_ZERO};
    }
    return (struct qcow2_entry){.kind = QCOW2_UNALLOCATED};
}

static struct qcow2_entry treat_entry(const struct treat *t, const struct qcow2_entry *old)
{
    return t->discard ? qcow2_discarded_entry(old, t->version, t->has_backing, t->keep)
                      : qcow2_zeroed_entry(old, t->version, t->has_backing, t->unmap);
}

/* Skips the run of L1 holes at `offset`, where a hole stays a hole; 0 when there is none. */
static int64_t skip_hole(const struct qcow2_image *image, const struct treat *t, int64_t offset,
                         int64_t end)
{
    struct qcow2_entry hole = {.kind = QCOW2_UNALLOCATED};
    int shift = image->cluster_bits + image->l2_bits;
    int64_t pos = offset;
    if (treat_entry(t, &hole).kind != QCOW2_UNALLOCATED) {
        return 0;
    }
    while (pos < end && !image->l1[pos >> shift]) {
        pos = min_i64(end, ((pos >> shift) + 1) << shift);
    }
    return pos - offset;
}

/* Treats the entries of one slice from `offset` on; *ret_length is how far that went. */
static int co_treat_slice(struct qcow2_image *image, const struct treat *t, int64_t offset,
                          int64_t end, int64_t *ret_length)
{
    struct qcow2_table *table;
    int index, per_slice = (int)(image->slice_size / 8);
    int ret = qcow2_co_slice_for_update(image, offset, &table, &index);
    int64_t pos = offset;
    for (; !ret && index < per_slice && pos < end; index++, pos += image->cluster_size) {
        uint64_t raw = load_be64(table->data + 8 * index);
        struct qcow2_entry old = qcow2_l2_decode(raw, image->cluster_bits, t->version);
        struct qcow2_entry entry = treat_entry(t, &old);
        if (old.kind == QCOW2_CORRUPT) {
            return qcow2_co_corrupt(image, "L2 entry of guest offset", pos);
        }
        if (entry.kind != old.kind || entry.host_off != old.host_off) {
            ret = qcow2_entry_replace(image, table, index, &entry, t->pass);
            if (t->kept && entry.host_off && old.kind == QCOW2_NORMAL) {
                g_array_append_val(t->kept, entry.host_off);
            }
        }
    }
    *ret_length = pos - offset;
    return ret;
}

/* Lets the file drop the bytes of the kept clusters, neighbours together. */
static int co_drop_bytes(struct qcow2_image *image, const GArray *kept)
{
    const int64_t *at = (const int64_t *)(const void *)kept->data;
    for (guint i = 0, n; i < kept->len; i += n) {
        n = 1;
        while (i + n < kept->len && at[i + n] == at[i] + n * image->cluster_size) {
            n++;
        }
        if (qcow2_is_metadata(image, at[i] >> image->cluster_bits, n)) {
            return qcow2_co_corrupt(image, "data cluster", at[i]);
        }
        node_co_discard(image->node->file, at[i], n * image->cluster_size);
    }
    return 0;
}

static int co_treat_range(struct qcow2_image *image, const struct treat *t, int64_t offset,
                          int64_t length)
{
    int64_t end = offset + length;
    struct range_hold hold;
    int ret = qcow2_co_write_begin(image);
    if (ret) {
        return ret;
    }
    range_lock_co_lock(&image->guest, &hold, offset, image_cluster_end(image, end) - offset, true);
    while (offset < end && !ret) {
        int64_t done = skip_hole(image, t, offset, end);
        if (!done) {
            ret = co_treat_slice(image, t, offset, end, &done);
        }
        offset += done;
    }
    if (!ret && t->kept) {
        ret = co_drop_bytes(image, t->kept);
    }
    range_lock_unlock(&image->guest, &hold);
    return ret;
}

/* As co_treat_range(), where discard-no-unref may be set. */
static int co_let_go(struct qcow2_image *image, struct treat *t, int64_t offset, int64_t length)
{
    const struct qcow2_options *options = image->node->options;
    t->keep = options->discard_no_unref;
    t->pass = options->discard_request;
    t->unmap = t->unmap && !t->keep;
    g_autoptr(GArray) kept = g_array_new(false, false, sizeof(int64_t));
    t->kept = t->keep && t->pass ? kept : NULL;
    return co_treat_range(image, t, offset, length);
}

static bool is_whole(const struct blk_node *node, int64_t offset, int64_t length)
{
    int64_t cluster = qcow2_image((struct blk_node *)node)->cluster_size;
    return is_aligned(offset, cluster) &&
           (is_aligned(length, cluster) || offset + length == node->size);
}

int qcow2_co_zero(struct blk_node *node, int64_t offset, int64_t length, uint32_t flags)
{
    struct qcow2_image *image = qcow2_image(node);
    struct treat treat = {.version = image->header.version,
                          .has_backing = node->backing != NULL,
                          .unmap = flags & REQ_MAY_UNMAP};
    if (!is_whole(node, offset, length) || (treat.version < 3 && treat.has_backing)) {
        return -ENOTSUP;
    }
    return treat.unmap ? co_let_go(image, &treat, offset, length)
                       : co_treat_range(image, &treat, offset, length);
}

int qcow2_co_discard(struct blk_node *node, int64_t offset, int64_t length)
{
    struct qcow2_image *image = qcow2_image(node);
    struct treat treat = {
        .version = image->header.version, .has_backing = node->backing != NULL, .discard = true};
    if (!is_whole(node, offset, length) || (treat.version < 3 && treat.has_backing)) {
        return -ENOTSUP;
    }
    return co_let_go(image, &treat, offset, length);
}
