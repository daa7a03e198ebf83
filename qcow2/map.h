/*
 * From guest ranges to extents, by L1 and L2 tables. Nothing is changed here.
 */
#ifndef CAIRN_QCOW2_MAP_H
#define CAIRN_QCOW2_MAP_H

#include "qcow2/image.h"

/* A guest range that is stored in one way. */
struct qcow2_extent {
    enum qcow2_kind kind;
    bool copied;
    int64_t offset, length; /* guest bytes */
    int64_t host_off;       /* of the first byte; COMPRESSED: where the packed cluster begins */
    int64_t packed_length;  /* COMPRESSED: at most, and within the file */
};

/* The extent that begins at `offset`, at most `length` bytes (> 0, within the disk's L1). Ends at
 * the latest where its L2 slice ends. -EIO for what no valid image holds. */
int qcow2_co_lookup(struct qcow2_image *image, int64_t offset, int64_t length,
                    struct qcow2_extent *ret_extent);

/* The slice of an L2 table that describes guest `offset`, and the entry's place in it. */
int64_t qcow2_l1_index(const struct qcow2_image *image, int64_t offset);
int64_t qcow2_slice_offset(const struct qcow2_image *image, int64_t table_off, int64_t offset,
                           int *ret_index);

/* The driver's co_map. */
int qcow2_co_map(struct blk_node *node, int64_t offset, int64_t length, uint32_t flags,
                 struct extent_list *list);

#endif
