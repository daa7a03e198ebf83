/*
 * A new refcount structure, for images whose refcount table or blocks are damaged,
 * overlap, or miss a part:
 *
 *     ... file ... | new blocks, in order | new table |
 *                    ^ at the end of the file, or in a hole
 *
 * It says what was counted. All of it is on the disk before the header points to
 * it with the write of one sector; until then the image is as it was, and
 * afterwards the old structure is free space. The place avoids what damaged entries
 * point to past the end, which would else come to life there.
 */
#include "qcow2/check.h"

#include <errno.h>
#include <inttypes.h>

#include "qcow2/commit.h"

/* The new structure. */
struct rebuild {
    struct check *c;
    int64_t per_block;
    int64_t start, blocks, table; /* clusters: first; of each part */
    struct bitmap *needed;        /* which blocks there will be */
    int64_t reach;                /* of the table: the number of the last block + 1 */
    uint64_t *entries;            /* of the table, big endian */
};

/* The first run of `count` free clusters in [at, end); -1: none. */
static int64_t find_run(const struct check *c, int64_t at, int64_t end, int64_t count)
{
    while (at + count <= end) {
        int64_t used = refs_next(c->refs, at);
        if (used - at >= count) {
            return at;
        }
        at = used + 1;
    }
    return -1;
}

/* Right behind the file's end, else in a hole, else further out, where damaged entries allow it. */
static int64_t find_place(const struct check *c, int64_t count)
{
    int64_t end = c->clusters;
    bool growable = c->image->node->file->growable;
    int64_t at = growable ? find_run(c, end, end + count, count) : -1;
    at = at < 0 ? find_run(c, 0, end, count) : at;
    return at < 0 && growable ? find_run(c, end, refs_clusters(c->refs), count) : at;
}

/* Counts the references of the old structure, as the walk has, or takes them back. */
static void count_old(struct check *c, bool back)
{
    const struct qcow2_header *h = &c->image->header;
    uint32_t change = back ? UINT32_MAX : 1; /* modulo 2^32 */
    int64_t first = h->reftable_offset >> c->image->cluster_bits;
    int64_t end = min_i64(first + h->reftable_clusters, refs_clusters(c->refs));
    for (int64_t i = first; i < end; i++) {
        refs_set(c->refs, i, refs_get(c->refs, i) + change);
    }
    for (int64_t i = 0; i < c->block_count; i++) {
        int64_t cluster = c->blocks[i] >> c->image->cluster_bits;
        if (c->blocks[i] > 0) {
            refs_set(c->refs, cluster, refs_get(c->refs, cluster) + change);
        }
    }
}

/* Marks block `number` as needed; returns how many that adds. */
static int64_t need(struct rebuild *r, int64_t number)
{
    r->reach = max_i64(r->reach, number + 1);
    if (bitmap_test(r->needed, number)) {
        return 0;
    }
    bitmap_set(r->needed, number, 1);
    return 1;
}

/* Finds out which blocks the counted clusters in [from, end) need; returns how many that adds. */
static int64_t need_for_counts(struct rebuild *r, int64_t from, int64_t end)
{
    int64_t more = 0;
    for (int64_t i = refs_next(r->c->refs, from); i < end; i = refs_next(r->c->refs, i)) {
        more += need(r, i / r->per_block);
        i = (i / r->per_block + 1) * r->per_block;
    }
    return more;
}

/* False when a count is too large for the refcounts of this image. */
static bool counts_fit(struct check *c)
{
    uint64_t max = qcow2_refcount_max(c->image->header.refcount_order);
    for (int64_t i = refs_next(c->refs, 0); i < c->clusters; i = refs_next(c->refs, i + 1)) {
        uint32_t count = refs_get(c->refs, i);
        if (count > max) {
            check_say(c,
                      "ERROR cluster %" PRId64
                      " has %u references, more than a refcount of %d bits can hold",
                      i, count, 1 << c->image->header.refcount_order);
            return false;
        }
    }
    return true;
}

/* Chooses the place. What it takes to count the place itself, and what damaged entries refer to up
 * to there, is part of it. */
static int choose_place(struct rebuild *r)
{
    const struct check *c = r->c;
    int64_t more = need_for_counts(r, 0, c->clusters), end;
    do {
        r->blocks += more;
        r->table = max_i64(div_up(r->reach * 8, c->image->cluster_size), 1);
        r->start = find_place(c, r->blocks + r->table);
        if (r->start < 0) {
            return -ENOSPC;
        }
        end = r->start + r->blocks + r->table;
        more = need_for_counts(r, c->clusters, end);
        for (int64_t i = r->start / r->per_block; i <= (end - 1) / r->per_block; i++) {
            more += need(r, i);
        }
    } while (more || r->reach * 8 > r->table << c->image->cluster_bits);
    return r->table << c->image->cluster_bits > QCOW2_MAX_REFTABLE_BYTES ? -EFBIG : 0;
}

static void fill_block(const struct rebuild *r, int64_t number, uint8_t *block)
{
    const struct check *c = r->c;
    int64_t first = number * r->per_block;
    int64_t end = min_i64(first + r->per_block, refs_clusters(c->refs));
    memset(block, 0, (size_t)c->image->cluster_size);
    for (int64_t i = refs_next(c->refs, first); i < end; i = refs_next(c->refs, i + 1)) {
        qcow2_refcount_set(block, i - first, c->image->header.refcount_order, refs_get(c->refs, i));
    }
}

/* Writes the blocks in batches, noting each in the table. */
static int co_write_blocks(struct rebuild *r)
{
    struct check *c = r->c;
    int bits = c->image->cluster_bits;
    int64_t at = r->start, used = 0, number = -1;
    int ret = 0;
    for (int64_t i = 0; i < r->blocks && !ret; i++) {
        number = bitmap_next_set(r->needed, number + 1);
        fill_block(r, number, c->buf + used);
        r->entries[number] = htobe64((uint64_t)(at << bits) + (uint64_t)used);
        used += c->image->cluster_size;
        if (used + c->image->cluster_size > CHECK_BATCH || i == r->blocks - 1) {
            ret = node_co_pwrite(c->image->node->file, at << bits, used, c->buf);
            at += used >> bits;
            used = 0;
        }
    }
    return ret;
}

static int co_write_all(struct rebuild *r)
{
    struct check *c = r->c;
    struct blk_node *file = c->image->node->file;
    int64_t bytes = r->table << c->image->cluster_bits;
    r->entries = g_try_malloc0((gsize)bytes);
    int ret = r->entries ? co_write_blocks(r) : -ENOMEM;
    int64_t offset = (r->start + r->blocks) << c->image->cluster_bits;
    ret = ret ? ret : node_co_pwrite(file, offset, bytes, r->entries);
    return ret ? ret : node_co_flush(file);
}

/* Makes the header point to the new structure. */
static int co_switch(struct rebuild *r)
{
    struct check *c = r->c;
    struct qcow2_header *h = &c->image->header;
    h->reftable_offset = (r->start + r->blocks) << c->image->cluster_bits;
    h->reftable_clusters = (uint32_t)r->table;
    return qcow2_co_write_header(c->image);
}

/* The place is chosen while the old structure is still counted, so that it stays whole. */
static int co_rebuild(struct rebuild *r)
{
    struct check *c = r->c;
    int ret = choose_place(r);
    if (ret) {
        return ret;
    }
    count_old(c, true);
    if (!counts_fit(c)) {
        count_old(c, false);
        return -ERANGE;
    }
    for (int64_t i = 0; i < r->blocks + r->table; i++) {
        if (!refs_add(c->refs, r->start + i, 1, 0)) {
            return -EFBIG;
        }
    }
    ret = co_write_all(r);
    ret = ret ? ret : co_switch(r);
    c->clusters = max_i64(c->clusters, r->start + r->blocks + r->table);
    c->file_size = node_size(c->image->node->file);
    c->mistrust = true;
    return ret;
}

int64_t check_rebuild_room(const struct check *c)
{
    enum { SPARE = 65536 };
    int64_t per_block = INT64_C(1) << c->image->refblock_bits;
    return SPARE + 2 * div_up(c->clusters, per_block) + QCOW2_MAX_REFTABLE_BYTES / 512;
}

int check_co_rebuild(struct check *c)
{
    struct rebuild r = {.c = c, .per_block = INT64_C(1) << c->image->refblock_bits};
    check_say(c, "Rebuilding refcount structure");
    r.needed = bitmap_try_new(refs_clusters(c->refs) / r.per_block + 1);
    int ret = r.needed ? co_rebuild(&r) : -ENOMEM;
    bitmap_free(r.needed);
    g_free(r.entries);
    return ret;
}
