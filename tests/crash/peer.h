/*
 * A second opinion by qemu-img: images are put aside, with what they should
 * read as, and checked and compared by one shell for all of them. Does nothing
 * where there is no qemu-img.
 */
#ifndef CAIRN_TESTS_CRASH_PEER_H
#define CAIRN_TESTS_CRASH_PEER_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

struct peer;

struct peer *peer_new(void);

/* Puts the image in ram:0 aside, and its backing file if it names one; it should read as
 * `contents`. `dirty`: its refcounts need a repair first. `seed`: for messages. */
void peer_add(struct peer *peer, uint64_t seed, bool dirty, const uint8_t *contents, int64_t size);

/* Asks about all that were put aside; ends the test with qemu-img's words if one is bad. */
void peer_ask(struct peer *peer);
int64_t peer_count(const struct peer *peer); /* asked so far */
void peer_free(struct peer *peer);

#endif
