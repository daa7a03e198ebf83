/*
 * Guessing the format of an image from its first bytes. The surest driver wins,
 * the first in the list among equals; raw is what matches nothing.
 */
#include "libblock/probe.h"

#include <errno.h>

#include "libblock/graph.h"

const struct blk_driver *probe_head(struct blk_graph *graph, const uint8_t *head, size_t len,
                                    const char *filename)
{
    const struct blk_driver *best = NULL;
    int best_score = 0;
    for (const struct blk_driver *const *d = graph->drivers; *d; d++) {
        int score = (*d)->probe ? (*d)->probe(head, len, filename) : 0;
        if (score > best_score) {
            best = *d;
            best_score = score;
        }
    }
    return best ? best : graph_find_driver(graph, "raw");
}

const struct blk_driver *probe_co_driver(struct blk_node *file, GError **error)
{
    uint8_t head[PROBE_BYTES];
    int64_t len = MIN(node_size(file), PROBE_BYTES);
    int ret = node_co_pread(file, 0, len, head);
    if (ret) {
        error_set_errno(error, -ret, "could not read '%s' to find its format", node_filename(file));
        return NULL;
    }
    const struct blk_driver *driver = probe_head(file->graph, head, len, node_filename(file));
    if (!driver) {
        error_set(error, EINVAL, "'%s' has no format that is known here", node_filename(file));
    }
    return driver;
}

/* What disks have in their first sectors. */
static const struct {
    int offset, length;
    const char *bytes, *what;
} disk_marks[] = {
    {510, 2, "\x55\xaa", "a boot sector"},
    {512, 8, "EFI PART", "a partition table"},
    {512, 8, "LABELONE", "an LVM volume"},
    {1080, 2, "\x53\xef", "an ext file system"},
};

const char *node_co_doubt(struct blk_node *node)
{
    uint8_t head[PROBE_BYTES];
    struct blk_info info;
    if (!node->probed || (node->driver->flags & DRIVER_PLAIN) || !node_co_info(node, &info, NULL)) {
        return NULL;
    }
    int64_t len = MIN(MIN(node_size(node->file), info.cluster_size), PROBE_BYTES);
    node_info_clear(&info);
    if (node_co_pread(node->file, 0, len, head)) {
        return NULL;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(disk_marks); i++) {
        int64_t end = disk_marks[i].offset + disk_marks[i].length;
        if (end <= len &&
            !memcmp(head + disk_marks[i].offset, disk_marks[i].bytes, disk_marks[i].length)) {
            return disk_marks[i].what;
        }
    }
    return NULL;
}
