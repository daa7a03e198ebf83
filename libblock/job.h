/*
 * Jobs: long work over nodes with progress, a speed limit, pause and cancel.
 * A job runs as a coroutine of its graph's loop; job_progress() and
 * job_cancel() may be called from any thread.
 */
#ifndef CAIRN_LIBBLOCK_JOB_H
#define CAIRN_LIBBLOCK_JOB_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

struct job;

struct job_progress {
    int64_t done, total; /* bytes of work; total may grow */
};

struct job_type {
    const char *name; /* "convert" */
    bool (*co_run)(struct job *job, void *arg, GError **error);
    void (*free)(void *arg); /* with the job; NULL: the argument is not the job's */
};

/* A job that will run type->co_run(job, arg). */
struct job *job_new(const struct job_type *type, void *arg);
void job_free(struct job *job);

/* Runs the job to its end on `graph`'s loop: the door for tools. `tick`, when not NULL, is called
 * in the loop's thread about every 100 ms and once at the end. A cancelled job fails with
 * ECANCELED. */
struct blk_graph;
bool job_run(struct job *job, struct blk_graph *graph, void (*tick)(struct job *job, void *user),
             void *user, GError **error);

/* Any thread. */
struct job_progress job_progress(struct job *job);
void job_cancel(struct job *job);
bool job_is_cancelled(struct job *job);
void job_add_total(struct job *job, int64_t bytes);
void job_add_done(struct job *job, int64_t bytes);

/* Bytes a second; 0: unlimited. job_co_throttle() sleeps as the limit asks before `bytes` more,
 * in any loop. */
void job_set_speed(struct job *job, int64_t bytes_per_second);
void job_co_throttle(struct job *job, int64_t bytes);

#endif
