/*
 * The pool: a FIFO of jobs under one mutex, and threads that take from it.
 * A thread is made when a job arrives that no idle thread will take, up to
 * the limit; one that has waited ten seconds in vain ends, and is joined by
 * whoever submits next or frees the pool. Results travel to the loop as
 * messages that live in the job, so a coroutine's job needs no allocation.
 */
#include "base/pool-impl.h"

#include <assert.h>
#include <glib.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <time.h>

#include "base/loop-impl.h"

#define POOL_IDLE_NS INT64_C(10000000000)
#define POOL_MIN_THREADS 4
#define POOL_AS_PER_THREAD (INT64_C(128) << 20) /* malloc reserves 64 MiB a thread */
#define POOL_STACK_SIZE (CO_CHECKED ? 2 << 20 : 256 << 10)

struct job {
    struct job *next;
    pool_fn *fn;
    void *arg;
    int64_t result;
    struct loop *loop;
    struct loop_message message; /* back to the loop */
    struct co *co;               /* of co_offload() */
    bool finished;
    void (*done)(void *arg, int64_t result); /* of pool_submit() */
};

struct worker {
    struct worker *next;
    pthread_t thread;
    struct pool *pool;
};

struct pool {
    int refs; /* atomic */
    pthread_mutex_t lock;
    pthread_cond_t work, gone;
    struct job *jobs, **jobs_tail;
    int queued, idle, threads;
    int limit; /* 0: not yet known */
    int64_t idle_ns;
    bool quit;
    struct worker *ended; /* to be joined */
};

struct pool *pool_new(int threads)
{
    struct pool *pool = g_new0(struct pool, 1);
    pthread_condattr_t attr;
    pool->refs = 1;
    pool->limit = threads;
    pool->idle_ns = POOL_IDLE_NS;
    pool->jobs_tail = &pool->jobs;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&pool->work, &attr);
    pthread_cond_init(&pool->gone, &attr);
    pthread_condattr_destroy(&attr);
    return pool;
}

struct pool *pool_ref(struct pool *pool)
{
    __atomic_add_fetch(&pool->refs, 1, __ATOMIC_RELAXED);
    return pool;
}

static void pool_join_ended_locked(struct pool *pool)
{
    struct worker *worker;
    while ((worker = pool->ended)) {
        pool->ended = worker->next;
        pthread_mutex_unlock(&pool->lock);
        pthread_join(worker->thread, NULL);
        g_free(worker);
        pthread_mutex_lock(&pool->lock);
    }
}

void pool_unref(struct pool *pool)
{
    if (!pool || __atomic_sub_fetch(&pool->refs, 1, __ATOMIC_ACQ_REL)) {
        return;
    }
    pthread_mutex_lock(&pool->lock);
    pool->quit = true;
    pthread_cond_broadcast(&pool->work);
    while (pool->threads) {
        pthread_cond_wait(&pool->gone, &pool->lock);
    }
    pool_join_ended_locked(pool);
    pthread_mutex_unlock(&pool->lock);
    pthread_mutex_destroy(&pool->lock);
    pthread_cond_destroy(&pool->work);
    pthread_cond_destroy(&pool->gone);
    g_free(pool);
}

static void job_run(struct job *job)
{
    struct loop *loop = job->loop;
    job->result = job->fn(job->arg);
    loop_send(loop, &job->message);
}

static struct timespec pool_deadline(const struct pool *pool)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    int64_t ns = ts.tv_nsec + pool->idle_ns;
    return (struct timespec){ts.tv_sec + ns / 1000000000, ns % 1000000000};
}

/* Waits for a job; NULL when the thread shall end. */
static struct job *pool_take_locked(struct pool *pool)
{
    struct timespec deadline = pool_deadline(pool);
    bool late = false;
    while (!pool->jobs && !pool->quit && !late) {
        pool->idle++;
        late = pthread_cond_timedwait(&pool->work, &pool->lock, &deadline) != 0;
        pool->idle--;
    }
    struct job *job = pool->jobs;
    if (job) {
        pool->queued--;
        pool->jobs = job->next;
        if (!pool->jobs) {
            pool->jobs_tail = &pool->jobs;
        }
    }
    return job;
}

static void *worker_main(void *arg)
{
    struct worker *worker = arg;
    struct pool *pool = worker->pool;
    struct job *job;
    pthread_mutex_lock(&pool->lock);
    while ((job = pool_take_locked(pool))) {
        pthread_mutex_unlock(&pool->lock);
        job_run(job);
        pthread_mutex_lock(&pool->lock);
    }
    pool->threads--;
    worker->next = pool->ended;
    pool->ended = worker;
    pthread_cond_signal(&pool->gone);
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

/* Signals are for the threads of the program, not for ours. */
static bool worker_start(struct worker *worker)
{
    sigset_t all, old;
    pthread_attr_t attr;
    sigfillset(&all);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, POOL_STACK_SIZE);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int err = pthread_create(&worker->thread, &attr, worker_main, worker);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
    return !err;
}

static int pool_default_limit(void)
{
    struct rlimit as;
    int limit = MAX(pool_cpus(), POOL_MIN_THREADS);
    if (getrlimit(RLIMIT_AS, &as) == 0 && as.rlim_cur != RLIM_INFINITY) {
        limit = MIN((rlim_t)limit, MAX(as.rlim_cur / POOL_AS_PER_THREAD, 1));
    }
    return limit;
}

static void pool_grow_locked(struct pool *pool)
{
    if (!pool->limit) {
        pool->limit = pool_default_limit();
    }
    if (pool->queued <= pool->idle || pool->threads >= pool->limit) {
        return;
    }
    struct worker *worker = g_new0(struct worker, 1);
    worker->pool = pool;
    if (worker_start(worker)) {
        pool->threads++;
    } else {
        g_free(worker);
    }
}

/* False when there is nobody to run it. */
static bool pool_enqueue(struct pool *pool, struct job *job)
{
    pthread_mutex_lock(&pool->lock);
    pool_join_ended_locked(pool);
    pool->queued++;
    pool_grow_locked(pool);
    bool taken = pool->threads > 0;
    if (taken) {
        job->next = NULL;
        *pool->jobs_tail = job;
        pool->jobs_tail = &job->next;
        pthread_cond_signal(&pool->work);
    } else {
        pool->queued--;
    }
    pthread_mutex_unlock(&pool->lock);
    return taken;
}

static void offload_finished(void *arg)
{
    struct job *job = arg;
    job->finished = true;
    loop_wake(job->co);
}

int64_t co_offload(pool_fn *fn, void *arg)
{
    struct loop *loop = loop_of_self();
    struct job job = {.fn = fn, .arg = arg, .loop = loop, .co = co_self()};
    job.message.fn = offload_finished;
    job.message.arg = &job;
    if (!pool_enqueue(loop->pool, &job)) {
        return fn(arg);
    }
    while (!job.finished) {
        co_yield();
    }
    return job.result;
}

static void submit_finished(void *arg)
{
    struct job *job = arg;
    job->done(job->arg, job->result);
    g_free(job);
}

void pool_submit(struct pool *pool, struct loop *loop, pool_fn *fn,
                 void (*done)(void *arg, int64_t result), void *arg)
{
    struct job *job = g_new0(struct job, 1);
    *job = (struct job){.fn = fn, .arg = arg, .loop = loop, .done = done};
    job->message.fn = submit_finished;
    job->message.arg = job;
    if (!pool_enqueue(pool, job)) {
        job_run(job);
    }
}

void pool_set_idle_ns(struct pool *pool, int64_t idle_ns)
{
    pthread_mutex_lock(&pool->lock);
    pool->idle_ns = idle_ns;
    pthread_mutex_unlock(&pool->lock);
}

void pool_set_in_place(struct pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    pool->limit = -1;
    pthread_mutex_unlock(&pool->lock);
}

int pool_thread_count(struct pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    int threads = pool->threads;
    pthread_mutex_unlock(&pool->lock);
    return threads;
}

int pool_idle_count(struct pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    int idle = pool->idle;
    pthread_mutex_unlock(&pool->lock);
    return idle;
}
