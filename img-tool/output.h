/*
 * Outputs that appear whole or not at all. A new image is written to a file
 * without a name (or, where the file system has none of those, with a hidden
 * name) in the folder of its final place, and gets its name when it is
 * complete. What cannot be replaced by a rename is written in place: devices,
 * pipes, names of other protocols, mount points, and existing files in folders
 * where no file can be made.
 */
#ifndef CAIRN_IMG_OUTPUT_H
#define CAIRN_IMG_OUTPUT_H

#include <glib.h>
#include <stdbool.h>

#include "libblock/libblock.h"

struct output;

/* Prepares for writing `name`. An existing file is locked meanwhile, so that one in use by another
 * process is refused now. With `needs_name` the place to write to has a name in the final folder,
 * for images that name others relative to it. */
struct output *output_begin(struct blk_graph *graph, const char *name, bool needs_name,
                            GError **error);

/* Where to write. */
const char *output_path(const struct output *output);

/* True when output_path() is the final name itself. */
bool output_is_in_place(const struct output *output);

/* True when the place is a regular file or will be one. */
bool output_is_file(const struct output *output);

/* Gives the output its final name. The old file keeps its contents until then, and its mode and
 * owner after; a replaced file's successor is on the disk first. With `durable` the new name is on
 * the disk, too, when the call returns. */
bool output_commit(struct output *output, bool durable, GError **error);

/* Frees; what was not committed disappears. In messages of *error, the place to write to becomes
 * the final name. NULL is accepted. */
void output_free(struct output *output, GError **error);

/* True, and *error says so, when `name` is a file that `source` reads. */
bool output_is_source(const char *name, struct blk_node *source, GError **error);

#endif
