/*
 * Timers: a binary heap of pointers into the callers' memory, ordered by time
 * and then by when they were armed. `index` is a timer's place plus one, so
 * that cancelling and moving need no search.
 */
#include "base/loop-impl.h"

static bool timer_before(const struct loop_timer *a, const struct loop_timer *b)
{
    return a->when_ns != b->when_ns ? a->when_ns < b->when_ns : a->order < b->order;
}

static void timer_place(struct loop *loop, int i, struct loop_timer *timer)
{
    loop->timers[i] = timer;
    timer->index = i + 1;
}

static void timer_rise(struct loop *loop, int i)
{
    struct loop_timer *timer = loop->timers[i];
    while (i && timer_before(timer, loop->timers[(i - 1) / 2])) {
        timer_place(loop, i, loop->timers[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    timer_place(loop, i, timer);
}

static void timer_sink(struct loop *loop, int i)
{
    struct loop_timer *timer = loop->timers[i];
    for (int child; (child = 2 * i + 1) < loop->timer_count; i = child) {
        if (child + 1 < loop->timer_count &&
            timer_before(loop->timers[child + 1], loop->timers[child])) {
            child++;
        }
        if (!timer_before(loop->timers[child], timer)) {
            break;
        }
        timer_place(loop, i, loop->timers[child]);
    }
    timer_place(loop, i, timer);
}

void loop_timer_arm(struct loop *loop, struct loop_timer *timer, int64_t when_ns,
                    void (*fn)(void *arg), void *arg)
{
    loop_timer_cancel(timer);
    if (loop->timer_count == loop->timer_room) {
        loop->timer_room = loop->timer_room ? 2 * loop->timer_room : 16;
        loop->timers = g_renew(struct loop_timer *, loop->timers, loop->timer_room);
    }
    *timer = (struct loop_timer){.when_ns = when_ns, .fn = fn, .arg = arg, .loop = loop};
    timer->order = loop->timer_order++;
    timer_place(loop, loop->timer_count++, timer);
    timer_rise(loop, timer->index - 1);
}

void loop_timer_cancel(struct loop_timer *timer)
{
    if (!timer->index) {
        return;
    }
    struct loop *loop = timer->loop;
    int i = timer->index - 1;
    struct loop_timer *last = loop->timers[--loop->timer_count];
    timer->index = 0;
    if (last != timer) {
        timer_place(loop, i, last);
        timer_rise(loop, i);
        timer_sink(loop, last->index - 1);
    }
}

/* A timer armed by a timer waits for the next turn, so that no timer can hold the loop. */
bool loop_timer_expire(struct loop *loop)
{
    if (!loop->timer_count) {
        return false;
    }
    bool any = false;
    int64_t now_ns = loop_now(loop);
    uint64_t order = loop->timer_order;
    struct loop_timer *timer;
    while (loop->timer_count && (timer = loop->timers[0])->when_ns <= now_ns &&
           timer->order < order) {
        any = true;
        loop_timer_cancel(timer);
        timer->fn(timer->arg);
    }
    return any;
}

int64_t loop_timer_delay(struct loop *loop)
{
    if (!loop->timer_count) {
        return -1;
    }
    int64_t delay_ns = loop->timers[0]->when_ns - loop_now(loop);
    return delay_ns > 0 ? delay_ns : 0;
}

struct sleep {
    struct co *co;
    bool over;
};

static void sleep_over(void *arg)
{
    struct sleep *sleep = arg;
    sleep->over = true;
    loop_wake(sleep->co);
}

void loop_co_sleep(int64_t ns)
{
    struct loop *loop = loop_of_self();
    struct sleep sleep = {co_self(), false};
    struct loop_timer timer = {0};
    loop_timer_arm(loop, &timer, loop_now(loop) + ns, sleep_over, &sleep);
    while (!sleep.over) {
        co_yield();
    }
}
