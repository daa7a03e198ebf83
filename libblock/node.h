/*
 * Making and unmaking nodes; libblock only.
 */
#ifndef CAIRN_LIBBLOCK_NODE_H
#define CAIRN_LIBBLOCK_NODE_H

#include "libblock/driver.h"

/* A node of `driver` that is not open yet, with default options and one reference. */
struct blk_node *node_new(struct blk_graph *graph, const struct blk_driver *driver, uint32_t flags);

/* Closes the children and frees a node whose driver is closed or never was open. False and *error
 * when a child could not be closed cleanly. */
bool node_co_free(struct blk_node *node, GError **error);

/* Fills node->limits from the driver or the file child, with sane values for what is missing. */
void node_update_limits(struct blk_node *node);

/* The path or name at the bottom of `node`, against which names inside it are resolved; NULL when
 * it has none. Borrowed. */
const char *node_base_name(const struct blk_node *node);

#endif
