/*
 * The inside of a graph; libblock only.
 */
#ifndef CAIRN_LIBBLOCK_GRAPH_H
#define CAIRN_LIBBLOCK_GRAPH_H

#include "libblock/driver.h"

struct blk_graph {
    struct loop *loop;
    const struct blk_driver *const *drivers; /* NULL-terminated */
    enum graph_trust trust;
    int nodes;                   /* open ones */
    GHashTable *throttle_groups; /* name -> struct throttle_group */
    void (*report)(enum report_kind kind, const char *text, void *user);
    void *report_user;
};

#endif
