/*
 * Images are damaged byte by byte, checked and repaired: what is found, what is
 * left after a repair, and that nothing which could be read before is lost, also
 * when the repair stops halfway.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "libblock/driver.h"
#include "qcow2/header.h"
#include "tests/tools/qcow2-ref.h"
#include "tests/unit/qcow2-jolt.h"
#include "tests/unit/qcow2-model.h"

enum { ALL = CHECK_FIX_LEAKS | CHECK_FIX_ERRORS };
#define COPIED (UINT64_C(1) << 63)

static const struct model_shape plain = {
    .cluster_size = 65536, .size = 1 << 20, .preallocation = "metadata"};

/* Past the end of the file nothing happens. */
static void patch(const struct model *m, int64_t offset, uint64_t value, int width)
{
    uint8_t buf[8];
    store_be64(buf, value);
    int fd = open(m->path, O_WRONLY | O_CLOEXEC);
    if (offset >= 0 && offset < lseek(fd, 0, SEEK_END)) {
        g_assert_cmpint(pwrite(fd, buf + 8 - width, (size_t)width, offset), ==, width);
    }
    close(fd);
}

/* Past the end of the file is zero. */
static uint64_t peek(const struct model *m, int64_t offset)
{
    uint8_t buf[8] = {0};
    int fd = open(m->path, O_RDONLY | O_CLOEXEC);
    ssize_t got = offset >= 0 ? pread(fd, buf, 8, offset) : 0;
    close(fd);
    return got == 8 ? load_be64(buf) : 0;
}

static void tell(const char *text, void *user)
{
    g_test_message("%s", text);
}

/* Checks the closed image, through the jolt filter if there is one. False when that fails. */
static bool check(struct model *m, uint32_t fix, struct blk_check *ret_check)
{
    uint32_t flags = NODE_REPAIR | (fix ? NODE_RDWR : 0);
    GError *error = NULL;
    *ret_check = (struct blk_check){.message = tell};
    struct blk_node *node = m->jolt ? node_open_over(m->jolt, "qcow2", NULL, flags, &error)
                                    : node_open(m->graph, m->path, "qcow2", NULL, flags, &error);
    g_assert_no_error(error);
    bool ok = node_check(node, fix, ret_check, &error);
    g_assert_true(ok || error);
    g_test_message("fix %u: %s%" PRId64 " errors, %" PRId64 " leaks, %" PRId64 " unknown", fix,
                   ok ? "" : error->message, ret_check->corruptions, ret_check->leaks,
                   ret_check->check_errors);
    g_clear_error(&error);
    node_close(node, NULL);
    return ok;
}

static void assert_found(struct model *m, int64_t corruptions, int64_t leaks)
{
    struct blk_check found;
    g_assert_true(check(m, 0, &found));
    g_assert_cmpint(found.corruptions, ==, corruptions);
    g_assert_cmpint(found.leaks, ==, leaks);
}

/* ---- one damage at a time ---- */

/* Data in 16 clusters from the start. Places are relative to a table, values to the first data
 * cluster. */
enum table { HEADER, REFTABLE, REFBLOCK, L1, L2 };

struct damage {
    const char *name;
    enum table table;
    int64_t at;
    uint64_t value;
    int width;
    int corruptions, leaks;             /* found */
    int after_leaks, after_leaks_leaks; /* -r leaks leaves; -1: it refuses */
    int after_all;                      /* -r all leaves; leaks are always gone */
};

#define DATA UINT64_C(0x50000)

static const struct damage damages[] = {
    {"refcount of a free cluster", REFBLOCK, 100, 1, 2, 0, 0, 0, 0, 0},
    {"refcount too high", REFBLOCK, 2 * 5, 3, 2, 1, 1, 0, 0, 0},
    {"refcount too low", REFBLOCK, 2 * 5, 0, 2, 2, 0, 2, 0, 0},
    {"L2 entry forgotten", L2, 0, 0, 8, 0, 1, 0, 0, 0},
    {"COPIED lost in L2", L2, 0, DATA, 8, 1, 0, 0, 0, 0},
    {"COPIED lost in L1", L1, 0, 0x40000, 8, 1, 0, 0, 0, 0},
    {"two entries, one cluster", L2, 0, COPIED | (DATA + 0x10000), 8, 1, 1, 1, 0, 0},
    {"reserved bit in L2", L2, 0, COPIED | DATA | 2, 8, 1, 0, 1, 0, 0},
    {"reserved bit in L1", L1, 0, COPIED | 0x40000 | 1, 8, 1, 0, 1, 0, 0},
    {"L2 entry past the end", L2, 0, COPIED | UINT64_C(0x1000050000), 8, 2, 1, 2, 0, 1},
    {"L2 entry unaligned", L2, 0, COPIED | (DATA + 512), 8, 2, 0, 2, 0, 1},
    {"zero cluster unaligned", L2, 0, COPIED | (DATA + 512) | 1, 8, 2, 0, 2, 0, 0},
    {"compressed and COPIED", L2, 0, COPIED | UINT64_C(1) << 62 | DATA, 8, 1, 0, 1, 0, 0},
    {"L2 entry to L1", L2, 0, COPIED | 0x30000, 8, 1, 1, 1, 0, 0},
    {"L1 entry past the end", L1, 0, COPIED | UINT64_C(0x1000040000), 8, 2, 17, 2, 0, 1},
    {"no refcount block", REFTABLE, 0, 0, 8, 37, 0, -1, 0, 0},
    {"refcount block unaligned", REFTABLE, 0, 0x20200, 8, 1, 0, -1, 0, 0},
    {"refcount block past the end", REFTABLE, 0, UINT64_C(0x1000020000), 8, 38, 0, -1, 0, 0},
    {"refcount block twice", REFTABLE, 8, 0x20000, 8, 2, 0, -1, 0, 0},
    {"refcount block on data", REFTABLE, 8, DATA, 8, 2, 0, -1, 0, 0},
    {"refcount table on itself", REFTABLE, 8, 0x10000, 8, 2, 0, -1, 0, 0},
    {"refcount table past the end", HEADER, 48, UINT64_C(0x1000000000), 8, 37, 0, -1, 0, 0},
    {"refcount table of no clusters", HEADER, 56, 0, 4, 36, 0, -1, 0, 0},
};

static void damage_start(struct model *m, const struct damage *d)
{
    static const int64_t tables[] = {0, 0x10000, 0x20000, 0x30000, 0x40000};
    model_start(m, &plain, 1);
    for (int64_t i = 0; i < 1 << 20; i++) {
        m->bytes[i] = (uint8_t)(1 + i % 255);
    }
    g_assert_cmpint(node_write(m->node, 0, 1 << 20, m->bytes, 0), ==, 0);
    model_close_any(m);
    g_assert_cmphex(peek(m, 0x40000), ==, COPIED | DATA);
    patch(m, tables[d->table] + d->at, d->value, d->width);
}

static void test_damage(gconstpointer data)
{
    const struct damage *d = data;
    struct blk_check check_result;
    struct model m;
    damage_start(&m, d);
    assert_found(&m, d->corruptions, d->leaks);
    bool done = check(&m, CHECK_FIX_LEAKS, &check_result);
    g_test_message("%s", d->name);
    g_assert_cmpint(done, ==, d->after_leaks >= 0);
    if (done) {
        assert_found(&m, d->after_leaks, d->after_leaks_leaks);
    }
    model_stop(&m);
    damage_start(&m, d);
    g_assert_true(check(&m, ALL, &check_result));
    g_assert_cmpint(check_result.corruptions, ==, d->after_all);
    assert_found(&m, d->after_all, 0);
    model_stop(&m);
}

/* ---- the bits of the header ---- */

static void test_bits_are_cleared(void)
{
    struct blk_check found;
    struct model m;
    model_start(&m, &plain, 1);
    model_close_any(&m);
    patch(&m, QCOW2_AT_INCOMPATIBLE, QCOW2_INCOMPAT_CORRUPT | QCOW2_INCOMPAT_DIRTY, 8);
    assert_found(&m, 0, 0);
    g_assert_cmphex(peek(&m, QCOW2_AT_INCOMPATIBLE), ==, 3);
    g_assert_true(check(&m, ALL, &found));
    g_assert_cmphex(peek(&m, QCOW2_AT_INCOMPATIBLE), ==, 0);
    model_open(&m);
    model_stop(&m);
}

/* A place for snapshots says nothing where there are none: leaks are mended all the same. */
static void test_no_snapshots(void)
{
    struct damage leak = {"", L2, 0, 0, 8, 0, 0, 0, 0, 0};
    struct blk_check found;
    struct model m;
    damage_start(&m, &leak);
    patch(&m, 64, UINT64_C(1) << 50, 8);
    g_assert_true(check(&m, CHECK_FIX_LEAKS, &found));
    g_assert_cmpint(found.leaks_fixed, ==, 1);
    model_stop(&m);
}

/* What cannot be mended keeps its mark. */
static void test_corrupt_bit_stays(void)
{
    struct damage past = {"", L2, 0, COPIED | UINT64_C(0x1000050000), 8, 0, 0, 0, 0, 0};
    struct blk_check found;
    struct model m;
    damage_start(&m, &past);
    patch(&m, QCOW2_AT_INCOMPATIBLE, QCOW2_INCOMPAT_CORRUPT, 8);
    g_assert_true(check(&m, ALL, &found));
    g_assert_cmphex(peek(&m, QCOW2_AT_INCOMPATIBLE), ==, QCOW2_INCOMPAT_CORRUPT);
    model_stop(&m);
}

/* Opening for writing what was not closed mends its refcounts; reading does not care. */
static void test_dirty_is_repaired(void)
{
    struct damage low = {"", REFBLOCK, 2 * 5, 0, 2, 0, 0, 0, 0, 0};
    struct model m;
    damage_start(&m, &low);
    patch(&m, 0x20000 + 2 * 6, 7, 2);
    patch(&m, QCOW2_AT_INCOMPATIBLE, QCOW2_INCOMPAT_DIRTY, 8);
    struct blk_node *node = node_open(m.graph, m.path, "qcow2", NULL, 0, NULL);
    g_assert_nonnull(node);
    node_close(node, NULL);
    g_assert_cmphex(peek(&m, QCOW2_AT_INCOMPATIBLE), ==, QCOW2_INCOMPAT_DIRTY);
    model_open(&m);
    g_assert_cmphex(peek(&m, QCOW2_AT_INCOMPATIBLE), ==, 0);
    model_compare(&m);
    model_ask_peer(&m);
    model_close_any(&m);
    assert_found(&m, 0, 0);
    model_stop(&m);
}

/* An entry that leads to the L1 table: after the repair the guest has a cluster that it may give
 * up, and that stays where it is. */
static void test_shared_with_metadata(void)
{
    struct damage l1 = {"", L2, 0, COPIED | 0x30000, 8, 0, 0, 0, 0, 0};
    struct blk_check found;
    struct model m;
    damage_start(&m, &l1);
    g_assert_true(check(&m, ALL, &found));
    model_open(&m);
    g_assert_cmpint(node_write(m.node, 0, 65536, m.bytes, 0), ==, 0);
    model_compare(&m);
    model_ask_peer(&m);
    model_close_any(&m);
    assert_found(&m, 0, 0);
    model_stop(&m);
}

/* ---- random damage ---- */

/* What the guest reads from a closed image, and where that works. */
struct view {
    uint8_t *bytes;
    bool *readable; /* for each cluster */
};

static struct view view_of(struct model *m)
{
    int64_t size = m->shape.size, step = m->shape.cluster_size, count = size / step;
    struct view view = {g_malloc0((gsize)size), g_new0(bool, count)};
    struct blk_node *node = node_open(m->graph, m->path, "qcow2", NULL, 0, NULL);
    for (int64_t i = 0; node && i < count; i++) {
        view.readable[i] = !node_read(node, i * step, step, view.bytes + i * step);
    }
    node_close(node, NULL);
    return view;
}

static void view_free(struct view *view)
{
    g_free(view->bytes);
    g_free(view->readable);
}

/* Everything that was readable in `before` reads the same now. */
static void assert_kept(struct model *m, const struct view *before)
{
    struct view now = view_of(m);
    int64_t step = m->shape.cluster_size;
    for (int64_t i = 0; i < m->shape.size / step; i++) {
        if (before->readable[i]) {
            g_assert_true(now.readable[i]);
            g_assert_cmpmem(now.bytes + i * step, step, before->bytes + i * step, step);
        }
    }
    view_free(&now);
}

/* A word of some table becomes another word of the image, loses or gets a bit, or is cleared. */
static void damage_randomly(struct model *m)
{
    int64_t cluster = m->shape.cluster_size, l1 = (int64_t)peek(m, 40);
    int64_t reftable = (int64_t)peek(m, 48), refblock = (int64_t)peek(m, reftable);
    int64_t l2 = (int64_t)(peek(m, l1) & ~COPIED);
    int64_t tables[] = {l1, l2 ? l2 : l1, l2 ? l2 : l1, reftable, refblock};
    int64_t table = tables[g_rand_int_range(m->rand, 0, G_N_ELEMENTS(tables))];
    int64_t reach = table == l1 || table == reftable ? 4 : MIN(cluster / 8, 64);
    int64_t at = table + 8 * g_rand_int_range(m->rand, 0, (gint32)reach);
    uint64_t old = peek(m, at), place = (uint64_t)g_rand_int_range(m->rand, 0, 48);
    switch (g_rand_int_range(m->rand, 0, 5)) {
    case 0: old = 0; break;
    case 1: old ^= UINT64_C(1) << g_rand_int_range(m->rand, 0, 64); break;
    case 2: old = peek(m, at + 8); break;
    case 3: old = COPIED | place * (uint64_t)cluster; break;
    default: old = place * (uint64_t)cluster;
    }
    patch(m, at, old, 8);
}

static void random_image(struct model *m, guint32 seed)
{
    static const int64_t clusters[] = {512, 4096, 65536};
    struct model_shape shape = {.cluster_size = clusters[seed % 3],
                                .size = clusters[seed % 3] * 64};
    shape.refcount_bits = 1 << (seed / 3 % 7);
    model_start(m, &shape, seed);
    for (int i = 0; i < 30; i++) {
        model_step(m, shape.cluster_size * 4);
    }
    model_close_any(m);
}

static void random_start(struct model *m, guint32 seed)
{
    random_image(m, seed);
    for (guint32 i = 0; i <= seed % 4; i++) {
        damage_randomly(m);
    }
}

/* A repair leaves nothing that another one would mend, and takes nothing from the guest. */
static void test_random(void)
{
    guint32 count = g_test_slow() ? 3000 : 300;
    for (guint32 seed = 1; seed <= count; seed++) {
        struct blk_check found, again;
        struct model m;
        g_test_message("seed %u", seed);
        random_start(&m, seed);
        struct view before = view_of(&m);
        g_assert_true(check(&m, ALL, &found));
        assert_kept(&m, &before);
        g_assert_true(check(&m, ALL, &again));
        g_assert_cmpint(again.leaks + again.leaks_fixed + again.corruptions_fixed, ==, 0);
        g_assert_cmpint(again.corruptions, <=, found.corruptions);
        if (!again.corruptions && seed % 4 == 0) {
            model_open(&m);
            model_check_peer(&m, false);
            model_close_any(&m);
        }
        assert_kept(&m, &before);
        view_free(&before);
        model_stop(&m);
    }
}

/* ---- a second opinion ---- */

/* A refcount or a COPIED flag of a sound image becomes another. */
static void disturb(struct model *m)
{
    int64_t l1 = (int64_t)peek(m, 40), reftable = (int64_t)peek(m, 48);
    int64_t refblock = (int64_t)peek(m, reftable), l2 = (int64_t)(peek(m, l1) & ~COPIED);
    int64_t at = (l2 ? l2 : l1) + 8 * g_rand_int_range(m->rand, 0, l2 ? 64 : 1);
    uint64_t entry = peek(m, at);
    bool is_plain = !(entry >> 62 & 1) && entry >> 9 << 10;
    if (is_plain && g_rand_boolean(m->rand)) {
        patch(m, at, entry ^ COPIED, 8);
    } else {
        int64_t byte = refblock + g_rand_int_range(m->rand, 0, 100);
        patch(m, byte, (uint64_t)g_rand_int_range(m->rand, 0, 4), 1);
    }
}

/* tests/tools/qcow2-ref.c, which shares no code with qcow2/, counts the same. */
static void test_agreement(void)
{
    for (guint32 seed = 1; seed <= 300; seed++) {
        struct blk_check found;
        struct model m;
        char *bytes;
        gsize size;
        g_test_message("seed %u", seed);
        random_image(&m, seed);
        for (guint32 i = 0; i < seed % 4; i++) {
            disturb(&m);
        }
        g_assert_true(check(&m, 0, &found));
        g_assert_true(g_file_get_contents(m.path, &bytes, &size, NULL));
        struct qcow2_ref ref = qcow2_ref_check((const uint8_t *)bytes, (int64_t)size);
        g_test_message("%s", ref.first);
        g_assert_cmpint(found.corruptions, ==, ref.corruptions);
        g_assert_cmpint(found.leaks, ==, ref.leaks);
        g_free(bytes);
        model_stop(&m);
    }
}

/* ---- repairs that break off ---- */

/* As model_jolt(), for an image that may not open. */
static void add_jolt(struct model *m)
{
    struct blk_node *file = node_open(m->graph, m->path, "file", NULL, NODE_RDWR, NULL);
    m->jolt = node_open_over(file, "jolt", NULL, NODE_RDWR, NULL);
    g_assert_nonnull(m->jolt);
    node_close(file, NULL);
}

/* A repair that fails at any of its writes or flushes leaves an image that the next one mends, and
 * takes nothing from the guest either. */
static void test_broken_off(void)
{
    for (guint32 seed = 1; seed <= 60; seed++) {
        bool whole = false;
        for (int64_t at = 1; !whole; at++) {
            struct blk_check before, found;
            struct model m;
            random_start(&m, seed);
            struct view view = view_of(&m);
            g_assert_true(check(&m, 0, &before));
            add_jolt(&m);
            struct jolt *jolt = jolt_of(m.jolt);
            enum jolt_kind kind = at % 2 ? JOLT_WRITE : JOLT_FLUSH;
            jolt->fail_at[kind] = jolt->count[kind] + (at + 1) / 2;
            jolt->fail_times = INT_MAX;
            jolt->error = -EIO;
            int64_t counts[] = {jolt->count[JOLT_WRITE], jolt->count[JOLT_FLUSH]};
            bool done = check(&m, ALL, &found);
            whole = jolt->count[JOLT_WRITE] - counts[0] < (at + 1) / 2 &&
                    jolt->count[JOLT_FLUSH] - counts[1] < (at + 1) / 2;
            node_close(g_steal_pointer(&m.jolt), NULL);
            g_assert_true(done || !whole);
            assert_kept(&m, &view);
            g_assert_true(check(&m, ALL, &found));
            assert_kept(&m, &view);
            view_free(&view);
            model_stop(&m);
        }
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(damages); i++) {
        g_autofree char *path = g_strdup_printf("/qcow2/check/damage/%s", damages[i].name);
        g_strdelimit(path, " ", '-');
        g_test_add_data_func(path, &damages[i], test_damage);
    }
    g_test_add_func("/qcow2/check/bits-are-cleared", test_bits_are_cleared);
    g_test_add_func("/qcow2/check/no-snapshots", test_no_snapshots);
    g_test_add_func("/qcow2/check/corrupt-bit-stays", test_corrupt_bit_stays);
    g_test_add_func("/qcow2/check/dirty-is-repaired", test_dirty_is_repaired);
    g_test_add_func("/qcow2/check/shared-with-metadata", test_shared_with_metadata);
    g_test_add_func("/qcow2/check/random", test_random);
    g_test_add_func("/qcow2/check/agreement", test_agreement);
    g_test_add_func("/qcow2/check/broken-off", test_broken_off);
    return g_test_run();
}
