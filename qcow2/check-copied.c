/*
 * The COPIED flag of an active entry says that its cluster has refcount 1, so that
 * it may be written in place. The walk has noted in refs what L2 entries say; only
 * when some flag contradicts a refcount, the active L2 tables are read once more, to
 * tell which, and to correct them. L1 is short and read again in any case. A table is
 * written in whole sectors and only where it changes; it holds the same places before
 * and after.
 */
#include "qcow2/check.h"

#include <errno.h>
#include <inttypes.h>

enum { SECTOR = 512 };

/* A table, or a part of one, whose flags are looked at. */
struct flags {
    struct check *c;
    bool mend, is_l1;
    int64_t offset, length; /* in the file; bytes */
    int64_t index;          /* L1: of the first entry */
    uint8_t *bytes;
    int64_t from, to; /* bytes that were changed */
};

static uint32_t refcount_of(const struct check *c, int64_t offset)
{
    int64_t cluster = offset >> c->image->cluster_bits;
    return cluster < c->clusters ? refs_get(c->refs, cluster) : 0;
}

static void tell(const struct flags *f, int64_t i, uint64_t raw, uint32_t refcount)
{
    const char *verb = f->mend ? "Repairing" : "ERROR";
    if (f->is_l1) {
        check_say(f->c,
                  "%s OFLAG_COPIED L2 cluster: l1_index=%" PRId64 " l1_entry=%" PRIx64
                  " refcount=%u",
                  verb, f->index + i / 8, raw, refcount);
    } else {
        check_say(f->c, "%s OFLAG_COPIED data cluster: l2_entry=%" PRIx64 " refcount=%u", verb, raw,
                  refcount);
    }
}

static void look_at(struct flags *f, int64_t i)
{
    uint64_t raw = load_be64(f->bytes + i);
    int64_t offset = qcow2_entry_offset(raw);
    if (!raw || (!f->is_l1 && (raw & QCOW2_COMPRESSED_FLAG))) {
        return;
    }
    uint32_t refcount = offset ? refcount_of(f->c, offset) : 0;
    if (qcow2_entry_copied(raw) == (refcount == 1)) {
        return;
    }
    tell(f, i, raw, refcount);
    if (!f->mend) {
        f->c->out->corruptions++;
        return;
    }
    f->c->out->corruptions_fixed++;
    store_be64(f->bytes + i, raw ^ QCOW2_COPIED_FLAG);
    f->from = min_i64(f->from, i);
    f->to = max_i64(f->to, i + 8);
}

static int co_write_changed(const struct flags *f)
{
    if (f->from >= f->to) {
        return 0;
    }
    int64_t from = align_down(f->from, SECTOR), to = min_i64(align_up(f->to, SECTOR), f->length);
    return node_co_pwrite(f->c->image->node->file, f->offset + from, to - from, f->bytes + from);
}

/* Looks at one table. One that cannot be read was told before, and is left alone. */
static int co_look(struct flags *f)
{
    f->from = INT64_MAX;
    f->to = 0;
    int ret = check_co_read(f->c, f->offset, f->length, f->bytes);
    if (ret) {
        return ret == -EFBIG ? ret : 0;
    }
    for (int64_t i = 0; i + 8 <= f->length; i += 8) {
        look_at(f, i);
    }
    return co_write_changed(f);
}

/* Looks at the L2 tables that [bytes, +length) of the L1 table refer to. */
static int co_look_below(struct flags *l2, const uint8_t *bytes, int64_t length)
{
    struct check *c = l2->c;
    int ret = 0;
    for (int64_t i = 0; i < length && !ret; i += 8) {
        int64_t offset = qcow2_entry_offset(load_be64(bytes + i));
        bool good = offset && is_aligned(offset, c->image->cluster_size) &&
                    offset >> c->image->cluster_bits < c->clusters;
        l2->offset = offset;
        ret = good ? co_look(l2) : 0;
    }
    return ret;
}

int check_co_copied(struct check *c, bool mend)
{
    enum { CHUNK = 1024 * 1024 };
    const struct qcow2_header *h = &c->image->header;
    int64_t end = min_i64((int64_t)h->l1_entries * 8, max_i64(c->file_size - h->l1_offset, 0));
    uint8_t *chunk = g_try_malloc(CHUNK);
    struct flags l2 = {.c = c, .mend = mend, .bytes = c->buf, .length = c->image->cluster_size};
    int ret = chunk ? 0 : -ENOMEM;
    for (int64_t at = 0; at < end && !ret; at += CHUNK) {
        struct flags l1 = {.c = c,
                           .mend = mend,
                           .is_l1 = true,
                           .offset = h->l1_offset + at,
                           .length = min_i64(CHUNK, end - at),
                           .index = at / 8,
                           .bytes = chunk};
        ret = co_look(&l1);
        ret = ret || !c->mistrust ? ret : co_look_below(&l2, chunk, l1.length);
    }
    g_free(chunk);
    return ret;
}
