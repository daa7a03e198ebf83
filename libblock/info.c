/*
 * What is known about a node without reading its data.
 */
#include "libblock/node.h"

bool node_co_info(struct blk_node *node, struct blk_info *ret_info, GError **error)
{
    struct blk_info info = {.virtual_size = node_size(node), .actual_size = -1};
    if (node->file) {
        struct blk_info below;
        if (!node_co_info(node->file, &below, error)) {
            return false;
        }
        info.actual_size = below.actual_size;
        if (node->driver->flags & DRIVER_FILTER) {
            info.cluster_size = below.cluster_size;
            info.vm_state_offset = below.vm_state_offset;
        }
        node_info_clear(&below);
    }
    if (node->driver->info && !node->driver->info(node, &info, error)) {
        node_info_clear(&info);
        return false;
    }
    const char *base = node_base_name(node);
    if (info.backing_filename && !info.full_backing_filename && base) {
        info.full_backing_filename = name_resolve(base, info.backing_filename);
    }
    *ret_info = info;
    return true;
}

void node_info_clear(struct blk_info *info)
{
    g_free(info->backing_filename);
    g_free(info->full_backing_filename);
    g_free(info->backing_format);
    json_decref(info->snapshots);
    json_decref(info->specific);
    *info = (struct blk_info){0};
}

bool node_co_is_preallocated(struct blk_node *node)
{
    struct blk_info info = {0};
    if (!node->file || !node_co_info(node, &info, NULL)) {
        return false;
    }
    int64_t cluster = info.cluster_size;
    int64_t real = cluster ? info.actual_size / cluster : 0;
    bool sparse = cluster && info.actual_size >= 0 &&
                  div_up(node_size(node->file), cluster) >= MAX(real + real / 9, real + 2);
    node_info_clear(&info);
    return sparse;
}
