/*
 * Changes of a whole image, cut by a power failure at every operation: of the
 * writes that no flush covers all, all but one, or a random part torn at 512 bytes
 * survive. The image then is the old one or the new one, its tables sound.
 */
#include <string.h>

#include "base/base.h"
#include "libblock/driver.h"
#include "qcow2/header.h"
#include "tests/tools/qcow2-ref.h"
#include "tests/tools/ram.h"

enum { SECTOR = 512, LIVE = 0, STATE = 1, BASE = 2, LOST_STATES = 6 };

/* What one kind of change does, and what it may leave behind. */
struct change {
    const char *name;
    bool backing, v2, snapshot;
    void (*run)(struct blk_node *node, struct rng *rng);
    /* The state is neither as before nor as after: what is wrong; NULL: nothing. */
    const char *(*judge)(const struct change *change, const struct qcow2_header *header,
                         const uint8_t *bytes, int64_t size);
};

struct bench {
    struct loop *loop;
    const struct blk_driver **drivers;
    struct blk_graph *graph;
    struct rng rng;
    uint64_t seed;
    const struct change *change;
    int64_t size;
    uint8_t *before, *base; /* guest bytes */
};

static struct bench *current; /* for the judges */
static GPtrArray *names;      /* what the image named as its backing file: "name format" */

static struct blk_node *open_disk(struct bench *b, int disk, uint32_t flags)
{
    g_autofree char *name = g_strdup_printf("ram:%d", disk);
    g_autoptr(GError) error = NULL;
    struct blk_node *node = node_open(b->graph, name, "qcow2", NULL, flags, &error);
    g_assert_no_error(error);
    return node;
}

static void close_disk(struct blk_node *node)
{
    g_autoptr(GError) error = NULL;
    node_close(node, &error);
    g_assert_no_error(error);
}

static void fill_base(struct bench *b)
{
    ram_reset(BASE);
    b->base = g_malloc0((gsize)b->size);
    for (int64_t i = 0; b->change->backing && i < b->size; i++) {
        b->base[i] = (uint8_t)(1 + i / SECTOR % 120);
    }
    ram_set(&ram_disks[BASE], b->base, b->size);
}

/* Random data, zeroes and discards all over the disk. */
static void scribble(struct bench *b, struct blk_node *node)
{
    g_autofree uint8_t *buf = g_malloc((gsize)b->size);
    for (int i = 0; i < 12; i++) {
        int64_t offset = rng_below(&b->rng, b->size / SECTOR) * SECTOR;
        int64_t length = min_i64(b->size - offset, (1 + rng_below(&b->rng, 20)) * SECTOR);
        memset(buf, (int)rng_between(&b->rng, 130, 255), (size_t)length);
        if (rng_percent(&b->rng, 70)) {
            g_assert_cmpint(node_write(node, offset, length, buf, 0), ==, 0);
        } else {
            g_assert_cmpint(node_zero(node, offset, length, 0), ==, 0);
        }
    }
}

/* What the disk reads as, with a snapshot that shares some of it. */
static void settle(struct bench *b, struct blk_node *node)
{
    g_autoptr(GError) error = NULL;
    scribble(b, node);
    if (b->change->snapshot) {
        node_snapshot_create(node, &(struct blk_snapshot){.name = "s", .icount = -1}, &error);
        g_assert_no_error(error);
        scribble(b, node);
    }
    b->before = g_malloc((gsize)b->size);
    g_assert_cmpint(node_read(node, 0, b->size, b->before), ==, 0);
}

static void make_image(struct bench *b)
{
    static const char *const clusters[] = {"512", "4096", "65536"};
    g_autoptr(GError) error = NULL;
    json_t *options = json_pack("{s:s, s:s, s:s}", "cluster_size", clusters[rng_below(&b->rng, 3)],
                                "compat", b->change->v2 ? "v2" : "v3", "refcount_bits",
                                b->change->v2 || rng_percent(&b->rng, 50) ? "16" : "64");
    if (b->change->backing) {
        json_object_set_new(options, "backing_file", json_string("ram:2"));
        json_object_set_new(options, "backing_fmt", json_string("raw"));
    }
    b->size = rng_between(&b->rng, 20, 300) * SECTOR;
    fill_base(b);
    ram_reset(LIVE);
    ram_reset(STATE);
    image_create(b->graph, "ram:0", "qcow2", b->size, options, 0, NULL, &error);
    g_assert_no_error(error);
    json_decref(options);
}

/* ---- states after a cut ---- */

static void verify_state(struct bench *b, int64_t cut)
{
    const GByteArray *file = ram_disks[STATE].bytes;
    struct qcow2_ref ref = qcow2_ref_check(file->data, file->len);
    struct qcow2_header header;
    g_autoptr(GError) error = NULL;
    g_assert_true(qcow2_header_decode(file->data, file->len, &header, &error));
    struct blk_node *node = open_disk(b, STATE, NODE_NO_BACKING * !header.backing_file);
    int64_t size = node_size(node);
    g_autofree uint8_t *bytes = g_malloc((gsize)size);
    g_assert_cmpint(node_read(node, 0, size, bytes), ==, 0);
    const char *wrong =
        ref.corruptions ? ref.first : b->change->judge(b->change, &header, bytes, size);
    if (wrong) {
        g_error("%s, seed %" G_GUINT64_FORMAT ", cut before operation %" G_GINT64_FORMAT ": %s",
                b->change->name, b->seed, cut, wrong);
    }
    close_disk(node);
    qcow2_header_clear(&header);
}

/* The disk as it may be when the power fails before operation `cut`: 0 nothing is lost, 1 one
 * write is, 2 and up a random part. */
static void build_state(struct bench *b, const GByteArray *start, const GArray *log, int64_t cut,
                        int loss)
{
    GByteArray *state = g_byte_array_new();
    g_byte_array_append(state, start->data, start->len);
    int64_t safe = 0;
    for (int64_t i = 0; i < cut; i++) {
        const struct ram_op *op = &g_array_index(log, struct ram_op, i);
        safe = op->kind == RAM_FLUSH_END ? max_i64(safe, op->offset) : safe;
    }
    int64_t missing = safe < cut ? rng_between(&b->rng, safe, cut - 1) : -1;
    for (int64_t i = 0; i < cut; i++) {
        const struct ram_op *op = &g_array_index(log, struct ram_op, i);
        int64_t keep = -1;
        if (i >= safe && loss == 1 && i == missing) {
            continue;
        }
        if (i >= safe && loss > 1 && op->kind == RAM_WRITE) {
            keep = rng_below(&b->rng, op->length / SECTOR + 2) * SECTOR;
        }
        if (keep) {
            ram_replay(state, op, min_i64(keep, op->length));
        }
    }
    ram_set(&ram_disks[STATE], state->data, state->len);
    g_byte_array_unref(state);
}

static void cut_everywhere(struct bench *b, const GByteArray *start)
{
    const GArray *log = ram_disks[LIVE].log;
    for (int64_t cut = 0; cut <= log->len; cut++) {
        for (int loss = 0; loss < LOST_STATES; loss++) {
            build_state(b, start, log, cut, loss);
            verify_state(b, cut);
        }
    }
}

static void run_change(const struct change *change, uint64_t seed)
{
    struct bench b = {.rng = {seed}, .seed = seed, .change = change};
    current = &b;
    b.loop = loop_new(NULL);
    b.drivers = ram_drivers();
    b.graph = graph_new(b.loop, b.drivers);
    graph_set_trust(b.graph, GRAPH_TRUST_ALL);
    make_image(&b);
    struct blk_node *node = open_disk(&b, LIVE, NODE_RDWR);
    settle(&b, node);
    close_disk(node);
    node = open_disk(&b, LIVE, NODE_RDWR);
    GByteArray *start = g_byte_array_new();
    g_byte_array_append(start, ram_disks[LIVE].bytes->data, ram_disks[LIVE].bytes->len);
    ram_record(&ram_disks[LIVE]);
    change->run(node, &b.rng);
    close_disk(node);
    const GByteArray *end = ram_disks[LIVE].bytes;
    g_assert_cmpint(qcow2_ref_check(end->data, end->len).leaks, ==, 0);
    cut_everywhere(&b, start);
    g_clear_pointer(&names, g_ptr_array_unref);
    ram_forget_log(&ram_disks[LIVE]);
    g_byte_array_unref(start);
    g_free(b.before);
    g_free(b.base);
    graph_free(b.graph);
    loop_free(b.loop);
    g_free(b.drivers);
}

static void test_change(gconstpointer data)
{
    uint64_t runs = g_test_slow() ? 500 : 12;
    for (uint64_t seed = 1; seed <= runs; seed++) {
        run_change(data, seed);
    }
}

/* ---- another backing file ---- */

static bool is_before(const uint8_t *bytes, int64_t size)
{
    return size == current->size && !memcmp(bytes, current->before, (size_t)size);
}

static char *name_pair(const char *name, const char *format)
{
    return g_strdup_printf("%s %s", name, format ? format : "-");
}

/* Random long spellings of ram:2, for which only the digit counts. */
static void run_names(struct blk_node *node, struct rng *rng)
{
    names = g_ptr_array_new_with_free_func(g_free);
    g_ptr_array_add(names, name_pair("ram:2", "raw"));
    for (int i = 0; i < 4; i++) {
        g_autoptr(GString) name = g_string_new("ram:2");
        const char *format = rng_percent(rng, 50) ? "raw" : NULL;
        for (int64_t n = rng_below(rng, rng_percent(rng, 50) ? 30 : 1000); n > 0; n--) {
            g_string_append_c(name, (char)rng_between(rng, 'a', 'z'));
        }
        if (node_set_backing(node, name->str, format, NULL)) {
            g_ptr_array_add(names, name_pair(name->str, format));
        }
    }
}

static const char *judge_names(const struct change *change, const struct qcow2_header *h,
                               const uint8_t *bytes, int64_t size)
{
    g_autofree char *pair = name_pair(h->backing_file, h->backing_format);
    if (!g_ptr_array_find_with_equal_func(names, pair, g_str_equal, NULL)) {
        return "the backing file's name or format is torn";
    }
    return is_before(bytes, size) ? NULL : "contents have changed";
}

/* ---- emptying ---- */

static void run_empty(struct blk_node *node, struct rng *rng)
{
    g_autoptr(GError) error = NULL;
    node_empty(node, &error);
    g_assert_no_error(error);
}

static const char *judge_empty(const struct change *change, const struct qcow2_header *h,
                               const uint8_t *bytes, int64_t size)
{
    bool is_empty = size == current->size && !memcmp(bytes, current->base, (size_t)size);
    return is_empty || is_before(bytes, size) ? NULL : "neither full nor empty";
}

/* ---- versions and widths ---- */

static void amend(struct blk_node *node, const char *key, const char *value)
{
    g_autoptr(GError) error = NULL;
    json_t *options = json_pack("{s:s}", key, value);
    struct job *job = amend_job_new(node, options, false);
    job_run(job, node->graph, NULL, NULL, &error);
    g_assert_no_error(error);
    job_free(job);
    json_decref(options);
}

/* Up, through random widths, and down; writes in between. */
static void run_amend(struct blk_node *node, struct rng *rng)
{
    static const char *const widths[] = {"1", "2", "4", "8", "16", "32", "64"};
    uint8_t byte;
    amend(node, "compat", "1.1");
    for (int i = 0; i < 3; i++) {
        amend(node, "refcount_bits", widths[rng_below(rng, 7)]);
        amend(node, "lazy_refcounts", rng_percent(rng, 50) ? "on" : "off");
        int64_t offset = rng_below(rng, node_size(node));
        g_assert_cmpint(node_read(node, offset, 1, &byte), ==, 0);
        g_assert_cmpint(node_write(node, offset, 1, &byte, 0), ==, 0);
    }
    amend(node, "refcount_bits", "16");
    amend(node, "lazy_refcounts", "off");
    amend(node, "compat", "0.10");
}

/* One bit cannot count what a snapshot shares. */
static void run_widths(struct blk_node *node, struct rng *rng)
{
    static const char *const widths[] = {"2", "4", "8", "16", "32", "64"};
    for (int i = 0; i < 4; i++) {
        amend(node, "refcount_bits", widths[rng_below(rng, 6)]);
    }
}

static const char *judge_amend(const struct change *change, const struct qcow2_header *h,
                               const uint8_t *bytes, int64_t size)
{
    return is_before(bytes, size) ? NULL : "contents have changed";
}

int main(int argc, char **argv)
{
    static const struct change changes[] = {
        {"names", true, false, false, run_names, judge_names},
        {"names-v2", true, true, false, run_names, judge_names},
        {"empty", true, false, false, run_empty, judge_empty},
        {"empty-v2", true, true, false, run_empty, judge_empty},
        {"empty-alone", false, false, false, run_empty, judge_empty},
        {"empty-snapshot", true, false, true, run_empty, judge_empty},
        {"widths-snapshot", true, false, true, run_widths, judge_amend},
        {"amend", false, false, false, run_amend, judge_amend},
        {"amend-backing", true, false, false, run_amend, judge_amend},
        {"amend-v2", true, true, false, run_amend, judge_amend},
    };
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(changes); i++) {
        g_autofree char *name = g_strdup_printf("/formats/amend/%s", changes[i].name);
        g_test_add_data_func(name, &changes[i], test_change);
    }
    return g_test_run();
}
