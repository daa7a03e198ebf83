/*
 * Names of images as people type them, taken apart without opening anything
 * (but for one stat(2), which tells a device from a file).
 */
#ifndef CAIRN_LIBBLOCK_NAME_H
#define CAIRN_LIBBLOCK_NAME_H

#include "libblock/driver.h"

/* True for "json:...". */
bool name_is_json(const char *name);

/* The tree in "json:{...}"; NULL and *error when it is none. */
json_t *name_parse_json(const char *name, GError **error);

/* The length of "PROTOCOL" in "PROTOCOL:rest", or 0: a colon counts before the first slash only. */
size_t name_protocol_length(const char *name);

/* The protocol driver for `name`; *ret_rest is where the driver's own part of it begins. NULL and
 * *error when the graph has no such driver. */
const struct blk_driver *name_find_protocol(struct blk_graph *graph, const char *name,
                                            const char **ret_rest, GError **error);

/* The part of `name` that protocol `driver` understands. */
const char *name_strip_protocol(const struct blk_driver *driver, const char *name);

#endif
