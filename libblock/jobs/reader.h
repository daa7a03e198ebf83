/*
 * Reads a lane's bytes as its extents say, from any loop: straight from the
 * leaves, decompressing in place, or through the owner where there is no leaf.
 */
#ifndef CAIRN_LIBBLOCK_READER_H
#define CAIRN_LIBBLOCK_READER_H

#include "libblock/libblock.h"

/* How unreadable ranges are treated, and who hears of them (in the owner's thread). */
struct reader_salvage {
    bool enabled;
    void (*unreadable)(int64_t offset, int64_t length, int error, void *user);
    void *user;
};

/* What the readers of one thread share; all-zero is empty. Nothing in it is held across a yield. */
struct reader_share {
    struct codec_ctx *codecs[2]; /* decoders, by enum codec */
    uint8_t *cluster;            /* a cluster of which a part is wanted */
    size_t cluster_size;
};

void reader_share_done(struct reader_share *share);

/* One slot's buffers, reused; not thread safe. */
struct reader {
    struct loop *owner;
    struct reader_share *share;
    struct reader_salvage salvage;
    uint8_t *packed; /* compressed bytes */
    size_t packed_size;
    struct blk_node *failed_node; /* after a failure: what could not be read, and where */
    int64_t failed_offset;
};

void reader_init(struct reader *reader, struct reader_share *share, struct loop *owner,
                 const struct reader_salvage *salvage);
void reader_done(struct reader *reader);

/* Fills `buf` with bytes [offset, +length) of the list's lane; what it does not list is zero. 0 or
 * -errno. */
int reader_co_read(struct reader *reader, const struct extent_list *list, int64_t offset,
                   int64_t length, uint8_t *buf);

/* A buffer fit for O_DIRECT, or NULL; free with g_free's counterpart buffer_free(). */
void *buffer_try_new(size_t size);
void buffer_free(void *buffer);

#endif
