/*
 * Loads and stores of big- and little-endian integers at any address, and the
 * power-of-two arithmetic that block code repeats. Wire and disk bytes are
 * converted here and nowhere else.
 */
#ifndef CAIRN_BASE_BYTES_H
#define CAIRN_BASE_BYTES_H

#include <endian.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define BYTES_DEFINE(bits)                                                                         \
    static inline uint##bits##_t load_be##bits(const void *p)                                      \
    {                                                                                              \
        uint##bits##_t v;                                                                          \
        memcpy(&v, p, sizeof(v));                                                                  \
        return be##bits##toh(v);                                                                   \
    }                                                                                              \
    static inline uint##bits##_t load_le##bits(const void *p)                                      \
    {                                                                                              \
        uint##bits##_t v;                                                                          \
        memcpy(&v, p, sizeof(v));                                                                  \
        return le##bits##toh(v);                                                                   \
    }                                                                                              \
    static inline void store_be##bits(void *p, uint##bits##_t v)                                   \
    {                                                                                              \
        v = htobe##bits(v);                                                                        \
        memcpy(p, &v, sizeof(v));                                                                  \
    }                                                                                              \
    static inline void store_le##bits(void *p, uint##bits##_t v)                                   \
    {                                                                                              \
        v = htole##bits(v);                                                                        \
        memcpy(p, &v, sizeof(v));                                                                  \
    }
BYTES_DEFINE(16)
BYTES_DEFINE(32)
BYTES_DEFINE(64)
#undef BYTES_DEFINE

#define KiB INT64_C(1024)
#define MiB (1024 * KiB)
#define GiB (1024 * MiB)
#define TiB (1024 * GiB)

static inline bool is_pow2(uint64_t v)
{
    return v && !(v & (v - 1));
}

/* `align` is a power of two; the caller has checked that align_up() does not overflow. */
static inline int64_t align_down(int64_t v, int64_t align)
{
    return v & ~(align - 1);
}

static inline int64_t align_up(int64_t v, int64_t align)
{
    return (v + align - 1) & ~(align - 1);
}

static inline bool is_aligned(int64_t v, int64_t align)
{
    return !(v & (align - 1));
}

/* v / d rounded up, for v >= 0 and d > 0, without overflow. */
static inline int64_t div_up(int64_t v, int64_t d)
{
    return v / d + (v % d != 0);
}

static inline int64_t min_i64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline int64_t max_i64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

#endif
