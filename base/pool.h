/*
 * A pool of threads for work that would block or burn a loop's thread:
 * compression, hashing, and file calls where io_uring is refused. Threads
 * start with the first request and go away after some idle seconds.
 */
#ifndef CAIRN_BASE_POOL_H
#define CAIRN_BASE_POOL_H

#include <stdint.h>

struct pool;
struct loop;
typedef int64_t pool_fn(void *arg);

/* A pool of at most `threads` threads (0: one per processor, at least 4). */
struct pool *pool_new(int threads);
void pool_unref(struct pool *pool);
struct pool *pool_ref(struct pool *pool);

/* Runs fn(arg) in the current loop's pool and returns what it returned. When no thread can
 * be made, fn runs in place. */
int64_t co_offload(pool_fn *fn, void *arg);

/* Runs fn(arg) in the pool, then done(arg, result) in `loop`'s thread. */
void pool_submit(struct pool *pool, struct loop *loop, pool_fn *fn,
                 void (*done)(void *arg, int64_t result), void *arg);

/* Processors this process may use (affinity and cgroup aware), at least 1. */
int pool_cpus(void);

#endif
