/*
 * Checking, amending and measuring images as a whole: the format does the work
 * while the node is quiet.
 */
#include "libblock/driver.h"

#include <errno.h>

#include "libblock/graph.h"

bool node_co_check(struct blk_node *node, uint32_t fix, struct blk_check *check, GError **error)
{
    if (!node->driver->check) {
        return error_set(error, ENOTSUP, "'%s': %s images have nothing to check",
                         node_filename(node), node->driver->name);
    }
    node_co_drain_begin(node);
    bool ok = node->driver->check->co_check(node, fix, check, error);
    node_drain_end(node);
    return ok;
}

struct check_call {
    struct blk_node *node;
    uint32_t fix;
    struct blk_check *check;
    GError **error;
    bool ok;
};

static void sync_co_check(void *arg)
{
    struct check_call *c = arg;
    c->ok = node_co_check(c->node, c->fix, c->check, c->error);
}

bool node_check(struct blk_node *node, uint32_t fix, struct blk_check *check, GError **error)
{
    struct check_call call = {node, fix, check, error, false};
    loop_call(node->graph->loop, sync_co_check, &call);
    return call.ok;
}

static bool refuse(const struct blk_node *node, GError **error)
{
    return error_set(error, ENOTSUP, "'%s': %s images cannot be changed in this way",
                     node_filename(node), node->driver->name);
}

/* Every key must be an option that can be changed. */
static bool check_names(const struct blk_node *node, json_t *options, GError **error)
{
    const struct blk_driver *driver = node->driver;
    const char *key;
    json_t *value;
    json_object_foreach(options, key, value)
    {
        if (!field_find(driver->amend->options, key)) {
            bool known = field_find(driver->create_options, key);
            return error_set(error, known ? ENOTSUP : EINVAL, "Invalid parameter '%s'%s", key,
                             known ? "\nThis option is only supported for image creation" : "");
        }
    }
    return true;
}

const struct field *driver_amend_options(const struct blk_driver *driver)
{
    return driver->amend && driver->amend->co_amend ? driver->amend->options : NULL;
}

bool node_co_amend(struct blk_node *node, json_t *options, bool force, struct job *job,
                   GError **error)
{
    const struct amend_ops *ops = node->driver->amend;
    if (!ops || !ops->co_amend) {
        return error_set(error, ENOTSUP, "Format driver '%s' does not support option amendment",
                         node->driver->name);
    }
    if (!check_names(node, options, error)) {
        return false;
    }
    node_co_drain_begin(node);
    bool ok = ops->co_amend(node, options, force, job, error);
    node_drain_end(node);
    return ok;
}

struct amend_job {
    struct blk_node *node;
    json_t *options;
    bool force;
};

static bool amend_co_run(struct job *job, void *arg, GError **error)
{
    struct amend_job *amend = arg;
    return node_co_amend(amend->node, amend->options, amend->force, job, error);
}

struct job *amend_job_new(struct blk_node *node, json_t *options, bool force)
{
    static const struct job_type type = {"amend", amend_co_run, g_free};
    struct amend_job *amend = g_new0(struct amend_job, 1);
    *amend = (struct amend_job){node, options, force};
    return job_new(&type, amend);
}

bool node_co_set_backing(struct blk_node *node, const char *name, const char *format,
                         GError **error)
{
    const struct amend_ops *ops = node->driver->amend;
    if (!ops || !ops->co_set_backing) {
        return refuse(node, error);
    }
    node_co_drain_begin(node);
    bool ok = ops->co_set_backing(node, name, format, error);
    node_drain_end(node);
    return ok;
}

bool node_co_empty(struct blk_node *node, GError **error)
{
    const struct amend_ops *ops = node->driver->amend;
    if (!ops || !ops->co_empty) {
        return refuse(node, error);
    }
    node_co_drain_begin(node);
    bool ok = ops->co_empty(node, error);
    node_drain_end(node);
    return ok;
}

/* ---- synchronous twins ---- */

struct amend_call {
    struct blk_node *node;
    const char *name, *format;
    GError **error;
    bool ok;
};

static void sync_co_set_backing(void *arg)
{
    struct amend_call *c = arg;
    c->ok = node_co_set_backing(c->node, c->name, c->format, c->error);
}

bool node_set_backing(struct blk_node *node, const char *name, const char *format, GError **error)
{
    struct amend_call call = {node, name, format, error, false};
    loop_call(node->graph->loop, sync_co_set_backing, &call);
    return call.ok;
}

static void sync_co_empty(void *arg)
{
    struct amend_call *c = arg;
    c->ok = node_co_empty(c->node, c->error);
}

bool node_empty(struct blk_node *node, GError **error)
{
    struct amend_call call = {.node = node, .error = error};
    loop_call(node->graph->loop, sync_co_empty, &call);
    return call.ok;
}
