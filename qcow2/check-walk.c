/*
 * From L1 tables down to data clusters, in two steps, so that no table is read
 * more than once however often it is referred to:
 *
 *     L1 tables       count each L2 table in refs, and mark it
 *     refs            in file order: every marked table with its count becomes one word of `tables`
 *     L2 tables       in that order, neighbours in one read: every entry counts as often as its
 *                     table was referred to
 *
 * What snapshots share is thus seen once, and tables that refer to each other, or to themselves,
 * cost nothing more. Entries that lead nowhere are told and left out.
 */
#include "qcow2/check.h"

#include <errno.h>
#include <inttypes.h>

enum {
    MAX_ODD = 65536,
    AT_ONCE = 512 * 1024, /* bytes of L2 tables; what a core keeps near */
    ENTRY_COST = 4        /* an L1 entry takes longer than reading its bytes */
};

/* How the entries of one L2 table are counted. */
struct entries {
    struct check *c;
    uint32_t weight;
    bool active;
    uint64_t not_plain; /* bits that a plain entry does not have */
    int64_t next;       /* the host offset that would go on without a gap; 0: none yet */
};

/* ---- L1 ---- */

static int note_table(struct check *c, const struct check_l1 *l1, uint64_t raw)
{
    int64_t offset = qcow2_entry_offset(raw);
    if (qcow2_l1_reserved(raw)) {
        check_say(c, "ERROR found L1 entry with reserved bits set: %" PRIx64, raw);
        c->out->corruptions++;
    }
    if (!offset) {
        return 0;
    }
    if (!is_aligned(offset, c->image->cluster_size)) {
        check_say(c,
                  "ERROR l2_offset=%" PRIx64 ": Table is not cluster aligned; L1 entry corrupted",
                  (uint64_t)offset);
        c->out->corruptions++;
        if (c->odd->len == MAX_ODD) {
            return -EFBIG;
        }
        g_array_append_val(c->odd, offset);
        return 0;
    }
    int64_t cluster = offset >> c->image->cluster_bits;
    if (cluster >= c->clusters) {
        return check_count(c, offset, c->image->cluster_size, 1, 0);
    }
    int marks = MARK_TABLE | (l1->active ? MARK_ACTIVE : 0);
    return refs_add(c->refs, cluster, 1, marks) ? 0 : -EFBIG;
}

int check_co_walk_l1(struct check *c, const struct check_l1 *l1)
{
    int64_t end = min_i64(l1->offset + l1->entries * 8, c->file_size);
    for (int64_t at = l1->offset, n; at < end; at += n) {
        n = min_i64(end - at, CHECK_BATCH);
        c->budget -= n * (ENTRY_COST - 1);
        int ret = check_co_read(c, at, n, c->buf);
        if (ret == -EFBIG) {
            return ret;
        }
        if (ret) {
            check_say(c, "ERROR could not read the L1 table at offset %" PRId64 ": %s", at,
                      g_strerror(-ret));
            c->out->check_errors++;
            c->blind = true;
            continue;
        }
        for (int64_t i = 0; i + 8 <= n && !ret; i += 8) {
            uint64_t raw = load_be64(c->buf + i);
            ret = raw ? note_table(c, l1, raw) : 0;
        }
        if (ret) {
            return ret;
        }
    }
    return 0;
}

/* Turns the marks that L1 has left into c->tables. */
static void gather_tables(struct check *c)
{
    for (int64_t i = refs_next(c->refs, 0); i < c->clusters; i = refs_next(c->refs, i + 1)) {
        int marks = refs_marks(c->refs, i);
        if (marks & MARK_TABLE) {
            uint64_t word = check_table_word(i, marks & MARK_ACTIVE, refs_get(c->refs, i));
            g_array_append_val(c->tables, word);
        }
        refs_clear_marks(c->refs, i);
    }
}

/* ---- L2 entries ---- */

/* `count` clusters in a row. Statistics are those of the active disk. */
static void note_data(struct entries *e, int64_t offset, int64_t count)
{
    if (e->active) {
        e->c->out->allocated_clusters += count;
        e->c->out->fragmented_clusters += e->next && offset != e->next;
        e->next = offset + (count << e->c->image->cluster_bits);
    }
}

static int walk_packed(struct entries *e, uint64_t raw)
{
    struct check *c = e->c;
    int64_t offset, length;
    qcow2_packed_place(raw, c->image->cluster_bits, &offset, &length);
    if (qcow2_entry_copied(raw)) {
        check_say(c,
                  "ERROR: coffset=0x%" PRIx64
                  ": copied flag must never be set for compressed clusters",
                  (uint64_t)offset);
        c->out->corruptions++;
        c->mistrust = true;
    }
    if (e->active) {
        c->out->allocated_clusters++;
        c->out->compressed_clusters++;
        c->out->fragmented_clusters++;
    }
    return check_count(c, offset, length, e->weight, 0);
}

/* An entry that is not simply one aligned cluster with nothing unusual about it. */
static int walk_unusual(struct entries *e, uint64_t raw)
{
    struct check *c = e->c;
    int64_t offset = qcow2_entry_offset(raw);
    if (raw & QCOW2_COMPRESSED_FLAG) {
        return walk_packed(e, raw);
    }
    bool reserved = qcow2_l2_reserved(raw, c->image->header.version);
    bool aligned = is_aligned(offset, c->image->cluster_size), zero = raw & QCOW2_ZERO_FLAG;
    c->mistrust |= reserved || !aligned || qcow2_entry_copied(raw);
    if (reserved) {
        check_say(c, "ERROR found l2 entry with reserved bits set: %" PRIx64, raw);
        c->out->corruptions++;
    }
    if (!aligned) {
        check_say(c,
                  "ERROR offset=%" PRIx64 ": %s cluster is not properly aligned; L2 entry "
                  "corrupted.",
                  (uint64_t)offset, zero ? "Preallocated" : "Data");
        c->out->corruptions++;
    }
    if (!offset || (!aligned && zero && (c->fix & CHECK_FIX_ERRORS))) {
        return 0;
    }
    note_data(e, offset, 1);
    return check_count(c, offset, c->image->cluster_size, e->weight, 0);
}

/* How many entries from `p` on are like `raw`, each one cluster further. */
static int64_t count_rising(const uint8_t *p, const uint8_t *end, uint64_t raw, uint64_t step)
{
    int64_t n = 1;
    while (p + 8 * n < end && load_be64(p + 8 * n) == raw + (uint64_t)n * step) {
        n++;
    }
    return n;
}

static int walk_entries(struct entries *e, const uint8_t *table)
{
    struct check *c = e->c;
    int bits = c->image->cluster_bits;
    const uint8_t *end = table + c->image->cluster_size;
    for (const uint8_t *p = table; p < end;) {
        uint64_t raw = load_be64(p);
        int64_t offset = qcow2_entry_offset(raw), cluster = offset >> bits, n = 1;
        int ret = 0;
        if ((raw & e->not_plain) || (raw && !offset) || cluster >= c->clusters) {
            ret = walk_unusual(e, raw);
        } else if (raw) {
            n = count_rising(p, end, raw, UINT64_C(1) << bits);
            n = min_i64(n, c->clusters - cluster);
            int marks = !e->active ? 0 : qcow2_entry_copied(raw) ? MARK_COPIED : MARK_SHARED;
            note_data(e, offset, n);
            ret = refs_add_run(c->refs, cluster, n, e->weight, marks) ? 0 : -EFBIG;
        }
        if (ret) {
            return ret;
        }
        p += 8 * n;
    }
    return 0;
}

static int walk_table(struct check *c, uint64_t word, const uint8_t *table)
{
    uint64_t reserved = qcow2_plain_entry_mask(c->image->cluster_bits, c->image->header.version);
    struct entries e = {
        .c = c,
        .weight = check_table_weight(word),
        .active = check_table_active(word),
        .not_plain = ~reserved,
    };
    return walk_entries(&e, table);
}

/* ---- L2 tables ---- */

/* How many tables from number `i` on lie one behind the other, and fit the buffer. */
static guint count_neighbours(const struct check *c, guint i)
{
    guint n = 1, max = (guint)(AT_ONCE >> c->image->cluster_bits);
    const uint64_t *words = &g_array_index(c->tables, uint64_t, 0);
    while (n < max && i + n < c->tables->len &&
           check_table_cluster(words[i + n]) == check_table_cluster(words[i]) + n) {
        n++;
    }
    return n;
}

static int co_walk_run(struct check *c, guint first, guint count)
{
    int64_t size = c->image->cluster_size;
    const uint64_t *words = &g_array_index(c->tables, uint64_t, first);
    int64_t offset = check_table_cluster(words[0]) << c->image->cluster_bits;
    int ret = check_co_read(c, offset, count * size, c->buf);
    if (ret && ret != -EFBIG) {
        check_say(c, "ERROR could not read %u L2 tables at offset %" PRId64 ": %s", count, offset,
                  g_strerror(-ret));
        c->out->check_errors++;
        c->blind = true;
        return 0;
    }
    for (guint i = 0; i < count && !ret; i++) {
        ret = walk_table(c, words[i], c->buf + i * size);
    }
    return ret;
}

static int co_walk_tables(struct check *c)
{
    int ret = 0;
    for (guint i = 0, n; i < c->tables->len && !ret; i += n) {
        n = count_neighbours(c, i);
        ret = co_walk_run(c, i, n);
    }
    return ret;
}

/* ---- all ---- */

static int co_walk_l1_and_l2(struct check *c)
{
    int ret = 0;
    for (guint i = 0; i < c->l1->len && !ret; i++) {
        ret = check_co_walk_l1(c, &g_array_index(c->l1, struct check_l1, i));
    }
    if (ret) {
        return ret;
    }
    gather_tables(c);
    ret = check_count(c, 0, c->image->cluster_size, 1, 0);
    for (guint i = 0; i < c->l1->len && !ret; i++) {
        const struct check_l1 *l1 = &g_array_index(c->l1, struct check_l1, i);
        ret = l1->entries ? check_count(c, l1->offset, l1->entries * 8, 1, 0) : 0;
    }
    for (guint i = 0; i < c->odd->len && !ret; i++) {
        int64_t offset = g_array_index(c->odd, int64_t, i);
        ret = check_count(c, offset, c->image->cluster_size, 1, 0);
    }
    return ret ? ret : co_walk_tables(c);
}

int check_co_walk_maps(struct check *c)
{
    const struct qcow2_header *h = &c->image->header;
    struct check_l1 active = {h->l1_offset, h->l1_entries, true};
    g_array_append_val(c->l1, active);
    int ret = check_co_walk_snapshots(c);
    ret = ret ? ret : co_walk_l1_and_l2(c);
    ret = ret || !h->crypto_length ? ret : check_count(c, h->crypto_offset, h->crypto_length, 1, 0);
    ret = ret || !c->snapshots_length
              ? ret
              : check_count(c, h->snapshots_offset, c->snapshots_length, 1, 0);
    return ret ? ret : check_co_walk_bitmaps(c);
}
