/*
 * Cutting requests to what a driver takes: aligned ranges, aligned buffers, no
 * longer than its limits.
 *
 * Reads are widened into a bounce buffer. A write that begins or ends inside a
 * block reads that block, changes it and writes it back, holding the range so
 * that no other write can slip in between. What cannot be zeroed by the driver
 * is written as zero bytes. A node may end inside a block: ranges are never
 * widened past the end, neither the old one nor the one a write makes.
 */
#include "libblock/transfer.h"

#include <errno.h>
#include <stdlib.h>

#include "libblock/request.h"

enum { BOUNCE_MAX = 1 << 20 };

static void *bounce_new(const struct blk_node *node, int64_t length)
{
    int64_t align = max_i64(node->limits.memory_align, 64);
    return aligned_alloc(align, align_up(length, align));
}

static int64_t align_end(int64_t end, int64_t align)
{
    return end > INT64_MAX - align ? end : align_up(end, align);
}

bool transfer_is_aligned(const struct blk_node *node, int64_t offset, int64_t length, int64_t align)
{
    return is_aligned(offset, align) &&
           (is_aligned(length, align) || offset + length >= node_size(node));
}

/* True when the driver takes the memory behind `span` as it is. */
static bool memory_is_aligned(const struct blk_node *node, struct span span, int64_t length)
{
    int64_t align = node->limits.memory_align;
    if (align <= 1) {
        return true;
    }
    const struct iovec *iov = span.iov;
    size_t skip = span.skip;
    for (int64_t left = length; left > 0; iov++, skip = 0) {
        int64_t n = min_i64(iov->iov_len - skip, left);
        left -= n;
        if (n && (!is_aligned((intptr_t)iov->iov_base + skip, align) ||
                  (left && !is_aligned(n, node->limits.request_align)))) {
            return false;
        }
    }
    return true;
}

static int driver_co_read(struct blk_node *node, int64_t offset, int64_t length, struct span span)
{
    if (node->driver->co_read) {
        return node->driver->co_read(node, offset, length, span);
    }
    return node->file ? node_co_read(node->file, offset, length, span) : -ENOTSUP;
}

static int driver_co_write(struct blk_node *node, int64_t offset, int64_t length, struct span span,
                           uint32_t flags)
{
    node_co_event(node, BLK_EVENT_PWRITEV);
    if (node->driver->co_write) {
        return node->driver->co_write(node, offset, length, span, flags);
    }
    return node->file ? node_co_write(node->file, offset, length, span, flags) : -EPERM;
}

static int driver_co_zero(struct blk_node *node, int64_t offset, int64_t length, uint32_t flags)
{
    node_co_event(node, BLK_EVENT_PWRITEV_ZERO);
    if (node->driver->co_zero) {
        return node->driver->co_zero(node, offset, length, flags);
    }
    bool pass = node->file && (node->driver->flags & DRIVER_FILTER);
    return pass ? node_co_zero(node->file, offset, length, flags) : -ENOTSUP;
}

static int64_t piece(int64_t length, int64_t max)
{
    return max > 0 ? min_i64(length, max) : length;
}

static int read_co_aligned(struct blk_node *node, int64_t offset, int64_t length, struct span span)
{
    int ret = 0;
    while (length > 0 && !ret) {
        int64_t n = piece(length, node->limits.max_transfer);
        ret = driver_co_read(node, offset, n, span);
        offset += n;
        length -= n;
        span = length ? span_skip(span, n) : span;
    }
    return ret;
}

static int write_co_pieces(struct blk_node *node, int64_t offset, int64_t length, struct span span,
                           uint32_t flags)
{
    int ret = 0;
    while (length > 0 && !ret) {
        int64_t n = piece(length, node->limits.max_transfer);
        ret = driver_co_write(node, offset, n, span, flags);
        offset += n;
        length -= n;
        span = length ? span_skip(span, n) : span;
    }
    return ret;
}

/* Reads the blocks around [offset, +length) through a buffer of our own. */
static int read_co_bounced(struct blk_node *node, int64_t offset, int64_t length, struct span span)
{
    int64_t align = node->limits.request_align;
    int64_t end = offset + length;
    int64_t pos = align_down(offset, align);
    int64_t stop = min_i64(align_end(end, align), node_size(node));
    int64_t chunk = min_i64(stop - pos, max_i64(BOUNCE_MAX, align));
    uint8_t *buf = bounce_new(node, chunk);
    int ret = buf ? 0 : -ENOMEM;
    for (int64_t n; pos < stop && !ret; pos += n) {
        n = min_i64(chunk, stop - pos);
        ret = read_co_aligned(node, pos, n, span_of(&(struct iovec){0}, buf, n));
        int64_t from = max_i64(pos, offset), to = min_i64(pos + n, end);
        if (!ret) {
            span_write(span_skip(span, from - offset), buf + (from - pos), to - from);
        }
    }
    free(buf);
    return ret;
}

int transfer_co_read(struct blk_node *node, int64_t offset, int64_t length, struct span span)
{
    int64_t inside = max_i64(0, min_i64(length, node_size(node) - offset));
    if (inside < length) {
        if (!node->growable) {
            return -EIO;
        }
        span_fill(span_skip(span, inside), 0, length - inside);
        if (!inside) {
            return 0;
        }
    }
    if (transfer_is_aligned(node, offset, inside, node->limits.request_align) &&
        memory_is_aligned(node, span, inside)) {
        return read_co_aligned(node, offset, inside, span);
    }
    return read_co_bounced(node, offset, inside, span);
}

static int write_co_bounced(struct blk_node *node, int64_t offset, int64_t length, struct span span,
                            uint32_t flags)
{
    int64_t chunk = min_i64(length, max_i64(BOUNCE_MAX, node->limits.request_align));
    uint8_t *buf = bounce_new(node, chunk);
    int ret = buf ? 0 : -ENOMEM;
    for (int64_t done = 0, n; done < length && !ret; done += n) {
        n = min_i64(chunk, length - done);
        span_read(span_skip(span, done), buf, n);
        ret = write_co_pieces(node, offset + done, n, span_of(&(struct iovec){0}, buf, n), flags);
    }
    free(buf);
    return ret;
}

int transfer_co_write_aligned(struct blk_node *node, int64_t offset, int64_t length,
                              struct span span, uint32_t flags)
{
    if (memory_is_aligned(node, span, length)) {
        return write_co_pieces(node, offset, length, span, flags);
    }
    return write_co_bounced(node, offset, length, span, flags);
}

/* Changes [offset, +length), which lies in one block, by reading and writing the block. `before` is
 * the event before the read; the one after it follows in the list. */
static int write_co_block(struct blk_node *node, int64_t offset, int64_t length, struct span span,
                          uint32_t flags, enum blk_event before)
{
    int64_t align = node->limits.request_align;
    int64_t start = align_down(offset, align);
    int64_t old_end = min_i64(start + align, max_i64(start, node_size(node)));
    int64_t new_end = max_i64(old_end, offset + length);
    uint8_t *buf = bounce_new(node, align);
    if (!buf) {
        return -ENOMEM;
    }
    memset(buf, 0, align);
    node_co_event(node, before);
    int ret = old_end > start ? read_co_aligned(node, start, old_end - start,
                                                span_of(&(struct iovec){0}, buf, old_end - start))
                              : 0;
    node_co_event(node, before + 1);
    if (!ret) {
        span_read(span, buf + (offset - start), length);
        ret = write_co_pieces(node, start, new_end - start,
                              span_of(&(struct iovec){0}, buf, new_end - start), flags);
    }
    free(buf);
    return ret;
}

/* Writes any range: the block that it begins in, whole blocks, the block that it ends in. */
static int write_co_cut(struct blk_node *node, int64_t offset, int64_t length, struct span span,
                        uint32_t flags)
{
    int64_t align = node->limits.request_align;
    int64_t head = min_i64(length, -offset & (align - 1));
    int64_t tail = (length - head) & (align - 1);
    int64_t middle = length - head - tail;
    if (tail && transfer_is_aligned(node, offset + head, middle + tail, align)) {
        middle += tail;
        tail = 0;
    }
    int ret =
        head ? write_co_block(node, offset, head, span, flags, BLK_EVENT_PWRITEV_RMW_HEAD) : 0;
    if (!ret && middle) {
        ret = transfer_co_write_aligned(node, offset + head, middle, span_skip(span, head), flags);
    }
    if (!ret && tail) {
        ret = write_co_block(node, offset + head + middle, tail, span_skip(span, head + middle),
                             flags, BLK_EVENT_PWRITEV_RMW_TAIL);
    }
    return ret;
}

/* Holds the blocks that [offset, +length) touches. */
static void hold_co_blocks(struct blk_node *node, struct range_hold *hold, int64_t offset,
                           int64_t length, bool exclusive)
{
    int64_t align = node->limits.request_align;
    int64_t start = align_down(offset, align);
    range_lock_co_lock(&node->ranges, hold, start, align_end(offset + length, align) - start,
                       exclusive);
}

int transfer_co_write(struct blk_node *node, int64_t offset, int64_t length, struct span span,
                      uint32_t flags)
{
    int64_t align = node->limits.request_align;
    if (align == 1) {
        return transfer_co_write_aligned(node, offset, length, span, flags);
    }
    bool whole = is_aligned(offset | length, align);
    struct range_hold hold;
    hold_co_blocks(node, &hold, offset, length, !whole);
    int ret = write_co_cut(node, offset, length, span, flags);
    range_lock_unlock(&node->ranges, &hold);
    return ret;
}

/* Writes zero bytes with whatever alignment. */
static int write_co_zeroes(struct blk_node *node, int64_t offset, int64_t length, uint32_t flags)
{
    int64_t chunk = min_i64(length, max_i64(BOUNCE_MAX, node->limits.request_align));
    uint8_t *buf = length ? bounce_new(node, chunk) : NULL;
    if (!buf) {
        return length ? -ENOMEM : 0;
    }
    memset(buf, 0, chunk);
    int ret = 0;
    for (int64_t n; length > 0 && !ret; offset += n, length -= n) {
        n = min_i64(chunk, length);
        ret = write_co_cut(node, offset, n, span_of(&(struct iovec){0}, buf, n), flags);
    }
    free(buf);
    return ret;
}

int transfer_co_zero_aligned(struct blk_node *node, int64_t offset, int64_t length, uint32_t flags)
{
    uint32_t data_flags = flags & REQ_FUA;
    int ret = 0;
    for (int64_t n; length > 0 && !ret; offset += n, length -= n) {
        n = piece(length, node->limits.max_zero);
        ret = driver_co_zero(node, offset, n, flags);
        if (ret == -ENOTSUP && !(flags & REQ_NO_FALLBACK)) {
            return write_co_zeroes(node, offset, length, data_flags);
        }
    }
    return ret;
}

static int zero_co_cut(struct blk_node *node, int64_t offset, int64_t length, uint32_t flags)
{
    int64_t align = node->limits.zero_align;
    if (transfer_is_aligned(node, offset, length, align)) {
        return transfer_co_zero_aligned(node, offset, length, flags);
    }
    if (flags & REQ_NO_FALLBACK) {
        return -ENOTSUP;
    }
    int64_t head = min_i64(length, -offset & (align - 1));
    int64_t tail = offset + length >= node_size(node) ? 0 : (length - head) & (align - 1);
    int64_t middle = length - head - tail;
    int ret = write_co_zeroes(node, offset, head, flags & REQ_FUA);
    ret = ret ? ret : transfer_co_zero_aligned(node, offset + head, middle, flags);
    return ret ? ret : write_co_zeroes(node, offset + head + middle, tail, flags & REQ_FUA);
}

int transfer_co_zero(struct blk_node *node, int64_t offset, int64_t length, uint32_t flags)
{
    if (node->limits.request_align == 1) {
        return zero_co_cut(node, offset, length, flags);
    }
    struct range_hold hold;
    hold_co_blocks(node, &hold, offset, length, true);
    int ret = zero_co_cut(node, offset, length, flags);
    range_lock_unlock(&node->ranges, &hold);
    return ret;
}

int transfer_co_discard(struct blk_node *node, int64_t offset, int64_t length)
{
    const struct blk_driver *driver = node->driver;
    bool pass = node->file && (driver->flags & DRIVER_FILTER);
    if (!driver->co_discard) {
        return pass ? node_co_discard(node->file, offset, length) : 0;
    }
    int64_t align = node->limits.discard_align;
    int64_t end = offset + length;
    end = end == node_size(node) ? end : align_down(end, align);
    offset = align_end(offset, align);
    int ret = 0;
    for (int64_t n; offset < end && !ret; offset += n) {
        n = piece(end - offset, node->limits.max_discard);
        ret = driver->co_discard(node, offset, n);
    }
    return ret == -ENOTSUP ? 0 : ret;
}
