/*
 * A fixed-size bitmap in 64-bit words: set, clear and find runs.
 */
#ifndef CAIRN_BASE_BITMAP_H
#define CAIRN_BASE_BITMAP_H

#include <stdbool.h>
#include <stdint.h>

struct bitmap;

/* A zeroed bitmap of `bits` bits, or NULL when memory is short. */
struct bitmap *bitmap_try_new(int64_t bits);
void bitmap_free(struct bitmap *map);

bool bitmap_test(const struct bitmap *map, int64_t bit);
void bitmap_set(struct bitmap *map, int64_t bit, int64_t count);
void bitmap_clear(struct bitmap *map, int64_t bit, int64_t count);

/* The first set (or clear) bit at or after `from`, or the number of bits when there is none. */
int64_t bitmap_next_set(const struct bitmap *map, int64_t from);
int64_t bitmap_next_clear(const struct bitmap *map, int64_t from);

/* How many bits are set. */
int64_t bitmap_count(const struct bitmap *map);

#endif
