/*
 * Snapshots against copies in memory: random requests with snapshots taken, applied, deleted and
 * shown in between; qemu-img, where there is one, must find no fault and no leak.
 */
#include <errno.h>

#include "libblock/driver.h"
#include "tests/unit/qcow2-jolt.h"
#include "tests/unit/qcow2-model.h"

struct copy {
    char *name;
    uint8_t *bytes, *unknown;
};

struct history {
    struct model m;
    GArray *copies; /* struct copy */
    int made;
};

static void copy_clear(gpointer item)
{
    struct copy *c = item;
    g_free(c->name);
    g_free(c->bytes);
    g_free(c->unknown);
}

static void start(struct history *h, const struct model_shape *shape, guint32 seed)
{
    model_start(&h->m, shape, seed);
    h->copies = g_array_new(false, false, sizeof(struct copy));
    g_array_set_clear_func(h->copies, copy_clear);
    h->made = 0;
}

static void stop(struct history *h)
{
    g_array_unref(h->copies);
    model_stop(&h->m);
}

static bool create(struct history *h, const char *name, GError **error)
{
    struct blk_snapshot snapshot = {.name = (char *)name, .date_ns = 1, .icount = -1};
    return node_snapshot_create(h->m.node, &snapshot, error);
}

/* Small refcounts may be full: then nothing has happened. */
static void take(struct history *h)
{
    GError *error = NULL;
    gsize size = (gsize)h->m.shape.size;
    char *name = g_strdup_printf("snap%d", h->made++);
    if (!create(h, name, &error)) {
        g_assert_cmpint(h->m.shape.refcount_bits, <, 8);
        g_assert_cmpint(error_errno(error), ==, EINVAL);
        g_clear_error(&error);
        g_free(name);
        return;
    }
    struct copy copy = {name, g_memdup2(h->m.bytes, size), g_memdup2(h->m.unknown, size)};
    g_array_append_val(h->copies, copy);
}

static void apply(struct history *h)
{
    if (!h->copies->len) {
        return;
    }
    GError *error = NULL;
    guint i = (guint)g_rand_int_range(h->m.rand, 0, (gint32)h->copies->len);
    struct copy *c = &g_array_index(h->copies, struct copy, i);
    bool ok = node_snapshot_do(h->m.node, SNAPSHOT_APPLY, c->name, &error);
    if (!ok) {
        g_assert_cmpint(h->m.shape.refcount_bits, <, 8);
        g_assert_cmpint(error_errno(error), ==, EINVAL);
        g_clear_error(&error);
        return;
    }
    memcpy(h->m.bytes, c->bytes, (gsize)h->m.shape.size);
    memcpy(h->m.unknown, c->unknown, (gsize)h->m.shape.size);
}

static void delete (struct history *h)
{
    if (!h->copies->len) {
        return;
    }
    GError *error = NULL;
    guint i = (guint)g_rand_int_range(h->m.rand, 0, (gint32)h->copies->len);
    struct copy *c = &g_array_index(h->copies, struct copy, i);
    node_snapshot_do(h->m.node, SNAPSHOT_DELETE, c->name, &error);
    g_assert_no_error(error);
    g_array_remove_index(h->copies, i);
}

/* Opens the image a second time, read-only, and looks at each snapshot there. */
static void look(struct history *h)
{
    gsize size = (gsize)h->m.shape.size;
    g_autofree uint8_t *got = g_malloc(size);
    g_assert_cmpint(node_flush(h->m.node), ==, 0);
    for (guint i = 0; i < h->copies->len; i++) {
        struct copy *c = &g_array_index(h->copies, struct copy, i);
        GError *error = NULL;
        struct blk_node *view =
            node_open(h->m.graph, h->m.path, "qcow2", NULL, NODE_FORCE_SHARE, &error);
        g_assert_no_error(error);
        node_snapshot_do(view, SNAPSHOT_LOAD, c->name, &error);
        g_assert_no_error(error);
        g_assert_cmpint(node_read(view, 0, (int64_t)size, got), ==, 0);
        for (gsize at = 0; at < size; at++) {
            if (got[at] != c->bytes[at] && !c->unknown[at]) {
                g_error("%s: byte %zu is %02x, should be %02x", c->name, at, got[at], c->bytes[at]);
            }
        }
        g_assert_true(node_close(view, NULL));
    }
}

static void run(const struct model_shape *shape, guint32 seed, int steps)
{
    struct history h;
    start(&h, shape, seed);
    for (int i = 0; i < steps; i++) {
        switch (g_rand_int_range(h.m.rand, 0, 40)) {
        case 0:
        case 1: take(&h); break;
        case 2: apply(&h); break;
        case 3: delete (&h); break;
        case 4: model_reopen(&h.m); break;
        default: model_step(&h.m, shape->size / 4);
        }
    }
    look(&h);
    model_ask_peer(&h.m);
    while (h.copies->len) {
        apply(&h);
        model_compare(&h.m);
        delete (&h);
    }
    model_ask_peer(&h.m);
    stop(&h);
}

static const struct model_shape shapes[] = {
    {.cluster_size = 512, .size = 300 * 512 + 7 * 512},
    {.cluster_size = 512, .size = 100 * 1024, .backing_size = 60 * 1024},
    {.cluster_size = 4096, .size = 1024 * 1024},
    {.cluster_size = 65536, .size = 2 * 1024 * 1024, .zstd = true},
    {.cluster_size = 4096, .size = 500 * 1024, .v2 = true, .backing_size = 300 * 1024},
    {.cluster_size = 512, .size = 100 * 1024, .refcount_bits = 64},
    {.cluster_size = 1024, .size = 200 * 1024, .refcount_bits = 2},
    {.cluster_size = 1024, .size = 200 * 1024, .refcount_bits = 1},
    {.cluster_size = 1024, .size = 200 * 1024, .refcount_bits = 8},
    {.cluster_size = 2097152, .size = 9 * 1024 * 1024},
    {.cluster_size = 512, .size = 200 * 1024, .preallocation = "metadata"},
    {.cluster_size = 4096, .size = 1024 * 1024, .open_options = "{\"l2-cache-size\": 8192}"},
};

static void test_random(void)
{
    int rounds = g_getenv("CAIRN_LONG") ? 200 : 2;
    for (int round = 0; round < rounds; round++) {
        for (guint i = 0; i < G_N_ELEMENTS(shapes); i++) {
            run(&shapes[i], (guint32)(round * 100 + (int)i), 120);
        }
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/qcow2/snapshot/random", test_random);
    return g_test_run();
}
