/*
 * Compression behind one pair of calls: whole buffers in, whole buffers out,
 * with contexts that a thread reuses.
 *
 * Deflate means raw deflate (RFC 1951) without a zlib header, as qcow2 stores it.
 */
#ifndef CAIRN_CODEC_H
#define CAIRN_CODEC_H

#include <glib.h>
#include <stddef.h>
#include <stdint.h>

enum codec {
    CODEC_DEFLATE, /* libdeflate; a 4 KiB window through zlib */
    CODEC_ZSTD,
};

struct codec_options {
    enum codec codec;
    int level;       /* 0: the default of the codec */
    int window_bits; /* deflate: 12 or 15; 0: 15 */
};

/* One thread's reusable state; not thread safe. Made lazily inside, so it is cheap until used. */
struct codec_ctx;
struct codec_ctx *codec_ctx_new(const struct codec_options *options);
void codec_ctx_free(struct codec_ctx *ctx);

/* Compresses `len` bytes into at most `cap` bytes. Returns the compressed length, -ENOSPC when it
 * does not fit (the data is not worth compressing), -ENOMEM or -EIO. The bytes depend on the input
 * and the options only. */
int64_t codec_compress(struct codec_ctx *ctx, const void *src, size_t len, void *dst, size_t cap);

/* Fills exactly `dst_len` bytes. `len` may reach past the end of the stream (qcow2 counts 512-byte
 * sectors); a stream that would produce more is cut off, one that produces less is an error. 0 or
 * -EIO/-ENOMEM. */
int codec_decompress(struct codec_ctx *ctx, const void *src, size_t len, void *dst, size_t dst_len);

#endif
