/*
 * Mapping: where the bytes of a node come from.
 *
 * A driver maps its own layer only. This file walks on from there: ranges that
 * a layer leaves to its backing file are mapped in that one (MAP_CHAIN), child
 * nodes that hold data are mapped down to nodes that every loop may read
 * (MAP_LEAF), and those are asked for their holes (MAP_HOLES). Each step maps
 * one extent of the layer above and appends to the caller's list, so a walk
 * needs no more memory than one batch of extents a layer.
 */
#include "libblock/deep.h"

#include <errno.h>

/* Extents that one driver call may answer with before they are followed. */
enum { MAP_BATCH = 256 };

struct walk {
    uint32_t flags; /* enum map_flags */
    struct extent_list *list;
    bool full;
    bool opaque; /* below a filter that reads itself: no leaf is told */
};

static int walk_co_node(struct walk *walk, struct blk_node *node, int64_t offset, int64_t length,
                        int64_t shift, int depth);

static int walk_add(struct walk *walk, const struct blk_extent *extent)
{
    struct blk_extent blind = *extent;
    if (walk->opaque && (walk->flags & MAP_LEAF)) {
        blind.flags &= ~(uint32_t)(EXTENT_OFFSET | EXTENT_COMPRESSED);
        extent = &blind;
    }
    if (extents_add(walk->list, extent)) {
        return 0;
    }
    walk->full = walk->list->limit && walk->list->count >= walk->list->limit;
    return walk->full ? 0 : -ENOMEM;
}

static bool is_bottom(const struct blk_node *node)
{
    return !node->file && (node->driver->flags & DRIVER_ANY_LOOP);
}

/* True when a layer has no tables of its own: what is a hole below is one here. */
static bool is_plain(const struct blk_node *node)
{
    return !(node->driver->flags & DRIVER_FORMAT) || (node->driver->flags & DRIVER_PLAIN);
}

/* Maps what the leaf holds for an extent of `node`'s data: holes there are zeroes here. */
static int walk_co_leaf(struct walk *walk, const struct blk_extent *extent,
                        const struct blk_node *node, bool holes)
{
    struct blk_node *leaf = extent->leaf;
    uint32_t hole = is_plain(node) ? 0 : EXTENT_HOLE;
    uint32_t flags = (walk->flags & ~(uint32_t)MAP_PLAIN_HOLES) | (holes ? MAP_HOLES : 0);
    struct extent_list below = {.limit = MAP_BATCH};
    int64_t end = extent->offset + extent->length;
    int64_t pos = extent->offset;
    int ret = 0;
    while (pos < end && !walk->full && !ret) {
        extents_clear(&below);
        int64_t at = extent->leaf_offset + (pos - extent->offset);
        ret = node_co_map(leaf, at, end - pos, flags, &below);
        int64_t before = pos;
        for (int i = 0; i < below.count && !walk->full && !ret; i++) {
            struct blk_extent e = below.items[i];
            e.offset = pos;
            e.depth = extent->depth;
            e.flags |= extent->flags & EXTENT_ALLOCATED;
            e.flags |= e.flags & EXTENT_ZERO ? hole : 0;
            ret = walk_add(walk, &e);
            pos += e.length;
        }
        if (!ret && pos == before) {
            struct blk_extent beyond = {.offset = pos,
                                        .length = end - pos,
                                        .flags = EXTENT_ZERO | EXTENT_ALLOCATED,
                                        .depth = extent->depth};
            ret = walk_add(walk, &beyond);
            pos = end;
        }
    }
    extents_done(&below);
    return ret;
}

/* A packed cluster only has its place translated: its bytes lie together in the leaf. */
static int walk_co_packed(struct walk *walk, struct blk_extent *extent)
{
    struct extent_list below = {.limit = 1};
    int64_t room = node_size(extent->leaf) - extent->leaf_offset;
    extent->packed_length = max_i64(0, min_i64(extent->packed_length, room));
    int ret = 0;
    if (!is_bottom(extent->leaf)) {
        ret =
            node_co_map(extent->leaf, extent->leaf_offset, extent->packed_length, MAP_LEAF, &below);
        bool whole = below.count == 1 && below.items[0].length == extent->packed_length &&
                     (below.items[0].flags & EXTENT_OFFSET);
        if (!ret && whole) {
            extent->leaf = below.items[0].leaf;
            extent->leaf_offset = below.items[0].leaf_offset;
        } else if (!ret && !node_is_leaf(extent->leaf)) {
            extent->flags &= ~(uint32_t)(EXTENT_OFFSET | EXTENT_COMPRESSED);
        }
    }
    extents_done(&below);
    return ret ? ret : walk_add(walk, extent);
}

/* Whether the leaf's holes are wanted for data of this layer. */
static bool asks_holes(const struct walk *walk, const struct blk_node *node)
{
    return (walk->flags & MAP_HOLES) || (is_plain(node) && (walk->flags & MAP_PLAIN_HOLES));
}

/* What a layer leaves to its backing file; past the end of that nobody provides anything. */
static int walk_co_backing(struct walk *walk, struct blk_node *backing, int64_t own_offset,
                           const struct blk_extent *extent, int64_t shift)
{
    int64_t inside = max_i64(0, min_i64(extent->length, node_size(backing) - own_offset));
    int ret =
        inside ? walk_co_node(walk, backing, own_offset, inside, shift, extent->depth + 1) : 0;
    if (ret || walk->full || inside == extent->length) {
        return ret;
    }
    struct blk_extent beyond = *extent;
    beyond.offset += inside;
    beyond.length -= inside;
    beyond.flags = EXTENT_ZERO;
    return walk_add(walk, &beyond);
}

/* One extent of `node`'s own layer, in that node's offsets but for `shift`. */
static int walk_co_extent(struct walk *walk, struct blk_node *node, struct blk_extent extent,
                          int64_t shift)
{
    int64_t own_offset = extent.offset;
    extent.offset += shift;
    if (!(extent.flags & (EXTENT_ALLOCATED | EXTENT_ZERO | EXTENT_DATA))) {
        if (node->backing && (walk->flags & MAP_CHAIN)) {
            return walk_co_backing(walk, node->backing, own_offset, &extent, shift);
        }
        extent.flags |= node->backing ? 0 : EXTENT_ZERO;
        return walk_add(walk, &extent);
    }
    bool follow =
        (extent.flags & EXTENT_DATA) && (extent.flags & EXTENT_OFFSET) && extent.leaf != node;
    bool holes = asks_holes(walk, node);
    if (!follow || !((walk->flags & MAP_LEAF) || holes)) {
        return walk_add(walk, &extent);
    }
    if (extent.flags & EXTENT_COMPRESSED) {
        return walk->flags & MAP_LEAF ? walk_co_packed(walk, &extent) : walk_add(walk, &extent);
    }
    if (is_bottom(extent.leaf) && !holes) {
        return walk_add(walk, &extent);
    }
    return walk_co_leaf(walk, &extent, node, holes);
}

static int driver_co_map(struct blk_node *node, int64_t offset, int64_t length, uint32_t flags,
                         struct extent_list *list)
{
    const struct blk_driver *driver = node->driver;
    bool protocol_whole =
        (driver->flags & DRIVER_PROTOCOL) && !(flags & (MAP_HOLES | MAP_PLAIN_HOLES));
    if (driver->co_map && !protocol_whole) {
        return driver->co_map(node, offset, length, flags, list);
    }
    struct blk_extent all = {.offset = offset,
                             .length = length,
                             .flags = EXTENT_DATA | EXTENT_ALLOCATED | EXTENT_OFFSET,
                             .leaf = node,
                             .leaf_offset = offset};
    extents_add(list, &all);
    return 0;
}

static bool is_transparent(const struct blk_node *node)
{
    return node->file && (node->driver->flags & DRIVER_FILTER) && !node->driver->co_map;
}

/* A filter shows what its child shows. */
static int walk_co_filter(struct walk *walk, struct blk_node *node, int64_t offset, int64_t length,
                          int64_t shift, int depth)
{
    bool opaque = walk->opaque;
    walk->opaque |= node->driver->co_read != NULL;
    int64_t inside = max_i64(0, min_i64(length, node_size(node->file) - offset));
    int ret = inside ? walk_co_node(walk, node->file, offset, inside, shift, depth) : 0;
    walk->opaque = opaque;
    return ret;
}

/* Maps a range of a layer, `depth` layers below the asked node, whose offset there is `shift`
 * further on. */
static int walk_co_layer(struct walk *walk, struct blk_node *node, int64_t offset, int64_t length,
                         int64_t shift, int depth)
{
    if (is_transparent(node)) {
        return walk_co_filter(walk, node, offset, length, shift, depth);
    }
    int64_t end = offset + length;
    struct extent_list batch = {.limit = MAP_BATCH};
    int ret = 0;
    while (offset < end && !walk->full && !ret) {
        extents_clear(&batch);
        ret = driver_co_map(node, offset, end - offset, walk->flags, &batch);
        ret = !ret && !batch.count ? -EIO : ret;
        for (int i = 0; i < batch.count && !walk->full && !ret; i++) {
            struct blk_extent e = batch.items[i];
            e.depth = depth;
            e.length = min_i64(e.length, end - e.offset);
            ret = e.offset == offset && e.length > 0 ? walk_co_extent(walk, node, e, shift) : -EIO;
            offset += e.length;
        }
    }
    extents_done(&batch);
    return ret;
}

struct deep_walk {
    struct walk *walk;
    struct blk_node *node;
    int64_t offset, length, shift;
    int depth, result;
};

static void deep_walk_co_run(void *arg)
{
    struct deep_walk *d = arg;
    d->result = walk_co_layer(d->walk, d->node, d->offset, d->length, d->shift, d->depth);
}

static int walk_co_node(struct walk *walk, struct blk_node *node, int64_t offset, int64_t length,
                        int64_t shift, int depth)
{
    if (!deep_is_due(node)) {
        return walk_co_layer(walk, node, offset, length, shift, depth);
    }
    struct deep_walk d = {walk, node, offset, length, shift, depth, -EIO};
    return deep_co_call(deep_walk_co_run, &d) ? d.result : -ENOMEM;
}

int node_co_map(struct blk_node *node, int64_t offset, int64_t length, uint32_t flags,
                struct extent_list *list)
{
    if (offset < 0 || length < 0) {
        return -EINVAL;
    }
    length = max_i64(0, min_i64(length, node_size(node) - offset));
    struct walk walk = {flags, list, false, false};
    return length ? walk_co_node(&walk, node, offset, length, 0, 0) : 0;
}
