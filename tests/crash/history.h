/*
 * What a guest sector may hold after a power cut. A sector is 512 bytes that
 * repeat one 8-byte stamp, so that stale and foreign data show. Positions count
 * the operations that the disk below has logged: an operation of the guest
 * begins at one position and has returned at another.
 */
#ifndef CAIRN_TESTS_CRASH_HISTORY_H
#define CAIRN_TESTS_CRASH_HISTORY_H

#include <stdbool.h>
#include <stdint.h>

struct history;

enum { SECTOR = 512 };
#define STAMP_DISCARDED UINT64_MAX /* zero, the backing file's bytes, or still the old ones */

/* `base`: for each sector what the image reads as at first. */
struct history *history_new(int64_t sectors, const uint64_t *base);
void history_free(struct history *history);

/* The guest wrote `stamp` to the sector, with FUA or not. */
void history_write(struct history *history, int64_t sector, uint64_t stamp, int64_t begin,
                   int64_t end, bool fua);

/* A flush of the guest that succeeded. */
void history_flush(struct history *history, int64_t begin, int64_t end);

/* May the sector read as `stamp` when the power fails before position `cut`? */
bool history_allows(const struct history *history, int64_t sector, uint64_t stamp, int64_t cut);

/* The sector's operations in words, to be freed. */
char *history_describe(const struct history *history, int64_t sector, int64_t cut);

/* The stamp that a sector's bytes repeat; false when they are torn or foreign. */
bool stamp_read(const uint8_t *bytes, uint64_t *ret_stamp);
void stamp_fill(uint8_t *bytes, uint64_t stamp);

#endif
