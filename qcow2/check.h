/*
 * Examining an image: what the parts of check share. Nothing here uses the caches or the
 * allocator; only the pure decoders of header.h and entry.h are shared with the writer.
 */
#ifndef CAIRN_QCOW2_CHECK_H
#define CAIRN_QCOW2_CHECK_H

#include "qcow2/image.h"
#include "qcow2/refs.h"

enum {
    CHECK_BATCH = 4 * 1024 * 1024, /* bytes of tables read at once */
    CHECK_MAX_LINES = 65536,       /* findings beyond are counted, not told */
};

/* Marks of refs: while L1 tables are walked, then for good. */
enum {
    MARK_TABLE = REFS_MARK_A,  /* an L2 table begins here ... */
    MARK_ACTIVE = REFS_MARK_B, /* ... of the active disk */
    MARK_COPIED = REFS_MARK_A, /* an active entry says: the only reference */
    MARK_SHARED = REFS_MARK_B, /* an active entry does not */
};

/* An L1 table, of the active disk or of a snapshot. */
struct check_l1 {
    int64_t offset, entries;
    bool active;
};

/* Clusters in a row. */
struct check_run {
    int64_t first, count;
};

struct check {
    struct qcow2_image *image;
    struct blk_check *out;
    uint32_t fix;
    int64_t file_size, clusters; /* of the file */
    struct refs *refs;
    int64_t budget; /* bytes of tables that may still be read */
    int64_t lines;  /* findings told */
    uint8_t *buf;   /* CHECK_BATCH bytes */
    GArray *l1;     /* struct check_l1; the active one first */
    GArray *tables; /* uint64_t, see check-walk.c: every L2 table once, in file order */
    GArray *odd;    /* int64_t: L2 tables that lie on no cluster boundary */
    bool blind;     /* not every reference could be seen: nothing may be freed */
    bool unstored;  /* the stored refcounts are not known */
    bool rebuild;   /* the refcount structure cannot be mended where it is */
    bool mistrust;  /* some COPIED flag in L2 is wrong */

    /* The refcount table: where each block is; 0: nowhere, -1: unknown. */
    int64_t *blocks;
    int64_t block_count;

    GArray *freed; /* struct check_run: clusters whose refcount a repair has lowered to 0 */

    int64_t snapshots_length; /* bytes of the snapshot table */
};

/* A word of c->tables: which cluster, whether an L1 entry of the active disk refers to it, and how
 * many L1 entries do. */
enum { CHECK_WEIGHT_BITS = 17, CHECK_MAX_WEIGHT = (1 << CHECK_WEIGHT_BITS) - 1 };

static inline uint64_t check_table_word(int64_t cluster, bool active, uint32_t weight)
{
    uint64_t low = (uint64_t)active << CHECK_WEIGHT_BITS | MIN(weight, CHECK_MAX_WEIGHT);
    return (uint64_t)cluster << (CHECK_WEIGHT_BITS + 1) | low;
}

static inline int64_t check_table_cluster(uint64_t word)
{
    return (int64_t)(word >> (CHECK_WEIGHT_BITS + 1));
}

static inline bool check_table_active(uint64_t word)
{
    return word >> CHECK_WEIGHT_BITS & 1;
}

static inline uint32_t check_table_weight(uint64_t word)
{
    return (uint32_t)(word & CHECK_MAX_WEIGHT);
}

/* Tells a finding. */
void check_say(struct check *c, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* Reads a piece of a table; what lies past the end of the file is zero. -EFBIG when the tables are
 * longer than those of any image of this size. */
int check_co_read(struct check *c, int64_t offset, int64_t length, void *buf);

/* Counts `weight` references to every cluster that [offset, +length) touches. */
int check_count(struct check *c, int64_t offset, int64_t length, uint32_t weight, int marks);

/* Counts what everything but the refcount structure refers to. */
int check_co_walk_maps(struct check *c);

/* Walks L1, gathers the L2 tables, and counts what they refer to (check-walk.c). */
int check_co_walk_l1(struct check *c, const struct check_l1 *l1);

/* Counts snapshot table and bitmaps, and adds the snapshots' L1 tables to c->l1 (check-lists.c). */
int check_co_walk_snapshots(struct check *c);
int check_co_walk_bitmaps(struct check *c);

/* Loads the refcount table into c->blocks and counts table and blocks (check-refcounts.c). */
int check_co_walk_refcounts(struct check *c);

/* Compares stored refcounts with what was counted, mending them as far as `fix` says. The `last`
 * time what stays different goes into c->refs as stored, so that flags are judged by it; not with
 * CHECK_FIX_ERRORS, where they are set by what was counted. */
int check_co_compare(struct check *c, uint32_t fix, bool last);

/* Compares the COPIED flags of active entries with the refcounts in c->refs; `mend` corrects them,
 * and other parts of entries that can be. */
int check_co_copied(struct check *c, bool mend);

/* How many clusters past the end of the file c->refs needs for check_co_rebuild(). */
int64_t check_rebuild_room(const struct check *c);

/* Writes the refcounts that were counted to a new table and new blocks, and makes the header point
 * to them. -ERANGE, and nothing has changed, when a refcount cannot hold what was counted. */
int check_co_rebuild(struct check *c);

/* Opening for writing what was not closed: mends the refcounts. */
bool qcow2_co_repair_dirty(struct qcow2_image *image, GError **error);

/* The driver's group. */
extern const struct check_ops qcow2_check_ops;

#endif
