/*
 * Waiting. A waiter lives on the stack of the coroutine that waits; whoever
 * wakes it takes it off the queue and marks it, so that a wake-up for another
 * reason changes nothing. Locks are handed over, not released and raced for.
 */
#include "base/co-lock.h"

#include <assert.h>
#include <stddef.h>

#include "base/loop.h"

struct co_waiter {
    struct co *co;
    struct co_waiter *next;
    struct range_hold *hold; /* what a range lock's waiter asks for */
    bool woken;
};

/* Not inlined: compilers would warn of a local's address that outlives its function, which it
 * does not. */
static __attribute__((noinline)) void queue_append(struct co_queue *queue, struct co_waiter *waiter)
{
    struct co_waiter **tail = queue->head ? queue->tail : &queue->head;
    *tail = waiter;
    queue->tail = &waiter->next;
}

static void queue_co_wait(struct co_queue *queue, struct range_hold *hold)
{
    struct co_waiter waiter = {co_self(), NULL, hold, false};
    queue_append(queue, &waiter);
    while (!waiter.woken) {
        co_yield();
    }
}

/* Takes the waiter at `link` off the queue and wakes it. */
static void queue_wake(struct co_queue *queue, struct co_waiter **link)
{
    struct co_waiter *waiter = *link;
    *link = waiter->next;
    if (!waiter->next) {
        queue->tail = link;
    }
    waiter->woken = true;
    loop_wake(waiter->co);
}

void co_queue_co_wait(struct co_queue *queue)
{
    queue_co_wait(queue, NULL);
}

bool co_queue_wake_one(struct co_queue *queue)
{
    if (!queue->head) {
        return false;
    }
    queue_wake(queue, &queue->head);
    return true;
}

void co_queue_wake_all(struct co_queue *queue)
{
    while (co_queue_wake_one(queue)) {
    }
}

void co_mutex_co_lock(struct co_mutex *mutex)
{
    if (mutex->locked) {
        co_queue_co_wait(&mutex->queue);
    }
    mutex->locked = true;
}

void co_mutex_unlock(struct co_mutex *mutex)
{
    assert(mutex->locked);
    mutex->locked = co_queue_wake_one(&mutex->queue);
}

static bool range_overlaps(const struct range_hold *a, const struct range_hold *b)
{
    if (a->offset > b->offset) {
        return a->length > 0 && a->offset - b->offset < b->length;
    }
    return b->length > 0 && b->offset - a->offset < a->length;
}

static bool range_conflicts(const struct range_hold *a, const struct range_hold *b)
{
    return (a->exclusive || b->exclusive) && range_overlaps(a, b);
}

/* May `hold` be granted, given the holders and the waiters before `end`? */
static bool range_is_free(const struct range_lock *lock, const struct range_hold *hold,
                          const struct co_waiter *end)
{
    for (const struct range_hold *held = lock->held; held; held = held->next) {
        if (range_conflicts(held, hold)) {
            return false;
        }
    }
    for (const struct co_waiter *w = lock->queue.head; w != end; w = w->next) {
        if (range_conflicts(w->hold, hold)) {
            return false;
        }
    }
    return true;
}

static void range_grant(struct range_lock *lock, struct range_hold *hold)
{
    hold->next = lock->held;
    lock->held = hold;
}

void range_lock_co_lock(struct range_lock *lock, struct range_hold *hold, int64_t offset,
                        int64_t length, bool exclusive)
{
    assert(offset >= 0 && length >= 0);
    *hold = (struct range_hold){offset, length, exclusive, NULL};
    if (range_is_free(lock, hold, NULL)) {
        range_grant(lock, hold);
    } else {
        queue_co_wait(&lock->queue, hold);
    }
}

void range_lock_unlock(struct range_lock *lock, struct range_hold *hold)
{
    struct range_hold **held = &lock->held;
    while (*held != hold) {
        held = &(*held)->next;
    }
    *held = hold->next;
    for (struct co_waiter **link = &lock->queue.head; *link;) {
        struct co_waiter *waiter = *link;
        if (range_is_free(lock, waiter->hold, waiter)) {
            range_grant(lock, waiter->hold);
            queue_wake(&lock->queue, link);
        } else {
            link = &waiter->next;
        }
    }
}
