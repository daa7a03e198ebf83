/*
 * The event loop: one per I/O thread. It runs coroutines, and gives them
 * files, timers, file-descriptor readiness and messages from other threads.
 *
 * File calls go to io_uring where the kernel grants one and to the pool where
 * it does not; callers cannot tell. Ring and pool are made when the first
 * request needs them, so a loop that only serves page-cache hits costs nothing.
 *
 * A loop is used by the thread that runs it. Only the functions marked
 * "any thread" may be called from elsewhere.
 */
#ifndef CAIRN_BASE_LOOP_H
#define CAIRN_BASE_LOOP_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/co.h"

struct loop;
struct pool;

/* A new loop. `share`, when not NULL, lends its pool. Never fails: what cannot
 * be had is replaced (io_uring by the pool) or reported by the call that needs it. */
struct loop *loop_new(struct loop *share);

/* Calls what was posted, and frees the loop: no coroutine may still be suspended in it, and nobody
 * may post any more. */
void loop_free(struct loop *loop);

/* The loop that the calling thread is running, or NULL. */
struct loop *loop_current(void);

/* The pool of the loop (made at first use). */
struct pool *loop_pool(struct loop *loop);

/* Forces (false) or restores (true) use of io_uring; for tests and --aio=threads. */
void loop_use_ring(struct loop *loop, bool use);

/* Starts fn(arg) as a coroutine, now, until its first yield. When there is no stack for it, it
 * starts after another coroutine of the loop has ended; when there is none either, the program
 * stops with a message. */
void loop_spawn(struct loop *loop, co_fn *fn, void *arg);

/* The same, or false when there is no stack for it now: for a coroutine that waits for what it
 * starts, so that not all of a loop wait for a stack. */
bool loop_try_spawn(struct loop *loop, co_fn *fn, void *arg);

/* Makes `co` ready; it runs at its loop's next turn. Same thread only. */
void loop_wake(struct co *co);

/* Any thread: makes `co`, which belongs to `loop`, ready. */
void loop_wake_remote(struct loop *loop, struct co *co);

/* Any thread: runs fn(arg) in the loop's thread, outside any coroutine, in order of posting. */
void loop_post(struct loop *loop, void (*fn)(void *arg), void *arg);

/* Any thread: makes a blocked loop_turn() return. */
void loop_kick(struct loop *loop);

/* Handles what is ready; with `block`, first waits until something is. A signal or a kick ends the
 * wait early. */
void loop_turn(struct loop *loop, bool block);

/* The synchronous door: runs fn(arg) as a coroutine and the loop until fn has
 * returned. Never called from a coroutine. */
void loop_call(struct loop *loop, co_fn *fn, void *arg);

/* Runs fn(arg) as a coroutine of `target`, which another thread runs, and
 * waits for it; when `target` is the current loop, simply calls it. False when
 * there was no stack for it: then it was not called. */
bool loop_co_call(struct loop *target, co_fn *fn, void *arg);

/* File calls for coroutines. They return what the system call does: a byte
 * count or -errno; short counts are possible, EINTR and EAGAIN are not. */
int64_t loop_co_preadv(int fd, const struct iovec *iov, int iovcnt, int64_t offset, int flags);
int64_t loop_co_pwritev(int fd, const struct iovec *iov, int iovcnt, int64_t offset, int flags);
int loop_co_fdatasync(int fd);
int loop_co_fallocate(int fd, int mode, int64_t offset, int64_t length);

/* Waits for `events` (poll(2) bits) on fd; returns the bits that are set, or -errno. */
int loop_co_poll(int fd, unsigned events);

/* Makes a coroutine's loop_co_poll() end with -ECANCELED, unless its events come first. Nothing
 * when `co` is not in it. Same thread only. */
void loop_cancel_poll(struct co *co);

/* Sleeps at least `ns` nanoseconds. */
void loop_co_sleep(int64_t ns);

/* Lets every other ready coroutine run once. */
void loop_co_relax(void);

/* Nanoseconds of the monotonic clock, as the loop sees it. */
int64_t loop_now(struct loop *loop);

/* A one-shot timer in the loop's thread: fn(arg) at `when_ns`, outside any coroutine. The
 * timer lives in the caller's memory, zero before its first use; arming an armed timer moves it. */
struct loop_timer {
    int64_t when_ns;
    void (*fn)(void *arg);
    void *arg;
    struct loop *loop;
    int index;      /* place in the heap plus one; 0 when not armed */
    uint64_t order; /* timers of the same time run in the order of arming */
};

void loop_timer_arm(struct loop *loop, struct loop_timer *timer, int64_t when_ns,
                    void (*fn)(void *arg), void *arg);
void loop_timer_cancel(struct loop_timer *timer);

#endif
