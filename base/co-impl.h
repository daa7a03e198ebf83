/*
 * The inside of a coroutine, shared by the switch (co.c) and by the loop that
 * runs it. Private to base.
 */
#ifndef CAIRN_BASE_CO_IMPL_H
#define CAIRN_BASE_CO_IMPL_H

#include "base/co-context.h"
#include "base/co-shadow.h"
#include "base/co.h"

struct loop;
struct loop_poll;

/* Something for a loop's thread to call; belongs to the sender until it is called. */
struct loop_message {
    struct loop_message *next;
    void (*fn)(void *arg);
    void *arg;
};

struct co {
    struct co_context context;
    struct co *caller; /* who resumed it; NULL while suspended */
    co_fn *fn;         /* NULL: leave the stack for good */
    void *arg;
    void *mapping; /* guard page and stack; NULL: a thread's own stack */
    bool ended;
    struct co *next; /* in the thread's pool or in the loop's ready queue */
    struct co_shadow shadow;

    struct loop *loop;        /* who spawned it; NULL: nobody */
    bool ready;               /* in the loop's ready queue */
    bool waking;              /* `wake` is under way; under the loop's lock */
    struct loop_message wake; /* for loop_wake_remote() */
    struct loop_poll *poll;   /* the loop_co_poll() it waits in, or NULL */
};

/* As co_new(), for a loop's only coroutine: the limit on stacks does not count. */
struct co *co_new_beyond_limit(co_fn *fn, void *arg);

#endif
