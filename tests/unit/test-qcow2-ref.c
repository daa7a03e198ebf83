/*
 * The second checker against qemu-img check: both must think the same of images with snapshots,
 * sound and damaged: refcounts that are too high or too low, and wrong COPIED flags.
 */
#include <string.h>

#include "base/base.h"
#include "tests/tools/qcow2-ref.h"
#include "tests/unit/qcow2-model.h"

/* An image as a file's bytes. */
struct bytes {
    uint8_t *data;
    gsize length;
};

static const uint64_t offset_mask = UINT64_C(0x00fffffffffffe00);

static void snapshot(struct model *m, const char *name)
{
    GError *error = NULL;
    struct blk_snapshot s = {.name = (char *)name, .date_ns = 1};
    node_snapshot_create(m->node, &s, &error);
    g_assert_no_error(error);
}

/* Random requests with two snapshots in between; closed. */
static void make_image(struct model *m, const struct model_shape *shape, guint32 seed)
{
    model_start(m, shape, seed);
    for (int i = 0; i < 30; i++) {
        model_step(m, shape->size / 3);
        if (i == 10 || i == 20) {
            snapshot(m, i == 10 ? "one" : "two");
        }
    }
    model_close_any(m);
}

static struct bytes load(const struct model *m)
{
    struct bytes b;
    g_assert_true(g_file_get_contents(m->path, (char **)(void *)&b.data, &b.length, NULL));
    return b;
}

/* The 16-bit refcount of `cluster`, or NULL. */
static uint8_t *refcount_of(const struct bytes *b, int64_t cluster)
{
    int64_t size = INT64_C(1) << load_be32(b->data + 20);
    uint64_t block = load_be64(b->data + load_be64(b->data + 48) + cluster / (size / 2) * 8);
    return block ? b->data + block + cluster % (size / 2) * 2 : NULL;
}

/* Some entry of the active tables that refers to a cluster, or NULL. */
static uint8_t *active_entry(const struct bytes *b, GRand *rand)
{
    uint32_t entries = load_be32(b->data + 36);
    uint8_t *l1 = b->data + load_be64(b->data + 40);
    int64_t per_table = (INT64_C(1) << load_be32(b->data + 20)) / 8;
    for (int i = 0; i < 1000; i++) {
        uint8_t *entry = l1 + 8 * g_rand_int_range(rand, 0, (gint32)entries);
        if ((load_be64(entry) & offset_mask) && g_rand_int_range(rand, 0, 4)) {
            entry = b->data + (load_be64(entry) & offset_mask);
            entry += 8 * g_rand_int_range(rand, 0, (gint32)per_table);
        }
        uint64_t raw = load_be64(entry);
        if ((raw & offset_mask) && !(raw >> 62 & 1)) {
            return entry;
        }
    }
    return NULL;
}

static void damage(const struct bytes *b, GRand *rand, int kind)
{
    int64_t clusters = (int64_t)b->length >> load_be32(b->data + 20);
    uint8_t *count = refcount_of(b, 1 + (int64_t)(g_rand_double(rand) * (double)(clusters - 1)));
    uint8_t *entry = kind == 3 ? active_entry(b, rand) : NULL;
    if (kind == 1 && count) {
        store_be16(count, (uint16_t)(load_be16(count) + 1));
    } else if (kind == 2 && count && load_be16(count)) {
        store_be16(count, (uint16_t)(load_be16(count) - 1));
    } else if (entry) {
        entry[0] ^= 0x80;
    }
}

/* The exit status of qemu-img check: 0 sound, 2 corrupt, 3 only leaks. */
static int ask_peer(const struct model *m)
{
    g_autofree char *line = g_strdup_printf("qemu-img check -q '%s'", m->path);
    int status = 0;
    g_autofree char *out = NULL, *err = NULL;
    g_assert_true(g_spawn_command_line_sync(line, &out, &err, &status, NULL));
    return WEXITSTATUS(status);
}

static void check_both(const struct model *m, int kind)
{
    struct bytes b = load(m);
    damage(&b, m->rand, kind);
    g_assert_true(g_file_set_contents(m->path, (char *)b.data, (gssize)b.length, NULL));
    struct qcow2_ref ref = qcow2_ref_check(b.data, (int64_t)b.length);
    int ours = ref.corruptions ? 2 : ref.leaks ? 3 : 0, theirs = ask_peer(m);
    if (ours != theirs) {
        g_error("kind %d: %d, but qemu-img check says %d: %s", kind, ours, theirs, ref.first);
    }
    g_assert_true(kind || !ours);
    g_free(b.data);
}

static void test_agree(gconstpointer data)
{
    g_autofree char *peer = g_find_program_in_path("qemu-img");
    if (!peer) {
        g_test_skip("qemu-img is not installed (./quickstart test installs it)");
        return;
    }
    for (guint32 seed = 0; seed < 5; seed++) {
        for (int kind = 0; kind < 4; kind++) {
            struct model m;
            make_image(&m, data, seed);
            check_both(&m, 0);
            check_both(&m, kind);
            model_stop(&m);
        }
    }
}

int main(int argc, char **argv)
{
    static const struct model_shape tiny = {.cluster_size = 512, .size = 100 * 1024};
    static const struct model_shape old = {.cluster_size = 4096, .size = 300 * 1024, .v2 = true};
    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/qcow2/ref/512", &tiny, test_agree);
    g_test_add_data_func("/qcow2/ref/4k-v2", &old, test_agree);
    return g_test_run();
}
