/*
 * The parallel pipeline that whole-image jobs stand on.
 *
 *     owner's loop:  plan a batch -> plan a batch -> ...        (metadata only)
 *                        |
 *     workers:       take the next item -> read, think -> take the turn -> place -> write
 *
 * Every worker is a thread with a loop of its own and runs `depth` slots: coroutines with reused
 * buffers. Items are handed out in order; what must happen in order (giving out space in the
 * target) is done while an item has the turn, so the outcome does not depend on how many threads
 * there are. With one thread, or little work, the slots run in the owner's loop and no thread is
 * made.
 */
#ifndef CAIRN_LIBBLOCK_PIPELINE_H
#define CAIRN_LIBBLOCK_PIPELINE_H

#include "libblock/jobs/batch.h"
#include "libblock/libblock.h"

struct pipeline;

/* Work on [offset, end) of `batch`. */
struct pipeline_item {
    int64_t sequence; /* 0, 1, 2, ... in ascending order of offsets */
    int64_t offset, end;
    const struct batch *batch;
};

struct pipeline_task {
    struct job *job;
    void *user;
    int64_t total; /* bytes, from 0 */
    int threads;   /* 0: one per processor */
    int depth;     /* slots in each worker */
    int64_t small; /* with at most this many bytes of data, no threads are made */

    /* In the owner: the batch that begins at `from`; NULL and *error on failure. */
    struct batch *(*co_plan)(void *user, int64_t from, GError **error);
    /* What the slots of a worker share, for use between two yields; and a slot's own. Made and
     * freed in the worker's thread. */
    void *(*share_new)(void *user);
    void (*share_free)(void *share);
    void *(*slot_new)(void *user, void *share);
    void (*slot_free)(void *slot);
    /* In a worker. False with *error set stops the pipeline. Either every item takes its turn, or
     * none does. */
    bool (*co_item)(struct pipeline *pipeline, void *slot, const struct pipeline_item *item,
                    GError **error);
};

/* Runs the task to its end, in a coroutine of the owner's loop. On failure the error is that of the
 * lowest item that failed. */
bool pipeline_co_run(const struct pipeline_task *task, GError **error);

/* Waits until every earlier item has passed its turn on. False when the pipeline was stopped
 * meanwhile: then the item is to be given up, with true. */
bool pipeline_co_take_turn(struct pipeline *pipeline, const struct pipeline_item *item);
void pipeline_pass_turn(struct pipeline *pipeline);

/* Nothing at or past `offset` is wanted any more; items before it still run. */
void pipeline_stop_at(struct pipeline *pipeline, int64_t offset);

/* The loop that owns the graph. */
struct loop *pipeline_owner(struct pipeline *pipeline);

#endif
