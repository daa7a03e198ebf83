/* json:{...} names: what parses becomes a tree or an error. */
#include "tests/fuzz/fuzz.h"

#include <glib.h>

#include "base/base.h"
#include "base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *text = g_strndup((const char *)data, size);
    g_autoptr(GError) error = NULL;
    json_t *value = json_parse_text(text, "name", &error);
    g_assert(!value != !error);
    if (json_is_object(value)) {
        json_t *tree = json_unflatten(value, &error);
        g_assert(!tree != !error);
        value = tree;
    }
    json_decref(value);
    return 0;
}
