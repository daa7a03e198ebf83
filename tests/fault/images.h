/*
 * The images that the scenes start from, small and the same every time.
 */
#ifndef CAIRN_TESTS_FAULT_IMAGES_H
#define CAIRN_TESTS_FAULT_IMAGES_H

#include <glib.h>

#include "libblock/libblock.h"

/* Makes them in the current folder; name -> GBytes. */
GHashTable *images_make(struct blk_graph *graph);

#endif
