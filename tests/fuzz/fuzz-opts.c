/* key=value lists from the command line and from file names. */
#include "tests/fuzz/fuzz.h"

#include <glib.h>

#include "base/base.h"
#include "base/opts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *text = g_strndup((const char *)data, size);
    g_autoptr(GError) error = NULL;
    json_t *tree = opts_parse_tree(text, size % 2 ? "driver" : NULL, &error);
    g_assert(!tree != !error);
    json_decref(tree);
    return 0;
}
