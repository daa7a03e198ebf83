/*
 * A graph for tests: memory below, and above it a strict filter that demands
 * alignment, counts requests, checks that libblock keeps its word to drivers,
 * and fails or waits where told.
 */
#ifndef CAIRN_TESTS_LIBBLOCK_FIXTURE_H
#define CAIRN_TESTS_LIBBLOCK_FIXTURE_H

#include "libblock/driver.h"

struct strict {
    struct blk_limits limits; /* what it demands */
    int reads, writes, zeroes, discards, flushes;
    int fail_flush, fail_write; /* -errno to answer with; 0: pass on */
    bool no_zero;               /* zeroing is not supported */
    bool hold;                  /* requests wait until released */
    int held, max_parallel, parallel;
    struct co_queue gate;
    int64_t longest; /* bytes of the longest read or write seen */
};

struct fixture {
    struct loop *loop;
    struct blk_graph *graph;
    struct blk_node *mem, *node; /* `node` is the strict filter over `mem` */
    struct strict *strict;
};

/* `size` bytes of memory below a filter that demands `limits`. */
void fixture_open(struct fixture *f, int64_t size, const struct blk_limits *limits);
void fixture_close(struct fixture *f);

/* Only a loop and a graph with every driver of libblock. */
void fixture_init(struct fixture *f);
void fixture_done(struct fixture *f);

/* Lets go of held requests. */
void fixture_release(struct fixture *f);

#endif
