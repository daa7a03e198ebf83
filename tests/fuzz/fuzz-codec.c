/* Compressed clusters: the first byte chooses the codec and how much is to come
 * out. */
#include "tests/fuzz/fuzz.h"

#include <glib.h>

#include "codec/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    struct codec_options options = {.codec = data[0] & 1 ? CODEC_ZSTD : CODEC_DEFLATE};
    size_t length = (size_t)512 << (data[0] >> 1) % 8;
    g_autofree uint8_t *out = g_malloc(length);
    struct codec_ctx *ctx = codec_ctx_new(&options);
    int first = codec_decompress(ctx, data + 1, size - 1, out, length);
    g_assert_cmpint(first, <=, 0);
    g_assert_cmpint(codec_decompress(ctx, data + 1, size - 1, out, length), ==, first);
    codec_ctx_free(ctx);
    return 0;
}
