/*
 * The bitmap: words of 64 bits, bit n in word n / 64. Bits behind the end are
 * always clear, so that counting needs no care, and the first of them is what
 * a search for a clear bit finds when there is no other.
 */
#include "base/bitmap.h"

#include <assert.h>
#include <glib.h>

#define BITMAP_MAX (INT64_C(1) << 46) /* 8 TiB of memory */

struct bitmap {
    int64_t bits;
    uint64_t words[];
};

struct bitmap *bitmap_try_new(int64_t bits)
{
    if (bits < 0 || bits > BITMAP_MAX) {
        return NULL;
    }
    struct bitmap *map = g_try_malloc0(sizeof(*map) + (bits / 64 + 1) * sizeof(uint64_t));
    if (map) {
        map->bits = bits;
    }
    return map;
}

void bitmap_free(struct bitmap *map)
{
    g_free(map);
}

bool bitmap_test(const struct bitmap *map, int64_t bit)
{
    assert(bit >= 0 && bit < map->bits);
    return map->words[bit / 64] >> (bit % 64) & 1;
}

/* The part of [bit, end) that lies in word `bit / 64`. */
static uint64_t word_mask(int64_t bit, int64_t end)
{
    uint64_t mask = ~UINT64_C(0) << (bit % 64);
    if (end / 64 == bit / 64) {
        mask &= (UINT64_C(1) << (end % 64)) - 1;
    }
    return mask;
}

void bitmap_set(struct bitmap *map, int64_t bit, int64_t count)
{
    assert(bit >= 0 && count >= 0 && count <= map->bits - bit);
    for (int64_t end = bit + count; bit < end; bit = (bit / 64 + 1) * 64) {
        map->words[bit / 64] |= word_mask(bit, end);
    }
}

void bitmap_clear(struct bitmap *map, int64_t bit, int64_t count)
{
    assert(bit >= 0 && count >= 0 && count <= map->bits - bit);
    for (int64_t end = bit + count; bit < end; bit = (bit / 64 + 1) * 64) {
        map->words[bit / 64] &= ~word_mask(bit, end);
    }
}

/* The first bit at or after `from` that differs from those of `flip` (0 or ~0). */
static int64_t bitmap_next(const struct bitmap *map, int64_t from, uint64_t flip)
{
    assert(from >= 0);
    if (from >= map->bits) {
        return map->bits;
    }
    int64_t word = from / 64;
    uint64_t bits = (map->words[word] ^ flip) & ~UINT64_C(0) << (from % 64);
    while (!bits && ++word * 64 < map->bits) {
        bits = map->words[word] ^ flip;
    }
    return bits ? word * 64 + __builtin_ctzll(bits) : map->bits;
}

int64_t bitmap_next_set(const struct bitmap *map, int64_t from)
{
    return bitmap_next(map, from, 0);
}

int64_t bitmap_next_clear(const struct bitmap *map, int64_t from)
{
    return bitmap_next(map, from, ~UINT64_C(0));
}

int64_t bitmap_count(const struct bitmap *map)
{
    int64_t count = 0;
    for (int64_t word = 0; word * 64 < map->bits; word++) {
        count += __builtin_popcountll(map->words[word]);
    }
    return count;
}
