/*
 * Zstandard (RFC 8878) for whole buffers.
 *
 * Decoding first asks where the frame ends, because its stored length is rounded up to sectors and
 * the one-shot decoder takes no trailing bytes; it needs no window of its own, as the output serves
 * for that. Streams that are not one whole frame of the right size take the streaming decoder,
 * whose window is limited.
 */
#include "codec/zstd.h"

#include <errno.h>
#include <zstd.h>
#include <zstd_errors.h>

enum {
    DEFAULT_LEVEL = 3,
    /* Above this level zstd salts its hash tables anew with each use of a context, so that bytes
     * would depend on what a thread compressed before. */
    LAST_REUSABLE_LEVEL = 3,
    MAX_WINDOW_LOG = 23, /* streaming: at most 8 MiB of memory, whatever the frame claims */
};

void zstd_done(struct zstd *ctx)
{
    ZSTD_freeCCtx(ctx->packer);
    ZSTD_freeDCtx(ctx->unpacker);
    *ctx = (struct zstd){0};
}

static int error_code(size_t result)
{
    switch (ZSTD_getErrorCode(result)) {
    case ZSTD_error_dstSize_tooSmall: return -ENOSPC;
    case ZSTD_error_memory_allocation: return -ENOMEM;
    default: return -EIO;
    }
}

int64_t zstd_compress(struct zstd *ctx, int level, const void *src, size_t len, void *dst,
                      size_t cap)
{
    level = level ? level : DEFAULT_LEVEL;
    if (level > LAST_REUSABLE_LEVEL) {
        ZSTD_freeCCtx(ctx->packer);
        ctx->packer = NULL;
    }
    if (!ctx->packer) {
        ctx->packer = ZSTD_createCCtx();
    }
    if (!ctx->packer) {
        return -ENOMEM;
    }
    size_t packed = ZSTD_compressCCtx(ctx->packer, dst, cap, src, len, level);
    return ZSTD_isError(packed) ? error_code(packed) : (int64_t)packed;
}

/* Frame by frame until the output is full. */
static int unpack_streaming(ZSTD_DCtx *unpacker, const void *src, size_t len, void *dst,
                            size_t dst_len)
{
    ZSTD_inBuffer in = {src, len, 0};
    ZSTD_outBuffer out = {dst, dst_len, 0};
    ZSTD_DCtx_reset(unpacker, ZSTD_reset_session_only);
    ZSTD_DCtx_setParameter(unpacker, ZSTD_d_windowLogMax, MAX_WINDOW_LOG);
    while (out.pos < out.size) {
        size_t consumed = in.pos, produced = out.pos;
        size_t result = ZSTD_decompressStream(unpacker, &out, &in);
        if (ZSTD_isError(result)) {
            return error_code(result) == -ENOMEM ? -ENOMEM : -EIO;
        }
        if (in.pos == consumed && out.pos == produced) {
            return -EIO;
        }
    }
    return 0;
}

int zstd_decompress(struct zstd *ctx, const void *src, size_t len, void *dst, size_t dst_len)
{
    if (!ctx->unpacker) {
        ctx->unpacker = ZSTD_createDCtx();
    }
    if (!ctx->unpacker) {
        return -ENOMEM;
    }
    size_t frame = ZSTD_findFrameCompressedSize(src, len);
    if (!ZSTD_isError(frame) &&
        ZSTD_decompressDCtx(ctx->unpacker, dst, dst_len, src, frame) == dst_len) {
        return 0;
    }
    return unpack_streaming(ctx->unpacker, src, len, dst, dst_len);
}
