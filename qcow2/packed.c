/*
 * A compressed write takes one cluster at a time: compress in the pool, take room
 * behind the last compressed cluster, write, link. Data that does not get smaller
 * is written as it is. The last cluster of the disk is filled up with zeroes.
 */
#include "qcow2/qcow2.h"

#include <errno.h>

#include "qcow2/alloc.h"
#include "qcow2/commit.h"
#include "qcow2/link.h"
#include "qcow2/write.h"

/* One cluster to compress, for the pool. */
struct pack {
    struct codec_options options;
    const void *data;
    void *out;
    int64_t length; /* of data; the output is shorter or useless */
};

static int64_t pack_run(void *arg)
{
    struct pack *p = arg;
    struct codec_ctx *ctx = codec_ctx_new(&p->options);
    if (!ctx) {
        return -ENOMEM;
    }
    int64_t ret = codec_compress(ctx, p->data, (size_t)p->length, p->out, (size_t)p->length - 1);
    codec_ctx_free(ctx);
    return ret;
}

static int co_store(struct qcow2_image *image, int64_t guest, const void *packed, int64_t length)
{
    int64_t host;
    int ret = qcow2_co_alloc_packed(image, length, &host);
    if (ret) {
        return ret;
    }
    if (!qcow2_packed_fits(host, length, image->cluster_bits)) {
        ret = -EFBIG;
    }
    node_co_event(image->node->file, BLK_EVENT_WRITE_COMPRESSED);
    ret = ret ? ret : node_co_pwrite(image->node->file, host, length, packed);
    ret = ret ? ret : qcow2_co_link_packed(image, guest, host, length);
    if (ret) {
        qcow2_co_alloc_undo(image, host, length);
    }
    return ret;
}

static int co_write_cluster(struct qcow2_image *image, int64_t guest, struct span span,
                            int64_t length)
{
    int64_t size = image->cluster_size;
    uint8_t *buf = g_try_malloc((gsize)(2 * size));
    if (!buf) {
        return -ENOMEM;
    }
    span_read(span, buf, (size_t)length);
    memset(buf + length, 0, (size_t)(size - length));
    bool zstd = image->header.compression == QCOW2_ZSTD;
    struct pack pack = {.options = {.codec = zstd ? CODEC_ZSTD : CODEC_DEFLATE},
                        .data = buf,
                        .out = buf + size,
                        .length = size};
    int64_t packed = co_offload(pack_run, &pack);
    int ret = packed > 0 ? co_store(image, guest, pack.out, packed) : (int)packed;
    if (ret == -ENOSPC && packed == -ENOSPC) {
        ret = qcow2_co_write_held(image, guest, length, span);
    }
    g_free(buf);
    return ret;
}

int qcow2_co_write_compressed(struct blk_node *node, int64_t offset, int64_t length,
                              struct span span)
{
    struct qcow2_image *image = qcow2_image(node);
    int64_t end = offset + length;
    if (!is_aligned(offset, image->cluster_size) ||
        (!is_aligned(end, image->cluster_size) && end != node->size) || end > node->size) {
        return -EINVAL;
    }
    int ret = 0;
    for (int64_t n; offset < end && !ret; offset += n) {
        struct range_hold hold;
        n = min_i64(image->cluster_size, end - offset);
        ret = qcow2_co_write_begin(image);
        if (ret) {
            return ret;
        }
        range_lock_co_lock(&image->guest, &hold, offset, image->cluster_size, true);
        ret = co_write_cluster(image, offset, span, n);
        range_lock_unlock(&image->guest, &hold);
        span = offset + n < end ? span_skip(span, (size_t)n) : span;
    }
    return ret;
}
