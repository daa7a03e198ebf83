/*
 * Snapshots inside an image: finding them by name, and handing each action to
 * the format while the node is quiet.
 */
#include "libblock/driver.h"

#include <errno.h>

#include "libblock/graph.h"

static const struct snapshot_ops *snapshot_ops(const struct blk_node *node, GError **error)
{
    if (!node->driver->snapshot) {
        error_set(error, ENOTSUP, "'%s': %s images have no snapshots", node_filename(node),
                  node->driver->name);
    }
    return node->driver->snapshot;
}

GArray *node_co_snapshot_list(struct blk_node *node, GError **error)
{
    const struct snapshot_ops *ops = snapshot_ops(node, error);
    return ops ? ops->co_list(node, error) : NULL;
}

int snapshot_find(const GArray *list, const char *id, const char *name)
{
    for (guint i = 0; i < list->len; i++) {
        const struct blk_snapshot *s = &g_array_index(list, struct blk_snapshot, i);
        if ((!id || !strcmp(s->id, id)) && (!name || !strcmp(s->name, name))) {
            return (int)i;
        }
    }
    return -1;
}

int snapshot_find_either(const GArray *list, const char *either)
{
    int index = snapshot_find(list, either, NULL);
    return index >= 0 ? index : snapshot_find(list, NULL, either);
}

bool node_co_snapshot_create(struct blk_node *node, const struct blk_snapshot *snapshot,
                             GError **error)
{
    const struct snapshot_ops *ops = snapshot_ops(node, error);
    if (!ops) {
        return false;
    }
    node_co_drain_begin(node);
    bool ok = ops->co_create(node, snapshot, error);
    node_drain_end(node);
    return ok;
}

static bool co_act(struct blk_node *node, enum snapshot_action action, int index, GError **error)
{
    const struct snapshot_ops *ops = node->driver->snapshot;
    switch (action) {
    case SNAPSHOT_APPLY: return ops->co_apply(node, index, error);
    case SNAPSHOT_DELETE: return ops->co_delete(node, index, error);
    case SNAPSHOT_LOAD: return ops->co_load(node, index, error);
    case SNAPSHOT_CREATE: break;
    }
    return error_set(error, EINVAL, "a snapshot is created by node_co_snapshot_create()");
}

bool node_co_snapshot_do(struct blk_node *node, enum snapshot_action action, const char *either,
                         GError **error)
{
    if (!snapshot_ops(node, error)) {
        return false;
    }
    node_co_drain_begin(node);
    GArray *list = node_co_snapshot_list(node, error);
    int index = list && action == SNAPSHOT_DELETE ? snapshot_find(list, NULL, either) : -1;
    index = list && index < 0 ? snapshot_find_either(list, either) : index;
    bool ok = index >= 0 ? co_act(node, action, index, error)
                         : list && error_set(error, ENOENT, "'%s' has no snapshot '%s'",
                                             node_filename(node), either);
    node_drain_end(node);
    if (list) {
        g_array_unref(list);
    }
    return ok;
}

/* ---- synchronous twins ---- */

struct snapshot_call {
    struct blk_node *node;
    const struct blk_snapshot *snapshot;
    enum snapshot_action action;
    const char *either;
    GError **error;
    GArray *list;
    bool ok;
};

static void sync_co_list(void *arg)
{
    struct snapshot_call *c = arg;
    c->list = node_co_snapshot_list(c->node, c->error);
}

GArray *node_snapshot_list(struct blk_node *node, GError **error)
{
    struct snapshot_call call = {.node = node, .error = error};
    loop_call(node->graph->loop, sync_co_list, &call);
    return call.list;
}

static void sync_co_create(void *arg)
{
    struct snapshot_call *c = arg;
    c->ok = node_co_snapshot_create(c->node, c->snapshot, c->error);
}

bool node_snapshot_create(struct blk_node *node, const struct blk_snapshot *snapshot,
                          GError **error)
{
    struct snapshot_call call = {.node = node, .snapshot = snapshot, .error = error};
    loop_call(node->graph->loop, sync_co_create, &call);
    return call.ok;
}

static void sync_co_do(void *arg)
{
    struct snapshot_call *c = arg;
    c->ok = node_co_snapshot_do(c->node, c->action, c->either, c->error);
}

bool node_snapshot_do(struct blk_node *node, enum snapshot_action action, const char *either,
                      GError **error)
{
    struct snapshot_call call = {.node = node, .action = action, .either = either, .error = error};
    loop_call(node->graph->loop, sync_co_do, &call);
    return call.ok;
}
