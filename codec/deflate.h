/*
 * Raw deflate for one thread: libdeflate both ways, zlib for what only a streaming coder can do.
 */
#ifndef CAIRN_CODEC_DEFLATE_H
#define CAIRN_CODEC_DEFLATE_H

#include <stddef.h>
#include <stdint.h>

/* Reusable state; all-zero is valid and empty. */
struct deflate {
    struct libdeflate_compressor *packer;
    struct libdeflate_decompressor *unpacker;
    struct z_stream_s *narrow;   /* encoder with a window below 32 KiB */
    struct z_stream_s *streamer; /* decoder of streams that libdeflate refuses */
};

void deflate_done(struct deflate *ctx);

/* As codec_compress(); `level` 0 is the default, `window_bits` 0 or 15 is libdeflate's window. */
int64_t deflate_compress(struct deflate *ctx, int level, int window_bits, const void *src,
                         size_t len, void *dst, size_t cap);

/* As codec_decompress(). */
int deflate_decompress(struct deflate *ctx, const void *src, size_t len, void *dst, size_t dst_len);

#endif
