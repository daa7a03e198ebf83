/*
 * throttle: a filter that lets requests through as its group's limits allow. A
 * group is named, lives in the graph, and may have many nodes; a node with limits
 * of its own has a group to itself.
 *
 * Who has to wait lines up with the group's other requests of its kind, so that
 * they go in the order in which they came, whichever node they are for.
 */
#include <errno.h>

#include "libblock/driver.h"
#include "libblock/filters/throttle-group.h"
#include "libblock/graph.h"

struct throttle_options {
    char *group;
};

struct throttle_state {
    struct throttle_group *group;
};

static const struct field throttle_fields[] = {
    FIELD(struct throttle_options, group, "throttle-group", NULL,
          "name of the group; none: the limits given here"),
    {0},
};

bool graph_add_throttle_group(struct blk_graph *graph, const char *name, json_t *limits,
                              GError **error)
{
    struct throttle_limits parsed;
    bool any;
    json_t *rest = json_unflatten(json_deep_copy(limits), error);
    bool ok = rest && throttle_limits_take(rest, &parsed, &any, error) &&
              json_reject_rest(rest, "throttle-group", error);
    json_decref(rest);
    if (ok && g_hash_table_contains(graph->throttle_groups, name)) {
        ok = error_set(error, EEXIST, "there are two throttle groups '%s'", name);
    }
    if (ok) {
        struct throttle_group *group = throttle_group_new(name, &parsed);
        g_hash_table_insert(graph->throttle_groups, group->name, group);
    }
    return ok;
}

static bool throttle_co_open(struct blk_node *node, json_t *rest, GError **error)
{
    struct throttle_state *s = node->state;
    const struct throttle_options *o = node->options;
    struct throttle_limits limits;
    bool any;
    if (!throttle_limits_take(rest, &limits, &any, error)) {
        return false;
    }
    if (o->group && any) {
        return error_set(error, EINVAL,
                         "limits are those of throttle group '%s'; give none beside it", o->group);
    }
    if (!o->group && !any) {
        return error_set(error, EINVAL, "Please specify a throttle group, or limits");
    }
    if (!o->group) {
        s->group = throttle_group_new(NULL, &limits);
        return true;
    }
    struct throttle_group *group = g_hash_table_lookup(node->graph->throttle_groups, o->group);
    s->group = group ? throttle_group_ref(group) : NULL;
    return group || error_set(error, ENOENT, "Throttle group '%s' does not exist", o->group);
}

static bool throttle_co_close(struct blk_node *node, GError **error)
{
    struct throttle_state *s = node->state;
    throttle_group_unref(s->group);
    return true;
}

/* Waits until a request may go, and counts it. */
static void throttle_co_admit(struct blk_node *node, bool write, int64_t bytes)
{
    struct throttle_group *group = ((struct throttle_state *)node->state)->group;
    int64_t wait;
    co_mutex_co_lock(&group->lines[write]);
    while ((wait = throttle_group_wait(group, write, loop_now(node->graph->loop)))) {
        loop_co_sleep(wait);
    }
    throttle_group_count(group, write, bytes);
    co_mutex_unlock(&group->lines[write]);
}

static int throttle_co_read(struct blk_node *node, int64_t offset, int64_t length, struct span span)
{
    throttle_co_admit(node, false, length);
    return node_co_read(node->file, offset, length, span);
}

static int throttle_co_write(struct blk_node *node, int64_t offset, int64_t length,
                             struct span span, uint32_t flags)
{
    throttle_co_admit(node, true, length);
    return node_co_write(node->file, offset, length, span, flags);
}

static int throttle_co_write_packed(struct blk_node *node, int64_t offset, int64_t length,
                                    struct span span)
{
    throttle_co_admit(node, true, length);
    return node_co_write_compressed(node->file, offset, length, span);
}

static int throttle_co_zero(struct blk_node *node, int64_t offset, int64_t length, uint32_t flags)
{
    throttle_co_admit(node, true, length);
    return node_co_zero(node->file, offset, length, flags);
}

static int throttle_co_discard(struct blk_node *node, int64_t offset, int64_t length)
{
    throttle_co_admit(node, true, length);
    return node_co_discard(node->file, offset, length);
}

static const struct plan_ops throttle_plan = {.co_write_packed = throttle_co_write_packed};

const struct blk_driver throttle_driver = {
    .name = "throttle",
    .description = "holds requests to limits of bytes and requests a second",
    .flags = DRIVER_FILTER | DRIVER_FUA,
    .state_size = sizeof(struct throttle_state),
    .options = throttle_fields,
    .options_size = sizeof(struct throttle_options),
    .co_open = throttle_co_open,
    .co_close = throttle_co_close,
    .co_read = throttle_co_read,
    .co_write = throttle_co_write,
    .co_zero = throttle_co_zero,
    .co_discard = throttle_co_discard,
    .plan = &throttle_plan,
};
