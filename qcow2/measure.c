/*
 * Measuring lays out the image as if all of it were allocated; what is required
 * is that, less the clusters that the source's map leaves out. So tables are
 * counted for the whole disk, and the result is an upper bound of what convert
 * writes, whatever it compresses or finds to be zero.
 */
#include "qcow2/measure.h"

#include <errno.h>
#include <string.h>

#include "qcow2/create.h"
#include "qcow2/layout.h"

enum { BATCH = 1024, BITMAP_ENTRY = 24 };

/* ---- the source's data ---- */

/* Adds the clusters that [offset, +length) touches and that were not counted before. */
static void count_clusters(int64_t offset, int64_t length, int64_t cluster, int64_t *next,
                           int64_t *count)
{
    int64_t first = max_i64(*next, offset / cluster);
    int64_t end = div_up(offset + length, cluster);
    *count += max_i64(0, end - first);
    *next = max_i64(*next, end);
}

/* How many clusters of a new image hold data of `source`. */
static int co_count_data(struct blk_node *source, int64_t cluster, int64_t *ret_count)
{
    uint32_t flags = MAP_CHAIN | (node_co_is_preallocated(source) ? MAP_HOLES : MAP_PLAIN_HOLES);
    struct extent_list list = {.limit = BATCH};
    int64_t pos = 0, next = 0, count = 0;
    int ret = 0;
    while (pos < node_size(source) && !ret) {
        extents_clear(&list);
        ret = node_co_map(source, pos, node_size(source) - pos, flags, &list);
        ret = !ret && !list.count ? -EIO : ret;
        for (int i = 0; i < list.count && !ret; i++) {
            const struct blk_extent *e = &list.items[i];
            if (!(e->flags & EXTENT_ZERO)) {
                count_clusters(e->offset, e->length, cluster, &next, &count);
            }
            pos = e->offset + e->length;
        }
    }
    extents_done(&list);
    *ret_count = count;
    return ret;
}

/* ---- its bitmaps ---- */

/* Bytes that the bitmaps of `list` take for a disk of `size` bytes, all of their bits stored. */
static int64_t bitmaps_bytes(const json_t *list, int64_t size, int64_t cluster)
{
    int64_t total = 0, directory = 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        int64_t granularity = json_integer_value(json_object_get(item, "granularity"));
        const char *name = json_string_value(json_object_get(item, "name"));
        int64_t bytes = div_up(div_up(size, max_i64(granularity, 1)), 8);
        int64_t data = div_up(bytes, cluster);
        total += data + div_up(data * 8, cluster);
        directory += align_up(BITMAP_ENTRY + (int64_t)(name ? strlen(name) : 0), 8);
    }
    return (total + div_up(directory, cluster)) * cluster;
}

/* -1 where neither source nor target could have any. */
static int64_t co_measure_bitmaps(const struct qcow2_create_options *o, struct blk_node *source)
{
    struct blk_info info;
    if (!source || !qcow2_create_is_v3(o) || !node_co_info(source, &info, NULL)) {
        return -1;
    }
    json_t *data = json_object_get(info.specific, "data");
    const char *type = json_string_value(json_object_get(info.specific, "type"));
    const char *compat = json_string_value(json_object_get(data, "compat"));
    bool possible = !g_strcmp0(type, "qcow2") && !g_strcmp0(compat, "1.1");
    int64_t bytes = possible ? bitmaps_bytes(json_object_get(data, "bitmaps"), node_size(source),
                                             o->cluster_size)
                             : -1;
    node_info_clear(&info);
    return bytes;
}

/* ---- the whole ---- */

/* Clusters of data that the image will have at most. */
static bool co_measure_data(const struct qcow2_create_options *o, struct blk_node *source,
                            int64_t all, int64_t *ret_clusters, GError **error)
{
    *ret_clusters = qcow2_create_fills(o) ? all : 0;
    if (!source || *ret_clusters) {
        return true;
    }
    if (o->backing_file) {
        *ret_clusters = all; /* how much of it the backing file shows is not known */
        return true;
    }
    int ret = co_count_data(source, o->cluster_size, ret_clusters);
    return !ret || error_set_errno(error, -ret, "could not map '%s'", node_filename(source));
}

bool qcow2_co_measure(const void *create_options, struct blk_node *source, int64_t size,
                      struct blk_measure *ret_measure, GError **error)
{
    const struct qcow2_create_options *o = create_options;
    struct qcow2_layout layout;
    int64_t clusters;
    if (!qcow2_create_check(o, error) ||
        !qcow2_layout_count(align_up(min_i64(size, INT64_MAX - 512), 512),
                            __builtin_ctzll((uint64_t)o->cluster_size),
                            __builtin_ctz(o->refcount_bits), true, &layout, error) ||
        !co_measure_data(o, source, layout.data_clusters, &clusters, error)) {
        return false;
    }
    int64_t total = layout.total << layout.cluster_bits;
    *ret_measure = (struct blk_measure){
        .required = total - ((layout.data_clusters - clusters) << layout.cluster_bits),
        .fully_allocated = total,
        .bitmaps = co_measure_bitmaps(o, source),
    };
    return true;
}
