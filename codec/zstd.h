/*
 * Zstandard for one thread.
 */
#ifndef CAIRN_CODEC_ZSTD_H
#define CAIRN_CODEC_ZSTD_H

#include <stddef.h>
#include <stdint.h>

/* Reusable state; all-zero is valid and empty. */
struct zstd {
    struct ZSTD_CCtx_s *packer;
    struct ZSTD_DCtx_s *unpacker;
};

void zstd_done(struct zstd *ctx);

/* As codec_compress(); `level` 0 is the default. */
int64_t zstd_compress(struct zstd *ctx, int level, const void *src, size_t len, void *dst,
                      size_t cap);

/* As codec_decompress(). */
int zstd_decompress(struct zstd *ctx, const void *src, size_t len, void *dst, size_t dst_len);

#endif
