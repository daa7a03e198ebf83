/*
 * The look-up goes L1 entry, L2 slice, run of entries. An L1 hole is skipped as a
 * whole, and a run is as long as its entries continue each other, so that a
 * request or a map costs one step per extent and not one per cluster.
 *
 * Host places are checked here once for all readers: an entry that breaks the
 * format, or points past the end of the file, makes the request fail.
 */
#include "qcow2/map.h"

#include <errno.h>

#include "qcow2/corrupt.h"

int64_t qcow2_l1_index(const struct qcow2_image *image, int64_t offset)
{
    return offset >> (image->cluster_bits + image->l2_bits);
}

int64_t qcow2_slice_offset(const struct qcow2_image *image, int64_t table_off, int64_t offset,
                           int *ret_index)
{
    int64_t index = (offset >> image->cluster_bits) & ((INT64_C(1) << image->l2_bits) - 1);
    int64_t per_slice = image->slice_size / 8;
    *ret_index = (int)(index % per_slice);
    return table_off + index / per_slice * image->slice_size;
}

/* The run of L1 entries without a table, from `offset` on. */
static void lookup_hole(const struct qcow2_image *image, struct qcow2_extent *extent)
{
    int shift = image->cluster_bits + image->l2_bits;
    int64_t end = extent->offset + extent->length;
    int64_t index = extent->offset >> shift, last = (end - 1) >> shift;
    while (index < last && !image->l1[index + 1]) {
        index++;
    }
    extent->kind = QCOW2_UNALLOCATED;
    extent->length = min_i64(end, (index + 1) << shift) - extent->offset;
}

/* Cuts a run to what lies in the file. False when not even its first cluster does. */
static bool clip_to_file(const struct qcow2_image *image, const struct qcow2_entry *entry, int *run)
{
    int64_t size = node_size(image->node->file);
    if (entry->host_off >= size) {
        return false;
    }
    int64_t inside = div_up(size - entry->host_off, image->cluster_size);
    *run = (int)min_i64(*run, inside);
    return true;
}

static int fill_extent(struct qcow2_image *image, const struct qcow2_entry *entry, int run,
                       struct qcow2_extent *extent)
{
    int64_t into = extent->offset & (image->cluster_size - 1);
    bool has_data = entry->kind == QCOW2_NORMAL || entry->kind == QCOW2_COMPRESSED;
    if (entry->kind == QCOW2_CORRUPT || (has_data && !clip_to_file(image, entry, &run))) {
        return -EIO;
    }
    extent->kind = entry->kind;
    extent->copied = entry->copied;
    extent->length = min_i64(extent->length, ((int64_t)run << image->cluster_bits) - into);
    extent->host_off = entry->host_off;
    if (entry->kind == QCOW2_COMPRESSED) {
        extent->packed_length =
            min_i64(entry->length, node_size(image->node->file) - entry->host_off);
    } else if (entry->host_off) {
        extent->host_off += into;
    }
    return 0;
}

int qcow2_co_lookup(struct qcow2_image *image, int64_t offset, int64_t length,
                    struct qcow2_extent *ret_extent)
{
    struct qcow2_extent extent = {.offset = offset, .length = length};
    int64_t l1_index = qcow2_l1_index(image, offset);
    struct qcow2_entry l1 = qcow2_l1_decode(image->l1[l1_index], image->cluster_bits);
    if (l1.kind == QCOW2_UNALLOCATED) {
        lookup_hole(image, &extent);
        *ret_extent = extent;
        return 0;
    }
    if (l1.kind == QCOW2_CORRUPT) {
        return qcow2_co_corrupt(image, "L1 entry", l1_index);
    }
    int index;
    int64_t slice = qcow2_slice_offset(image, l1.host_off, offset, &index);
    struct qcow2_table *table;
    int ret = qcow2_cache_co_get(image->l2, slice, &table);
    if (ret) {
        return ret;
    }
    int per_slice = (int)(image->slice_size / 8);
    int64_t wanted = div_up((offset & (image->cluster_size - 1)) + length, image->cluster_size);
    int end = (int)min_i64(per_slice, index + wanted);
    struct qcow2_entry entry;
    int run =
        qcow2_l2_run(table->data, index, end, image->cluster_bits, image->header.version, &entry);
    ret = fill_extent(image, &entry, run, &extent);
    if (ret) {
        return qcow2_co_corrupt(image, "L2 entry of guest offset", offset);
    }
    *ret_extent = extent;
    return 0;
}

/* What the map tells of an extent. Part of a compressed cluster cannot be told by a place. */
static struct blk_extent public_extent(const struct qcow2_image *image,
                                       const struct qcow2_extent *e)
{
    struct blk_extent out = {.offset = e->offset, .length = e->length};
    int64_t end = min_i64(align_down(e->offset, image->cluster_size) + image->cluster_size,
                          image->node->size);
    bool whole = is_aligned(e->offset, image->cluster_size) && e->offset + e->length >= end;
    switch (e->kind) {
    case QCOW2_NORMAL: out.flags = EXTENT_DATA | EXTENT_ALLOCATED | EXTENT_OFFSET; break;
    case QCOW2_ZERO: out.flags = EXTENT_ZERO | EXTENT_ALLOCATED; break;
    case QCOW2_ZERO_ALLOC: out.flags = EXTENT_ZERO | EXTENT_ALLOCATED | EXTENT_OFFSET; break;
    case QCOW2_COMPRESSED:
        out.flags = EXTENT_DATA | EXTENT_ALLOCATED;
        out.flags |= whole ? EXTENT_COMPRESSED | EXTENT_OFFSET : 0;
        out.packed_length = e->packed_length;
        out.codec = image->header.compression == QCOW2_ZSTD ? CODEC_ZSTD : CODEC_DEFLATE;
        break;
    default: out.flags = image->node->backing ? 0 : EXTENT_ZERO; break;
    }
    if (out.flags & EXTENT_OFFSET) {
        out.leaf = image->node->file;
        out.leaf_offset = e->host_off;
    }
    return out;
}

int qcow2_co_map(struct blk_node *node, int64_t offset, int64_t length, uint32_t flags,
                 struct extent_list *list)
{
    struct qcow2_image *image = qcow2_image(node);
    int64_t end = min_i64(offset + length, node->size);
    while (offset < end) {
        struct qcow2_extent extent;
        int ret = qcow2_co_lookup(image, offset, end - offset, &extent);
        if (ret) {
            return ret;
        }
        struct blk_extent out = public_extent(image, &extent);
        if (!extents_add(list, &out)) {
            return 0;
        }
        offset += extent.length;
    }
    return 0;
}
