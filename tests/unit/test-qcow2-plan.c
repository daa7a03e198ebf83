/* Images filled by the convert job's plan: read back, checked, written on, and compared between
 * thread counts. */
#include <errno.h>
#include <glib/gstdio.h>

#include "qcow2/image.h"
#include "tests/unit/qcow2-model.h"

struct plan_case {
    const char *name;
    struct model_shape shape;
    bool compress;
    int64_t sparse_size;
    int empty_percent; /* of stretches that stay zero */
};

static const struct plan_case cases[] = {
    {"default", {.size = 3 * MiB + 512}, false, 4096, 30},
    {"compressed", {.size = 3 * MiB + 512}, true, 4096, 30},
    {"zstd", {.size = 3 * MiB + 512, .zstd = true}, true, 4096, 30},
    {"clusters-512", {.size = 2 * MiB + 512, .cluster_size = 512}, false, 4096, 30},
    {"clusters-512-compressed", {.size = MiB, .cluster_size = 512}, true, 512, 30},
    {"clusters-512-refcounts-64",
     {.size = 2 * MiB, .cluster_size = 512, .refcount_bits = 64},
     false,
     4096,
     30},
    {"clusters-512-refcounts-64-compressed",
     {.size = 2 * MiB, .cluster_size = 512, .refcount_bits = 64},
     true,
     4096,
     0},
    {"clusters-1k-v2", {.size = MiB, .cluster_size = 1024, .v2 = true}, false, 4096, 50},
    {"clusters-2m", {.size = 9 * MiB, .cluster_size = 2 * MiB}, false, 4096, 50},
    {"clusters-2m-compressed", {.size = 9 * MiB, .cluster_size = 2 * MiB}, true, 4096, 50},
    {"refcounts-1", {.size = 2 * MiB, .refcount_bits = 1}, true, 4096, 30},
    {"refcounts-2-clusters-64k", {.size = 2 * MiB, .refcount_bits = 2}, true, 4096, 30},
    {"refcounts-1-clusters-4k",
     {.size = 2 * MiB, .refcount_bits = 1, .cluster_size = 4096},
     true,
     4096,
     30},
    {"v2-compressed", {.size = 2 * MiB, .v2 = true}, true, 4096, 30},
    {"sparse-off", {.size = 2 * MiB}, false, 0, 50},
    {"sparse-off-v2", {.size = 2 * MiB, .v2 = true, .cluster_size = 4096}, false, 0, 50},
    {"sparse-64k", {.size = 2 * MiB, .cluster_size = 4096}, false, 65536, 50},
    {"empty", {.size = 2 * MiB}, false, 4096, 100},
    {"lazy", {.size = 2 * MiB, .lazy = true}, false, 4096, 30},
    {"backing", {.size = 2 * MiB, .backing_size = MiB, .cluster_size = 4096}, false, 4096, 50},
    {"backing-compressed", {.size = 2 * MiB, .backing_size = 3 * MiB}, true, 4096, 50},
    {"backing-v2", {.size = 2 * MiB, .backing_size = MiB, .v2 = true}, false, 4096, 50},
};

/* Stretches of zeroes, words, noise and what the backing file has, of sizes that fit no cluster. */
static void fill(struct model *m, int empty_percent)
{
    for (int64_t at = 0, n; at < m->shape.size; at += n) {
        n = min_i64(m->shape.size - at, 512 * g_rand_int_range(m->rand, 1, 300));
        bool noise = g_rand_boolean(m->rand);
        if (m->shape.backing_size && g_rand_int_range(m->rand, 0, 3) == 0) {
            continue;
        }
        memset(m->bytes + at, 0, n);
        if (g_rand_int_range(m->rand, 0, 100) < empty_percent) {
            continue;
        }
        for (int64_t i = 0; i < n; i++) {
            uint8_t letter = 'a' + g_rand_int_range(m->rand, 0, 4);
            m->bytes[at + i] = noise ? (uint8_t)g_rand_int(m->rand) : letter;
        }
    }
}

static struct blk_node *open_source(struct model *m)
{
    GError *error = NULL;
    g_autofree char *path = g_build_filename(m->folder, "source", NULL);
    g_file_set_contents(path, (char *)m->bytes, m->shape.size, &error);
    g_assert_no_error(error);
    struct blk_node *node = node_open(m->graph, path, "file", NULL, 0, &error);
    g_assert_no_error(error);
    g_unlink(path);
    return node;
}

static void convert(struct model *m, const struct plan_case *c, int threads)
{
    GError *error = NULL;
    struct blk_node *source = open_source(m);
    struct job *job = convert_job_new(&(struct convert_args){
        .sources = &source,
        .source_count = 1,
        .target = m->node,
        .target_backing = node_backing(m->node),
        .target_is_fresh = true,
        .compress = c->compress,
        .sparse_size = c->sparse_size,
        .threads = threads,
    });
    job_run(job, m->graph, NULL, NULL, &error);
    g_assert_no_error(error);
    job_free(job);
    g_assert_true(node_close(source, NULL));
}

/* Begins with a case's image, filled by `threads`. */
static void start(struct model *m, const struct plan_case *c, int threads)
{
    struct model_shape shape = c->shape;
    shape.cluster_size = shape.cluster_size ? shape.cluster_size : 64 * KiB;
    model_start(m, &shape, 5);
    fill(m, c->empty_percent);
    convert(m, c, threads);
}

static void test_reads_back_and_is_clean(gconstpointer data)
{
    struct model m;
    start(&m, data, 3);
    model_compare(&m);
    model_reopen(&m);
    model_compare(&m);
    model_ask_peer(&m);
    model_stop(&m);
}

/* The node goes on with the tables that the plan made. */
static void test_takes_writes_afterwards(gconstpointer data)
{
    struct model m;
    start(&m, data, 1);
    for (int i = 0; i < 100; i++) {
        model_step(&m, 256 * KiB);
    }
    model_compare(&m);
    model_ask_peer(&m);
    model_stop(&m);
}

static void test_threads_leave_no_trace(gconstpointer data)
{
    g_autofree char *expected = NULL;
    gsize expected_length = 0;
    for (int threads = 1; threads <= 5; threads += 2) {
        struct model m;
        g_autofree char *bytes = NULL;
        gsize length;
        start(&m, data, threads);
        g_assert_true(node_close(g_steal_pointer(&m.node), NULL));
        g_assert_true(g_file_get_contents(m.path, &bytes, &length, NULL));
        if (expected) {
            g_assert_cmpmem(bytes, length, expected, expected_length);
        } else {
            expected = g_steal_pointer(&bytes);
            expected_length = length;
        }
        model_stop(&m);
    }
}

/* An image that holds something already is left to ordinary writes. */
static void test_refuses_what_is_not_empty(void)
{
    struct model m;
    struct plan *plan;
    model_start(&m, &(struct model_shape){.size = MiB}, 1);
    const struct plan_ops *ops = m.node->driver->plan;
    g_assert_cmpint(node_write(m.node, 0, 5, "hello", 0), ==, 0);
    memcpy(m.bytes, "hello", 5);
    g_assert_cmpint(node_flush(m.node), ==, 0);
    g_assert_cmpint(ops->co_begin(m.node, true, &plan), ==, -ENOTSUP);
    model_stop(&m);
}

static void add(const char *name, GTestDataFunc test)
{
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *path = g_strdup_printf("/qcow2/plan/%s/%s", name, cases[i].name);
        g_test_add_data_func(path, &cases[i], test);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add("reads-back-and-is-clean", test_reads_back_and_is_clean);
    add("takes-writes-afterwards", test_takes_writes_afterwards);
    add("threads-leave-no-trace", test_threads_leave_no_trace);
    g_test_add_func("/qcow2/plan/refuses-what-is-not-empty", test_refuses_what_is_not_empty);
    return g_test_run();
}
