/*
 * The Nth read, write or flush of the file fails, for every N: requests may fail
 * then, but what they do not touch stays right, and the image stays sound.
 */
#include <errno.h>

#include "tests/unit/qcow2-jolt.h"
#include "tests/unit/qcow2-model.h"

enum { SIZE = 256 * 1024 };

/* One request; when it fails, what it was to change is unknown from then on. */
static bool change(struct model *m, int kind, int64_t offset, int64_t length)
{
    int ret;
    uint8_t *bytes = m->bytes + offset;
    uint8_t *old = g_memdup2(bytes, (gsize)length);
    memset(bytes, kind == 0 ? g_rand_int_range(m->rand, 1, 256) : 0, (size_t)length);
    memset(m->unknown + offset, 0, (size_t)length);
    switch (kind) {
    case 0: ret = node_write(m->node, offset, length, bytes, 0); break;
    case 1: ret = node_zero(m->node, offset, length, REQ_MAY_UNMAP); break;
    default: ret = node_discard(m->node, offset, length); break;
    }
    if (ret) {
        g_assert_true(ret == -EIO || ret == -ENOSPC);
        memset(m->unknown + offset, 1, (size_t)length);
    }
    g_free(old);
    return !ret;
}

/* The same requests every time; how many of them failed. */
static int workload(struct model *m)
{
    int failed = 0;
    for (int i = 0; i < 40; i++) {
        int kind = i % 5 == 3 ? 1 : i % 7 == 5 ? 2 : 0;
        int64_t grain = kind ? m->shape.cluster_size : 512;
        int64_t offset = g_rand_int_range(m->rand, 0, (gint32)(SIZE / grain)) * grain;
        int64_t length = MIN((1 + i % 9) * grain, SIZE - offset);
        failed += !change(m, kind, offset, length);
        if (i % 6 == 5) {
            failed += node_flush(m->node) != 0;
        }
    }
    return failed;
}

/* Runs with failure number `at`; false when there were not that many requests. */
static bool run(const struct model_shape *shape, enum jolt_kind kind, int64_t at, int times)
{
    struct model m;
    model_start(&m, shape, 7);
    model_jolt(&m);
    struct jolt *jolt = jolt_of(m.jolt);
    jolt->fail_at[kind] = at + jolt->count[kind];
    jolt->fail_times = times;
    jolt->error = kind == JOLT_WRITE && at % 2 ? -ENOSPC : -EIO;
    int failed = workload(&m);
    bool reached = jolt->count[kind] >= jolt->fail_at[kind];
    jolt->fail_at[kind] = 0;
    if (!failed) {
        model_compare(&m);
    }
    model_close_any(&m);
    if (times < 1000 && kind != JOLT_FLUSH) {
        model_open(&m);
        model_compare(&m);
    } else {
        model_open(&m);
    }
    model_check_peer(&m, true);
    model_stop(&m);
    return reached;
}

static void test_nth(gconstpointer data)
{
    const struct model_shape *shape = data;
    for (int kind = 0; kind < JOLT_KINDS; kind++) {
        int64_t step = g_test_slow() ? 1 : 5;
        for (int64_t at = 1; run(shape, kind, at, 1); at += step) {
        }
        for (int64_t at = 1; run(shape, kind, at, 1000); at += 3 * step) {
        }
    }
}

int main(int argc, char **argv)
{
    static const struct model_shape small = {.cluster_size = 4096, .size = SIZE};
    static const struct model_shape tiny = {
        .cluster_size = 512, .size = SIZE, .refcount_bits = 64, .backing_size = 100 * 1024};
    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/qcow2/fault/4k", &small, test_nth);
    g_test_add_data_func("/qcow2/fault/512-backing", &tiny, test_nth);
    return g_test_run();
}
