/*
 * Three kinds of extents: plain bytes of a leaf are read where they are wanted; compressed clusters
 * that lie close together in the file come in with one read and are unpacked from there; what
 * has no leaf is asked of its node in the owner's loop. With salvage, a range that fails is halved
 * until the unreadable sectors are found.
 */
#include "libblock/jobs/reader.h"

#include <errno.h>
#include <stdlib.h>

#include "libblock/jobs/batch.h"

enum {
    BUFFER_ALIGN = 4096,
    PACKED_MAX = 1024 * 1024, /* compressed bytes read at once */
    PACKED_GAP = 64 * 1024,   /* unwanted bytes between two clusters that are still read over */
    SALVAGE_UNIT = 512,
};

void *buffer_try_new(size_t size)
{
    void *buffer;
    return posix_memalign(&buffer, BUFFER_ALIGN, size) == 0 ? buffer : NULL;
}

void buffer_free(void *buffer)
{
    free(buffer);
}

void reader_share_done(struct reader_share *share)
{
    codec_ctx_free(share->codecs[CODEC_DEFLATE]);
    codec_ctx_free(share->codecs[CODEC_ZSTD]);
    buffer_free(share->cluster);
}

void reader_init(struct reader *reader, struct reader_share *share, struct loop *owner,
                 const struct reader_salvage *salvage)
{
    *reader = (struct reader){.owner = owner, .share = share};
    if (salvage) {
        reader->salvage = *salvage;
    }
}

void reader_done(struct reader *reader)
{
    buffer_free(reader->packed);
}

/* Grows a buffer whose contents are not needed; `size` is bounded by what the formats allow. */
static bool reserve(uint8_t **buffer, size_t *size, size_t wanted)
{
    if (*size < wanted) {
        buffer_free(*buffer);
        *buffer = buffer_try_new(wanted);
        *size = *buffer ? wanted : 0;
    }
    return *buffer != NULL;
}

static int failed_at(struct reader *reader, struct blk_node *node, int64_t offset, int error)
{
    reader->failed_node = node;
    reader->failed_offset = offset;
    return error;
}

/* ---- plain bytes ---- */

struct owner_read {
    struct blk_node *node;
    int64_t offset, length;
    void *buf;
    int result;
};

static void owner_co_read(void *arg)
{
    struct owner_read *read = arg;
    struct iovec slot;
    read->result = node_co_read(read->node, read->offset, read->length,
                                span_of(&slot, read->buf, read->length));
}

/* Reads [offset, +length) of what the extent stands for. */
static int co_read_plain(struct reader *reader, const struct blk_extent *extent, int64_t offset,
                         int64_t length, uint8_t *buf)
{
    int64_t at = extent->leaf_offset + (offset - extent->offset);
    if (extent->flags & EXTENT_OFFSET) {
        return leaf_co_read(extent->leaf, at, length, buf);
    }
    struct owner_read read = {extent->leaf, at, length, buf, 0};
    return loop_co_call(reader->owner, owner_co_read, &read) ? read.result : -ENOMEM;
}

/* ---- salvage ---- */

/* A range found unreadable; neighbours are told of together. */
struct damage {
    struct reader *reader;
    int64_t offset, length;
    int error;
    int fatal; /* -ENOMEM when something could not be read, or told, for want of memory */
};

static void damage_co_tell(void *arg)
{
    struct damage *damage = arg;
    const struct reader_salvage *salvage = &damage->reader->salvage;
    if (salvage->unreadable) {
        salvage->unreadable(damage->offset, damage->length, damage->error, salvage->user);
    }
}

static void damage_co_flush(struct damage *damage)
{
    if (damage->length) {
        bool told = loop_co_call(damage->reader->owner, damage_co_tell, damage);
        damage->fatal = told ? damage->fatal : -ENOMEM;
        damage->length = 0;
    }
}

static void damage_co_add(struct damage *damage, int64_t offset, int64_t length, int error)
{
    if (damage->length && damage->offset + damage->length == offset && damage->error == error) {
        damage->length += length;
        return;
    }
    damage_co_flush(damage);
    damage->offset = offset;
    damage->length = length;
    damage->error = error;
}

/* Reads what can be read and zeroes the rest. */
static void co_salvage(struct damage *damage, const struct blk_extent *extent, int64_t offset,
                       int64_t length, uint8_t *buf)
{
    int ret = co_read_plain(damage->reader, extent, offset, length, buf);
    damage->fatal = ret == -ENOMEM ? ret : damage->fatal;
    if (!ret || damage->fatal) {
        return;
    }
    if (length <= SALVAGE_UNIT) {
        memset(buf, 0, length);
        damage_co_add(damage, offset, length, -ret);
        return;
    }
    int64_t half = align_up(length / 2, SALVAGE_UNIT);
    co_salvage(damage, extent, offset, half, buf);
    if (length > half) {
        co_salvage(damage, extent, offset + half, length - half, buf + half);
    }
}

static int co_read_extent(struct reader *reader, const struct blk_extent *extent, int64_t offset,
                          int64_t length, uint8_t *buf)
{
    int ret = co_read_plain(reader, extent, offset, length, buf);
    if (ret && reader->salvage.enabled) {
        struct damage damage = {.reader = reader};
        co_salvage(&damage, extent, offset, length, buf);
        damage_co_flush(&damage);
        ret = damage.fatal;
    }
    return ret ? failed_at(reader, extent->leaf, extent->leaf_offset + offset - extent->offset, ret)
               : 0;
}

/* ---- compressed clusters ---- */

static int64_t packed_end(const struct blk_extent *extent)
{
    return extent->leaf_offset + extent->packed_length;
}

/* How many of the extents from `first` on, none at or past `end`, are worth one read. */
static int packed_group(const struct extent_list *list, int first, int64_t end)
{
    const struct blk_extent *head = &list->items[first];
    int i = first + 1;
    for (; i < list->count; i++) {
        const struct blk_extent *last = &list->items[i - 1], *next = &list->items[i];
        if (!(next->flags & EXTENT_COMPRESSED) || next->offset >= end || next->leaf != head->leaf ||
            next->leaf_offset < last->leaf_offset ||
            next->leaf_offset > packed_end(last) + PACKED_GAP ||
            packed_end(next) - head->leaf_offset > PACKED_MAX) {
            break;
        }
    }
    return i - first;
}

static struct codec_ctx *share_codec(struct reader_share *share, enum codec codec)
{
    if (!share->codecs[codec]) {
        share->codecs[codec] = codec_ctx_new(&(struct codec_options){.codec = codec});
    }
    return share->codecs[codec];
}

/* Unpacks the part of a cluster that [offset, end) wants; `buf` is where `offset` goes. */
static int unpack(struct reader *reader, const struct blk_extent *extent, const uint8_t *packed,
                  int64_t packed_length, int64_t offset, int64_t end, uint8_t *buf)
{
    struct reader_share *share = reader->share;
    struct codec_ctx *ctx = share_codec(share, extent->codec);
    int64_t from = max_i64(offset, extent->offset);
    int64_t to = min_i64(end, extent->offset + extent->length);
    if (from == extent->offset) {
        return codec_decompress(ctx, packed, packed_length, buf + (from - offset), to - from);
    }
    if (!reserve(&share->cluster, &share->cluster_size, extent->length)) {
        return -ENOMEM;
    }
    int ret = codec_decompress(ctx, packed, packed_length, share->cluster, to - extent->offset);
    if (!ret) {
        memcpy(buf + (from - offset), share->cluster + (from - extent->offset), to - from);
    }
    return ret;
}

static int co_unpack_or_salvage(struct reader *reader, const struct blk_extent *extent,
                                const uint8_t *packed, int64_t packed_length, int64_t offset,
                                int64_t end, uint8_t *buf)
{
    int ret = unpack(reader, extent, packed, packed_length, offset, end, buf);
    if (ret && ret != -ENOMEM && reader->salvage.enabled) {
        struct damage damage = {.reader = reader};
        int64_t from = max_i64(offset, extent->offset);
        int64_t to = min_i64(end, extent->offset + extent->length);
        memset(buf + (from - offset), 0, to - from);
        damage_co_add(&damage, from, to - from, -ret);
        damage_co_flush(&damage);
        ret = damage.fatal;
    }
    return ret ? failed_at(reader, extent->leaf, extent->leaf_offset, ret) : 0;
}

/* Reads and unpacks `count` neighbours. */
static int co_read_packed(struct reader *reader, const struct blk_extent *extents, int count,
                          int64_t offset, int64_t end, uint8_t *buf)
{
    struct blk_node *leaf = extents[0].leaf;
    int64_t start = align_down(extents[0].leaf_offset, BUFFER_ALIGN);
    int64_t stop = 0;
    for (int i = 0; i < count; i++) {
        stop = max_i64(stop, packed_end(&extents[i]));
    }
    stop = min_i64(align_up(stop, BUFFER_ALIGN), node_size(leaf));
    if (stop <= extents[count - 1].leaf_offset) {
        return failed_at(reader, leaf, extents[count - 1].leaf_offset, -EIO);
    }
    if (!reserve(&reader->packed, &reader->packed_size,
                 max_i64(stop - start, PACKED_MAX + 2 * BUFFER_ALIGN))) {
        return failed_at(reader, leaf, start, -ENOMEM);
    }
    int ret = leaf_co_read(leaf, start, stop - start, reader->packed);
    if (ret && !reader->salvage.enabled) {
        return failed_at(reader, leaf, start, ret);
    }
    for (int i = 0; i < count; i++) {
        const struct blk_extent *extent = &extents[i];
        int64_t length = ret ? 0 : min_i64(packed_end(extent), stop) - extent->leaf_offset;
        int done = co_unpack_or_salvage(
            reader, extent, reader->packed + extent->leaf_offset - start, length, offset, end, buf);
        if (done) {
            return done;
        }
    }
    return 0;
}

int reader_co_read(struct reader *reader, const struct extent_list *list, int64_t offset,
                   int64_t length, uint8_t *buf)
{
    int64_t pos = offset, end = offset + length;
    int i = extents_find(list, offset);
    while (i < list->count && list->items[i].offset < end) {
        const struct blk_extent *extent = &list->items[i];
        int64_t from = max_i64(pos, extent->offset);
        bool packed = extent->flags & EXTENT_COMPRESSED;
        int count = packed ? packed_group(list, i, end) : 1;
        memset(buf + (pos - offset), 0, from - pos);
        for (int j = i + 1; packed && j < i + count; j++) {
            const struct blk_extent *last = &list->items[j - 1];
            int64_t gap = last->offset + last->length;
            memset(buf + (gap - offset), 0, list->items[j].offset - gap);
        }
        const struct blk_extent *last = &list->items[i + count - 1];
        int64_t to = min_i64(end, last->offset + last->length);
        int ret = packed ? co_read_packed(reader, extent, count, offset, end, buf)
                         : co_read_extent(reader, extent, from, to - from, buf + (from - offset));
        if (ret) {
            return ret;
        }
        pos = to;
        i += count;
    }
    memset(buf + (pos - offset), 0, end - pos);
    return 0;
}
