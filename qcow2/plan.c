/*
 * Guest offsets only ever go up, and so do the host clusters given out for them. Hence an L2 table
 * is complete once a later one is needed, and a refcount block once the clusters pass
 * the range that it counts: one of each is held in memory and written once. L1 and the refcount
 * table stay in memory to the end.
 *
 *     | header, tables of the empty image | data ... | L2 | data ... | L2 | ... |
 *                                                     ^ the table of the data before it
 *
 * A refcount block lies at the first cluster of the range that it counts. Compressed clusters
 * follow each other byte by byte: all but the last cluster given out have their final refcount, and
 * packing goes on in the last one as long as its refcount has room.
 *
 * Until co_finish() writes L1 the image is still empty.
 */
#include "qcow2/plan.h"

#include <errno.h>

#include "qcow2/alloc.h"
#include "qcow2/image.h"
#include "qcow2/qcow2.h"

enum {
    TRIM = 4096, /* tables are written without the zero blocks at their ends */
};

#define MAX_HOST_OFFSET (INT64_C(1) << 56)

struct plan {
    struct qcow2_image *image;
    struct blk_node *leaf;
    bool backed;       /* unallocated clusters show a backing file */
    int64_t zero_from; /* see struct plan_facts */
    int64_t limit;     /* clusters that the file can have */

    uint64_t *l1, *l2; /* big endian; of l2 the one that is being filled */
    int64_t l1_bytes;  /* whole clusters */
    int64_t l1_index;  /* of l2; -1: none yet */

    int64_t next;     /* the first cluster not given out */
    uint8_t *block;   /* the refcount block that counts it */
    int64_t index;    /* of that block */
    GArray *reftable; /* int64_t: offsets of the blocks, up to `index` */
    int64_t packed;   /* host offset where compressed bytes may go on; 0: nowhere */
};

static void plan_free(struct plan *plan)
{
    g_free(plan->l1);
    g_free(plan->l2);
    g_free(plan->block);
    g_array_unref(plan->reftable);
    g_free(plan);
}

static int64_t host_offset(const struct plan *plan, int64_t cluster)
{
    return cluster << plan->image->cluster_bits;
}

static int64_t block_entries(const struct plan *plan)
{
    return INT64_C(1) << plan->image->refblock_bits;
}

/* Writes a table, without its zero ends where the file reads as zero. */
static int co_write_table(struct plan *plan, int64_t offset, const void *table, int64_t length,
                          bool is_zero)
{
    const uint8_t *bytes = table;
    int64_t from = 0, to = length, step = min_i64(TRIM, length);
    if (is_zero || offset >= plan->zero_from) {
        while (to > 0 && bytes_are_zero(bytes + to - step, step)) {
            to -= step;
        }
        while (from < to && bytes_are_zero(bytes + from, step)) {
            from += step;
        }
    }
    return from < to ? leaf_co_write(plan->leaf, offset + from, to - from, bytes + from) : 0;
}

/* ---- refcounts ---- */

static int co_write_block(struct plan *plan)
{
    int64_t offset = g_array_index(plan->reftable, int64_t, plan->index);
    return co_write_table(plan, offset, plan->block, plan->image->cluster_size, false);
}

static void count_clusters(struct plan *plan, int64_t first, int64_t count)
{
    int64_t base = plan->index << plan->image->refblock_bits;
    for (int64_t i = first - base; i < first - base + count; i++) {
        qcow2_refcount_set(plan->block, i, plan->image->header.refcount_order, 1);
    }
}

static uint64_t count_of(const struct plan *plan, int64_t cluster)
{
    return qcow2_refcount_get(plan->block, cluster & (block_entries(plan) - 1),
                              plan->image->header.refcount_order);
}

/* One more compressed cluster reaches into `cluster`. */
static void count_up(struct plan *plan, int64_t cluster)
{
    qcow2_refcount_set(plan->block, cluster & (block_entries(plan) - 1),
                       plan->image->header.refcount_order, count_of(plan, cluster) + 1);
}

static int check_room(const struct plan *plan, int64_t clusters)
{
    if (plan->next + clusters > plan->limit) {
        return -ENOSPC;
    }
    return host_offset(plan, plan->next + clusters) > MAX_HOST_OFFSET ? -EFBIG : 0;
}

/* Makes the block in memory the one that counts plan->next. */
static int co_reach_block(struct plan *plan)
{
    int64_t wanted = plan->next >> plan->image->refblock_bits;
    if (wanted == plan->index) {
        return 0;
    }
    int ret = (wanted + 1) * 8 > QCOW2_MAX_REFTABLE_BYTES ? -EFBIG : check_room(plan, 1);
    ret = ret ? ret : co_write_block(plan);
    if (!ret) {
        int64_t offset = host_offset(plan, plan->next);
        g_array_append_val(plan->reftable, offset);
        memset(plan->block, 0, plan->image->cluster_size);
        plan->index = wanted;
        count_clusters(plan, plan->next++, 1);
    }
    return ret;
}

/* Gives out between 1 and `want` clusters in a row. Returns their count or -errno. */
static int64_t co_take_clusters(struct plan *plan, int64_t want, int64_t *ret_first)
{
    int ret = co_reach_block(plan);
    int64_t in_block = block_entries(plan) - (plan->next & (block_entries(plan) - 1));
    int64_t count = min_i64(want, in_block);
    ret = ret ? ret : check_room(plan, count);
    if (ret) {
        return ret;
    }
    count_clusters(plan, plan->next, count);
    *ret_first = plan->next;
    plan->next += count;
    return count;
}

/* ---- L2 tables ---- */

static int co_write_l2(struct plan *plan)
{
    int64_t cluster, size = plan->image->cluster_size;
    if (plan->l1_index < 0 || bytes_are_zero(plan->l2, size)) {
        return 0;
    }
    int64_t got = co_take_clusters(plan, 1, &cluster);
    if (got < 0) {
        return (int)got;
    }
    int64_t offset = host_offset(plan, cluster);
    store_be64(&plan->l1[plan->l1_index], qcow2_l1_encode(offset, true));
    return co_write_table(plan, offset, plan->l2, size, false);
}

/* Makes the L2 table in memory the one of guest `offset`, and returns the entry's index in it and
 * how many entries there are from there on. */
static int co_reach_l2(struct plan *plan, int64_t offset, int64_t *ret_entry, int64_t *ret_left)
{
    const struct qcow2_image *image = plan->image;
    int64_t cluster = offset >> image->cluster_bits, entries = INT64_C(1) << image->l2_bits;
    int64_t index = cluster >> image->l2_bits;
    if (index != plan->l1_index) {
        int ret = index < plan->l1_index ? -EINVAL : co_write_l2(plan);
        if (ret) {
            return ret;
        }
        memset(plan->l2, 0, image->cluster_size);
        plan->l1_index = index;
    }
    *ret_entry = cluster & (entries - 1);
    *ret_left = entries - *ret_entry;
    return 0;
}

static void set_entry(struct plan *plan, int64_t entry, const struct qcow2_entry *value)
{
    store_be64(&plan->l2[entry], qcow2_l2_encode(value, plan->image->cluster_bits));
}

/* ---- placing ---- */

static int64_t plan_co_place(struct plan *plan, int64_t offset, int64_t length,
                             int64_t *ret_leaf_offset)
{
    int64_t size = plan->image->cluster_size, entry, left, first;
    int ret = co_reach_l2(plan, offset, &entry, &left);
    if (ret) {
        return ret;
    }
    int64_t count = co_take_clusters(plan, min_i64(left, div_up(length, size)), &first);
    if (count < 0) {
        return count;
    }
    for (int64_t i = 0; i < count; i++) {
        set_entry(plan, entry + i,
                  &(struct qcow2_entry){QCOW2_NORMAL, true, host_offset(plan, first + i), size});
    }
    *ret_leaf_offset = host_offset(plan, first);
    return min_i64(length, count * size);
}

/* Whether compressed bytes may go on in the cluster where the last ones ended. */
static bool may_continue(const struct plan *plan, int64_t packed)
{
    int64_t size = plan->image->cluster_size, room = -plan->packed & (size - 1);
    int64_t cluster = plan->packed >> plan->image->cluster_bits;
    if (!plan->packed || !room || cluster >> plan->image->refblock_bits != plan->index ||
        count_of(plan, cluster) >= qcow2_refcount_max(plan->image->header.refcount_order)) {
        return false;
    }
    bool next_follows =
        plan->next == cluster + 1 && plan->next >> plan->image->refblock_bits == plan->index;
    return packed <= room || next_follows;
}

/* Where `packed` bytes go: behind the last ones, or at the start of a new cluster. */
static int co_place_bytes(struct plan *plan, int64_t packed, int64_t *ret_offset)
{
    int64_t size = plan->image->cluster_size, offset = plan->packed, cluster;
    bool goes_on = may_continue(plan, packed);
    bool takes_more = !goes_on || packed > (-offset & (size - 1));
    int64_t got = takes_more ? co_take_clusters(plan, 1, &cluster) : 0;
    if (got < 0) {
        return (int)got;
    }
    if (goes_on) {
        count_up(plan, offset >> plan->image->cluster_bits);
    } else {
        offset = host_offset(plan, cluster);
    }
    plan->packed = offset + packed;
    *ret_offset = offset;
    return 0;
}

static int plan_co_place_packed(struct plan *plan, int64_t offset, int64_t packed,
                                int64_t *ret_leaf_offset)
{
    int64_t entry, left, at = 0;
    int ret = co_reach_l2(plan, offset, &entry, &left);
    ret = ret ? ret : co_place_bytes(plan, packed, &at);
    if (ret) {
        return ret;
    }
    if (!qcow2_packed_fits(at, packed, plan->image->cluster_bits)) {
        return -EFBIG;
    }
    set_entry(plan, entry, &(struct qcow2_entry){QCOW2_COMPRESSED, false, at, packed});
    *ret_leaf_offset = at;
    return 0;
}

static int plan_co_zero(struct plan *plan, int64_t offset, int64_t length, uint32_t flags)
{
    int64_t size = plan->image->cluster_size;
    if (!plan->backed && (flags & REQ_MAY_UNMAP)) {
        return 0;
    }
    if (plan->image->header.version < 3) {
        return -ENOTSUP;
    }
    for (int64_t end = offset + length; offset < end;) {
        int64_t entry, left;
        int ret = co_reach_l2(plan, offset, &entry, &left);
        if (ret) {
            return ret;
        }
        int64_t count = min_i64(left, div_up(end - offset, size));
        for (int64_t i = 0; i < count; i++) {
            set_entry(plan, entry + i, &(struct qcow2_entry){QCOW2_ZERO, false, 0, size});
        }
        offset += count * size;
    }
    return 0;
}

static void plan_describe(struct plan *plan, struct plan_facts *ret_facts)
{
    const struct qcow2_image *image = plan->image;
    *ret_facts = (struct plan_facts){
        .cluster_size = image->cluster_size,
        .codec = image->header.compression == QCOW2_ZSTD ? CODEC_ZSTD : CODEC_DEFLATE,
        .leaf = plan->leaf,
        .zero_from = plan->zero_from,
    };
}

/* ---- beginning ---- */

/* An image that has nothing but its own empty tables, be it new or not. */
static bool is_empty(const struct qcow2_image *image)
{
    for (uint32_t i = 0; i < image->header.l1_entries; i++) {
        if (image->l1[i]) {
            return false;
        }
    }
    return !image->header.snapshots && !image->header.autoclear && !image->write_started;
}

static bool can_plan(const struct qcow2_image *image)
{
    const struct blk_node *file = image->node->file;
    return image->writable && !image->header.crypt_method &&
           !(image->header.incompatible & ~QCOW2_INCOMPAT_COMPRESSION) && is_empty(image) &&
           node_is_leaf(file) && node_limits(file)->request_align <= image->cluster_size;
}

static int load_reftable(struct plan *plan)
{
    const struct qcow2_image *image = plan->image;
    int64_t count = 0;
    while (count < image->reftable_entries && image->reftable[count]) {
        int64_t offset = qcow2_reftable_decode(image->reftable[count++], image->cluster_bits);
        g_array_append_val(plan->reftable, offset);
    }
    for (int64_t i = count; i < image->reftable_entries; i++) {
        if (image->reftable[i]) {
            return -ENOTSUP;
        }
    }
    plan->index = count - 1;
    return count ? 0 : -ENOTSUP;
}

/* Loads the last refcount block and finds the first cluster that is free for good. */
static int co_find_end(struct plan *plan)
{
    const struct qcow2_image *image = plan->image;
    const struct blk_node *file = image->node->file;
    int ret = leaf_co_read(plan->leaf, g_array_index(plan->reftable, int64_t, plan->index),
                           image->cluster_size, plan->block);
    int64_t last = block_entries(plan) - 1;
    while (last >= 0 && !count_of(plan, last)) {
        last--;
    }
    plan->next = (plan->index << image->refblock_bits) + last + 1;
    plan->limit = node_size(file) >> image->cluster_bits;
    plan->zero_from = INT64_MAX;
    if (file->growable) {
        plan->zero_from = align_up(node_size(file), image->cluster_size);
        plan->next = max_i64(plan->next, plan->zero_from >> image->cluster_bits);
        plan->limit = INT64_MAX >> image->cluster_bits;
    }
    return ret;
}

static int plan_co_begin(struct blk_node *node, bool fresh, struct plan **ret_plan)
{
    struct qcow2_image *image = qcow2_image(node);
    if (!can_plan(image)) {
        return -ENOTSUP;
    }
    struct plan *plan = g_new0(struct plan, 1);
    plan->image = image;
    plan->leaf = node->file;
    plan->backed = image->header.backing_file || node->backing;
    plan->l1_index = -1;
    plan->l1_bytes = align_up((int64_t)image->header.l1_entries * 8, image->cluster_size);
    plan->l1 = g_try_malloc0(plan->l1_bytes);
    plan->l2 = g_try_malloc0(image->cluster_size);
    plan->block = g_try_malloc0(image->cluster_size);
    plan->reftable = g_array_new(false, false, sizeof(int64_t));
    int ret = (plan->l1 || !plan->l1_bytes) && plan->l2 && plan->block ? 0 : -ENOMEM;
    ret = ret ? ret : load_reftable(plan);
    ret = ret ? ret : co_find_end(plan);
    if (ret) {
        plan_free(plan);
        return ret;
    }
    *ret_plan = plan;
    return 0;
}

/* ---- finishing ---- */

/* A refcount table that has become too long moves to the end of the file:
 *
 *     | refcount blocks for what follows past the current one's range | table |
 */
struct move {
    int64_t blocks, clusters; /* of the two parts */
};

static struct move plan_move(const struct plan *plan)
{
    struct move move = {0};
    int64_t before;
    do {
        before = move.blocks + move.clusters;
        int64_t last = plan->next + max_i64(before, 1) - 1;
        move.blocks = (last >> plan->image->refblock_bits) - plan->index;
        move.clusters = div_up((plan->index + 1 + move.blocks) * 8, plan->image->cluster_size);
    } while (move.blocks + move.clusters != before);
    return move;
}

/* Counts the new area, block by block, those of later ranges included. */
static int co_count_area(struct plan *plan, const struct move *move)
{
    int64_t first = plan->next, end = first + move->blocks + move->clusters;
    int64_t block_at = first;
    int ret = check_room(plan, end - first);
    while (!ret && plan->next < end) {
        if (plan->next >> plan->image->refblock_bits != plan->index) {
            int64_t offset = host_offset(plan, block_at++);
            ret = co_write_block(plan);
            g_array_append_val(plan->reftable, offset);
            memset(plan->block, 0, plan->image->cluster_size);
            plan->index++;
        }
        int64_t in_block = block_entries(plan) - (plan->next & (block_entries(plan) - 1));
        int64_t count = min_i64(in_block, end - plan->next);
        count_clusters(plan, plan->next, count);
        plan->next += count;
    }
    return ret;
}

/* Sets the refcount of a cluster that another block than the current one may count to 0. */
static int co_free_cluster(struct plan *plan, int64_t cluster)
{
    const struct qcow2_image *image = plan->image;
    int64_t index = cluster >> image->refblock_bits, in_block = cluster & (block_entries(plan) - 1);
    if (index == plan->index) {
        qcow2_refcount_set(plan->block, in_block, image->header.refcount_order, 0);
        return 0;
    }
    int64_t offset = g_array_index(plan->reftable, int64_t, index);
    g_autofree uint8_t *block = g_try_malloc(image->cluster_size);
    int ret = block ? leaf_co_read(plan->leaf, offset, image->cluster_size, block) : -ENOMEM;
    if (!ret) {
        qcow2_refcount_set(block, in_block, image->header.refcount_order, 0);
        ret = leaf_co_write(plan->leaf, offset, image->cluster_size, block);
    }
    return ret;
}

static int co_move_reftable(struct plan *plan)
{
    struct qcow2_header *header = &plan->image->header;
    struct move move = plan_move(plan);
    int64_t old = header->reftable_offset >> plan->image->cluster_bits;
    int64_t table = host_offset(plan, plan->next + move.blocks);
    if (host_offset(plan, move.clusters) > QCOW2_MAX_REFTABLE_BYTES) {
        return -EFBIG;
    }
    int ret = co_count_area(plan, &move);
    for (uint32_t i = 0; !ret && i < header->reftable_clusters; i++) {
        ret = co_free_cluster(plan, old + i);
    }
    header->reftable_offset = table;
    header->reftable_clusters = (uint32_t)move.clusters;
    return ret;
}

static int co_write_reftable(struct plan *plan)
{
    struct qcow2_header *header = &plan->image->header;
    int64_t bytes = host_offset(plan, header->reftable_clusters);
    g_autofree uint64_t *table = g_try_malloc0(bytes);
    if (!table) {
        return -ENOMEM;
    }
    for (guint i = 0; i < plan->reftable->len; i++) {
        store_be64(&table[i], (uint64_t)g_array_index(plan->reftable, int64_t, i));
    }
    return co_write_table(plan, header->reftable_offset, table, bytes, false);
}

/* The header says where the refcount table went. */
static int co_write_header(struct plan *plan)
{
    const struct qcow2_header *header = &plan->image->header;
    uint8_t fields[12];
    store_be64(fields, (uint64_t)header->reftable_offset);
    store_be32(fields + 8, header->reftable_clusters);
    return node_co_pwrite(plan->leaf, QCOW2_AT_REFTABLE, sizeof(fields), fields);
}

/* Zero ends of clusters were left out: the file still covers its last cluster. */
static int co_extend_file(struct plan *plan)
{
    static const uint8_t zeroes[TRIM];
    int64_t end = host_offset(plan, plan->next);
    int64_t step = min_i64(TRIM, plan->image->cluster_size);
    return node_size(plan->leaf) < end ? leaf_co_write(plan->leaf, end - step, step, zeroes) : 0;
}

/* L1 comes last: until it is written the image is as empty as before, whatever else is lost. */
static int co_write_tables(struct plan *plan)
{
    const struct qcow2_header *header = &plan->image->header;
    int64_t capacity = host_offset(plan, header->reftable_clusters) / 8;
    int ret = co_write_l2(plan);
    bool moves = !ret && plan->reftable->len > capacity;
    ret = !ret && moves ? co_move_reftable(plan) : ret;
    ret = ret ? ret : co_write_block(plan);
    ret = ret ? ret : co_write_reftable(plan);
    ret = ret ? ret : co_extend_file(plan);
    ret = ret ? ret : node_co_flush(plan->leaf);
    if (!ret && moves) {
        ret = co_write_header(plan);
        ret = ret ? ret : node_co_flush(plan->leaf);
    }
    return ret ? ret : co_write_table(plan, header->l1_offset, plan->l1, plan->l1_bytes, true);
}

static int plan_co_finish(struct plan *plan, bool commit)
{
    struct qcow2_image *image = plan->image;
    int ret = commit ? co_write_tables(plan) : 0;
    if (!ret && commit) {
        for (uint32_t i = 0; i < image->header.l1_entries; i++) {
            image->l1[i] = be64toh(plan->l1[i]);
        }
        ret = qcow2_co_refcounts_reload(image, NULL) ? 0 : -EIO;
    }
    if (ret) {
        image->broken = ret;
    }
    plan_free(plan);
    return ret;
}

const struct plan_ops qcow2_plan_ops = {
    .co_begin = plan_co_begin,
    .describe = plan_describe,
    .co_place = plan_co_place,
    .co_place_packed = plan_co_place_packed,
    .co_write_packed = qcow2_co_write_compressed,
    .co_zero = plan_co_zero,
    .co_finish = plan_co_finish,
};
