/*
 * Raw deflate (RFC 1951) for whole buffers.
 *
 * libdeflate is several times faster than zlib but takes complete streams only and always uses a
 * 32 KiB window. So zlib stays for two cases: an encoder that must keep to a smaller window, and a
 * decoder for odd streams that other writers leave behind: cut off once the output is full, or
 * longer than the output. The odd streams cost a second pass; images of our own never take it.
 */
#include "codec/deflate.h"

#include <errno.h>
#include <glib.h>
#include <libdeflate.h>
#include <stdbool.h>
#include <zlib.h>

enum {
    DEFAULT_LEVEL = 1, /* as small as zlib's level 6 with a 4 KiB window, at five times the speed */
    DEFAULT_ZLIB_LEVEL = 6,
    FULL_WINDOW_BITS = 15,
    ZLIB_MEMORY_LEVEL = 9,
};

static void stream_free(z_stream *stream, int (*end)(z_stream *stream))
{
    if (stream) {
        end(stream);
        g_free(stream);
    }
}

void deflate_done(struct deflate *ctx)
{
    libdeflate_free_compressor(ctx->packer);
    libdeflate_free_decompressor(ctx->unpacker);
    stream_free(ctx->narrow, deflateEnd);
    stream_free(ctx->streamer, inflateEnd);
    *ctx = (struct deflate){0};
}

static int64_t pack_full_window(struct deflate *ctx, int level, const void *src, size_t len,
                                void *dst, size_t cap)
{
    if (!ctx->packer) {
        ctx->packer = libdeflate_alloc_compressor(level ? level : DEFAULT_LEVEL);
    }
    if (!ctx->packer) {
        return -ENOMEM;
    }
    size_t packed = libdeflate_deflate_compress(ctx->packer, src, len, dst, cap);
    return packed ? (int64_t)packed : -ENOSPC;
}

static z_stream *narrow_new(int level, int window_bits)
{
    z_stream *stream = g_new0(z_stream, 1);
    level = level ? MIN(level, Z_BEST_COMPRESSION) : DEFAULT_ZLIB_LEVEL;
    if (deflateInit2(stream, level, Z_DEFLATED, -window_bits, ZLIB_MEMORY_LEVEL,
                     Z_DEFAULT_STRATEGY) != Z_OK) {
        g_free(stream);
        return NULL;
    }
    return stream;
}

static int64_t pack_narrow_window(struct deflate *ctx, int level, int window_bits, const void *src,
                                  size_t len, void *dst, size_t cap)
{
    if (!ctx->narrow) {
        ctx->narrow = narrow_new(level, window_bits);
    } else {
        deflateReset(ctx->narrow);
    }
    z_stream *stream = ctx->narrow;
    if (!stream) {
        return -ENOMEM;
    }
    stream->next_in = (Bytef *)src;
    stream->avail_in = len;
    stream->next_out = dst;
    stream->avail_out = cap;
    int status = deflate(stream, Z_FINISH);
    if (status == Z_STREAM_END) {
        return (int64_t)(cap - stream->avail_out);
    }
    return status == Z_OK || status == Z_BUF_ERROR ? -ENOSPC : -EIO;
}

int64_t deflate_compress(struct deflate *ctx, int level, int window_bits, const void *src,
                         size_t len, void *dst, size_t cap)
{
    if (window_bits && window_bits < FULL_WINDOW_BITS) {
        return pack_narrow_window(ctx, level, window_bits, src, len, dst, cap);
    }
    return pack_full_window(ctx, level, src, len, dst, cap);
}

static z_stream *streamer_new(void)
{
    z_stream *stream = g_new0(z_stream, 1);
    if (inflateInit2(stream, -FULL_WINDOW_BITS) != Z_OK) {
        g_free(stream);
        return NULL;
    }
    return stream;
}

/* Takes what the stream yields until the output is full; how the stream goes on does not matter. */
static int unpack_streaming(struct deflate *ctx, const void *src, size_t len, void *dst,
                            size_t dst_len)
{
    if (!ctx->streamer) {
        ctx->streamer = streamer_new();
    } else {
        inflateReset(ctx->streamer);
    }
    z_stream *stream = ctx->streamer;
    if (!stream) {
        return -ENOMEM;
    }
    stream->next_in = (Bytef *)src;
    stream->avail_in = len;
    stream->next_out = dst;
    stream->avail_out = dst_len;
    int status = inflate(stream, Z_FINISH);
    if (status == Z_MEM_ERROR) {
        return -ENOMEM;
    }
    return stream->avail_out == 0 ? 0 : -EIO;
}

int deflate_decompress(struct deflate *ctx, const void *src, size_t len, void *dst, size_t dst_len)
{
    if (!ctx->unpacker) {
        ctx->unpacker = libdeflate_alloc_decompressor();
    }
    if (!ctx->unpacker) {
        return -ENOMEM;
    }
    size_t used;
    enum libdeflate_result result =
        libdeflate_deflate_decompress_ex(ctx->unpacker, src, len, dst, dst_len, &used, NULL);
    if (result == LIBDEFLATE_SUCCESS) {
        return 0;
    }
    return result == LIBDEFLATE_SHORT_OUTPUT ? -EIO : unpack_streaming(ctx, src, len, dst, dst_len);
}
