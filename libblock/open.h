/*
 * Opening by trees of options; libblock only.
 */
#ifndef CAIRN_LIBBLOCK_OPEN_H
#define CAIRN_LIBBLOCK_OPEN_H

#include "libblock/driver.h"

struct open_request {
    struct blk_graph *graph;
    const char *name;        /* NULL: all is in the tree */
    const char *driver;      /* NULL: as the tree says, or guessed */
    json_t *tree;            /* owned by the caller; NULL: empty */
    uint32_t flags;          /* enum node_flags */
    bool protocol;           /* guess a protocol from the name, never a format from the content */
    struct blk_node *opener; /* the node that refers to this one, or NULL */
    int level;               /* formats and filters above this one in the tree */
};

struct blk_node *open_co_node(const struct open_request *request, GError **error);

#endif
