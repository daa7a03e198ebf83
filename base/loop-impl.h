/*
 * The inside of a loop, shared by its parts: loop.c (turns, messages),
 * loop-timer.c, loop-ring.c, loop-poll.c, loop-file.c. Private to base.
 */
#ifndef CAIRN_BASE_LOOP_IMPL_H
#define CAIRN_BASE_LOOP_IMPL_H

#include <pthread.h>
#include <poll.h>

#include "base/co-impl.h"
#include "base/loop.h"

struct ring;
struct spawn;

struct loop {
    struct pool *pool;

    struct co *ready, **ready_tail; /* coroutines to resume, in order */
    unsigned ready_count;
    unsigned live;         /* coroutines that have started and not ended */
    struct spawn *starved; /* spawns that found no stack, oldest first */

    struct loop_message *messages; /* taken from the inbox, being called */
    pthread_mutex_t lock;          /* guards the next five */
    struct loop_message *inbox, **inbox_tail;
    bool sleeping; /* the sender that clears it writes kick_fd */
    bool kicked;   /* the next blocking turn returns at once */
    int kick_fd;   /* eventfd, -1 until the loop first sleeps */

    struct loop_timer **timers; /* binary heap, earliest first */
    int timer_count, timer_room;
    uint64_t timer_order;

    struct ring *ring; /* NULL until needed, or when refused */
    bool ring_wanted, ring_refused;

    struct loop_poll *polls; /* those waited for with poll(2) */
    struct pollfd *poll_fds; /* scratch of poll_wait() */
    int poll_room;
};

/* Calls message->fn in the loop's thread; any thread; allocates nothing. */
void loop_send(struct loop *loop, struct loop_message *message);

/* The loop of the running coroutine. */
struct loop *loop_of_self(void);

/* loop-timer.c: calls the timers that are due; nanoseconds until the next (-1: none). */
bool loop_timer_expire(struct loop *loop);
int64_t loop_timer_delay(struct loop *loop);

/* loop-ring.c: one request, on the stack of the coroutine that waits for it. */
struct io_uring_sqe;
struct ring_wait {
    struct co *co;
    int result;
    bool done;
};

/* The ring, made now if it may be; NULL when refused or not wanted. */
struct ring *ring_get(struct loop *loop);
void ring_free(struct loop *loop);
/* A slot to fill; yields while the ring is full; NULL when the kernel refuses the ring by now. */
struct io_uring_sqe *ring_co_sqe(struct loop *loop);
/* Waits for the filled slot; returns its result, -EAGAIN also when it was refused. `wait` is zero.
 */
int ring_co_wait(struct io_uring_sqe *sqe, struct ring_wait *wait);
void ring_cancel(struct loop *loop, struct ring_wait *wait);
void ring_submit(struct loop *loop);
bool ring_reap(struct loop *loop);
int ring_fd(struct ring *ring);
bool ring_has_kick(struct ring *ring);
/* Submits and sleeps until a completion, a kick, or `timeout_ns` (-1: for ever). */
void ring_sleep(struct loop *loop, int64_t timeout_ns);

/* loop-poll.c: waits with poll(2) on everything that the ring does not cover. */
struct loop_poll {
    int fd;
    unsigned events;
    int result;
    bool done, listed;
    struct co *co;
    bool in_ring;
    struct ring_wait wait; /* when the ring waits for it */
    struct loop_poll *next;
};
void poll_sleep(struct loop *loop, int64_t timeout_ns);

#endif
