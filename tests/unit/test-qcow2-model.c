/*
 * Random requests against an array of bytes, over cluster sizes, refcount widths,
 * both versions, with and without a backing file.
 */
#include "tests/unit/qcow2-model.h"

static void run(const struct model_shape *shape, int steps, guint32 seed)
{
    struct model m;
    model_start(&m, shape, seed);
    for (int i = 0; i < steps; i++) {
        model_step(&m, MIN(shape->size / 4, 6 * shape->cluster_size));
        if (i % 97 == 96) {
            model_reopen(&m);
        }
    }
    model_compare(&m);
    model_reopen(&m);
    model_compare(&m);
    model_ask_peer(&m);
    model_compare(&m);
    model_stop(&m);
}

static void test_shape(gconstpointer data)
{
    const struct model_shape *shape = data;
    for (guint32 seed = 1; seed <= (g_test_slow() ? 20 : 1); seed++) {
        run(shape, 300, seed);
    }
}

static void test_widths(void)
{
    for (int bits = 1; bits <= 64; bits *= 2) {
        struct model_shape shape = {.cluster_size = 512, .size = 200 * 1024, .refcount_bits = bits};
        run(&shape, 400, 10 + (guint32)bits);
        shape.cluster_size = 4096;
        shape.size = 2 << 20;
        run(&shape, 200, 20 + (guint32)bits);
    }
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        struct model_shape shape;
    } shapes[] = {
        {"512", {.cluster_size = 512, .size = 300 * 1024}},
        {"512-v2", {.cluster_size = 512, .size = 300 * 1024 + 512, .v2 = true}},
        {"512-backing",
         {.cluster_size = 512, .size = 300 * 1024, .backing_size = 200 * 1024 + 512}},
        {"4k", {.cluster_size = 4096, .size = 3 << 20}},
        {"4k-v2-backing",
         {.cluster_size = 4096, .size = 3 << 20, .v2 = true, .backing_size = 2 << 20}},
        {"4k-zstd-backing",
         {.cluster_size = 4096, .size = (3 << 20) + 512, .zstd = true, .backing_size = 4 << 20}},
        {"64k", {.cluster_size = 65536, .size = 8 << 20}},
        {"64k-lazy-backing",
         {.cluster_size = 65536, .size = 8 << 20, .lazy = true, .backing_size = 5 << 20}},
        {"64k-metadata", {.cluster_size = 65536, .size = 8 << 20, .preallocation = "metadata"}},
        {"64k-small-cache",
         {.cluster_size = 65536,
          .size = 8 << 20,
          .open_options = "{\"l2-cache-size\": \"1024\", \"l2-cache-entry-size\": \"512\", "
                          "\"refcount-cache-size\": \"1024\", \"pass-discard-request\": \"on\"}"}},
        {"4k-keep",
         {.cluster_size = 4096, .size = 3 << 20, .open_options = "{\"discard-no-unref\": \"on\"}"}},
        {"2m", {.cluster_size = 2 << 20, .size = 33 << 20}},
        {"2m-v2", {.cluster_size = 2 << 20, .size = 17 << 20, .v2 = true}},
    };
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(shapes); i++) {
        g_autofree char *path = g_strdup_printf("/qcow2/model/%s", shapes[i].name);
        g_test_add_data_func(path, &shapes[i].shape, test_shape);
    }
    g_test_add_func("/qcow2/model/refcount-widths", test_widths);
    return g_test_run();
}
