/*
 * Sizes: whatever the text, the result is in range and nothing breaks.
 */
#include "tests/fuzz/fuzz.h"

#include "base/size.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *text = g_strndup((const char *)data, size);
    int64_t bytes;
    if (size_parse(text, "size", &bytes, NULL)) {
        g_assert_cmpint(bytes, >=, 0);
        g_free(size_format(bytes));
    }
    return 0;
}
