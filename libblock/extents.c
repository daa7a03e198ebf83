/*
 * Lists of extents. An extent that continues its predecessor, in the node and
 * in the leaf, makes that one longer instead of taking a place of its own.
 */
#include "libblock/libblock.h"

#include <limits.h>

static bool continues(const struct blk_extent *a, const struct blk_extent *b)
{
    if (a->offset + a->length != b->offset || a->flags != b->flags || a->depth != b->depth ||
        (a->flags & EXTENT_COMPRESSED)) {
        return false;
    }
    return !(a->flags & EXTENT_OFFSET) ||
           (a->leaf == b->leaf && a->leaf_offset + a->length == b->leaf_offset);
}

static bool reserve(struct extent_list *list)
{
    if (list->count < list->capacity) {
        return true;
    }
    int capacity = list->capacity ? list->capacity : 8;
    if (list->capacity > INT_MAX / 2) {
        return false;
    }
    capacity = list->capacity ? capacity * 2 : capacity;
    struct blk_extent *items = g_try_renew(struct blk_extent, list->items, capacity);
    if (items) {
        list->items = items;
        list->capacity = capacity;
    }
    return items;
}

bool extents_add(struct extent_list *list, const struct blk_extent *extent)
{
    if (list->count && continues(&list->items[list->count - 1], extent)) {
        list->items[list->count - 1].length += extent->length;
        return true;
    }
    if ((list->limit && list->count >= list->limit) || !reserve(list)) {
        return false;
    }
    list->items[list->count++] = *extent;
    return true;
}

void extents_clear(struct extent_list *list)
{
    list->count = 0;
}

void extents_done(struct extent_list *list)
{
    g_free(list->items);
    *list = (struct extent_list){.limit = list->limit};
}
