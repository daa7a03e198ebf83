/*
 * Writing into an image that is in use: what commit and rebase have in common. The caller plans
 * batches (batch.h); what they list is read in workers, and written where the rule says so.
 */
#ifndef CAIRN_LIBBLOCK_PATCH_H
#define CAIRN_LIBBLOCK_PATCH_H

#include "libblock/jobs/batch.h"
#include "libblock/libblock.h"

enum patch_rule {
    PATCH_ALL,       /* everything that lane 0 lists */
    PATCH_DIFFERENT, /* aligned stretches in which lane 0 differs from lane 1, or from zero when
                        there is one lane */
};

struct patch_task {
    struct job *job;
    struct blk_node *target;
    enum patch_rule rule;
    bool compress;
    bool plain_zeroes; /* zeroes are written: a hole in the target reads as zero now, not later */
    int lane_count;
    int64_t total; /* bytes, from 0 */
    int threads;   /* 0: one per processor */
    void *user;
    /* In the owner: the batch that begins at `from`; NULL and *error on failure. `chunk` is what an
     * item should hold. */
    struct batch *(*co_plan)(void *user, int64_t from, int64_t chunk, GError **error);
};

/* Runs the task to its end. What is written is not flushed. */
bool patch_co_run(const struct patch_task *task, GError **error);

#endif
