/*
 * A refcount block is cached in slices; a place is one slice and the indices in
 * it that are meant.
 */
#include "qcow2/refblock.h"

int qcow2_co_place(struct qcow2_image *image, int64_t cluster, struct qcow2_place *ret_place)
{
    int64_t block = cluster >> image->refblock_bits;
    int64_t in_block = cluster & ((INT64_C(1) << image->refblock_bits) - 1);
    int64_t per_slice = image->slice_size * 8 >> image->header.refcount_order;
    struct qcow2_place place = {.index = in_block, .end = INT64_C(1) << image->refblock_bits};
    if (block < image->reftable_entries && image->reftable[block]) {
        int64_t offset = (int64_t)image->reftable[block] + in_block / per_slice * image->slice_size;
        int ret = qcow2_cache_co_get(image->refblocks, offset, &place.table);
        if (ret) {
            return ret;
        }
        place.index = in_block % per_slice;
        place.end = per_slice;
    }
    *ret_place = place;
    return 0;
}

uint64_t qcow2_place_get(const struct qcow2_image *image, const struct qcow2_place *place,
                         int64_t i)
{
    return place->table ? qcow2_refcount_get(place->table->data, i, image->header.refcount_order)
                        : 0;
}

void qcow2_place_dirty(struct qcow2_image *image, const struct qcow2_place *place, int64_t from,
                       int64_t to)
{
    int order = image->header.refcount_order;
    qcow2_cache_dirty(image->refblocks, place->table, (int)(from << order >> 3),
                      (int)(((to << order) + 7) >> 3));
}

void qcow2_place_set(struct qcow2_image *image, const struct qcow2_place *place, int64_t from,
                     int64_t to, uint64_t value)
{
    for (int64_t i = from; i < to; i++) {
        qcow2_refcount_set(place->table->data, i, image->header.refcount_order, value);
    }
    qcow2_place_dirty(image, place, from, to);
}

int qcow2_co_refcounts_read(struct qcow2_image *image, int64_t first, int64_t count,
                            uint64_t *ret_counts)
{
    for (int64_t done = 0, n; done < count; done += n) {
        struct qcow2_place place;
        int ret = qcow2_co_place(image, first + done, &place);
        if (ret) {
            return ret;
        }
        n = min_i64(count - done, place.end - place.index);
        for (int64_t i = 0; i < n; i++) {
            ret_counts[done + i] = qcow2_place_get(image, &place, place.index + i);
        }
    }
    return 0;
}
