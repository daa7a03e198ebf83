/*
 * Waiting between coroutines of one loop: a FIFO queue, a mutex, and a lock on
 * byte ranges. Nothing here is thread safe, and nothing needs to be: between
 * yields a coroutine is alone on its loop.
 */
#ifndef CAIRN_BASE_CO_LOCK_H
#define CAIRN_BASE_CO_LOCK_H

#include <stdbool.h>
#include <stdint.h>

struct co_waiter;

/* Coroutines waiting for something; all-zero is empty. */
struct co_queue {
    struct co_waiter *head, **tail;
};

/* Waits until woken. */
void co_queue_co_wait(struct co_queue *queue);

/* Wakes the first waiter, or every waiter; they run at the loop's next turn. */
bool co_queue_wake_one(struct co_queue *queue);
void co_queue_wake_all(struct co_queue *queue);

static inline bool co_queue_is_empty(const struct co_queue *queue)
{
    return !queue->head;
}

/* A fair mutex; all-zero is unlocked. The lock passes directly to the first waiter. */
struct co_mutex {
    bool locked;
    struct co_queue queue;
};

void co_mutex_co_lock(struct co_mutex *mutex);
void co_mutex_unlock(struct co_mutex *mutex);

/* A set of held byte ranges; all-zero is empty. Shared holders overlap each
 * other; an exclusive holder overlaps nobody. Waiters are served in order. */
struct range_lock {
    struct range_hold *held;
    struct co_queue queue;
};

/* One holder; lives on the coroutine's stack. */
struct range_hold {
    int64_t offset, length; /* bytes */
    bool exclusive;
    struct range_hold *next;
};

void range_lock_co_lock(struct range_lock *lock, struct range_hold *hold, int64_t offset,
                        int64_t length, bool exclusive);
void range_lock_unlock(struct range_lock *lock, struct range_hold *hold);

#endif
