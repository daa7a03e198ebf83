/*
 * The commit job: what an overlay and the images between hold goes into an image further down the
 * chain.
 */
#ifndef CAIRN_LIBBLOCK_COMMIT_H
#define CAIRN_LIBBLOCK_COMMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "libblock/job.h"

struct blk_node;

struct commit_args {
    struct blk_node *top;  /* writable unless `keep` */
    struct blk_node *base; /* in its chain, open read-only: becomes writable for the job */
    bool keep;   /* leave `top` as it is; otherwise it is emptied: `base` is its backing file */
    int threads; /* 0: one per processor */
};

/* The job; the nodes are borrowed for its life. `base` grows to the size of `top`, and is on the
 * disk before `top` is emptied. Whenever the job stops, `top` still reads as before; images between
 * the two do not. */
struct job *commit_job_new(const struct commit_args *args);

#endif
