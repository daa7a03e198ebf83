/*
 * Changing L2 entries in memory.
 */
#ifndef CAIRN_QCOW2_LINK_H
#define CAIRN_QCOW2_LINK_H

#include "qcow2/image.h"

/* The slice that holds the entry of guest `offset`, made or copied if need be so that it may be
 * changed; valid, and no commit begins, until the caller yields. */
int qcow2_co_slice_for_update(struct qcow2_image *image, int64_t offset,
                              struct qcow2_table **ret_table, int *ret_index);

/* Replaces an entry in a slice from qcow2_co_slice_for_update() and frees what only the old one
 * referred to. -EIO when the old one is corrupt. No yield. */
int qcow2_entry_replace(struct qcow2_image *image, struct qcow2_table *table, int index,
                        const struct qcow2_entry *entry, bool discard);

/* Lets guest clusters [guest, +count) refer to host clusters [host, +count), with refcount one.
 * *ret_done is how many do, on errors too. */
int qcow2_co_link(struct qcow2_image *image, int64_t guest, int64_t host, int64_t count,
                  int64_t *ret_done);

/* As qcow2_co_link() for one compressed cluster. */
int qcow2_co_link_packed(struct qcow2_image *image, int64_t guest, int64_t host, int64_t length);

#endif
