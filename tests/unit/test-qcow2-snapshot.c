/*
 * Snapshots and other sizes against copies in memory: random requests with snapshots taken,
 * applied, deleted and shown, and the disk resized, in between; qemu-img, where there is one, must
 * find no fault and no leak.
 */
#include <errno.h>

#include "libblock/driver.h"
#include "tests/unit/qcow2-jolt.h"
#include "tests/unit/qcow2-model.h"

struct copy {
    char *name;
    int64_t size;
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

/* Bytes past the old size read as zero. */
static void set_size(struct history *h, int64_t size)
{
    int64_t old = h->m.shape.size, more = MAX(size - old, 0);
    h->m.bytes = g_realloc(h->m.bytes, (gsize)MAX(size, old));
    h->m.unknown = g_realloc(h->m.unknown, (gsize)MAX(size, old));
    memset(h->m.bytes + old, 0, (gsize)more);
    memset(h->m.unknown + old, 0, (gsize)more);
    h->m.shape.size = size;
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
    struct copy copy = {name, h->m.shape.size, g_memdup2(h->m.bytes, size),
                        g_memdup2(h->m.unknown, size)};
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
    g_assert_cmpint(node_size(h->m.node), ==, c->size);
    set_size(h, c->size);
    memcpy(h->m.bytes, c->bytes, (gsize)c->size);
    memcpy(h->m.unknown, c->unknown, (gsize)c->size);
}

/* To between half and twice the size; new space reads as zero. */
static void resize(struct history *h)
{
    static const char *const modes[] = {"off", "off", "metadata", "falloc", "full"};
    GError *error = NULL;
    int64_t old = h->m.shape.size;
    int64_t size = (int64_t)(g_rand_double_range(h->m.rand, 0.5, 2) * (double)old) / 512 * 512;
    size = CLAMP(size, 1024, 12 * 1024 * 1024);
    const char *mode = size > old ? modes[g_rand_int_range(h->m.rand, 0, 5)] : "off";
    bool ok = node_resize(h->m.node, size, mode, &error);
    if (h->m.shape.v2 && h->copies->len) {
        g_assert_cmpint(error_errno(error), ==, ENOTSUP);
        g_clear_error(&error);
    } else {
        g_assert_no_error(error);
        g_assert_true(ok);
        set_size(h, size);
    }
    g_assert_cmpint(node_size(h->m.node), ==, h->m.shape.size);
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
    g_assert_cmpint(node_flush(h->m.node), ==, 0);
    for (guint i = 0; i < h->copies->len; i++) {
        struct copy *c = &g_array_index(h->copies, struct copy, i);
        gsize size = (gsize)c->size;
        g_autofree uint8_t *got = g_malloc(size);
        GError *error = NULL;
        struct blk_node *view =
            node_open(h->m.graph, h->m.path, "qcow2", NULL, NODE_FORCE_SHARE, &error);
        g_assert_no_error(error);
        node_snapshot_do(view, SNAPSHOT_LOAD, c->name, &error);
        g_assert_no_error(error);
        g_assert_cmpint(node_size(view), ==, c->size);
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
        case 5:
        case 6: resize(&h); break;
        default: model_step(&h.m, h.m.shape.size / 4);
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
    {.cluster_size = 512, .size = 300 * 512},
    {.cluster_size = 4096, .size = 300 * 1024, .v2 = true},
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

/* ---- old writers ---- */

/* Takes the extra data, 24 bytes, out of the first snapshot's entry. */
static void strip_extra(const char *path)
{
    g_autofree char *text = NULL;
    gsize length;
    g_assert_true(g_file_get_contents(path, &text, &length, NULL));
    uint8_t *entry = (uint8_t *)text + load_be64((uint8_t *)text + 64);
    gsize strings = load_be16(entry + 12) + load_be16(entry + 14);
    g_assert_cmpuint(load_be32(entry + 36), ==, 24);
    store_be32(entry + 36, 0);
    memmove(entry + 40, entry + 64, strings);
    g_assert_true(g_file_set_contents(path, text, (gssize)length, NULL));
}

/* A snapshot that does not tell the disk's size has the image's; the table is kept whole when
 * another one is added. */
static void test_no_extra(void)
{
    struct history h;
    struct model_shape shape = {.cluster_size = 4096, .size = 64 * 1024, .v2 = true};
    start(&h, &shape, 3);
    model_step(&h.m, shape.size);
    take(&h);
    model_close_any(&h.m);
    strip_extra(h.m.path);
    model_open(&h.m);
    model_step(&h.m, shape.size);
    take(&h);
    model_reopen(&h.m);
    look(&h);
    apply(&h);
    model_ask_peer(&h.m);
    stop(&h);
}

/* ---- failing requests ---- */

enum { FAULT_SIZE = 96 * 1024 };

/* A disk of ones, a snapshot "one" of it, and then some twos, all on the disk. */
static void fault_start(struct history *h, const struct model_shape *shape)
{
    GError *error = NULL;
    start(h, shape, 1);
    memset(h->m.bytes, 1, FAULT_SIZE);
    g_assert_cmpint(node_write(h->m.node, 0, FAULT_SIZE, h->m.bytes, 0), ==, 0);
    create(h, "one", &error);
    g_assert_no_error(error);
    memset(h->m.bytes + 5000, 2, 40000);
    g_assert_cmpint(node_write(h->m.node, 5000, 40000, h->m.bytes + 5000, 0), ==, 0);
    model_jolt(&h->m);
}

/* Action number `i` on the image; *ret_bytes is what the disk holds when it succeeds. */
static bool fault_act(struct history *h, int i, uint8_t *ret_bytes)
{
    struct blk_node *node = h->m.node;
    GError *error = NULL;
    bool ok = false;
    switch (i) {
    case 0: ok = create(h, "two", &error); break;
    case 1:
        ok = node_snapshot_do(node, SNAPSHOT_APPLY, "one", &error);
        memset(ret_bytes, 1, FAULT_SIZE);
        break;
    case 2: ok = node_resize(node, FAULT_SIZE - 10240, "off", &error); break;
    case 3:
        ok = node_resize(node, FAULT_SIZE, "metadata", &error);
        memset(ret_bytes + FAULT_SIZE - 10240, 0, 10240);
        break;
    case 4: ok = node_snapshot_do(node, SNAPSHOT_DELETE, "one", &error); break;
    default: ok = node_snapshot_do(node, SNAPSHOT_DELETE, "two", &error); break;
    }
    g_assert_true(ok == !error);
    g_clear_error(&error);
    return ok;
}

static void assert_old_or_new(struct history *h, const uint8_t *old, const uint8_t *new)
{
    g_autofree uint8_t *got = g_malloc(FAULT_SIZE);
    int64_t size = node_size(h->m.node);
    g_assert_cmpint(node_read(h->m.node, 0, size, got), ==, 0);
    g_assert_true(!memcmp(got, old, (size_t)size) || !memcmp(got, new, (size_t)size));
}

/* All actions, with request number `at` of a kind failing; false when there were fewer. Only
 * growing may leave clusters that nobody uses. */
static bool fault_run(const struct model_shape *shape, enum jolt_kind kind, int64_t at)
{
    struct history h;
    g_autofree uint8_t *old = g_malloc(FAULT_SIZE), *new = g_malloc(FAULT_SIZE);
    fault_start(&h, shape);
    struct jolt *jolt = jolt_of(h.m.jolt);
    jolt->fail_at[kind] = at + jolt->count[kind];
    jolt->fail_times = 1;
    jolt->error = kind == JOLT_WRITE && at % 2 ? -ENOSPC : -EIO;
    memcpy(new, h.m.bytes, FAULT_SIZE);
    bool ok = true, grew = false;
    for (int i = 0; i < 6 && ok; i++) {
        memcpy(old, new, FAULT_SIZE);
        ok = fault_act(&h, i, new);
        grew = i == 3;
    }
    bool reached = jolt->count[kind] >= jolt->fail_at[kind];
    jolt->fail_at[kind] = 0;
    model_close_any(&h.m);
    model_open(&h.m);
    assert_old_or_new(&h, old, new);
    model_check_peer(&h.m, grew);
    stop(&h);
    return reached;
}

static void test_faults(gconstpointer data)
{
    for (int kind = 0; kind < JOLT_KINDS; kind++) {
        int64_t step = g_getenv("CAIRN_LONG") ? 1 : 3;
        for (int64_t at = 1 + kind; fault_run(data, kind, at); at += step) {
        }
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/qcow2/snapshot/random", test_random);
    g_test_add_func("/qcow2/snapshot/no-extra-data", test_no_extra);
    static const struct model_shape four = {.cluster_size = 4096, .size = FAULT_SIZE};
    static const struct model_shape tiny = {
        .cluster_size = 512, .size = FAULT_SIZE, .refcount_bits = 64};
    g_test_add_data_func("/qcow2/snapshot/faults-4k", &four, test_faults);
    g_test_add_data_func("/qcow2/snapshot/faults-512", &tiny, test_faults);
    return g_test_run();
}
