/*
 * Stackful coroutines: the switch and nothing else. Who runs a coroutine, and
 * when, is the loop's business (loop.h). A coroutine runs on the thread that
 * made it and never changes threads.
 */
#ifndef CAIRN_BASE_CO_H
#define CAIRN_BASE_CO_H

#include <stdbool.h>

struct co;
typedef void co_fn(void *arg);

/* A coroutine that will run fn(arg) at its first co_resume(), or NULL when no
 * stack can be had (the stacks of a thread take at most an eighth of RLIMIT_AS). It frees itself
 * (its stack goes back to a per-thread pool) when fn returns. */
struct co *co_new(co_fn *fn, void *arg);

/* Runs `co` until it yields or ends; true while it can be resumed again. Called
 * from outside a coroutine or from another one (they nest). */
bool co_resume(struct co *co);

/* Suspends the running coroutine; control returns to its resumer. */
void co_yield(void);

/* The running coroutine, or NULL outside of any. */
struct co *co_self(void);

/* Releases the calling thread's pooled stacks. A thread that ran coroutines calls it before it
 * ends. */
void co_thread_done(void);

#endif
