/* Convert and compare over memory: what the jobs promise, whatever the number of threads. */
#include <errno.h>
#include <string.h>

#include "libblock/driver.h"
#include "tests/unit/libblock-fixture.h"

/* ---- a filter whose reads fail in a range, and that is no leaf ---- */

struct flaky {
    int64_t from, to; /* reads of these bytes fail */
};

static bool flaky_co_open(struct blk_node *node, json_t *rest, GError **error)
{
    node->size = node_size(node->file);
    return true;
}

static int flaky_co_read(struct blk_node *node, int64_t offset, int64_t length, struct span span)
{
    const struct flaky *flaky = node->state;
    if (offset < flaky->to && offset + length > flaky->from) {
        return -EIO;
    }
    return node_co_read(node->file, offset, length, span);
}

/* Not a filter, so that maps end here: all data, through this node. */
static const struct blk_driver flaky_driver = {
    .name = "flaky",
    .flags = DRIVER_FORMAT,
    .state_size = sizeof(struct flaky),
    .co_open = flaky_co_open,
    .co_read = flaky_co_read,
};

static const struct blk_driver *const drivers[] = {&mem_driver, &null_co_driver, &flaky_driver,
                                                   NULL};

/* ---- a bench of nodes ---- */

enum { SIZE = 5 * 1024 * 1024 + 512 };

struct bench {
    struct loop *loop;
    struct blk_graph *graph;
    struct convert_args args;
    struct blk_node *sources[2];
    uint8_t *bytes; /* SIZE bytes: zeroes here and there */
    GError *error;
    GString *damage;
};

static struct blk_node *open_mem(struct bench *b, int64_t size)
{
    GError *error = NULL;
    json_t *options = json_pack("{s:s, s:I}", "driver", "mem", "size", (json_int_t)size);
    struct blk_node *node = node_open(b->graph, NULL, NULL, options, NODE_RDWR, &error);
    g_assert_no_error(error);
    json_decref(options);
    return node;
}

static struct blk_node *mem_of(struct bench *b, const uint8_t *bytes, int64_t size)
{
    struct blk_node *node = open_mem(b, size);
    for (int64_t at = 0; at < size; at += 4096) {
        int64_t n = min_i64(4096, size - at);
        if (!bytes_are_zero(bytes + at, n)) {
            g_assert_cmpint(node_write(node, at, n, bytes + at, 0), ==, 0);
        }
    }
    return node;
}

static void bench_init(struct bench *b)
{
    *b = (struct bench){.loop = loop_new(NULL), .damage = g_string_new(NULL)};
    b->graph = graph_new(b->loop, drivers);
    b->bytes = g_malloc0(SIZE);
    g_autoptr(GRand) rand = g_rand_new_with_seed(1);
    for (int64_t at = 0; at < SIZE; at += 512) {
        if (at % 100000 < 60000) {
            memset(b->bytes + at, g_rand_int_range(rand, 0, 256), 512);
        }
    }
    b->args = (struct convert_args){.sources = b->sources, .source_count = 1, .sparse_size = 4096};
}

/* A source of all bytes, and a fresh target of the same size. */
static void bench_init_pair(struct bench *b)
{
    bench_init(b);
    b->sources[0] = mem_of(b, b->bytes, SIZE);
    b->args.target = open_mem(b, SIZE);
    b->args.target_is_fresh = true;
}

static bool bench_convert(struct bench *b)
{
    struct job *job = convert_job_new(&b->args);
    bool ok = job_run(job, b->graph, NULL, NULL, &b->error);
    job_free(job);
    return ok;
}

static void bench_done(struct bench *b)
{
    node_close(b->sources[0], NULL);
    node_close(b->sources[1], NULL);
    node_close(b->args.target, NULL);
    node_close(b->args.target_backing, NULL);
    graph_free(b->graph);
    loop_free(b->loop);
    g_free(b->bytes);
    g_string_free(b->damage, true);
    g_clear_error(&b->error);
}

static void check_content(struct blk_node *node, const uint8_t *expected, int64_t size)
{
    g_autofree uint8_t *got = g_malloc(size);
    g_assert_cmpint(node_read(node, 0, size, got), ==, 0);
    g_assert_true(memcmp(got, expected, size) == 0);
}

/* ---- convert ---- */

static void test_copies(gconstpointer threads)
{
    struct bench b;
    bench_init_pair(&b);
    b.args.threads = GPOINTER_TO_INT(threads);
    g_assert_true(bench_convert(&b));
    check_content(b.args.target, b.bytes, SIZE);
    bench_done(&b);
}

static void test_copies_what_has_no_leaf(gconstpointer threads)
{
    struct bench b;
    bench_init_pair(&b);
    b.args.threads = GPOINTER_TO_INT(threads);
    b.sources[1] = b.sources[0];
    b.sources[0] = node_open_over(b.sources[1], "flaky", NULL, 0, NULL);
    g_assert_true(bench_convert(&b));
    check_content(b.args.target, b.bytes, SIZE);
    bench_done(&b);
}

/* Each source fills up to a multiple of 512 bytes. */
static void test_concatenates(void)
{
    struct bench b;
    bench_init(&b);
    memset(b.bytes + 1000000, 0, 1000448 - 1000000);
    b.sources[0] = mem_of(&b, b.bytes, 1000000);
    b.sources[1] = mem_of(&b, b.bytes + 1000448, SIZE - 1000448);
    b.args.source_count = 2;
    b.args.target = open_mem(&b, SIZE);
    b.args.target_is_fresh = true;
    g_assert_true(bench_convert(&b));
    check_content(b.args.target, b.bytes, SIZE);
    bench_done(&b);
}

static void test_refuses_a_small_target(void)
{
    struct bench b;
    bench_init(&b);
    b.sources[0] = open_mem(&b, SIZE);
    b.args.target = open_mem(&b, SIZE - 512);
    g_assert_false(bench_convert(&b));
    g_assert_error(b.error, CAIRN_ERROR, ENOSPC);
    bench_done(&b);
}

/* What was in the target goes, but for what lies past the source's end. */
static void test_overwrites_what_is_not_fresh(void)
{
    struct bench b;
    g_autofree uint8_t *old = g_malloc(SIZE + 8192);
    memset(old, 0x55, SIZE + 8192);
    bench_init(&b);
    b.sources[0] = mem_of(&b, b.bytes, SIZE);
    b.args.target = mem_of(&b, old, SIZE + 8192);
    g_assert_true(bench_convert(&b));
    memcpy(old, b.bytes, SIZE);
    check_content(b.args.target, old, SIZE + 8192);
    bench_done(&b);
}

/* A caller who says that the target is zero is believed: the zeroes are not written. */
static void test_leaves_zeroes_of_a_zero_target(void)
{
    struct bench b;
    g_autofree uint8_t *old = g_malloc(SIZE);
    memset(old, 0x55, SIZE);
    bench_init(&b);
    b.sources[0] = mem_of(&b, b.bytes, SIZE);
    b.args.target = mem_of(&b, old, SIZE);
    b.args.target_is_zero = true;
    g_assert_true(bench_convert(&b));
    for (int64_t at = 0; at + 4096 <= SIZE; at += 4096) {
        if (!bytes_are_zero(b.bytes + at, 4096)) {
            memcpy(old + at, b.bytes + at, 4096);
        }
    }
    memcpy(old + align_down(SIZE, 4096), b.bytes + align_down(SIZE, 4096), SIZE % 4096);
    g_autofree uint8_t *got = g_malloc(SIZE);
    g_assert_cmpint(node_read(b.args.target, 0, SIZE, got), ==, 0);
    g_assert_cmpmem(got, SIZE, old, SIZE);
    bench_done(&b);
}

/* Where source and backing file agree nothing is written; the target's 0x55 shows it. */
static void test_leaves_what_the_backing_file_has(void)
{
    struct bench b;
    g_autofree uint8_t *base = NULL, *expected = g_malloc(SIZE), *got = g_malloc(SIZE);
    bench_init(&b);
    base = g_memdup2(b.bytes, SIZE);
    for (int64_t at = 0; at < SIZE; at += 65536) {
        base[at] ^= (at / 65536) % 3 == 0;
    }
    memset(expected, 0x55, SIZE);
    b.sources[0] = mem_of(&b, b.bytes, SIZE);
    b.args.target_backing = mem_of(&b, base, SIZE);
    b.args.target = mem_of(&b, expected, SIZE);
    g_assert_true(bench_convert(&b));
    for (int64_t at = 0; at < SIZE; at += 4096) {
        int64_t n = min_i64(4096, SIZE - at);
        if (memcmp(base + at, b.bytes + at, n)) {
            memcpy(expected + at, b.bytes + at, n);
        }
    }
    g_assert_cmpint(node_read(b.args.target, 0, SIZE, got), ==, 0);
    g_assert_cmpmem(got, SIZE, expected, SIZE);
    bench_done(&b);
}

static void bench_damage(struct bench *b, int64_t from, int64_t to)
{
    b->sources[1] = b->sources[0];
    b->sources[0] = node_open_over(b->sources[1], "flaky", NULL, 0, NULL);
    *(struct flaky *)b->sources[0]->state = (struct flaky){from, to};
}

static void test_names_what_cannot_be_read(gconstpointer threads)
{
    struct bench b;
    bench_init_pair(&b);
    b.args.threads = GPOINTER_TO_INT(threads);
    bench_damage(&b, 3000000, 3000001);
    g_assert_false(bench_convert(&b));
    g_assert_error(b.error, CAIRN_ERROR, EIO);
    g_assert_nonnull(strstr(b.error->message, node_filename(b.sources[0])));
    bench_done(&b);
}

static void note_damage(int64_t offset, int64_t length, int error, void *user)
{
    struct bench *b = user;
    g_assert_true(loop_current() == b->loop);
    g_assert_cmpint(error, ==, EIO);
    g_string_append_printf(b->damage, "%" PRId64 "+%" PRId64 " ", offset, length);
}

static void test_salvages(gconstpointer threads)
{
    struct bench b;
    bench_init_pair(&b);
    b.args.threads = GPOINTER_TO_INT(threads);
    b.args.salvage = true;
    b.args.unreadable = note_damage;
    b.args.user = &b;
    bench_damage(&b, 512 * 6000 + 10, 512 * 6002 + 10);
    g_assert_true(bench_convert(&b));
    memset(b.bytes + 512 * 6000, 0, 3 * 512);
    check_content(b.args.target, b.bytes, SIZE);
    g_assert_cmpstr(b.damage->str, ==, "3072000+1536 ");
    bench_done(&b);
}

static void test_refuses_to_compress_for_memory(void)
{
    struct bench b;
    bench_init_pair(&b);
    b.args.compress = true;
    g_assert_false(bench_convert(&b));
    g_assert_error(b.error, CAIRN_ERROR, ENOTSUP);
    bench_done(&b);
}

/* ---- compare ---- */

struct pair {
    struct bench bench;
    struct compare_args args;
    struct compare_result result;
    uint8_t *other;
};

static void pair_init(struct pair *p, gconstpointer threads)
{
    bench_init(&p->bench);
    p->other = g_memdup2(p->bench.bytes, SIZE);
    p->args = (struct compare_args){.threads = GPOINTER_TO_INT(threads)};
}

static bool pair_compare(struct pair *p, int64_t size_a, int64_t size_b)
{
    struct bench *b = &p->bench;
    b->sources[0] = mem_of(b, b->bytes, size_a);
    b->sources[1] = mem_of(b, p->other, size_b);
    p->args.a = b->sources[0];
    p->args.b = b->sources[1];
    struct job *job = compare_job_new(&p->args, &p->result);
    bool ok = job_run(job, b->graph, NULL, NULL, &b->error);
    job_free(job);
    return ok;
}

static void pair_check(struct pair *p, enum compare_verdict verdict, int64_t offset)
{
    g_assert_no_error(p->bench.error);
    g_assert_cmpint(p->result.verdict, ==, verdict);
    if (verdict != COMPARE_EQUAL) {
        g_assert_cmpint(p->result.offset, ==, offset);
    }
    g_free(p->other);
    bench_done(&p->bench);
}

static void test_equal(gconstpointer threads)
{
    struct pair p;
    pair_init(&p, threads);
    pair_compare(&p, SIZE, SIZE);
    pair_check(&p, COMPARE_EQUAL, 0);
}

static void test_first_difference(gconstpointer threads)
{
    struct pair p;
    pair_init(&p, threads);
    for (int64_t at = 3000001; at < SIZE; at += 4000) {
        p.other[at] ^= 1;
    }
    pair_compare(&p, SIZE, SIZE);
    pair_check(&p, COMPARE_CONTENT, 3000001);
}

static void test_zero_tail_is_equal(gconstpointer threads)
{
    struct pair p;
    pair_init(&p, threads);
    memset(p.other + SIZE - 70000, 0, 70000);
    memset(p.bench.bytes + SIZE - 70000, 0, 70000);
    pair_compare(&p, SIZE - 70000, SIZE);
    pair_check(&p, COMPARE_EQUAL, 0);
}

static void test_data_in_the_tail(gconstpointer threads)
{
    struct pair p;
    pair_init(&p, threads);
    memset(p.other + SIZE - 70000, 0, 70000);
    p.other[SIZE - 1000] = 1;
    pair_compare(&p, SIZE - 70000, SIZE);
    pair_check(&p, COMPARE_TAIL, SIZE - 1000);
}

/* The same zeroes, once written and once not. */
static void test_strict_sees_allocation(gconstpointer threads)
{
    struct pair p;
    pair_init(&p, threads);
    memset(p.bench.bytes + 2 * MiB, 0, MiB);
    memset(p.other + 2 * MiB, 0, MiB);
    p.args.strict = true;
    struct blk_node *a = mem_of(&p.bench, p.bench.bytes, SIZE);
    struct blk_node *b = mem_of(&p.bench, p.other, SIZE);
    g_assert_cmpint(node_write(b, 2 * MiB + 128 * KiB, 64 * KiB, p.other + 2 * MiB, 0), ==, 0);
    p.args.a = p.bench.sources[0] = a;
    p.args.b = p.bench.sources[1] = b;
    struct job *job = compare_job_new(&p.args, &p.result);
    g_assert_true(job_run(job, p.bench.graph, NULL, NULL, &p.bench.error));
    job_free(job);
    pair_check(&p, COMPARE_ALLOCATION, 2 * MiB + 128 * KiB);
}

static void test_strict_sees_size(gconstpointer threads)
{
    struct pair p;
    pair_init(&p, threads);
    memset(p.other + SIZE - 70000, 0, 70000);
    p.args.strict = true;
    pair_compare(&p, SIZE - 70000, SIZE);
    pair_check(&p, COMPARE_TAIL, SIZE - 70000);
}

static void test_unreadable_side_is_named(gconstpointer threads)
{
    struct pair p;
    pair_init(&p, threads);
    struct bench *b = &p.bench;
    b->sources[0] = mem_of(b, b->bytes, SIZE);
    bench_damage(b, 4000000, 4000001);
    p.args.a = b->sources[1];
    p.args.b = b->sources[0];
    struct job *job = compare_job_new(&p.args, &p.result);
    g_assert_false(job_run(job, b->graph, NULL, NULL, &b->error));
    job_free(job);
    g_assert_error(b->error, CAIRN_ERROR, EIO);
    g_assert_true(p.result.node == p.args.b);
    g_assert_false(p.result.map_failed);
    g_free(p.other);
    bench_done(b);
}

static void add(const char *name, GTestDataFunc test)
{
    for (int threads = 1; threads <= 3; threads++) {
        g_autofree char *path = g_strdup_printf("/%s/%d-threads", name, threads);
        g_test_add_data_func(path, GINT_TO_POINTER(threads), test);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add("convert/copies", test_copies);
    add("convert/copies-what-has-no-leaf", test_copies_what_has_no_leaf);
    add("convert/names-what-cannot-be-read", test_names_what_cannot_be_read);
    add("convert/salvages", test_salvages);
    g_test_add_func("/convert/concatenates", test_concatenates);
    g_test_add_func("/convert/refuses-a-small-target", test_refuses_a_small_target);
    g_test_add_func("/convert/overwrites-what-is-not-fresh", test_overwrites_what_is_not_fresh);
    g_test_add_func("/convert/leaves-zeroes-of-a-zero-target", test_leaves_zeroes_of_a_zero_target);
    g_test_add_func("/convert/leaves-what-the-backing-file-has",
                    test_leaves_what_the_backing_file_has);
    g_test_add_func("/convert/refuses-to-compress-for-memory", test_refuses_to_compress_for_memory);
    add("compare/equal", test_equal);
    add("compare/first-difference", test_first_difference);
    add("compare/zero-tail-is-equal", test_zero_tail_is_equal);
    add("compare/data-in-the-tail", test_data_in_the_tail);
    add("compare/strict-sees-allocation", test_strict_sees_allocation);
    add("compare/strict-sees-size", test_strict_sees_size);
    add("compare/unreadable-side-is-named", test_unreadable_side_is_named);
    return g_test_run();
}
