/*
 * The COPIED flag of an active entry says that its cluster has refcount 1, so that
 * it may be written in place. The walk has noted in refs what L2 entries say; only
 * when some flag contradicts a refcount, or an entry was found that can be mended,
 * the L2 tables are read once more, to tell which, and to correct them. L1 is short
 * and read again in any case.
 *
 * A table is written in whole sectors and only where it changes; it leads to the
 * same places before and after. One that something else refers to as well may be
 * the guest's data, and is left as it is.
 */
#include "qcow2/check.h"

#include <errno.h>
#include <inttypes.h>

enum { SECTOR = 512 };

/* A table, or a part of one, that is looked at. */
struct look {
    struct check *c;
    bool mend, is_l1, flags; /* flags: COPIED is looked at, too */
    int64_t offset, length;  /* in the file; bytes */
    int64_t index;           /* L1: of the first entry */
    uint8_t *bytes;
    int64_t from, to; /* bytes that were changed */
};

static uint32_t refcount_of(const struct check *c, int64_t offset)
{
    int64_t cluster = offset >> c->image->cluster_bits;
    return cluster < c->clusters ? refs_get(c->refs, cluster) : 0;
}

/* ---- COPIED ---- */

static void tell_copied(const struct look *l, int64_t i, uint64_t raw, uint32_t refcount)
{
    const char *verb = l->mend ? "Repairing" : "ERROR";
    if (l->is_l1) {
        check_say(l->c,
                  "%s OFLAG_COPIED L2 cluster: l1_index=%" PRId64 " l1_entry=%" PRIx64
                  " refcount=%u",
                  verb, l->index + i / 8, raw, refcount);
    } else {
        check_say(l->c, "%s OFLAG_COPIED data cluster: l2_entry=%" PRIx64 " refcount=%u", verb, raw,
                  refcount);
    }
}

/* The entry with the flag that its refcount asks for. */
static uint64_t with_copied(const struct look *l, int64_t i, uint64_t raw)
{
    int64_t offset = qcow2_entry_offset(raw);
    if (!raw || !l->flags || (!l->is_l1 && (raw & QCOW2_COMPRESSED_FLAG))) {
        return raw;
    }
    uint32_t refcount = offset ? refcount_of(l->c, offset) : 0;
    if (qcow2_entry_copied(raw) == (refcount == 1)) {
        return raw;
    }
    tell_copied(l, i, raw, refcount);
    l->mend ? l->c->out->corruptions_fixed++ : l->c->out->corruptions++;
    return raw ^ QCOW2_COPIED_FLAG;
}

/* ---- entries that break the format ---- */

/* What an entry means, without what it must not have. */
static uint64_t without_odd(const struct look *l, uint64_t raw)
{
    const struct qcow2_image *image = l->c->image;
    uint64_t clean = raw & (QCOW2_COPIED_FLAG | QCOW2_OFFSET_MASK);
    if (l->is_l1) {
        return clean;
    }
    if (raw & QCOW2_COMPRESSED_FLAG) {
        return raw & ~QCOW2_COPIED_FLAG;
    }
    bool aligned = is_aligned(qcow2_entry_offset(raw), image->cluster_size);
    return raw & QCOW2_ZERO_FLAG ? (aligned ? clean : 0) | QCOW2_ZERO_FLAG : clean;
}

/* The walk has counted such an entry among the errors. */
static uint64_t mend_odd(const struct look *l, uint64_t raw)
{
    uint64_t better = without_odd(l, raw);
    struct blk_check *out = l->c->out;
    if (!l->mend || !(l->c->fix & CHECK_FIX_ERRORS) || better == raw) {
        return raw;
    }
    check_say(l->c, "Repairing %s entry %" PRIx64 " to %" PRIx64, l->is_l1 ? "L1" : "L2", raw,
              better);
    out->corruptions_fixed++;
    out->corruptions -= out->corruptions > 0;
    return better;
}

/* ---- tables ---- */

static int co_write_changed(const struct look *l)
{
    if (l->from >= l->to) {
        return 0;
    }
    int64_t from = align_down(l->from, SECTOR), to = min_i64(align_up(l->to, SECTOR), l->length);
    return node_co_pwrite(l->c->image->node->file, l->offset + from, to - from, l->bytes + from);
}

/* Looks at one table. One that cannot be read is left alone, and told of unless the walk could not
 * read either. */
static int co_look(struct look *l)
{
    int ret = check_co_read(l->c, l->offset, l->length, l->bytes);
    if (ret && ret != -EFBIG && !l->c->blind) {
        check_say(l->c, "ERROR could not read the %s table at offset %" PRId64 " again: %s",
                  l->is_l1 ? "L1" : "L2", l->offset, g_strerror(-ret));
        l->c->out->check_errors++;
    }
    if (ret) {
        return ret == -EFBIG ? ret : 0;
    }
    l->from = INT64_MAX;
    l->to = 0;
    for (int64_t i = 0; i + 8 <= l->length; i += 8) {
        uint64_t raw = load_be64(l->bytes + i), better;
        if (raw && (better = with_copied(l, i, mend_odd(l, raw))) != raw && l->mend) {
            store_be64(l->bytes + i, better);
            l->from = min_i64(l->from, i);
            l->to = max_i64(l->to, i + 8);
        }
    }
    return co_write_changed(l);
}

/* True when nothing but the header refers to the clusters of the L1 table. */
static bool l1_is_alone(const struct check *c)
{
    const struct qcow2_header *h = &c->image->header;
    for (int64_t at = 0; at < (int64_t)h->l1_entries * 8; at += c->image->cluster_size) {
        if (refcount_of(c, h->l1_offset + at) != 1) {
            return false;
        }
    }
    return true;
}

static int co_look_at_l1(struct check *c, bool mend)
{
    const struct qcow2_header *h = &c->image->header;
    int64_t end = min_i64((int64_t)h->l1_entries * 8, max_i64(c->file_size - h->l1_offset, 0));
    int ret = 0;
    for (int64_t at = 0; at < end && !ret; at += CHECK_BATCH) {
        struct look l1 = {.c = c,
                          .mend = mend,
                          .is_l1 = true,
                          .flags = true,
                          .offset = h->l1_offset + at,
                          .length = min_i64(CHECK_BATCH, end - at),
                          .index = at / 8,
                          .bytes = c->buf};
        ret = co_look(&l1);
    }
    return ret;
}

int check_co_copied(struct check *c, bool mend)
{
    int ret = co_look_at_l1(c, mend && l1_is_alone(c));
    for (guint i = 0; i < c->tables->len && !ret && c->mistrust; i++) {
        uint64_t word = g_array_index(c->tables, uint64_t, i);
        int64_t offset = check_table_cluster(word) << c->image->cluster_bits;
        bool alone = refcount_of(c, offset) == check_table_weight(word);
        struct look l2 = {.c = c,
                          .mend = mend && alone,
                          .flags = check_table_active(word),
                          .offset = offset,
                          .length = c->image->cluster_size,
                          .bytes = c->buf};
        ret = co_look(&l2);
    }
    return ret;
}
