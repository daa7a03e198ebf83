/*
 * Many requests at once: workers write, zero, discard, flush and read blocks of
 * their own, smaller than a cluster and spread so that every cluster is shared by
 * all of them, while requests overtake each other below.
 */
#include "tests/unit/qcow2-jolt.h"
#include "tests/unit/qcow2-model.h"

enum { WORKERS = 12, GRAIN = 512 };

struct crowd {
    struct model m;
    int running, steps;
    bool own_clusters; /* workers share no clusters, and zero and discard whole ones */
};

struct worker {
    struct crowd *crowd;
    int number;
    GRand *rand;
};

/* A random unit of `size` bytes that belongs to the worker: every WORKERS-th. */
static int64_t own_unit(const struct worker *w, int64_t size)
{
    gint32 units = (gint32)(w->crowd->m.shape.size / size / WORKERS);
    return (g_rand_int_range(w->rand, 0, units) * WORKERS + w->number) * size;
}

/* A grain of one's own. */
static int64_t own_place(const struct worker *w)
{
    int64_t cluster = w->crowd->m.shape.cluster_size;
    gint32 grains = (gint32)(cluster / GRAIN);
    return w->crowd->own_clusters
               ? own_unit(w, cluster) + (int64_t)g_rand_int_range(w->rand, 0, grains) * GRAIN
               : own_unit(w, GRAIN);
}

static void co_check(struct worker *w, int64_t offset)
{
    uint8_t buf[GRAIN];
    struct iovec slot;
    g_assert_cmpint(node_co_read(w->crowd->m.node, offset, GRAIN, span_of(&slot, buf, GRAIN)), ==,
                    0);
    g_assert_cmpmem(buf, GRAIN, w->crowd->m.bytes + offset, GRAIN);
}

static void co_change(struct worker *w, int64_t offset)
{
    struct model *m = &w->crowd->m;
    struct iovec slot;
    int ret;
    if (g_rand_int_range(w->rand, 0, 5)) {
        memset(m->bytes + offset, g_rand_int_range(w->rand, 1, 256), GRAIN);
        ret = node_co_write(m->node, offset, GRAIN, span_of(&slot, m->bytes + offset, GRAIN), 0);
    } else {
        memset(m->bytes + offset, 0, GRAIN);
        ret = node_co_zero(m->node, offset, GRAIN, REQ_MAY_UNMAP);
    }
    g_assert_cmpint(ret, ==, 0);
}

static void co_clear_cluster(struct worker *w)
{
    struct model *m = &w->crowd->m;
    int64_t cluster = m->shape.cluster_size, offset = own_unit(w, cluster);
    memset(m->bytes + offset, 0, (size_t)cluster);
    int ret = g_rand_boolean(w->rand) ? node_co_zero(m->node, offset, cluster, REQ_MAY_UNMAP)
                                      : node_co_discard(m->node, offset, cluster);
    g_assert_cmpint(ret, ==, 0);
}

static void co_work(void *arg)
{
    struct worker *w = arg;
    for (int i = 0; i < w->crowd->steps; i++) {
        int kind = g_rand_int_range(w->rand, 0, 12);
        if (kind == 0) {
            g_assert_cmpint(node_co_flush(w->crowd->m.node), ==, 0);
        } else if (kind < 4) {
            co_check(w, own_place(w));
        } else if (kind < 6 && w->crowd->own_clusters) {
            co_clear_cluster(w);
        } else {
            co_change(w, own_place(w));
        }
    }
    w->crowd->running--;
}

static void crowd_run(struct crowd *crowd, guint32 seed)
{
    struct worker workers[WORKERS];
    crowd->running = WORKERS;
    for (int i = 0; i < WORKERS; i++) {
        workers[i] = (struct worker){crowd, i, g_rand_new_with_seed(seed * 100 + (guint32)i)};
        loop_spawn(crowd->m.loop, co_work, &workers[i]);
    }
    while (crowd->running) {
        loop_turn(crowd->m.loop, true);
    }
    for (int i = 0; i < WORKERS; i++) {
        g_rand_free(workers[i].rand);
    }
}

static void run(const struct model_shape *shape, bool own_clusters, guint32 seed)
{
    struct crowd crowd = {.steps = 60, .own_clusters = own_clusters};
    model_start(&crowd.m, shape, seed);
    model_jolt(&crowd.m);
    jolt_of(crowd.m.jolt)->rand = crowd.m.rand;
    for (int i = 0; i < 4; i++) {
        crowd_run(&crowd, seed * 10 + (guint32)i);
        jolt_of(crowd.m.jolt)->rand = NULL;
        model_compare(&crowd.m);
        model_ask_peer(&crowd.m);
        jolt_of(crowd.m.jolt)->rand = crowd.m.rand;
    }
    jolt_of(crowd.m.jolt)->rand = NULL;
    model_stop(&crowd.m);
}

static void test_crowd(gconstpointer data)
{
    for (guint32 seed = 1; seed <= (g_test_slow() ? 20 : 3); seed++) {
        run(data, false, seed);
        run(data, true, seed);
    }
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        struct model_shape shape;
    } shapes[] = {
        {"4k", {.cluster_size = 4096, .size = 1 << 20}},
        {"4k-backing", {.cluster_size = 4096, .size = 1 << 20, .backing_size = 700 * 1024}},
        {"64k", {.cluster_size = 65536, .size = 4 << 20}},
        {"512-wide",
         {.cluster_size = 512,
          .size = 4 << 20,
          .refcount_bits = 64,
          .open_options = "{\"l2-cache-size\": \"4096\", \"pass-discard-request\": \"on\"}"}},
    };
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(shapes); i++) {
        g_autofree char *path = g_strdup_printf("/qcow2/parallel/%s", shapes[i].name);
        g_test_add_data_func(path, &shapes[i].shape, test_crowd);
    }
    return g_test_run();
}
