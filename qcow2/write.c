/*
 * A write goes to clusters that are the guest's alone in place. Everything else
 * (holes, zero clusters, compressed or shared ones) is written to clusters that
 * nothing refers to yet, whole, and then linked:
 *
 *     guest     |  head  |======= data =======|  tail  |
 *     clusters  |              |              |              |
 *     host      |  head  + data + tail, one write            |
 *
 * Head and tail are what the guest would read there now. Where that is zero and
 * the host clusters have never been written, they are left out: the file reads as
 * zero there. In place writers share their clusters' lock; others hold it alone,
 * so that two writes to one new cluster do not both allocate it.
 */
#include "qcow2/write.h"

#include <errno.h>
#include <stdlib.h>

#include "qcow2/alloc.h"
#include "qcow2/commit.h"
#include "qcow2/corrupt.h"
#include "qcow2/link.h"
#include "qcow2/read.h"
#include "qcow2/vmstate.h"

enum { MAX_IOV = 32 };

/* A stretch of a write that goes to new clusters, or fills allocated zero clusters. */
struct fill {
    struct qcow2_image *image;
    int64_t offset, length; /* guest bytes to write */
    struct span span;
    int64_t guest, count; /* clusters around them */
    int64_t host;         /* where they go */
    bool fresh;
    int64_t head, tail; /* bytes before and after the data to be written too */
};

/* True when guest [offset, +length) reads as zero without looking at data. */
static int co_is_zero(struct qcow2_image *image, int64_t offset, int64_t length, bool *ret_zero)
{
    int64_t end = min_i64(offset + length, qcow2_area_end(image, offset));
    *ret_zero = true;
    while (offset < end && *ret_zero) {
        struct qcow2_extent extent;
        int ret = qcow2_co_lookup(image, offset, end - offset, &extent);
        if (ret) {
            return ret;
        }
        struct blk_node *backing = image->node->backing;
        int64_t backed = backing ? min_i64(node_size(backing), image->node->size) : 0;
        bool hole = extent.kind == QCOW2_UNALLOCATED && offset >= backed;
        *ret_zero = hole || extent.kind == QCOW2_ZERO || extent.kind == QCOW2_ZERO_ALLOC;
        offset += extent.length;
    }
    return 0;
}

/* Leaves out head and tail where the file reads as the guest would anyway. */
static int co_trim_fill(struct fill *f)
{
    bool zero = false;
    int ret = f->head && f->fresh ? co_is_zero(f->image, f->guest, f->head, &zero) : 0;
    f->head = zero ? 0 : f->head;
    if (!ret) {
        zero = false;
        ret = f->tail && f->fresh ? co_is_zero(f->image, f->offset + f->length, f->tail, &zero) : 0;
        f->tail = zero ? 0 : f->tail;
    }
    return ret;
}

/* Reads what surrounds the data into `buf`: first the head, then the tail. */
static int co_read_around(struct fill *f, uint8_t *buf)
{
    struct iovec head, tail;
    node_co_event(f->image->node->file, BLK_EVENT_COW_READ);
    int ret = f->head ? qcow2_co_read_held(f->image, f->offset - f->head, f->head,
                                           span_of(&head, buf, (size_t)f->head))
                      : 0;
    return ret || !f->tail ? ret
                           : qcow2_co_read_held(f->image, f->offset + f->length, f->tail,
                                                span_of(&tail, buf + f->head, (size_t)f->tail));
}

/* Head, data and tail as one write; `buf` holds head and tail. */
static int co_write_joined(struct fill *f, uint8_t *buf, int64_t at)
{
    struct iovec iov[MAX_IOV + 2] = {{buf, (size_t)f->head}};
    int n = 0, first = f->head ? 1 : 0;
    int64_t total = f->head + f->length + f->tail;
    struct blk_node *file = f->image->node->file;
    node_co_event(file, BLK_EVENT_COW_WRITE);
    node_co_event(file, BLK_EVENT_WRITE_AIO);
    if ((int64_t)span_to_iov(f->span, (size_t)f->length, iov + first, MAX_IOV, &n) == f->length) {
        iov[first + n] = (struct iovec){buf + f->head, (size_t)f->tail};
        return node_co_write(file, at, total, (struct span){iov, 0}, 0);
    }
    uint8_t *flat = g_try_malloc((gsize)total);
    if (!flat) {
        return -ENOMEM;
    }
    memcpy(flat, buf, (size_t)f->head);
    span_read(f->span, flat + f->head, (size_t)f->length);
    memcpy(flat + f->head + f->length, buf + f->head, (size_t)f->tail);
    int ret = node_co_pwrite(file, at, total, flat);
    g_free(flat);
    return ret;
}

/* Writes the fill's clusters. Nothing refers to their new contents yet. */
static int co_write_fill(struct fill *f)
{
    int ret = co_trim_fill(f);
    int64_t at = f->host + (f->offset - f->guest) - f->head;
    if (ret) {
        return ret;
    }
    if (!f->head && !f->tail) {
        node_co_event(f->image->node->file, BLK_EVENT_WRITE_AIO);
        return node_co_write(f->image->node->file, at, f->length, f->span, 0);
    }
    uint8_t *buf = g_try_malloc((gsize)(f->head + f->tail));
    ret = buf ? co_read_around(f, buf) : -ENOMEM;
    ret = ret ? ret : co_write_joined(f, buf, at);
    g_free(buf);
    return ret;
}

/* Cuts the fill to `count` clusters and computes what surrounds the data. */
static void fill_limit(struct fill *f, int64_t count)
{
    struct qcow2_image *image = f->image;
    int64_t end = f->guest + (count << image->cluster_bits);
    f->count = count;
    f->length = min_i64(f->length, end - f->offset);
    f->head = f->offset - f->guest;
    f->tail = end - (f->offset + f->length);
}

static int co_fill_new(struct fill *f)
{
    struct qcow2_image *image = f->image;
    struct qcow2_run run;
    int ret = qcow2_co_alloc(image, f->count, &run);
    if (ret) {
        return ret;
    }
    f->host = run.offset;
    f->fresh = run.fresh;
    fill_limit(f, run.count);
    int64_t done = 0;
    ret = co_write_fill(f);
    ret = ret ? ret : qcow2_co_link(image, f->guest, f->host, f->count, &done);
    if (ret && done < f->count) {
        qcow2_co_alloc_undo(image, f->host + (done << image->cluster_bits),
                            (f->count - done) << image->cluster_bits);
    }
    return ret;
}

/* Zero clusters that have host clusters of their own: the data goes there. */
static int co_fill_allocated(struct fill *f, const struct qcow2_extent *extent)
{
    struct qcow2_image *image = f->image;
    int64_t done;
    f->host = image_cluster_start(image, extent->host_off);
    fill_limit(f, f->count);
    if (qcow2_is_metadata(image, f->host >> image->cluster_bits, f->count)) {
        return qcow2_co_corrupt(image, "data cluster", f->host);
    }
    int ret = co_write_fill(f);
    return ret ? ret : qcow2_co_link(image, f->guest, f->host, f->count, &done);
}

static bool is_in_place(const struct qcow2_extent *extent)
{
    return extent->kind == QCOW2_NORMAL && extent->copied;
}

static bool is_allocated_zero(const struct qcow2_extent *extent)
{
    return extent->kind == QCOW2_ZERO_ALLOC && extent->copied;
}

/* How far from `extent` on everything needs new clusters, at most `length` bytes. */
static int co_measure_new(struct qcow2_image *image, const struct qcow2_extent *extent,
                          int64_t length, int64_t *ret_length)
{
    int64_t have = extent->length;
    while (have < length) {
        struct qcow2_extent next;
        int ret = qcow2_co_lookup(image, extent->offset + have, length - have, &next);
        if (ret) {
            return ret;
        }
        if (is_in_place(&next) || is_allocated_zero(&next)) {
            break;
        }
        have += next.length;
    }
    *ret_length = have;
    return 0;
}

static int co_write_in_place(struct qcow2_image *image, const struct qcow2_extent *extent,
                             struct span span)
{
    int64_t first = extent->host_off >> image->cluster_bits;
    int64_t last = (extent->host_off + extent->length - 1) >> image->cluster_bits;
    if (qcow2_is_metadata(image, first, last - first + 1)) {
        return qcow2_co_corrupt(image, "data cluster", first << image->cluster_bits);
    }
    node_co_event(image->node->file, BLK_EVENT_WRITE_AIO);
    return node_co_write(image->node->file, extent->host_off, extent->length, span, 0);
}

/* Writes what `extent`, where the write begins, allows in one go. */
static int co_write_some(struct qcow2_image *image, const struct qcow2_extent *extent,
                         int64_t length, struct span span, int64_t *ret_length)
{
    if (is_in_place(extent)) {
        *ret_length = extent->length;
        return co_write_in_place(image, extent, span);
    }
    int64_t guest = image_cluster_start(image, extent->offset);
    struct fill fill = {.image = image, .offset = extent->offset, .span = span, .guest = guest};
    int ret = 0;
    if (is_allocated_zero(extent)) {
        fill.length = extent->length;
    } else {
        ret = co_measure_new(image, extent, length, &fill.length);
    }
    fill.count = div_up(extent->offset + fill.length - guest, image->cluster_size);
    if (!ret) {
        ret = is_allocated_zero(extent) ? co_fill_allocated(&fill, extent) : co_fill_new(&fill);
    }
    *ret_length = fill.length;
    return ret;
}

int qcow2_co_write_held(struct qcow2_image *image, int64_t offset, int64_t length, struct span span)
{
    while (length > 0) {
        struct qcow2_extent extent;
        int64_t done;
        int ret = qcow2_co_lookup(image, offset, length, &extent);
        ret = ret ? ret : co_write_some(image, &extent, length, span, &done);
        if (ret) {
            return ret;
        }
        offset += done;
        length -= done;
        if (length > 0) {
            span = span_skip(span, (size_t)done);
        }
    }
    return 0;
}

/* Writes the front part that goes in place; *ret_length is how much that was. */
static int co_write_front(struct qcow2_image *image, int64_t offset, int64_t length,
                          struct span span, int64_t *ret_length)
{
    int64_t done = 0;
    int ret = 0;
    while (done < length && !ret) {
        struct qcow2_extent extent;
        ret = qcow2_co_lookup(image, offset + done, length - done, &extent);
        if (ret || !is_in_place(&extent)) {
            break;
        }
        ret = co_write_in_place(image, &extent, done ? span_skip(span, (size_t)done) : span);
        done += extent.length;
    }
    *ret_length = done;
    return ret;
}

static void co_hold(struct qcow2_image *image, struct range_hold *hold, int64_t offset,
                    int64_t length, bool exclusive)
{
    int64_t start = image_cluster_start(image, offset);
    range_lock_co_lock(&image->guest, hold, start,
                       image_cluster_end(image, offset + length) - start, exclusive);
}

int qcow2_co_write(struct blk_node *node, int64_t offset, int64_t length, struct span span,
                   uint32_t flags)
{
    struct qcow2_image *image = qcow2_image(node);
    struct range_hold hold;
    int64_t done;
    int ret = qcow2_co_write_begin(image);
    if (ret) {
        return ret;
    }
    co_hold(image, &hold, offset, length, false);
    ret = co_write_front(image, offset, length, span, &done);
    range_lock_unlock(&image->guest, &hold);
    if (ret || done >= length) {
        return ret;
    }
    co_hold(image, &hold, offset + done, length - done, true);
    ret = qcow2_co_write_held(image, offset + done, length - done,
                              done ? span_skip(span, (size_t)done) : span);
    range_lock_unlock(&image->guest, &hold);
    return ret;
}
