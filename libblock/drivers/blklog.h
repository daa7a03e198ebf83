/*
 * The log of a blklog node, for tests of crashes: what was written, zeroed,
 * discarded, flushed and resized, in order, with the bytes.
 *
 * A log is a header and records, all integers little-endian:
 *
 *   header   8 bytes "CAIRNLOG", u32 version (1), u32 zero
 *   record   u32 type, u32 flags, u64 offset, u64 length, u64 bytes of data, data
 *
 * type 1 write (data: what was written)    4 flush
 *      2 zero                              5 resize (length: the new size; the first record)
 *      3 discard                           6 mark (data: text of the test's own)
 * flags 1: durable when acknowledged (FUA); 2: may unmap.
 *
 * A write is logged when it has ended, a flush when it begins: what stands
 * before a flush in the log is exactly what that flush makes durable.
 */
#ifndef CAIRN_LIBBLOCK_BLKLOG_H
#define CAIRN_LIBBLOCK_BLKLOG_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

struct blk_node;

enum blklog_type {
    BLKLOG_WRITE = 1,
    BLKLOG_ZERO = 2,
    BLKLOG_DISCARD = 3,
    BLKLOG_FLUSH = 4,
    BLKLOG_RESIZE = 5,
    BLKLOG_MARK = 6,
};

struct blklog_record {
    enum blklog_type type;
    uint32_t flags; /* enum req_flags */
    int64_t offset, length;
    const uint8_t *data; /* into the log; NULL when there is none */
    int64_t data_length;
};

/* A copy of what a node without the option `log` has recorded so far. */
GBytes *blklog_copy(struct blk_node *node);

/* Adds a mark. */
void blklog_mark(struct blk_node *node, const char *text);

/* Reads the record at *pos (0 at the start) and moves *pos past it; false at the end, and for a log
 * that is cut off or no log at all. */
bool blklog_next(GBytes *log, size_t *pos, struct blklog_record *ret_record);

/* Repeats one record on `target`: 0 or -errno. Discarded ranges become zeroes. */
int blklog_apply(const struct blklog_record *record, struct blk_node *target);

/* Repeats the first `count` records on `target`; false when the log has fewer or one fails. */
bool blklog_replay(GBytes *log, int64_t count, struct blk_node *target);

#endif
