/*
 * What a node is called: the name that opens it again when typed. That is the
 * plain file name where file name and format say everything, and a "json:" name
 * where options matter.
 */
#include "libblock/node.h"

#include <string.h>

/* Options that change how an image is opened, but not what it contains. */
static bool is_weak(const char *key)
{
    static const char *const weak[] = {"locking", "aio", NULL};
    return g_strv_contains(weak, key);
}

/* Copies, since several threads may ask at a time and counting references is not theirs alone. */
static json_t *full_spec(const struct blk_node *node)
{
    json_t *spec = json_object();
    json_object_set_new(spec, "driver", json_string(node->driver->name));
    const char *key;
    json_t *value;
    json_object_foreach(node->spec, key, value)
    {
        if (!is_weak(key)) {
            json_object_set_new(spec, key, json_deep_copy(value));
        }
    }
    if (node->file) {
        const char *child = node->driver->file_key ? node->driver->file_key : "file";
        json_object_set_new(spec, child, full_spec(node->file));
    }
    return spec;
}

/* True when the node has no options that matter but, for protocols, its name. */
static bool has_plain_spec(const struct blk_node *node)
{
    const char *key;
    json_t *value;
    json_object_foreach(node->spec, key, value)
    {
        if (!is_weak(key) && (node->file || strcmp(key, "filename"))) {
            return false;
        }
    }
    return true;
}

static const char *own_name(const struct blk_node *node)
{
    return json_string_value(json_object_get(node->spec, "filename"));
}

const char *node_base_name(const struct blk_node *node)
{
    while (node->file) {
        node = node->file;
    }
    return own_name(node);
}

static const char *plain_name(const struct blk_node *node)
{
    if (!has_plain_spec(node) || (node->driver->flags & DRIVER_FILTER)) {
        return NULL;
    }
    return node->file ? plain_name(node->file) : own_name(node);
}

static char *make_name(const struct blk_node *node)
{
    const char *plain = plain_name(node);
    if (plain) {
        return g_strdup(plain);
    }
    json_t *spec = full_spec(node);
    char *text = json_dumps(spec, JSON_COMPACT);
    char *name = g_strconcat("json:", text, NULL);
    free(text);
    json_decref(spec);
    return name;
}

/* Made when first asked for; by any thread, since workers name nodes in their errors. */
const char *node_filename(const struct blk_node *node)
{
    struct blk_node *cache = (struct blk_node *)node;
    char *name = g_atomic_pointer_get(&cache->filename);
    if (!name) {
        char *mine = make_name(node);
        if (g_atomic_pointer_compare_and_exchange(&cache->filename, NULL, mine)) {
            return mine;
        }
        g_free(mine);
        name = g_atomic_pointer_get(&cache->filename);
    }
    return name;
}
