/*
 * The door of codec/: one context that holds either codec's state and hands each call to it.
 */
#include "codec/codec.h"

#include <errno.h>

#include "codec/deflate.h"
#include "codec/zstd.h"

struct codec_ctx {
    struct codec_options options;
    struct deflate deflate;
    struct zstd zstd;
};

struct codec_ctx *codec_ctx_new(const struct codec_options *options)
{
    struct codec_ctx *ctx = g_new0(struct codec_ctx, 1);
    ctx->options = *options;
    return ctx;
}

void codec_ctx_free(struct codec_ctx *ctx)
{
    if (ctx) {
        deflate_done(&ctx->deflate);
        zstd_done(&ctx->zstd);
        g_free(ctx);
    }
}

int64_t codec_compress(struct codec_ctx *ctx, const void *src, size_t len, void *dst, size_t cap)
{
    const struct codec_options *options = &ctx->options;
    switch (options->codec) {
    case CODEC_DEFLATE:
        return deflate_compress(&ctx->deflate, options->level, options->window_bits, src, len, dst,
                                cap);
    case CODEC_ZSTD: return zstd_compress(&ctx->zstd, options->level, src, len, dst, cap);
    }
    return -EIO;
}

int codec_decompress(struct codec_ctx *ctx, const void *src, size_t len, void *dst, size_t dst_len)
{
    switch (ctx->options.codec) {
    case CODEC_DEFLATE: return deflate_decompress(&ctx->deflate, src, len, dst, dst_len);
    case CODEC_ZSTD: return zstd_decompress(&ctx->zstd, src, len, dst, dst_len);
    }
    return -EIO;
}
