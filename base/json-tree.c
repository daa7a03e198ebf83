/*
 * From flat option lists to trees. Keys are paths: "a.b.0.c" is member c of
 * element 0 of member b of a; a doubled dot is a dot in a name. Every object
 * below the top whose names are the numbers 0..n-1 becomes an array.
 */
#include "base/json.h"

#include <errno.h>
#include <string.h>

#include "base/error.h"

#define DEPTH_MAX 64

static bool tree_add(json_t *tree, const char *path, json_t *value, int depth, GError **error);

/* Takes the first name off *path into `name`; *path becomes NULL after the last one. */
static void path_next(const char **path, GString *name)
{
    const char *p = *path;
    g_string_truncate(name, 0);
    for (; *p && (p[0] != '.' || p[1] == '.'); p++) {
        p += p[0] == '.';
        g_string_append_c(name, *p);
    }
    *path = *p ? p + 1 : NULL;
}

/* Adds every member of the object `from` to the object `tree`. */
static bool tree_merge(json_t *tree, json_t *from, int depth, GError **error)
{
    const char *key;
    json_t *value;
    json_object_foreach(from, key, value)
    {
        if (!tree_add(tree, key, value, depth, error)) {
            return false;
        }
    }
    return true;
}

static bool name_check(const char *name, GError **error)
{
    return *name || error_set(error, EINVAL, "an option name is empty at the top or beside a dot");
}

/* The object called `name` in `tree`, made when absent; NULL and *error when something else is
 * there. */
static json_t *tree_enter(json_t *tree, const char *name, GError **error)
{
    if (!name_check(name, error)) {
        return NULL;
    }
    json_t *child = json_object_get(tree, name);
    if (!child) {
        child = json_object();
        json_object_set_new(tree, name, child);
    }
    if (!json_is_object(child)) {
        error_set(error, EINVAL, "option '%s' is given both as a value and as a group '%s.…'", name,
                  name);
        return NULL;
    }
    return child;
}

static bool tree_set_leaf(json_t *tree, const char *name, json_t *value, GError **error)
{
    if (!name_check(name, error)) {
        return false;
    }
    if (json_object_get(tree, name)) {
        return error_set(error, EINVAL, "option '%s' is given twice in different ways", name);
    }
    json_object_set(tree, name, value);
    return true;
}

static bool tree_add(json_t *tree, const char *path, json_t *value, int depth, GError **error)
{
    g_autoptr(GString) name = g_string_new(NULL);
    const char *rest = path;
    for (path_next(&rest, name); rest || json_is_object(value); path_next(&rest, name)) {
        if (++depth > DEPTH_MAX) {
            return error_set(error, EINVAL, "option '%s' nests too deeply", path);
        }
        tree = tree_enter(tree, name->str, error);
        if (!tree) {
            return false;
        }
        if (!rest) {
            return tree_merge(tree, value, depth, error);
        }
    }
    return tree_set_leaf(tree, name->str, value, error);
}

/* The array that an object with the names 0..n-1 stands for, or NULL when it is none. */
static json_t *object_to_array(json_t *object)
{
    size_t n = json_object_size(object);
    json_t *array = json_array();
    for (size_t i = 0; i < n; i++) {
        char name[24];
        g_snprintf(name, sizeof(name), "%zu", i);
        json_t *item = json_object_get(object, name);
        if (!item) {
            json_decref(array);
            return NULL;
        }
        json_array_append(array, item);
    }
    return array;
}

/* Turns the objects below `tree` into arrays where they stand for one. */
static void tree_fold_arrays(json_t *tree)
{
    const char *key;
    json_t *value;
    void *next;
    json_object_foreach_safe(tree, next, key, value)
    {
        if (!json_is_object(value)) {
            continue;
        }
        tree_fold_arrays(value);
        json_t *array = json_object_size(value) ? object_to_array(value) : NULL;
        if (array) {
            json_object_set_new(tree, key, array);
        }
    }
}

json_t *json_unflatten(json_t *flat, GError **error)
{
    json_t *tree = json_object();
    bool done = tree_merge(tree, flat, 0, error);
    json_decref(flat);
    if (!done) {
        json_decref(tree);
        return NULL;
    }
    tree_fold_arrays(tree);
    return tree;
}
