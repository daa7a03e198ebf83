/*
 * Guessing formats; libblock only.
 */
#ifndef CAIRN_LIBBLOCK_PROBE_H
#define CAIRN_LIBBLOCK_PROBE_H

#include "libblock/driver.h"

enum { PROBE_BYTES = 2048 };

/* The format that the first `len` bytes look most like; raw when they match nothing. NULL when the
 * graph has no raw driver either. */
const struct blk_driver *probe_head(struct blk_graph *graph, const uint8_t *head, size_t len,
                                    const char *filename);

/* probe_head() of what `file` holds. */
const struct blk_driver *probe_co_driver(struct blk_node *file, GError **error);

#endif
