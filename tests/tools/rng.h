/*
 * Seeded random numbers for tests: the same seed gives the same run on every
 * machine. Splitmix64, one word of state.
 */
#ifndef CAIRN_TESTS_RNG_H
#define CAIRN_TESTS_RNG_H

#include <stdbool.h>
#include <stdint.h>

struct rng {
    uint64_t state;
};

static inline uint64_t rng_next(struct rng *rng)
{
    uint64_t z = (rng->state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* 0 .. n-1, for n > 0. */
static inline int64_t rng_below(struct rng *rng, int64_t n)
{
    return (int64_t)(rng_next(rng) % (uint64_t)n);
}

/* low .. high, both included. */
static inline int64_t rng_between(struct rng *rng, int64_t low, int64_t high)
{
    return low + rng_below(rng, high - low + 1);
}

static inline bool rng_percent(struct rng *rng, int percent)
{
    return rng_below(rng, 100) < percent;
}

#endif
