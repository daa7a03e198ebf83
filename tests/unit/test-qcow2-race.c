/*
 * A cluster is not freed, let alone used again, while a request is inside it: the
 * request is held up below the image; meanwhile its cluster is zeroed, the image
 * flushed twice, and another guest cluster written, which takes the first free
 * cluster there is.
 */
#include "tests/unit/qcow2-jolt.h"
#include "tests/unit/qcow2-model.h"

enum { CLUSTER = 4096, TURNS = 300 };

struct race {
    struct model m;
    uint8_t got[CLUSTER];
    bool writes; /* the request is a write in place, not a read */
    int running;
};

static void co_request(void *arg)
{
    struct race *race = arg;
    struct iovec slot;
    struct span span = span_of(&slot, race->got, CLUSTER);
    int ret = race->writes ? node_co_write(race->m.node, 0, CLUSTER, span, 0)
                           : node_co_read(race->m.node, 0, CLUSTER, span);
    g_assert_cmpint(ret, ==, 0);
    race->running--;
}

static void co_reuse(void *arg)
{
    struct race *race = arg;
    struct blk_node *node = race->m.node;
    uint8_t bytes[CLUSTER];
    struct iovec slot;
    memset(bytes, 'b', CLUSTER);
    g_assert_cmpint(node_co_zero(node, 0, CLUSTER, REQ_MAY_UNMAP), ==, 0);
    g_assert_cmpint(node_co_flush(node), ==, 0);
    g_assert_cmpint(node_co_flush(node), ==, 0);
    g_assert_cmpint(node_co_write(node, CLUSTER, CLUSTER, span_of(&slot, bytes, CLUSTER), 0), ==,
                    0);
    race->running--;
}

static void fill(struct race *race, int64_t offset, int byte)
{
    uint8_t bytes[CLUSTER];
    memset(bytes, byte, CLUSTER);
    g_assert_cmpint(node_write(race->m.node, offset, CLUSTER, bytes, 0), ==, 0);
}

static void start(struct race *race, enum jolt_kind kind)
{
    static const struct model_shape shape = {.cluster_size = CLUSTER, .size = 16 * CLUSTER};
    model_start(&race->m, &shape, 1);
    model_jolt(&race->m);
    fill(race, 0, 'a');
    fill(race, 2 * CLUSTER, 'c');
    g_assert_cmpint(node_flush(race->m.node), ==, 0);
    struct jolt *jolt = jolt_of(race->m.jolt);
    jolt->hold_at[kind] = jolt->count[kind] + 1;
    race->running = 2;
}

/* Lets the others do what they can while the request is held, and then everybody to the end. */
static void run(struct race *race, enum jolt_kind kind)
{
    start(race, kind);
    loop_spawn(race->m.loop, co_request, race);
    loop_turn(race->m.loop, false);
    loop_spawn(race->m.loop, co_reuse, race);
    for (int i = 0; i < TURNS; i++) {
        loop_turn(race->m.loop, false);
    }
    jolt_of(race->m.jolt)->hold_at[kind] = 0;
    while (race->running) {
        loop_turn(race->m.loop, true);
    }
}

static void test_read(void)
{
    struct race race = {.writes = false};
    run(&race, JOLT_READ);
    for (int i = 0; i < CLUSTER; i++) {
        g_assert_cmpint(race.got[i], ==, 'a');
    }
    model_stop(&race.m);
}

static void test_write(void)
{
    struct race race = {.writes = true};
    memset(race.got, 'd', CLUSTER);
    run(&race, JOLT_WRITE);
    g_assert_cmpint(node_read(race.m.node, CLUSTER, CLUSTER, race.got), ==, 0);
    for (int i = 0; i < CLUSTER; i++) {
        g_assert_cmpint(race.got[i], ==, 'b');
    }
    model_stop(&race.m);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/qcow2/race/read", test_read);
    g_test_add_func("/qcow2/race/write", test_write);
    return g_test_run();
}
