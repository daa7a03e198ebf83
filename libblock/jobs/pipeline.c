/*
 * One mutex guards the queue of batches, the turn and the outcome. Whoever has to wait puts itself
 * on a list and yields to its own loop; whoever changes what others wait for wakes them there. The
 * owner is the planner: it keeps at most QUEUE_LENGTH batches ahead of the workers.
 *
 * The turn passes strictly from item to item. It cannot get stuck: items are taken in order, and
 * the lowest one in work waits for nobody.
 */
#include "libblock/jobs/pipeline.h"

#include <errno.h>
#include <pthread.h>

enum {
    QUEUE_LENGTH = 2,
    MAX_THREADS = 64,
    WORKER_STACK = 256 * 1024, /* slots run on coroutine stacks */
};

/* A suspended coroutine; lives on its stack. */
struct waiter {
    struct loop *loop;
    struct co *co;
    int64_t sequence; /* the turn it waits for */
    bool woken;
    struct waiter *next;
};

struct worker {
    struct pipeline *pipeline;
    struct loop *loop;
    pthread_t thread;
    void *share;          /* the task's */
    int live;             /* slots that have not ended; this worker's thread only */
    struct co_queue idle; /* the worker's first coroutine, waiting for the others */
};

struct pipeline {
    const struct pipeline_task *task;
    struct loop *owner;
    pthread_mutex_t lock;

    /* under lock */
    struct batch *queue[QUEUE_LENGTH];
    int queued;
    bool planned;     /* no more batches will come */
    int64_t position; /* where the next item begins */
    int64_t sequence; /* of the next item */
    int64_t turn;     /* the item whose turn it is */
    int64_t stop_at;
    bool failed;
    GError *error;
    int64_t error_sequence;
    int live; /* workers that have not ended */
    struct waiter *hungry, *turns,
        *planner; /* waiting for items, for a turn, for room or the end */
};

/* Not inlined: compilers would warn of a local's address that outlives its function, which it
 * does not. */
static __attribute__((noinline)) void push_waiter(struct waiter **list, struct waiter *waiter)
{
    waiter->next = *list;
    *list = waiter;
}

/* Suspends the caller on `list` until it is woken; the lock is dropped meanwhile. */
static void wait_co_locked(struct pipeline *p, struct waiter **list, int64_t sequence)
{
    struct waiter self = {loop_current(), co_self(), sequence, false, NULL};
    push_waiter(list, &self);
    while (!self.woken) {
        pthread_mutex_unlock(&p->lock);
        co_yield();
        pthread_mutex_lock(&p->lock);
    }
}

/* Takes a waiter off its list and makes it ready. */
static void wake_one_locked(struct waiter **link)
{
    struct waiter *waiter = *link;
    *link = waiter->next;
    waiter->woken = true;
    loop_wake_remote(waiter->loop, waiter->co);
}

static void wake_locked(struct waiter **list)
{
    while (*list) {
        wake_one_locked(list);
    }
}

static void wake_turn_locked(struct pipeline *p)
{
    for (struct waiter **link = &p->turns; *link; link = &(*link)->next) {
        if ((*link)->sequence == p->turn) {
            wake_one_locked(link);
            return;
        }
    }
}

static void fail_locked(struct pipeline *p, int64_t sequence, GError *error)
{
    if (!p->failed || sequence < p->error_sequence) {
        g_clear_error(&p->error);
        p->error = error;
        p->error_sequence = sequence;
    } else {
        g_error_free(error);
    }
    p->failed = true;
    wake_locked(&p->hungry);
    wake_locked(&p->turns);
    wake_locked(&p->planner);
}

static void fail(struct pipeline *p, int64_t sequence, GError *error)
{
    pthread_mutex_lock(&p->lock);
    fail_locked(p, sequence, error);
    pthread_mutex_unlock(&p->lock);
}

struct loop *pipeline_owner(struct pipeline *pipeline)
{
    return pipeline->owner;
}

bool pipeline_co_take_turn(struct pipeline *pipeline, const struct pipeline_item *item)
{
    pthread_mutex_lock(&pipeline->lock);
    while (!pipeline->failed && pipeline->turn != item->sequence) {
        wait_co_locked(pipeline, &pipeline->turns, item->sequence);
    }
    bool taken = !pipeline->failed;
    pthread_mutex_unlock(&pipeline->lock);
    return taken;
}

void pipeline_pass_turn(struct pipeline *pipeline)
{
    pthread_mutex_lock(&pipeline->lock);
    pipeline->turn++;
    wake_turn_locked(pipeline);
    pthread_mutex_unlock(&pipeline->lock);
}

void pipeline_stop_at(struct pipeline *pipeline, int64_t offset)
{
    pthread_mutex_lock(&pipeline->lock);
    pipeline->stop_at = min_i64(pipeline->stop_at, offset);
    wake_locked(&pipeline->planner);
    pthread_mutex_unlock(&pipeline->lock);
}

/* True when no further item is to be taken. */
static bool is_over_locked(const struct pipeline *p)
{
    return p->failed || p->position >= p->stop_at || (p->planned && p->queued == 0);
}

static void queue_pop_locked(struct pipeline *p)
{
    batch_unref(p->queue[0]);
    p->queue[0] = p->queue[1];
    p->queued--;
    wake_locked(&p->planner);
}

/* The next item, with a reference to its batch; waits for the planner. False at the end. */
static bool co_take_item(struct pipeline *p, struct pipeline_item *item)
{
    pthread_mutex_lock(&p->lock);
    while (p->queued == 0 && !is_over_locked(p)) {
        wait_co_locked(p, &p->hungry, 0);
    }
    bool taken = !is_over_locked(p);
    if (taken) {
        struct batch *batch = p->queue[0];
        *item = (struct pipeline_item){p->sequence++, p->position,
                                       batch_item_end(batch, p->position), batch_ref(batch)};
        p->position = item->end;
        if (item->end >= batch->end) {
            queue_pop_locked(p);
        }
    }
    pthread_mutex_unlock(&p->lock);
    return taken;
}

static bool co_run_item(struct pipeline *p, void *slot, const struct pipeline_item *item,
                        GError **error)
{
    struct job *job = p->task->job;
    if (job_is_cancelled(job)) {
        return error_set(error, ECANCELED, "the job was cancelled");
    }
    if (!p->task->co_item(p, slot, item, error)) {
        return false;
    }
    job_add_done(job, item->end - item->offset);
    return true;
}

static void slot_co_run(struct pipeline *p, void *share)
{
    void *slot = p->task->slot_new(p->task->user, share);
    struct pipeline_item item;
    while (co_take_item(p, &item)) {
        GError *error = NULL;
        if (!co_run_item(p, slot, &item, &error)) {
            fail(p, item.sequence, error);
        }
        batch_unref((struct batch *)item.batch);
    }
    p->task->slot_free(slot);
}

static void slot_co_entry(void *arg)
{
    struct worker *worker = arg;
    slot_co_run(worker->pipeline, worker->share);
    worker->live--;
    co_queue_wake_all(&worker->idle);
}

/* A worker's first coroutine: runs a slot, with as many beside it as there are stacks for, then
 * reports to the planner. */
static void worker_co_entry(void *arg)
{
    struct worker *worker = arg;
    struct pipeline *p = worker->pipeline;
    worker->share = p->task->share_new(p->task->user);
    for (int i = 1; i < p->task->depth; i++) {
        worker->live++;
        if (!loop_try_spawn(worker->loop, slot_co_entry, worker)) {
            worker->live--;
            break;
        }
    }
    slot_co_run(p, worker->share);
    while (worker->live > 0) {
        co_queue_co_wait(&worker->idle);
    }
    p->task->share_free(worker->share);
    pthread_mutex_lock(&p->lock);
    p->live--;
    wake_locked(&p->planner);
    pthread_mutex_unlock(&p->lock);
}

static void *worker_main(void *arg)
{
    struct worker *worker = arg;
    loop_call(worker->loop, worker_co_entry, worker);
    co_thread_done();
    return NULL;
}

/* Starts a thread; false when none can be had. */
static bool worker_start(struct pipeline *p, struct worker *worker)
{
    pthread_attr_t attr;
    *worker = (struct worker){.pipeline = p, .loop = loop_new(p->owner)};
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, WORKER_STACK);
    bool started = pthread_create(&worker->thread, &attr, worker_main, worker) == 0;
    pthread_attr_destroy(&attr);
    if (!started) {
        loop_free(worker->loop);
    }
    return started;
}

static int start_threads(struct pipeline *p, struct worker *workers, int threads)
{
    int started = 0;
    p->live = threads;
    while (started < threads && worker_start(p, &workers[started])) {
        started++;
    }
    pthread_mutex_lock(&p->lock);
    p->live -= threads - started;
    pthread_mutex_unlock(&p->lock);
    return started;
}

static void start_inline(struct pipeline *p, struct worker *worker)
{
    *worker = (struct worker){.pipeline = p, .loop = p->owner};
    p->live = 1;
    if (!loop_try_spawn(p->owner, worker_co_entry, worker)) {
        GError *error = NULL;
        error_set(&error, ENOMEM, "no memory for a second stack");
        p->live = 0;
        fail(p, 0, error);
    }
}

/* Hands a batch over and waits until there is room for the next. */
static void co_queue_batch(struct pipeline *p, struct batch *batch)
{
    pthread_mutex_lock(&p->lock);
    p->queue[p->queued++] = batch;
    wake_locked(&p->hungry);
    while (p->queued == QUEUE_LENGTH && !is_over_locked(p)) {
        wait_co_locked(p, &p->planner, 0);
    }
    pthread_mutex_unlock(&p->lock);
}

/* The planner's part from the first batch on, up to the last worker's end. */
static void co_feed(struct pipeline *p, struct batch *batch)
{
    const struct pipeline_task *task = p->task;
    while (batch) {
        int64_t end = batch->end;
        co_queue_batch(p, batch);
        pthread_mutex_lock(&p->lock);
        bool more = !p->failed && end < min_i64(task->total, p->stop_at);
        pthread_mutex_unlock(&p->lock);
        GError *error = NULL;
        batch = more ? task->co_plan(task->user, end, &error) : NULL;
        if (error) {
            fail(p, INT64_MAX, error);
        }
    }
    pthread_mutex_lock(&p->lock);
    p->planned = true;
    wake_locked(&p->hungry);
    while (p->live > 0) {
        wait_co_locked(p, &p->planner, 0);
    }
    pthread_mutex_unlock(&p->lock);
}

static void co_run_from(struct pipeline *p, struct batch *first)
{
    const struct pipeline_task *task = p->task;
    struct worker workers[MAX_THREADS];
    int threads = MIN(task->threads ? task->threads : pool_cpus(), MAX_THREADS);
    bool small = first->end == task->total && batch_bytes(first) <= task->small;
    int started = threads > 1 && !small ? start_threads(p, workers, threads) : 0;
    if (!started) {
        start_inline(p, &workers[0]);
    }
    co_feed(p, first);
    for (int i = 0; i < started; i++) {
        pthread_join(workers[i].thread, NULL);
        loop_free(workers[i].loop);
    }
}

bool pipeline_co_run(const struct pipeline_task *task, GError **error)
{
    if (task->total == 0) {
        return true;
    }
    struct pipeline p = {.task = task, .owner = loop_current(), .stop_at = task->total};
    struct batch *first = task->co_plan(task->user, 0, error);
    if (!first) {
        return false;
    }
    pthread_mutex_init(&p.lock, NULL);
    co_run_from(&p, first);
    pthread_mutex_destroy(&p.lock);
    while (p.queued > 0) {
        batch_unref(p.queue[--p.queued]);
    }
    if (p.failed) {
        g_propagate_error(error, p.error);
    }
    return !p.failed;
}
