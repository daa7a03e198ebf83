/*
 * The compare job: are two nodes' contents equal?
 */
#ifndef CAIRN_LIBBLOCK_COMPARE_H
#define CAIRN_LIBBLOCK_COMPARE_H

#include <stdbool.h>
#include <stdint.h>

#include "libblock/job.h"

struct blk_node;

struct compare_args {
    struct blk_node *a, *b;
    bool strict; /* allocation must be equal too */
    int threads; /* 0: one per processor */
};

enum compare_verdict {
    COMPARE_EQUAL,
    COMPARE_CONTENT,    /* contents differ at `offset` */
    COMPARE_ALLOCATION, /* strict: allocation differs at `offset` */
    COMPARE_TAIL,       /* the longer one holds data past the end of the shorter, at `offset` */
};

struct compare_result {
    enum compare_verdict verdict;
    int64_t offset;        /* the first difference, whatever the number of threads */
    struct blk_node *node; /* on an error: the node that could not be read or mapped, else NULL */
    bool map_failed;       /* on an error: mapping failed (exit status 3), not reading (4) */
};

/* The job; it fills *result, which must outlive it. */
struct job *compare_job_new(const struct compare_args *args, struct compare_result *result);

#endif
