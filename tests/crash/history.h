/*
 * What an image may hold after a power cut: its sectors, its size, its
 * snapshots. A sector is 512 bytes that repeat one 8-byte stamp, so that stale
 * and foreign data show. Positions count the operations that the disks below have
 * logged: an operation of the guest begins at one position and has returned at
 * another; a cut at a position comes before the operation logged there.
 */
#ifndef CAIRN_TESTS_CRASH_HISTORY_H
#define CAIRN_TESTS_CRASH_HISTORY_H

#include <stdbool.h>
#include <stdint.h>

struct history;

enum { SECTOR = 512 };

enum history_flags {
    HISTORY_DURABLE = 1 << 0, /* safe as soon as it has returned: FUA, resizes, snapshots */
    HISTORY_LOOSE = 1 << 1,   /* a discard: zero, `stamp`, or still what was there before */
};

/* `stamps`: what the first `sectors` sectors read as at first; there are never more. */
struct history *history_new(int64_t sectors, int64_t size, const uint64_t *stamps);
void history_free(struct history *history);

/* The guest's operation on [begin, end) made the sector read as `stamp`. */
void history_write(struct history *history, int64_t sector, uint64_t stamp, int64_t begin,
                   int64_t end, uint32_t flags);

/* A flush of the guest that succeeded. */
void history_flush(struct history *history, int64_t begin, int64_t end);

/* The disk got another size (bytes). */
void history_resize(struct history *history, int64_t size, int64_t begin, int64_t end);

/* May the sector read as `stamp`, the disk have `size` bytes, when the power fails at `cut`? */
bool history_allows(const struct history *history, int64_t sector, uint64_t stamp, int64_t cut);
bool history_allows_size(const struct history *history, int64_t size, int64_t cut);

/* The same for a file that grows as it is written to: anything between two such sizes. */
bool history_allows_length(const struct history *history, int64_t size, int64_t cut);

/* The sector's operations in words, to be freed. */
char *history_describe(const struct history *history, int64_t sector, int64_t cut);

/* A snapshot. Its name is unique for good. */
struct history_snapshot {
    char *name;
    int64_t size;     /* bytes */
    uint64_t *stamps; /* of its sectors */
    int64_t made_begin, made_end, deleted_begin, deleted_end;
};

/* Takes a copy of `stamps`. */
void history_snapshot_add(struct history *history, const char *name, int64_t size,
                          const uint64_t *stamps, int64_t begin, int64_t end);
void history_snapshot_delete(struct history *history, const char *name, int64_t begin, int64_t end);

/* All that ever were, count in *ret_count. */
const struct history_snapshot *history_snapshots(const struct history *history, int *ret_count);
bool history_snapshot_may_be(const struct history_snapshot *snapshot, int64_t cut);
bool history_snapshot_must_be(const struct history_snapshot *snapshot, int64_t cut);

/* The stamp that a sector's bytes repeat; false when they are torn or foreign. */
bool stamp_read(const uint8_t *bytes, uint64_t *ret_stamp);
void stamp_fill(uint8_t *bytes, uint64_t stamp);

#endif
