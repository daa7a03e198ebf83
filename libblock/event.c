/*
 * The names of events, and the way down to the node that listens. See event.h.
 */
#include "libblock/driver.h"

#include <errno.h>
#include <string.h>

#include "libblock/node.h"

const char *const blk_event_names[] = {
    [BLK_EVENT_L1_UPDATE] = "l1_update",
    [BLK_EVENT_L1_GROW_ALLOC_TABLE] = "l1_grow_alloc_table",
    [BLK_EVENT_L1_GROW_WRITE_TABLE] = "l1_grow_write_table",
    [BLK_EVENT_L1_GROW_ACTIVATE_TABLE] = "l1_grow_activate_table",
    [BLK_EVENT_L2_LOAD] = "l2_load",
    [BLK_EVENT_L2_UPDATE] = "l2_update",
    [BLK_EVENT_L2_UPDATE_COMPRESSED] = "l2_update_compressed",
    [BLK_EVENT_L2_ALLOC_COW_READ] = "l2_alloc_cow_read",
    [BLK_EVENT_L2_ALLOC_WRITE] = "l2_alloc_write",
    [BLK_EVENT_READ_AIO] = "read_aio",
    [BLK_EVENT_READ_BACKING_AIO] = "read_backing_aio",
    [BLK_EVENT_READ_COMPRESSED] = "read_compressed",
    [BLK_EVENT_WRITE_AIO] = "write_aio",
    [BLK_EVENT_WRITE_COMPRESSED] = "write_compressed",
    [BLK_EVENT_VMSTATE_LOAD] = "vmstate_load",
    [BLK_EVENT_VMSTATE_SAVE] = "vmstate_save",
    [BLK_EVENT_COW_READ] = "cow_read",
    [BLK_EVENT_COW_WRITE] = "cow_write",
    [BLK_EVENT_REFTABLE_LOAD] = "reftable_load",
    [BLK_EVENT_REFTABLE_GROW] = "reftable_grow",
    [BLK_EVENT_REFTABLE_UPDATE] = "reftable_update",
    [BLK_EVENT_REFBLOCK_LOAD] = "refblock_load",
    [BLK_EVENT_REFBLOCK_UPDATE] = "refblock_update",
    [BLK_EVENT_REFBLOCK_UPDATE_PART] = "refblock_update_part",
    [BLK_EVENT_REFBLOCK_ALLOC] = "refblock_alloc",
    [BLK_EVENT_REFBLOCK_ALLOC_HOOKUP] = "refblock_alloc_hookup",
    [BLK_EVENT_REFBLOCK_ALLOC_WRITE] = "refblock_alloc_write",
    [BLK_EVENT_REFBLOCK_ALLOC_WRITE_BLOCKS] = "refblock_alloc_write_blocks",
    [BLK_EVENT_REFBLOCK_ALLOC_WRITE_TABLE] = "refblock_alloc_write_table",
    [BLK_EVENT_REFBLOCK_ALLOC_SWITCH_TABLE] = "refblock_alloc_switch_table",
    [BLK_EVENT_CLUSTER_ALLOC] = "cluster_alloc",
    [BLK_EVENT_CLUSTER_ALLOC_BYTES] = "cluster_alloc_bytes",
    [BLK_EVENT_CLUSTER_FREE] = "cluster_free",
    [BLK_EVENT_FLUSH_TO_OS] = "flush_to_os",
    [BLK_EVENT_FLUSH_TO_DISK] = "flush_to_disk",
    [BLK_EVENT_PWRITEV_RMW_HEAD] = "pwritev_rmw_head",
    [BLK_EVENT_PWRITEV_RMW_AFTER_HEAD] = "pwritev_rmw_after_head",
    [BLK_EVENT_PWRITEV_RMW_TAIL] = "pwritev_rmw_tail",
    [BLK_EVENT_PWRITEV_RMW_AFTER_TAIL] = "pwritev_rmw_after_tail",
    [BLK_EVENT_PWRITEV] = "pwritev",
    [BLK_EVENT_PWRITEV_ZERO] = "pwritev_zero",
    [BLK_EVENT_PWRITEV_DONE] = "pwritev_done",
    [BLK_EVENT_EMPTY_IMAGE_PREPARE] = "empty_image_prepare",
    [BLK_EVENT_L1_SHRINK_WRITE_TABLE] = "l1_shrink_write_table",
    [BLK_EVENT_L1_SHRINK_FREE_L2_CLUSTERS] = "l1_shrink_free_l2_clusters",
    [BLK_EVENT_COR_WRITE] = "cor_write",
    [BLK_EVENT_CLUSTER_ALLOC_SPACE] = "cluster_alloc_space",
    [BLK_EVENT_NONE] = "none",
    [BLK_EVENT_COUNT] = NULL,
};

int blk_event_find(const char *name)
{
    g_autofree char *plain = g_strdelimit(g_strdup(name), ".", '_');
    for (int i = 0; blk_event_names[i]; i++) {
        if (!strcmp(blk_event_names[i], plain)) {
            return i;
        }
    }
    return -1;
}

/* The node that listens to what happens in `node`, or NULL. */
static struct blk_node *find_listener(struct blk_node *node)
{
    while (node && !node->driver->debug) {
        node = node->file;
    }
    return node;
}

void event_co_raise(struct blk_node *node, enum blk_event event)
{
    struct blk_node *listener = find_listener(node);
    listener->driver->debug->co_event(listener, event);
}

static struct blk_node *need_listener(struct blk_node *node, GError **error)
{
    struct blk_node *listener = find_listener(node);
    if (!listener) {
        error_set(error, ENOTSUP, "no blkdebug filter lies below '%s'", node_filename(node));
    }
    return listener;
}

bool node_debug_break(struct blk_node *node, const char *event, const char *tag, GError **error)
{
    struct blk_node *listener = need_listener(node, error);
    int found = blk_event_find(event);
    if (listener && found < 0) {
        return error_set(error, ENOENT, "there is no event '%s'", event);
    }
    return listener && listener->driver->debug->set_break(listener, found, tag, error);
}

bool node_debug_resume(struct blk_node *node, const char *tag, GError **error)
{
    struct blk_node *listener = need_listener(node, error);
    return listener && listener->driver->debug->resume(listener, tag, error);
}

bool node_debug_remove_break(struct blk_node *node, const char *tag, GError **error)
{
    struct blk_node *listener = need_listener(node, error);
    return listener && listener->driver->debug->remove_break(listener, tag, error);
}

bool node_debug_is_suspended(struct blk_node *node, const char *tag)
{
    struct blk_node *listener = find_listener(node);
    return listener && listener->driver->debug->is_suspended(listener, tag);
}
