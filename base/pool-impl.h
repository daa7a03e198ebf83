/*
 * What tests may see of a pool. Private to base.
 */
#ifndef CAIRN_BASE_POOL_IMPL_H
#define CAIRN_BASE_POOL_IMPL_H

#include "base/pool.h"

/* How long a thread waits for work before it ends. */
void pool_set_idle_ns(struct pool *pool, int64_t idle_ns);

/* No threads from now on: work runs in place, so that a seeded test repeats. */
void pool_set_in_place(struct pool *pool);

/* Threads that exist now, and those of them that wait for work. */
int pool_thread_count(struct pool *pool);
int pool_idle_count(struct pool *pool);

/* Processors that a cgroup's cpu.max line ("150000 100000", "max 100000") grants, rounded up; 0: no
 * limit. */
int pool_parse_cpu_max(const char *line);

#endif
