/*
 * VM state is stored as if the guest's disk went on behind its end, from the next
 * L1 entry on, without a backing file: what was never written there reads as
 * zero. The L1 table grows when it is written.
 */
#include "qcow2/vmstate.h"

#include <errno.h>

#include "qcow2/commit.h"
#include "qcow2/read.h"
#include "qcow2/resize.h"
#include "qcow2/write.h"

enum { CHUNK = 16 * 1024 * 1024 };

static int table_shift(const struct qcow2_image *image)
{
    return image->cluster_bits + image->l2_bits;
}

int64_t qcow2_vmstate_index(const struct qcow2_image *image, int64_t size)
{
    int64_t covers = INT64_C(1) << table_shift(image);
    return size / covers + (size % covers > 0);
}

int64_t qcow2_area_end(const struct qcow2_image *image, int64_t offset)
{
    int64_t size = image->node->size;
    int64_t index = qcow2_vmstate_index(image, size);
    if (offset >> table_shift(image) < index) {
        return size;
    }
    return max_i64(index, image->header.l1_entries) << table_shift(image);
}

/* Where the state begins in the image's own offsets; -EFBIG when `end` does not fit behind. */
static int64_t area_start(const struct qcow2_image *image, int64_t end)
{
    int64_t limit = (INT64_C(1) << table_shift(image)) * (QCOW2_MAX_L1_BYTES / 8);
    int64_t index = qcow2_vmstate_index(image, image->node->size);
    int64_t start = index << table_shift(image);
    return index >= QCOW2_MAX_L1_BYTES / 8 || end > limit - start ? -EFBIG : start;
}

int qcow2_co_vmstate_read(struct blk_node *node, int64_t offset, int64_t length, struct span span)
{
    struct qcow2_image *image = qcow2_image(node);
    int64_t start = area_start(image, offset + length);
    if (start < 0) {
        return (int)start;
    }
    struct range_hold hold;
    int64_t first = image_cluster_start(image, start + offset);
    range_lock_co_lock(&image->guest, &hold, first,
                       image_cluster_end(image, start + offset + length) - first, false);
    int ret = qcow2_co_read_held(image, start + offset, length, span);
    range_lock_unlock(&image->guest, &hold);
    return ret;
}

/* Writes at the image's own `offset`; L1 is large enough. */
static int co_write_area(struct qcow2_image *image, int64_t offset, int64_t length,
                         struct span span)
{
    struct range_hold hold;
    int64_t first = image_cluster_start(image, offset);
    int ret = qcow2_co_write_begin(image);
    if (ret) {
        return ret;
    }
    range_lock_co_lock(&image->guest, &hold, first,
                       image_cluster_end(image, offset + length) - first, true);
    ret = qcow2_co_write_held(image, offset, length, span);
    range_lock_unlock(&image->guest, &hold);
    return ret;
}

int qcow2_co_vmstate_write(struct blk_node *node, int64_t offset, int64_t length, struct span span)
{
    struct qcow2_image *image = qcow2_image(node);
    int64_t start = area_start(image, offset + length);
    int ret = start < 0 ? (int)start : qcow2_co_write_begin(image);
    if (ret) {
        return ret;
    }
    int64_t entries = ((start + offset + length - 1) >> table_shift(image)) + 1;
    ret = qcow2_co_l1_reach(image, entries);
    for (int64_t done = 0, n; done < length && !ret; done += n) {
        n = min_i64(CHUNK, length - done);
        ret = co_write_area(image, start + offset + done, n,
                            done ? span_skip(span, (size_t)done) : span);
    }
    return ret;
}
