/*
 * New clusters are taken from the end of the file, where it reads as zero once it
 * is made longer: that comes before any table refers to them. In a file of fixed
 * length free clusters may hold old data and are zeroed.
 */
#include "qcow2/preallocate.h"

#include <errno.h>

#include "qcow2/alloc.h"
#include "qcow2/commit.h"
#include "qcow2/link.h"
#include "qcow2/map.h"

/* Takes clusters behind everything that was ever written, if the file can grow. */
static int co_take_fresh(struct qcow2_image *image, int64_t want, struct qcow2_run *ret_run)
{
    int64_t hint = image->free_hint;
    if (image->node->file->growable) {
        image->free_hint = image->fresh_from >> image->cluster_bits;
    }
    int ret = qcow2_co_alloc(image, want, ret_run);
    image->free_hint = image->node->file->growable ? hint : image->free_hint;
    return ret;
}

/* Makes the clusters of `run` read as zero. */
static int co_clear(struct qcow2_image *image, const struct qcow2_run *run, const char *mode)
{
    struct blk_node *file = image->node->file;
    int64_t length = run->count << image->cluster_bits, end = run->offset + length;
    bool metadata = !strcmp(mode, "metadata");
    GError *error = NULL;
    if (!run->fresh) {
        return node_co_zero(file, run->offset, length, metadata ? REQ_MAY_UNMAP : 0);
    }
    if (node_size(file) >= end || node_co_resize(file, end, metadata ? "off" : mode, &error)) {
        return 0;
    }
    int ret = -error_errno(error);
    g_error_free(error);
    return ret;
}

/* Gives clusters to the guest range that begins at `guest`; *ret_count: how many. */
static int co_fill(struct qcow2_image *image, int64_t guest, int64_t want, const char *mode,
                   int64_t *ret_count)
{
    struct qcow2_run run;
    int64_t done = 0;
    int ret = co_take_fresh(image, want, &run);
    if (ret) {
        return ret;
    }
    ret = co_clear(image, &run, mode);
    ret = ret ? ret : qcow2_co_link(image, guest, run.offset, run.count, &done);
    if (ret && done < run.count) {
        qcow2_co_alloc_undo(image, run.offset + (done << image->cluster_bits),
                            (run.count - done) << image->cluster_bits);
    }
    *ret_count = run.count;
    return ret;
}

int qcow2_co_preallocate(struct qcow2_image *image, int64_t from, int64_t to, const char *mode)
{
    int ret = 0;
    from = image_cluster_end(image, from);
    while (from < to && !ret) {
        struct qcow2_extent extent;
        int64_t count = 0;
        ret = qcow2_co_write_begin(image);
        ret = ret ? ret : qcow2_co_lookup(image, from, to - from, &extent);
        if (ret) {
            return ret;
        }
        if (extent.kind == QCOW2_UNALLOCATED || extent.kind == QCOW2_ZERO) {
            ret = co_fill(image, from, div_up(extent.length, image->cluster_size), mode, &count);
        }
        from = count ? from + (count << image->cluster_bits)
                     : image_cluster_end(image, from + extent.length);
    }
    return ret;
}
