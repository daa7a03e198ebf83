/*
 * Turns, coroutines and messages. A turn calls what other threads have sent,
 * expires timers, collects completions and then resumes each coroutine that was
 * ready, once. When nothing of this was there to do, a blocking turn sleeps in
 * one system call: in the ring when there is one, else in ppoll(2).
 *
 * Senders append to the inbox under the lock. A loop that is about to sleep
 * says so under the same lock, so that a sender writes the eventfd only when
 * somebody sleeps on it, and never touches the loop after the loop could have
 * seen its message and been freed.
 *
 * A spawn that finds no memory for a stack is kept and started when a coroutine
 * of the loop has ended. When none is left that could end, the program stops:
 * nothing that it promised to do can be done any more.
 */
#include "base/loop-impl.h"

#include <assert.h>
#include <errno.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/pool.h"

#define LOOP_BLIND_SLEEP_NS 10000000 /* without an eventfd nobody can wake us */

struct spawn {
    struct spawn *next;
    co_fn *fn;
    void *arg;
};

static __attribute__((noinline)) struct loop **loop_slot(void)
{
    static _Thread_local struct loop *current;
    struct loop **slot = &current;
    __asm__ volatile("" : "+r"(slot));
    return slot;
}

struct loop *loop_current(void)
{
    return *loop_slot();
}

struct loop *loop_of_self(void)
{
    struct co *co = co_self();
    assert(co && co->loop && "called outside of a loop's coroutine");
    return co->loop;
}

struct loop *loop_new(struct loop *share)
{
    struct loop *loop = g_new0(struct loop, 1);
    loop->pool = share ? pool_ref(share->pool) : pool_new(0);
    loop->ready_tail = &loop->ready;
    loop->inbox_tail = &loop->inbox;
    loop->ring_wanted = true;
    loop->kick_fd = -1;
    pthread_mutex_init(&loop->lock, NULL);
    return loop;
}

struct pool *loop_pool(struct loop *loop)
{
    return loop->pool;
}

void loop_use_ring(struct loop *loop, bool use)
{
    loop->ring_wanted = use;
}

int64_t loop_now(struct loop *loop)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

/* Coroutines */

static bool loop_start(struct loop *loop, co_fn *fn, void *arg)
{
    struct co *co = loop->live ? co_new(fn, arg) : co_new_beyond_limit(fn, arg);
    if (!co) {
        return false;
    }
    struct loop *outer = *loop_slot();
    co->loop = loop;
    loop->live++;
    *loop_slot() = loop;
    loop->live -= !co_resume(co);
    *loop_slot() = outer;
    return true;
}

static void loop_starve(struct loop *loop, co_fn *fn, void *arg)
{
    if (!loop->live) {
        g_error("out of memory: no stack for the only coroutine");
    }
    struct spawn *spawn = g_new(struct spawn, 1);
    *spawn = (struct spawn){NULL, fn, arg};
    struct spawn **end = &loop->starved;
    while (*end) {
        end = &(*end)->next;
    }
    *end = spawn;
}

/* Starts what was kept, as far as stacks can be had; true when anything started. */
static bool loop_feed(struct loop *loop)
{
    bool any = false;
    while (loop->starved) {
        struct spawn *spawn = loop->starved;
        loop->starved = spawn->next;
        bool started = loop_start(loop, spawn->fn, spawn->arg);
        if (!started && !loop->live) {
            g_error("out of memory: no stack for the only coroutine");
        }
        if (!started) {
            spawn->next = loop->starved;
            loop->starved = spawn;
            break;
        }
        g_free(spawn);
        any = true;
    }
    return any;
}

void loop_spawn(struct loop *loop, co_fn *fn, void *arg)
{
    if (loop->starved || !loop_start(loop, fn, arg)) {
        loop_starve(loop, fn, arg);
    }
}

bool loop_try_spawn(struct loop *loop, co_fn *fn, void *arg)
{
    return !loop->starved && loop_start(loop, fn, arg);
}

void loop_wake(struct co *co)
{
    struct loop *loop = co->loop;
    if (co->ready) {
        return;
    }
    co->ready = true;
    co->next = NULL;
    *loop->ready_tail = co;
    loop->ready_tail = &co->next;
    loop->ready_count++;
}

static struct co *loop_take_ready(struct loop *loop)
{
    struct co *co = loop->ready;
    if (co) {
        loop->ready = co->next;
        loop->ready_count--;
        co->ready = false;
        if (!loop->ready) {
            loop->ready_tail = &loop->ready;
        }
    }
    return co;
}

static void loop_run_ready(struct loop *loop)
{
    struct co *co;
    for (unsigned n = loop->ready_count; n && (co = loop_take_ready(loop)); n--) {
        if (!co_resume(co)) {
            loop->live--;
        }
    }
}

void loop_co_relax(void)
{
    loop_wake(co_self());
    co_yield();
}

/* Messages from other threads */

static void loop_rouse_locked(struct loop *loop)
{
    if (loop->sleeping) {
        loop->sleeping = false;
        uint64_t one = 1;
        ssize_t n = loop->kick_fd >= 0 ? write(loop->kick_fd, &one, sizeof(one)) : 0;
        (void)n;
    }
}

static void loop_send_locked(struct loop *loop, struct loop_message *message)
{
    message->next = NULL;
    *loop->inbox_tail = message;
    loop->inbox_tail = &message->next;
    loop_rouse_locked(loop);
}

void loop_send(struct loop *loop, struct loop_message *message)
{
    pthread_mutex_lock(&loop->lock);
    loop_send_locked(loop, message);
    pthread_mutex_unlock(&loop->lock);
}

void loop_kick(struct loop *loop)
{
    pthread_mutex_lock(&loop->lock);
    loop->kicked = true;
    loop_rouse_locked(loop);
    pthread_mutex_unlock(&loop->lock);
}

static void loop_wake_arrived(void *arg)
{
    struct co *co = arg;
    pthread_mutex_lock(&co->loop->lock);
    co->waking = false;
    pthread_mutex_unlock(&co->loop->lock);
    loop_wake(co);
}

void loop_wake_remote(struct loop *loop, struct co *co)
{
    pthread_mutex_lock(&loop->lock);
    if (!co->waking) {
        co->waking = true;
        co->wake.fn = loop_wake_arrived;
        co->wake.arg = co;
        loop_send_locked(loop, &co->wake);
    }
    pthread_mutex_unlock(&loop->lock);
}

struct post {
    struct loop_message message;
    void (*fn)(void *arg);
    void *arg;
};

static void post_arrived(void *arg)
{
    struct post post = *(struct post *)arg;
    g_free(arg);
    post.fn(post.arg);
}

void loop_post(struct loop *loop, void (*fn)(void *arg), void *arg)
{
    struct post *post = g_new(struct post, 1);
    *post = (struct post){{NULL, post_arrived, post}, fn, arg};
    loop_send(loop, &post->message);
}

static void loop_take_inbox(struct loop *loop)
{
    pthread_mutex_lock(&loop->lock);
    loop->messages = loop->inbox;
    loop->inbox = NULL;
    loop->inbox_tail = &loop->inbox;
    pthread_mutex_unlock(&loop->lock);
}

/* Calls what had arrived by now; true when there was anything. */
static bool loop_read_inbox(struct loop *loop)
{
    if (!loop->messages) {
        loop_take_inbox(loop);
    }
    struct loop_message *message = loop->messages;
    bool any = message != NULL;
    while ((message = loop->messages)) {
        loop->messages = message->next;
        message->fn(message->arg);
    }
    return any;
}

void loop_free(struct loop *loop)
{
    if (!loop) {
        return;
    }
    while (loop_read_inbox(loop)) {
    }
    assert(!loop->live && !loop->starved && "loop freed with coroutines in it");
    ring_free(loop);
    pthread_mutex_destroy(&loop->lock);
    if (loop->kick_fd >= 0) {
        close(loop->kick_fd);
    }
    pool_unref(loop->pool);
    g_free(loop->timers);
    g_free(loop->poll_fds);
    g_free(loop);
    co_thread_done();
}

/* Turns */

static bool loop_gather(struct loop *loop)
{
    bool any = loop_read_inbox(loop);
    any |= loop_timer_expire(loop);
    any |= ring_reap(loop);
    any |= loop_feed(loop);
    return any || loop->ready;
}

/* True when the loop may sleep: senders will kick from now on. */
static bool loop_lie_down(struct loop *loop)
{
    pthread_mutex_lock(&loop->lock);
    if (loop->kick_fd < 0) {
        loop->kick_fd = eventfd(0, EFD_CLOEXEC);
    }
    loop->sleeping = !loop->inbox && !loop->kicked;
    loop->kicked = false;
    bool sleeping = loop->sleeping;
    pthread_mutex_unlock(&loop->lock);
    return sleeping;
}

static void loop_get_up(struct loop *loop)
{
    pthread_mutex_lock(&loop->lock);
    loop->sleeping = false;
    loop->kicked = false;
    pthread_mutex_unlock(&loop->lock);
}

static void loop_sleep(struct loop *loop)
{
    if (!loop_lie_down(loop)) {
        return;
    }
    int64_t timeout_ns = loop_timer_delay(loop);
    if (loop->kick_fd < 0 && (timeout_ns < 0 || timeout_ns > LOOP_BLIND_SLEEP_NS)) {
        timeout_ns = LOOP_BLIND_SLEEP_NS;
    }
    if (loop->ring && !loop->ring_refused && !loop->polls) {
        ring_sleep(loop, timeout_ns);
    } else {
        ring_submit(loop);
        poll_sleep(loop, timeout_ns);
    }
    loop_get_up(loop);
}

/* Hands requests to the kernel and looks at file descriptors without sleeping. */
static void loop_glance(struct loop *loop)
{
    ring_submit(loop);
    if (loop->polls) {
        poll_sleep(loop, 0);
    }
    ring_reap(loop);
}

void loop_turn(struct loop *loop, bool block)
{
    assert(!co_self() && "a coroutine must not run a loop");
    struct loop *outer = *loop_slot();
    *loop_slot() = loop;
    if (loop_gather(loop) || !block) {
        loop_glance(loop);
    } else {
        loop_sleep(loop);
        loop_gather(loop);
    }
    loop_run_ready(loop);
    *loop_slot() = outer;
}

/* Calls */

struct call {
    co_fn *fn;
    void *arg;
    bool done, refused;
    struct loop *caller_loop; /* of loop_co_call() */
    struct loop *target;
    struct co *caller;
    struct loop_message message; /* there, and then back */
};

static void call_run(void *arg)
{
    struct call *call = arg;
    call->fn(call->arg);
    call->done = true;
}

void loop_call(struct loop *loop, co_fn *fn, void *arg)
{
    assert(!co_self() && "a coroutine must not wait for a loop");
    struct call call = {.fn = fn, .arg = arg};
    loop_spawn(loop, call_run, &call);
    while (!call.done) {
        loop_turn(loop, true);
    }
}

/* In the caller's thread, so that the caller cannot go on, and end, with a wake-up under way. */
static void call_returned(void *arg)
{
    struct call *call = arg;
    call->done = true;
    loop_wake(call->caller);
}

static void call_answer(struct call *call)
{
    call->message = (struct loop_message){NULL, call_returned, call};
    loop_send(call->caller_loop, &call->message);
}

static void call_run_remote(void *arg)
{
    struct call *call = arg;
    call->fn(call->arg);
    call_answer(call);
}

static void call_arrived(void *arg)
{
    struct call *call = arg;
    if (!loop_try_spawn(call->target, call_run_remote, call)) {
        call->refused = true; /* else the caller may have gone on by now */
        call_answer(call);
    }
}

bool loop_co_call(struct loop *target, co_fn *fn, void *arg)
{
    struct loop *loop = loop_of_self();
    if (target == loop) {
        fn(arg);
        return true;
    }
    struct call call = {.fn = fn, .arg = arg, .caller_loop = loop, .target = target};
    call.caller = co_self();
    call.message = (struct loop_message){NULL, call_arrived, &call};
    loop_send(target, &call.message);
    while (!call.done) {
        co_yield();
    }
    return !call.refused;
}
