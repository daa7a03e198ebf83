/*
 * Jobs. The counters, the cancel flag and the speed are atomic, so any thread
 * may ask and steer; the rest belongs to the loop that runs the job.
 *
 * The speed limit is a bucket that refills with time: job_co_throttle() takes
 * bytes out and sleeps, in steps short enough to notice a cancel, while it is
 * overdrawn.
 */
#include "libblock/job.h"

#include <errno.h>

#include "libblock/graph.h"

#define TICK_NS INT64_C(100000000)
#define SECOND_NS INT64_C(1000000000)

struct job {
    const struct job_type *type;
    void *arg;
    struct loop *loop;
    int64_t done, total, speed; /* atomic */
    bool cancelled;             /* atomic */
    int64_t paid_until_ns;      /* when the bytes let through so far are paid for */
    bool finished, ok;
    GError **error;
    struct loop_timer timer;
    void (*tick)(struct job *job, void *user);
    void *user;
};

struct job *job_new(const struct job_type *type, void *arg)
{
    struct job *job = g_new0(struct job, 1);
    job->type = type;
    job->arg = arg;
    return job;
}

void job_free(struct job *job)
{
    if (job && job->type->free) {
        job->type->free(job->arg);
    }
    g_free(job);
}

static void job_timer(void *arg)
{
    struct job *job = arg;
    job->tick(job, job->user);
    if (!job->finished) {
        loop_timer_arm(job->loop, &job->timer, loop_now(job->loop) + TICK_NS, job_timer, job);
    }
}

static void job_co_entry(void *arg)
{
    struct job *job = arg;
    job->ok = job->type->co_run(job, job->arg, job->error);
    job->finished = true;
}

bool job_run(struct job *job, struct blk_graph *graph, void (*tick)(struct job *job, void *user),
             void *user, GError **error)
{
    GError *failure = NULL;
    job->loop = graph->loop;
    job->tick = tick;
    job->user = user;
    job->error = &failure;
    if (tick) {
        loop_timer_arm(job->loop, &job->timer, loop_now(job->loop) + TICK_NS, job_timer, job);
    }
    loop_call(job->loop, job_co_entry, job);
    if (tick) {
        loop_timer_cancel(&job->timer);
        tick(job, user);
    }
    if (!job->ok && job_is_cancelled(job)) {
        g_clear_error(&failure);
        return error_set(error, ECANCELED, "%s was cancelled", job->type->name);
    }
    if (failure) {
        g_propagate_error(error, failure);
    }
    return job->ok;
}

struct job_progress job_progress(struct job *job)
{
    return (struct job_progress){__atomic_load_n(&job->done, __ATOMIC_RELAXED),
                                 __atomic_load_n(&job->total, __ATOMIC_RELAXED)};
}

void job_cancel(struct job *job)
{
    __atomic_store_n(&job->cancelled, true, __ATOMIC_RELAXED);
}

bool job_is_cancelled(struct job *job)
{
    return __atomic_load_n(&job->cancelled, __ATOMIC_RELAXED);
}

void job_add_total(struct job *job, int64_t bytes)
{
    __atomic_add_fetch(&job->total, bytes, __ATOMIC_RELAXED);
}

void job_add_done(struct job *job, int64_t bytes)
{
    __atomic_add_fetch(&job->done, bytes, __ATOMIC_RELAXED);
}

void job_set_speed(struct job *job, int64_t bytes_per_second)
{
    __atomic_store_n(&job->speed, bytes_per_second, __ATOMIC_RELAXED);
}

void job_co_throttle(struct job *job, int64_t bytes)
{
    int64_t speed = __atomic_load_n(&job->speed, __ATOMIC_RELAXED);
    if (speed <= 0 || bytes <= 0) {
        return;
    }
    int64_t now = g_get_monotonic_time() * 1000;
    int64_t cost = (int64_t)((double)bytes / (double)speed * (double)SECOND_NS);
    int64_t paid = __atomic_load_n(&job->paid_until_ns, __ATOMIC_RELAXED), from;
    do {
        from = MAX(paid, now);
    } while (!__atomic_compare_exchange_n(&job->paid_until_ns, &paid, from + cost, true,
                                          __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    while (now < from && !job_is_cancelled(job)) {
        loop_co_sleep(MIN(from - now, TICK_NS));
        now = g_get_monotonic_time() * 1000;
    }
}
