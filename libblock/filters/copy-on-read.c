/*
 * copy-on-read: a filter that writes what a read brought up from a backing file
 * into the image above, so that the next read finds it there. With `bottom`,
 * what lies below the layer of that name is left where it is.
 *
 * A copy reads and then writes the same clusters, and no guest write may come
 * between: copies hold their clusters alone, the guest's writes hold theirs
 * shared. Whoever has waited looks again at what is still to be copied.
 */
#include <errno.h>

#include "libblock/driver.h"

enum { COPY_MAX = 1 << 20, EXTENTS_MAX = 64 };

struct copy_options {
    char *bottom;
};

struct copy_state {
    struct range_lock clusters; /* a copy alone, writes shared */
    int64_t cluster_size;
    int bottom; /* layers below this depth are not copied from */
};

static const struct field copy_fields[] = {
    FIELD(struct copy_options, bottom, "bottom", NULL,
          "node-name of the lowest image to copy from; none: all"),
    {0},
};

/* The depth of the layer whose node-name is `name`, counted from the top image; -1: there is none.
 */
static int find_depth(struct blk_node *top, const char *name)
{
    int depth = 0;
    for (struct blk_node *layer = top; layer; layer = layer->backing, depth++) {
        for (struct blk_node *node = layer; node; node = node->file) {
            if (!g_strcmp0(node->name, name)) {
                return depth;
            }
        }
    }
    return -1;
}

static bool copy_co_open(struct blk_node *node, json_t *rest, GError **error)
{
    const struct copy_options *o = node->options;
    struct copy_state *s = node->state;
    struct blk_info info;
    if (!(node->flags & NODE_RDWR)) {
        return error_set(error, EACCES,
                         "copy-on-read writes what it reads, and '%s' is open "
                         "read-only",
                         node_filename(node->file));
    }
    s->bottom = o->bottom ? find_depth(node->file, o->bottom) : INT_MAX;
    if (s->bottom < 0) {
        return error_set(error, ENOENT, "no layer of '%s' has the node-name '%s'",
                         node_filename(node->file), o->bottom);
    }
    if (!node_co_info(node->file, &info, error)) {
        return false;
    }
    s->cluster_size = max_i64(info.cluster_size, max_i64(node->file->limits.request_align, 512));
    node_info_clear(&info);
    return true;
}

/* True when the top image lacks these bytes and may get them. */
static bool is_wanted(const struct copy_state *s, const struct blk_extent *extent)
{
    bool provided = extent->flags & EXTENT_ALLOCATED;
    return provided ? extent->depth > 0 && extent->depth <= s->bottom : s->bottom == INT_MAX;
}

/* The first stretch of [offset, +length) that is to be copied, all of it data or all zeroes;
 * *ret_length 0 when none is. */
static int find_co_wanted(struct blk_node *node, int64_t offset, int64_t length,
                          int64_t *ret_offset, int64_t *ret_length)
{
    struct extent_list list = {.limit = EXTENTS_MAX};
    int64_t end = offset + length, have = 0;
    bool zero = false;
    int ret = 0;
    for (bool more = true; more && offset < end && !ret;) {
        extents_clear(&list);
        ret = node_co_map(node->file, offset, end - offset, MAP_CHAIN, &list);
        ret = !ret && !list.count ? -EIO : ret;
        for (int i = 0; i < list.count && more && !ret; i++) {
            const struct blk_extent *e = &list.items[i];
            bool joins = is_wanted(node->state, e) && (!have || zero == !!(e->flags & EXTENT_ZERO));
            *ret_offset = have ? *ret_offset : e->offset;
            zero = e->flags & EXTENT_ZERO;
            have += joins ? e->length : 0;
            more = joins || !have;
            offset = e->offset + e->length;
        }
    }
    extents_done(&list);
    *ret_length = have;
    return ret;
}

/* Copies whole clusters, which the caller holds. */
static int copy_co_clusters(struct blk_node *node, int64_t offset, int64_t length, void *buf)
{
    int ret = node_co_pread(node->file, offset, length, buf);
    if (ret) {
        return ret;
    }
    node_co_event(node->file, BLK_EVENT_COR_WRITE);
    return bytes_are_zero(buf, (size_t)length) ? node_co_zero(node->file, offset, length, 0)
                                               : node_co_pwrite(node->file, offset, length, buf);
}

/* Copies what [offset, +length), whole clusters held alone, still lacks. */
static int copy_co_held(struct blk_node *node, int64_t offset, int64_t length)
{
    int64_t end = offset + length, from, n;
    int ret = find_co_wanted(node, offset, length, &from, &n);
    void *buf = !ret && n ? g_try_malloc((gsize)length) : NULL;
    if (!ret && n && !buf) {
        return -ENOMEM;
    }
    while (!ret && n) {
        ret = copy_co_clusters(node, from, n, buf);
        offset = from + n;
        ret = ret ? ret : find_co_wanted(node, offset, end - offset, &from, &n);
    }
    g_free(buf);
    return ret;
}

/* Copies the clusters that [offset, +length) touches, a piece at a time. */
static int copy_co_range(struct blk_node *node, int64_t offset, int64_t length)
{
    struct copy_state *s = node->state;
    int64_t end = min_i64(align_up(offset + length, s->cluster_size), node_size(node->file));
    int64_t piece = max_i64(COPY_MAX, s->cluster_size);
    int ret = 0;
    for (int64_t at = align_down(offset, s->cluster_size), n; at < end && !ret; at += n) {
        struct range_hold hold;
        n = min_i64(piece, end - at);
        range_lock_co_lock(&s->clusters, &hold, at, n, true);
        ret = copy_co_held(node, at, n);
        range_lock_unlock(&s->clusters, &hold);
    }
    return ret;
}

static int copy_co_read(struct blk_node *node, int64_t offset, int64_t length, struct span span)
{
    int64_t from, n;
    int ret = find_co_wanted(node, offset, length, &from, &n);
    if (!ret && n) {
        ret = copy_co_range(node, from, offset + length - from);
    }
    return ret ? ret : node_co_read(node->file, offset, length, span);
}

static void hold_co_shared(struct blk_node *node, struct range_hold *hold, int64_t offset,
                           int64_t length)
{
    struct copy_state *s = node->state;
    range_lock_co_lock(&s->clusters, hold, offset, length, false);
}

static int copy_co_write(struct blk_node *node, int64_t offset, int64_t length, struct span span,
                         uint32_t flags)
{
    struct copy_state *s = node->state;
    struct range_hold hold;
    hold_co_shared(node, &hold, offset, length);
    int ret = node_co_write(node->file, offset, length, span, flags);
    range_lock_unlock(&s->clusters, &hold);
    return ret;
}

static int copy_co_write_packed(struct blk_node *node, int64_t offset, int64_t length,
                                struct span span)
{
    struct copy_state *s = node->state;
    struct range_hold hold;
    hold_co_shared(node, &hold, offset, length);
    int ret = node_co_write_compressed(node->file, offset, length, span);
    range_lock_unlock(&s->clusters, &hold);
    return ret;
}

static int copy_co_zero(struct blk_node *node, int64_t offset, int64_t length, uint32_t flags)
{
    struct copy_state *s = node->state;
    struct range_hold hold;
    hold_co_shared(node, &hold, offset, length);
    int ret = node_co_zero(node->file, offset, length, flags);
    range_lock_unlock(&s->clusters, &hold);
    return ret;
}

static int copy_co_discard(struct blk_node *node, int64_t offset, int64_t length)
{
    struct copy_state *s = node->state;
    struct range_hold hold;
    hold_co_shared(node, &hold, offset, length);
    int ret = node_co_discard(node->file, offset, length);
    range_lock_unlock(&s->clusters, &hold);
    return ret;
}

static const struct plan_ops copy_plan = {.co_write_packed = copy_co_write_packed};

const struct blk_driver copy_on_read_driver = {
    .name = "copy-on-read",
    .description = "copies what is read from backing files into the image",
    .flags = DRIVER_FILTER | DRIVER_FUA,
    .state_size = sizeof(struct copy_state),
    .options = copy_fields,
    .options_size = sizeof(struct copy_options),
    .co_open = copy_co_open,
    .co_read = copy_co_read,
    .co_write = copy_co_write,
    .co_zero = copy_co_zero,
    .co_discard = copy_co_discard,
    .plan = &copy_plan,
};
