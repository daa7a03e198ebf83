/*
 * A graph: a loop, the drivers that its nodes may use, and how far it trusts
 * names found inside images. It does not list its nodes; they belong to whom
 * opened them.
 */
#include "libblock/graph.h"

#include <string.h>

#include "libblock/filters/throttle-group.h"

#include "base/words.h"

struct blk_graph *graph_new(struct loop *loop, const struct blk_driver *const *drivers)
{
    struct blk_graph *graph = g_new0(struct blk_graph, 1);
    graph->loop = loop;
    graph->drivers = drivers;
    graph->throttle_groups =
        g_hash_table_new_full(g_str_hash, g_str_equal, NULL, throttle_group_unref);
    return graph;
}

void graph_free(struct blk_graph *graph)
{
    if (graph) {
        g_assert(graph->nodes == 0);
        g_hash_table_destroy(graph->throttle_groups);
        g_free(graph);
    }
}

struct loop *graph_loop(struct blk_graph *graph)
{
    return graph->loop;
}

void graph_set_trust(struct blk_graph *graph, enum graph_trust trust)
{
    graph->trust = trust;
}

enum graph_trust graph_trust(const struct blk_graph *graph)
{
    return graph->trust;
}

void graph_set_report(struct blk_graph *graph,
                      void (*fn)(enum report_kind kind, const char *text, void *user), void *user)
{
    graph->report = fn;
    graph->report_user = user;
}

void node_report(struct blk_node *node, enum report_kind kind, const char *format, ...)
{
    struct blk_graph *graph = node->graph;
    if (graph->report) {
        va_list ap;
        va_start(ap, format);
        g_autofree char *text = g_strdup_vprintf(format, ap);
        va_end(ap);
        graph->report(kind, text, graph->report_user);
    }
}

const struct blk_driver *const *graph_drivers(struct blk_graph *graph)
{
    return graph->drivers;
}

const struct blk_driver *graph_find_driver(struct blk_graph *graph, const char *name)
{
    for (const struct blk_driver *const *d = graph->drivers; *d; d++) {
        if (!strcmp((*d)->name, name)) {
            return *d;
        }
    }
    return NULL;
}

char *graph_driver_hint(struct blk_graph *graph, const char *name)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    for (const struct blk_driver *const *d = graph->drivers; *d; d++) {
        g_ptr_array_add(names, (char *)(*d)->name);
    }
    g_ptr_array_add(names, NULL);
    return words_hint((const char *const *)names->pdata, name);
}

const struct field *driver_create_options(const struct blk_driver *driver)
{
    return driver->co_create ? driver->create_options : NULL;
}

const char *driver_name(const struct blk_driver *driver)
{
    return driver->name;
}

const char *driver_description(const struct blk_driver *driver)
{
    return driver->description;
}

bool driver_is_protocol(const struct blk_driver *driver)
{
    return driver->flags & DRIVER_PROTOCOL || driver->parse_name;
}

bool driver_is_format(const struct blk_driver *driver)
{
    return driver->flags & DRIVER_FORMAT;
}
