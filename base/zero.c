/*
 * Is a buffer all zero? Data that is not mostly differs in its first bytes, so
 * those are looked at alone; then whole blocks are or-ed together, with AVX2
 * where the processor has it. The tail is one more block that overlaps the last.
 */
#include "base/zero.h"

#include "base/span.h"

#include <string.h>

#define ZERO_BLOCK 128

static uint64_t load_u64(const unsigned char *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof(v));
    return v;
}

/* Fewer bytes than a block. */
static bool short_is_zero(const unsigned char *p, size_t len)
{
    uint64_t bits = 0;
    if (len >= 8) {
        for (size_t i = 0; i + 8 < len; i += 8) {
            bits |= load_u64(p + i);
        }
        return !(bits | load_u64(p + len - 8));
    }
    for (size_t i = 0; i < len; i++) {
        bits |= p[i];
    }
    return !bits;
}

#ifdef __x86_64__
#include <immintrin.h>

__attribute__((target("avx2"))) static bool block_is_zero_avx2(const unsigned char *p)
{
    const __m256i *v = (const __m256i *)p;
    __m256i a = _mm256_or_si256(_mm256_loadu_si256(v), _mm256_loadu_si256(v + 1));
    __m256i b = _mm256_or_si256(_mm256_loadu_si256(v + 2), _mm256_loadu_si256(v + 3));
    a = _mm256_or_si256(a, b);
    return _mm256_testz_si256(a, a);
}

__attribute__((target("avx2"))) static bool blocks_are_zero_avx2(const unsigned char *p, size_t len)
{
    const unsigned char *last = p + len - ZERO_BLOCK;
    for (; p < last; p += ZERO_BLOCK) {
        if (!block_is_zero_avx2(p)) {
            return false;
        }
    }
    return block_is_zero_avx2(last);
}
#endif

static bool block_is_zero(const unsigned char *p)
{
    uint64_t bits = 0;
    for (int i = 0; i < ZERO_BLOCK; i += 8) {
        bits |= load_u64(p + i);
    }
    return !bits;
}

static bool blocks_are_zero(const unsigned char *p, size_t len)
{
    const unsigned char *last = p + len - ZERO_BLOCK;
    for (; p < last; p += ZERO_BLOCK) {
        if (!block_is_zero(p)) {
            return false;
        }
    }
    return block_is_zero(last);
}

bool zero_portable(const void *buf, size_t len)
{
    return len < ZERO_BLOCK ? short_is_zero(buf, len) : blocks_are_zero(buf, len);
}

bool bytes_are_zero(const void *buf, size_t len)
{
    const unsigned char *p = buf;
    if (len < ZERO_BLOCK) {
        return short_is_zero(p, len);
    }
    if (load_u64(p) | load_u64(p + len - 8)) {
        return false;
    }
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx2")) {
        return blocks_are_zero_avx2(p, len);
    }
#endif
    return blocks_are_zero(p, len);
}
