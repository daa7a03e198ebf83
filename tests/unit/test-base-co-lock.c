#include "base/co-lock.h"

#include <glib.h>

#include "base/loop.h"

struct bed {
    struct loop *loop;
    struct co_mutex mutex;
    struct co_queue queue;
    struct range_lock ranges;
    GString *log;
    bool go;
};

static void bed_init(struct bed *bed)
{
    *bed = (struct bed){.loop = loop_new(NULL), .log = g_string_new("")};
}

static void bed_done(struct bed *bed)
{
    for (int i = 0; i < 20; i++) {
        loop_turn(bed->loop, false);
    }
    loop_free(bed->loop);
    g_string_free(bed->log, TRUE);
}

struct actor {
    struct bed *bed;
    char name;
    int64_t offset, length;
    bool exclusive;
    bool hold;
};

static struct actor actor_of(struct bed *bed, char name, int64_t offset, int64_t length,
                             bool exclusive)
{
    return (struct actor){
        .bed = bed, .name = name, .offset = offset, .length = length, .exclusive = exclusive};
}

static void wait_in_queue(void *arg)
{
    struct actor *actor = arg;
    co_queue_co_wait(&actor->bed->queue);
    g_string_append_c(actor->bed->log, actor->name);
}

static void test_queue_is_fifo(void)
{
    struct bed bed;
    bed_init(&bed);
    struct actor actors[] = {actor_of(&bed, 'a', 0, 0, false), actor_of(&bed, 'b', 0, 0, false),
                             actor_of(&bed, 'c', 0, 0, false), actor_of(&bed, 'd', 0, 0, false)};
    g_assert_false(co_queue_wake_one(&bed.queue));
    for (int i = 0; i < 3; i++) {
        loop_spawn(bed.loop, wait_in_queue, &actors[i]);
    }
    g_assert_true(co_queue_wake_one(&bed.queue));
    g_assert_cmpstr(bed.log->str, ==, "");
    loop_turn(bed.loop, false);
    g_assert_cmpstr(bed.log->str, ==, "a");
    loop_spawn(bed.loop, wait_in_queue, &actors[3]);
    co_queue_wake_all(&bed.queue);
    g_assert_true(co_queue_is_empty(&bed.queue));
    loop_turn(bed.loop, false);
    g_assert_cmpstr(bed.log->str, ==, "abcd");
    bed_done(&bed);
}

static void lock_twice(void *arg)
{
    struct actor *actor = arg;
    for (int i = 0; i < 2; i++) {
        co_mutex_co_lock(&actor->bed->mutex);
        g_string_append_c(actor->bed->log, actor->name);
        loop_co_relax();
        loop_co_relax();
        g_string_append_c(actor->bed->log, actor->name);
        co_mutex_unlock(&actor->bed->mutex);
    }
}

static void test_mutex_is_fair(void)
{
    struct bed bed;
    bed_init(&bed);
    struct actor actors[] = {actor_of(&bed, 'a', 0, 0, false), actor_of(&bed, 'b', 0, 0, false),
                             actor_of(&bed, 'c', 0, 0, false)};
    for (int i = 0; i < 3; i++) {
        loop_spawn(bed.loop, lock_twice, &actors[i]);
    }
    for (int i = 0; i < 30; i++) {
        loop_turn(bed.loop, false);
    }
    g_assert_cmpstr(bed.log->str, ==, "aabbccaabbcc");
    g_assert_false(bed.mutex.locked);
    bed_done(&bed);
}

/* Takes its range, says so, and keeps it while `hold`. */
static void lock_range(void *arg)
{
    struct actor *actor = arg;
    struct range_hold hold;
    range_lock_co_lock(&actor->bed->ranges, &hold, actor->offset, actor->length, actor->exclusive);
    g_string_append_c(actor->bed->log, actor->name);
    while (actor->hold) {
        loop_co_relax();
    }
    range_lock_unlock(&actor->bed->ranges, &hold);
}

static void actor_start(struct actor *actor)
{
    actor->hold = true;
    loop_spawn(actor->bed->loop, lock_range, actor);
}

static void actor_release(struct actor *actor)
{
    actor->hold = false;
    loop_turn(actor->bed->loop, false);
    loop_turn(actor->bed->loop, false);
}

static void test_shared_and_exclusive(void)
{
    struct bed bed;
    bed_init(&bed);
    struct actor r1 = actor_of(&bed, 'r', 0, 100, false), r2 = actor_of(&bed, 's', 50, 100, false);
    struct actor w1 = actor_of(&bed, 'w', 149, 10, true), w2 = actor_of(&bed, 'x', 150, 10, true);
    struct actor empty = actor_of(&bed, 'e', 60, 0, true);
    actor_start(&r1);
    actor_start(&r2);
    actor_start(&w1);
    actor_start(&empty);
    g_assert_cmpstr(bed.log->str, ==, "rse");
    actor_start(&w2);
    g_assert_cmpstr(bed.log->str, ==, "rse");
    actor_release(&r2);
    g_assert_cmpstr(bed.log->str, ==, "rsew");
    actor_release(&w1);
    g_assert_cmpstr(bed.log->str, ==, "rsewx");
    actor_release(&r1);
    actor_release(&w2);
    actor_release(&empty);
    bed_done(&bed);
}

static void test_waiting_writer_is_not_overtaken(void)
{
    struct bed bed;
    bed_init(&bed);
    struct actor r1 = actor_of(&bed, 'r', 0, 100, false), w = actor_of(&bed, 'w', 0, 100, true);
    struct actor r2 = actor_of(&bed, 's', 50, 1, false), far = actor_of(&bed, 'f', 100, 50, true);
    actor_start(&r1);
    actor_start(&w);
    actor_start(&r2);
    actor_start(&far);
    g_assert_cmpstr(bed.log->str, ==, "rf");
    actor_release(&r1);
    g_assert_cmpstr(bed.log->str, ==, "rfw");
    actor_release(&w);
    g_assert_cmpstr(bed.log->str, ==, "rfws");
    actor_release(&r2);
    actor_release(&far);
    bed_done(&bed);
}

static void test_several_are_granted_at_once(void)
{
    struct bed bed;
    bed_init(&bed);
    struct actor w = actor_of(&bed, 'w', 0, INT64_MAX, true), a = actor_of(&bed, 'a', 10, 10, true);
    struct actor b = actor_of(&bed, 'b', INT64_MAX - 10, 10, true),
                 c = actor_of(&bed, 'c', 15, 10, false);
    actor_start(&w);
    actor_start(&a);
    actor_start(&b);
    actor_start(&c);
    actor_release(&w);
    g_assert_cmpstr(bed.log->str, ==, "wab");
    actor_release(&a);
    g_assert_cmpstr(bed.log->str, ==, "wabc");
    actor_release(&b);
    actor_release(&c);
    bed_done(&bed);
}

enum { CELLS = 64, WORKERS = 60 };

struct arena {
    struct range_lock lock;
    int readers[CELLS], writers[CELLS];
    GRand *rand;
    int grants;
};

static void arena_mark(struct arena *arena, int at, int len, bool exclusive, int delta)
{
    for (int i = at; i < at + len; i++) {
        *(exclusive ? &arena->writers[i] : &arena->readers[i]) += delta;
        g_assert_cmpint(arena->writers[i], <=, arena->readers[i] ? 0 : 1);
    }
}

static void arena_work(void *arg)
{
    struct arena *arena = arg;
    for (int round = 0; round < 50; round++) {
        int at = g_rand_int_range(arena->rand, 0, CELLS);
        int len = g_rand_int_range(arena->rand, 0, MIN(CELLS - at, 12) + 1);
        bool exclusive = g_rand_boolean(arena->rand);
        struct range_hold hold;
        range_lock_co_lock(&arena->lock, &hold, at, len, exclusive);
        arena_mark(arena, at, len, exclusive, 1);
        for (int n = g_rand_int_range(arena->rand, 0, 4); n; n--) {
            loop_co_relax();
        }
        arena_mark(arena, at, len, exclusive, -1);
        range_lock_unlock(&arena->lock, &hold);
        arena->grants++;
    }
}

static void test_random_ranges_never_conflict(void)
{
    struct loop *loop = loop_new(NULL);
    struct arena arena = {.rand = g_rand_new_with_seed(3)};
    for (int i = 0; i < WORKERS; i++) {
        loop_spawn(loop, arena_work, &arena);
    }
    for (int i = 0; i < 100000 && arena.grants < WORKERS * 50; i++) {
        loop_turn(loop, false);
    }
    g_assert_cmpint(arena.grants, ==, WORKERS * 50);
    g_assert_true(!arena.lock.held && co_queue_is_empty(&arena.lock.queue));
    g_rand_free(arena.rand);
    loop_free(loop);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/co-lock/queue-is-fifo", test_queue_is_fifo);
    g_test_add_func("/co-lock/mutex-is-fair", test_mutex_is_fair);
    g_test_add_func("/co-lock/shared-and-exclusive", test_shared_and_exclusive);
    g_test_add_func("/co-lock/waiting-writer-is-not-overtaken",
                    test_waiting_writer_is_not_overtaken);
    g_test_add_func("/co-lock/several-are-granted-at-once", test_several_are_granted_at_once);
    g_test_add_func("/co-lock/random-ranges-never-conflict", test_random_ranges_never_conflict);
    return g_test_run();
}
