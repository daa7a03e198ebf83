/*
 * A read walks its extents: data from the file, holes from the backing file (and
 * zeroes past its end), zero clusters from nowhere, compressed clusters through
 * the pool. Readers hold their clusters shared, so that none of them is freed
 * and used again under a read.
 */
#include "qcow2/read.h"

#include <errno.h>
#include <stdlib.h>

#include "qcow2/vmstate.h"

/* One cluster to unpack, for the pool. */
struct unpack {
    struct codec_ctx *ctx;
    const void *packed;
    int64_t packed_length;
    void *out;
    int64_t out_length;
};

static int64_t unpack_run(void *arg)
{
    struct unpack *u = arg;
    return codec_decompress(u->ctx, u->packed, (size_t)u->packed_length, u->out,
                            (size_t)u->out_length);
}

static struct codec_ctx *codec_take(struct qcow2_image *image)
{
    if (image->codec_count) {
        return image->codecs[--image->codec_count];
    }
    struct codec_options options = {
        .codec = image->header.compression == QCOW2_ZSTD ? CODEC_ZSTD : CODEC_DEFLATE};
    return codec_ctx_new(&options);
}

static void codec_give(struct qcow2_image *image, struct codec_ctx *ctx)
{
    if (image->codec_count < (int)G_N_ELEMENTS(image->codecs)) {
        image->codecs[image->codec_count++] = ctx;
    } else {
        codec_ctx_free(ctx);
    }
}

/* Unpacks the first `length` bytes of a compressed cluster into `out`. */
static int co_unpack(struct qcow2_image *image, const struct qcow2_extent *extent, int64_t length,
                     void *out)
{
    void *packed = g_try_malloc((gsize)extent->packed_length);
    if (!packed) {
        return -ENOMEM;
    }
    node_co_event(image->node->file, BLK_EVENT_READ_COMPRESSED);
    int ret = node_co_pread(image->node->file, extent->host_off, extent->packed_length, packed);
    if (!ret) {
        struct unpack unpack = {codec_take(image), packed, extent->packed_length, out, length};
        ret = unpack.ctx ? (int)co_offload(unpack_run, &unpack) : -ENOMEM;
        if (unpack.ctx) {
            codec_give(image, unpack.ctx);
        }
    }
    g_free(packed);
    return ret;
}

static int co_read_compressed(struct qcow2_image *image, const struct qcow2_extent *extent,
                              struct span span)
{
    int64_t into = extent->offset & (image->cluster_size - 1);
    void *flat = into ? NULL : span_flat(span, (size_t)extent->length);
    if (flat) {
        return co_unpack(image, extent, extent->length, flat);
    }
    uint8_t *cluster = g_try_malloc((gsize)(into + extent->length));
    if (!cluster) {
        return -ENOMEM;
    }
    int ret = co_unpack(image, extent, into + extent->length, cluster);
    if (!ret) {
        span_write(span, cluster + into, (size_t)extent->length);
    }
    g_free(cluster);
    return ret;
}

static int co_read_backing(struct qcow2_image *image, const struct qcow2_extent *extent,
                           struct span span)
{
    struct blk_node *backing = image->node->backing;
    bool shows = backing && extent->offset < image->node->size;
    int64_t inside = shows ? min_i64(node_size(backing) - extent->offset, extent->length) : 0;
    inside = max_i64(inside, 0);
    if (inside < extent->length) {
        span_fill(span_skip(span, (size_t)inside), 0, (size_t)(extent->length - inside));
    }
    node_co_event(image->node->file, BLK_EVENT_READ_BACKING_AIO);
    return inside ? node_co_read(backing, extent->offset, inside, span) : 0;
}

/* The last cluster of a file may be cut short; what is missing reads as zero. */
static int co_read_data(struct qcow2_image *image, const struct qcow2_extent *extent,
                        struct span span)
{
    struct blk_node *file = image->node->file;
    int64_t inside = max_i64(0, min_i64(node_size(file) - extent->host_off, extent->length));
    if (inside < extent->length) {
        span_fill(span_skip(span, (size_t)inside), 0, (size_t)(extent->length - inside));
    }
    node_co_event(file, BLK_EVENT_READ_AIO);
    return inside ? node_co_read(file, extent->host_off, inside, span) : 0;
}

static int co_read_extent(struct qcow2_image *image, const struct qcow2_extent *extent,
                          struct span span)
{
    switch (extent->kind) {
    case QCOW2_NORMAL: return co_read_data(image, extent, span);
    case QCOW2_UNALLOCATED: return co_read_backing(image, extent, span);
    case QCOW2_COMPRESSED: return co_read_compressed(image, extent, span);
    default: span_fill(span, 0, (size_t)extent->length); return 0;
    }
}

int qcow2_co_read_held(struct qcow2_image *image, int64_t offset, int64_t length, struct span span)
{
    int64_t inside = max_i64(0, min_i64(length, qcow2_area_end(image, offset) - offset));
    if (inside < length) {
        span_fill(span_skip(span, (size_t)inside), 0, (size_t)(length - inside));
    }
    while (inside > 0) {
        struct qcow2_extent extent;
        int ret = qcow2_co_lookup(image, offset, inside, &extent);
        ret = ret ? ret : co_read_extent(image, &extent, span);
        if (ret) {
            return ret;
        }
        offset += extent.length;
        inside -= extent.length;
        if (inside > 0) {
            span = span_skip(span, (size_t)extent.length);
        }
    }
    return 0;
}

int qcow2_co_read(struct blk_node *node, int64_t offset, int64_t length, struct span span)
{
    struct qcow2_image *image = qcow2_image(node);
    struct range_hold hold;
    int64_t start = image_cluster_start(image, offset);
    range_lock_co_lock(&image->guest, &hold, start,
                       image_cluster_end(image, offset + length) - start, false);
    int ret = qcow2_co_read_held(image, offset, length, span);
    range_lock_unlock(&image->guest, &hold);
    return ret;
}
