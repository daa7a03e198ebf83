/*
 * The stored refcounts against the counted ones. The refcount table is kept as a
 * list of block places; the blocks are read one after the other, each compared with
 * its stretch of counts, and written back when something in it was mended. A
 * cluster without a block has refcount 0.
 *
 * A refcount in a sound block is mended in place. What is wrong with the blocks
 * themselves asks for a new structure (check-rebuild.c).
 */
#include "qcow2/check.h"

#include <errno.h>
#include <inttypes.h>

enum { SECTOR = 512 };

/* ---- the refcount table ---- */

/* Where block `i` is, counting a reference to it; -1 for one that cannot be read. */
static int take_block(struct check *c, int64_t i, uint64_t raw, int64_t *ret_offset)
{
    uint64_t offset = raw & ~(uint64_t)(SECTOR - 1);
    int64_t cluster = (int64_t)(offset >> c->image->cluster_bits);
    const char *what = NULL;
    *ret_offset = 0;
    if (qcow2_reftable_reserved(raw)) {
        check_say(c, "ERROR refcount table entry %" PRId64 " has reserved bits set", i);
        c->out->corruptions++;
        c->rebuild = true;
    }
    if (offset & (uint64_t)(c->image->cluster_size - 1)) {
        what = "not cluster aligned; refcount table entry corrupted";
        *ret_offset = -1;
    } else if (cluster >= c->clusters) {
        what = "outside image";
    }
    if (what) {
        check_say(c, "ERROR refcount block %" PRId64 " is %s", i, what);
        c->out->corruptions++;
        c->rebuild |= *ret_offset || (c->fix & CHECK_FIX_ERRORS);
        return 0;
    }
    *ret_offset = (int64_t)offset;
    if (offset && !refs_add(c->refs, cluster, 1, 0)) {
        return -EFBIG;
    }
    if (offset && refs_get(c->refs, cluster) != 1) {
        check_say(c, "ERROR refcount block %" PRId64 " refcount=%u", i, refs_get(c->refs, cluster));
        c->out->corruptions++;
        c->rebuild = true;
    }
    return 0;
}

int check_co_walk_refcounts(struct check *c)
{
    const struct qcow2_header *h = &c->image->header;
    int64_t bytes = (int64_t)h->reftable_clusters << c->image->cluster_bits;
    c->rebuild |= !bytes || h->reftable_offset + bytes > c->clusters << c->image->cluster_bits;
    c->block_count = bytes / 8;
    c->blocks = g_try_new0(int64_t, c->block_count + 1);
    uint8_t *table = g_try_malloc((gsize)bytes + 1);
    int ret = c->blocks && table ? 0 : -ENOMEM;
    ret = ret || !bytes ? ret : check_count(c, h->reftable_offset, bytes, 1, 0);
    if (!ret && (ret = check_co_read(c, h->reftable_offset, bytes, table)) && ret != -EFBIG) {
        check_say(c, "ERROR could not read the refcount table: %s", g_strerror(-ret));
        c->out->check_errors++;
        c->blind = c->unstored = true;
        c->block_count = 0;
        ret = 0;
    }
    for (int64_t i = 0; i < c->block_count && !ret; i++) {
        uint64_t raw = load_be64(table + 8 * i);
        ret = raw ? take_block(c, i, raw, &c->blocks[i]) : 0;
    }
    g_free(table);
    return ret;
}

/* ---- comparing ---- */

/* A stretch of clusters that one block counts. */
struct stretch {
    struct check *c;
    uint32_t fix;
    bool last;
    int64_t first, count; /* clusters */
    uint8_t *block;       /* NULL: there is none */
    int64_t from, to;     /* refcounts that were mended; from >= to: none */
    int64_t highest;      /* cluster in use; -1: none */
};

static bool can_mend(const struct stretch *s, uint64_t stored, uint64_t found)
{
    const struct check *c = s->c;
    if (!s->block || c->blind || found > qcow2_refcount_max(c->image->header.refcount_order)) {
        return false;
    }
    return s->fix & (stored > found ? CHECK_FIX_LEAKS : CHECK_FIX_ERRORS);
}

/* Notes that a cluster is free now. Beyond some number of runs the space just stays with the file.
 */
static void note_freed(struct check *c, int64_t cluster)
{
    enum { MAX_RUNS = 65536 };
    struct check_run run = {cluster, 1};
    struct check_run *last =
        c->freed->len ? &g_array_index(c->freed, struct check_run, c->freed->len - 1) : NULL;
    if (last && last->first + last->count == cluster) {
        last->count++;
    } else if (c->freed->len < MAX_RUNS) {
        g_array_append_val(c->freed, run);
    }
}

/* Tells, counts and mends a refcount that is wrong. */
static int handle(struct stretch *s, int64_t i, uint64_t stored, uint32_t found)
{
    struct blk_check *out = s->c->out;
    bool leak = stored > found, mend = can_mend(s, stored, found);
    check_say(s->c, "%s cluster %" PRId64 " refcount=%" PRIu64 " reference=%u",
              mend   ? "Repairing"
              : leak ? "Leaked"
                     : "ERROR",
              s->first + i, stored, found);
    if (mend) {
        qcow2_refcount_set(s->block, i, s->c->image->header.refcount_order, found);
        s->from = min_i64(s->from, i);
        s->to = max_i64(s->to, i + 1);
        leak ? out->leaks_fixed++ : out->corruptions_fixed++;
        if (!found) {
            note_freed(s->c, s->first + i);
        }
        return 0;
    }
    s->c->rebuild |= !s->block;
    leak ? out->leaks++ : out->corruptions++;
    uint32_t as_stored = stored > UINT32_MAX ? UINT32_MAX : (uint32_t)stored;
    bool keep = !s->last || (s->fix & CHECK_FIX_ERRORS);
    return keep || refs_set(s->c->refs, s->first + i, as_stored) ? 0 : -EFBIG;
}

static int compare_one(struct stretch *s, int64_t i)
{
    int64_t cluster = s->first + i;
    int order = s->c->image->header.refcount_order;
    uint64_t stored = s->block ? qcow2_refcount_get(s->block, i, order) : 0;
    uint32_t found = refs_get(s->c->refs, cluster);
    int ret = 0;
    if (stored || found) {
        s->highest = cluster;
    }
    if (stored != found) {
        ret = handle(s, i, stored, found);
    }
    bool one = refs_get(s->c->refs, cluster) == 1;
    s->c->mistrust |= refs_marks(s->c->refs, cluster) & (one ? MARK_SHARED : MARK_COPIED);
    return ret;
}

/* The usual cases, fast: how many clusters from `i` on are free, or the guest's alone, and stored
 * so with 16 bits. Looks at many at a time. */
static int64_t skip_usual(struct stretch *s, int64_t i)
{
    enum { MANY = 64 };
    static const uint8_t free_bytes[MANY * 2];
    uint8_t used_bytes[MANY];
    uint16_t used_counts[MANY];
    const uint8_t *bytes = refs_bytes(s->c->refs) + s->first;
    int64_t start = i;
    memset(used_bytes, 1 | MARK_COPIED, sizeof(used_bytes));
    for (int k = 0; k < MANY; k++) {
        used_counts[k] = htobe16(1);
    }
    for (; i + MANY <= s->count; i += MANY) {
        const uint8_t *stored = s->block + 2 * i;
        if (!memcmp(bytes + i, used_bytes, MANY) && !memcmp(stored, used_counts, 2 * MANY)) {
            s->highest = s->first + i + MANY - 1;
        } else if (memcmp(bytes + i, free_bytes, MANY) || memcmp(stored, free_bytes, 2 * MANY)) {
            break;
        }
    }
    return i - start;
}

static int compare_stretch(struct stretch *s)
{
    enum { STEP = 64 };
    bool usual = s->block && s->c->image->header.refcount_order == 4;
    for (int64_t i = 0; i < s->count; i++) {
        i += usual && i % STEP == 0 ? skip_usual(s, i) : 0;
        if (!s->block) {
            i = refs_next(s->c->refs, s->first + i) - s->first;
        }
        int ret = i < s->count ? compare_one(s, i) : 0;
        if (ret) {
            return ret;
        }
    }
    return 0;
}

/* Writes back what was mended, in whole sectors. */
static int co_write_mended(const struct stretch *s, int64_t offset)
{
    int order = s->c->image->header.refcount_order;
    if (s->from >= s->to) {
        return 0;
    }
    int64_t from = align_down(s->from << order >> 3, SECTOR);
    int64_t to = align_up(((s->to << order) + 7) >> 3, SECTOR);
    return node_co_pwrite(s->c->image->node->file, offset + from, to - from, s->block + from);
}

/* Compares what block number `i` counts. */
static int co_compare_block(struct stretch *s, int64_t offset)
{
    struct check *c = s->c;
    int ret = offset > 0 ? check_co_read(c, offset, c->image->cluster_size, c->buf) : 0;
    s->block = offset > 0 ? c->buf : NULL;
    s->from = INT64_MAX;
    s->to = 0;
    if (ret == -EFBIG) {
        return ret;
    }
    if (ret || offset < 0) {
        check_say(c, "Can't get refcount for cluster %" PRId64 ": %s", s->first,
                  g_strerror(ret ? -ret : EIO));
        c->out->check_errors++;
        c->blind |= ret != 0;
        return 0;
    }
    ret = compare_stretch(s);
    return ret ? ret : co_write_mended(s, offset);
}

int check_co_compare(struct check *c, uint32_t fix, bool last)
{
    int64_t per_block = INT64_C(1) << c->image->refblock_bits;
    struct stretch s = {.c = c, .fix = fix, .last = last, .highest = -1};
    int ret = 0;
    if (c->unstored) {
        return 0;
    }
    for (int64_t i = 0; i < c->block_count && s.first < c->clusters && !ret; i++) {
        s.count = min_i64(per_block, c->clusters - s.first);
        ret = co_compare_block(&s, c->blocks[i]);
        s.first += s.count;
    }
    if (!ret && s.first < c->clusters) {
        s.count = c->clusters - s.first;
        ret = co_compare_block(&s, 0);
    }
    c->out->image_end_offset = (s.highest + 1) << c->image->cluster_bits;
    return ret;
}
