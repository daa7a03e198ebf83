/*
 * The states that a power cut may leave the disks in. All that a completed
 * flush of its disk covers is there; of the operations after it
 *
 *     every one up to the cut                                   (a state per operation)
 *     all but one, and one alone                                (two per operation)
 *     any of them, where at most MAX_SUBSET are pending         (up to 2^MAX_SUBSET per flush)
 *     a random part, writes torn at 512 bytes, sizes ahead of data or behind it
 *
 * The states are made in the ram disks themselves, one after the other: what a
 * state and its examination changed is put back, so that a state costs what it
 * differs by and not what the disks hold.
 */
#ifndef CAIRN_TESTS_CRASH_CUTS_H
#define CAIRN_TESTS_CRASH_CUTS_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/tools/ram.h"

struct cuts;

/* Begins to record all disks that exist, in one log. */
struct cuts *cuts_record(void);
int64_t cuts_position(const struct cuts *cuts); /* operations logged so far */

/* Ends the recording and chooses at most `limit` of the states, seeded by `seed`. */
void cuts_choose(struct cuts *cuts, int64_t limit, uint64_t seed);

/* Makes the next state; false when there is none left. */
bool cuts_next(struct cuts *cuts);
int64_t cuts_at(const struct cuts *cuts);     /* the position of this state's cut */
char *cuts_describe(const struct cuts *cuts); /* in words, to be freed */
bool cuts_changed(const struct cuts *cuts, int first, int end); /* was any of these disks? */
void cuts_print_log(const struct cuts *cuts);                   /* to stderr */

/* Remembers the present state, to which cuts_return() sets the disks. */
void cuts_save(struct cuts *cuts);
bool cuts_return(struct cuts *cuts); /* false: none was saved */
void cuts_free(struct cuts *cuts);

#endif
