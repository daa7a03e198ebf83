/*
 * Power cuts during a repair. A small image in memory is filled at random and some
 * words of its tables are changed; the repair is recorded, and from every state that
 * a cut may leave (cuts.h) the guest reads what it could read before, and another
 * repair comes as far as the one that was not cut. SEED=n COUNT=n runs that many.
 */
#include <glib.h>
#include <string.h>

#include "base/base.h"
#include "libblock/libblock.h"
#include "tests/crash/cuts.h"
#include "tests/tools/tally.h"

enum { ALL = CHECK_FIX_LEAKS | CHECK_FIX_ERRORS, CLUSTERS = 48, STATES = 40 };
#define COPIED (UINT64_C(1) << 63)

struct run {
    struct rng rng;
    struct loop *loop;
    const struct blk_driver **drivers;
    struct blk_graph *graph;
    int64_t cluster;
    uint8_t *bytes;          /* what the guest could read before the repair */
    bool readable[CLUSTERS]; /* and where */
    bool look;               /* the present view is compared and not kept */
};

static struct blk_node *open_node(struct run *r, uint32_t flags)
{
    return node_open(r->graph, "ram:0", "qcow2", NULL, flags | NODE_NO_BACKING, NULL);
}

/* ---- an image ---- */

static void fill(struct run *r)
{
    g_autofree uint8_t *buf = g_malloc((gsize)r->cluster * 4);
    struct blk_node *node = open_node(r, NODE_RDWR);
    g_assert_nonnull(node);
    for (int i = 0; i < 40; i++) {
        int64_t at = rng_below(&r->rng, CLUSTERS - 4) * r->cluster;
        int64_t length = rng_between(&r->rng, 1, r->cluster * 4);
        memset(buf, (int)rng_between(&r->rng, 1, 255), (gsize)length);
        switch (rng_below(&r->rng, 4)) {
        case 0: node_discard(node, at, align_down(length, r->cluster)); break;
        case 1: node_zero(node, at, length, rng_percent(&r->rng, 50) ? REQ_MAY_UNMAP : 0); break;
        default: g_assert_cmpint(node_write(node, at, length, buf, 0), ==, 0);
        }
    }
    g_assert_true(node_close(node, NULL));
}

static void create(struct run *r)
{
    g_autofree char *size = g_strdup_printf("%" PRId64, r->cluster);
    g_autofree char *bits = g_strdup_printf("%d", 1 << rng_between(&r->rng, 0, 6));
    json_t *options = json_pack("{s:s, s:s}", "cluster_size", size, "refcount_bits", bits);
    GError *error = NULL;
    ram_reset(0);
    image_create(r->graph, "ram:0", "qcow2", CLUSTERS * r->cluster, options, 0, NULL, &error);
    g_assert_no_error(error);
    json_decref(options);
    fill(r);
}

/* ---- damage ---- */

static uint64_t word_at(int64_t at)
{
    const GByteArray *bytes = ram_disks[0].bytes;
    return at >= 0 && at + 8 <= bytes->len ? load_be64(bytes->data + at) : 0;
}

static void damage(struct run *r)
{
    int64_t l1 = (int64_t)word_at(40), reftable = (int64_t)word_at(48);
    int64_t l2 = (int64_t)(word_at(l1) & ~COPIED);
    int64_t tables[] = {l1, l2, l2, reftable, (int64_t)word_at(reftable)};
    int64_t table = tables[rng_below(&r->rng, G_N_ELEMENTS(tables))];
    int64_t reach = table == l1 || table == reftable ? 4 : MIN(r->cluster / 8, CLUSTERS);
    int64_t at = table + 8 * rng_below(&r->rng, reach);
    uint64_t place = (uint64_t)(rng_below(&r->rng, 40) * r->cluster), word = word_at(at);
    switch (rng_below(&r->rng, 5)) {
    case 0: word = 0; break;
    case 1: word ^= UINT64_C(1) << rng_below(&r->rng, 64); break;
    case 2: word = word_at(at + 8); break;
    case 3: word = COPIED | place; break;
    default: word = place;
    }
    if (table > 0 && at + 8 <= ram_disks[0].bytes->len)
        store_be64(ram_disks[0].bytes->data + at, word);
}

/* ---- what must hold ---- */

/* Reads every cluster: keeps what is there, or compares with what was kept. */
static void view(struct run *r)
{
    g_autofree uint8_t *buf = g_malloc((gsize)r->cluster);
    struct blk_node *node = open_node(r, 0);
    g_assert_true(node || !r->look || !r->readable[0]);
    for (int64_t i = 0; i < CLUSTERS; i++) {
        uint8_t *kept = r->bytes + i * r->cluster;
        bool ok = node && !node_read(node, i * r->cluster, r->cluster, buf);
        if (!r->look) {
            r->readable[i] = ok;
            memcpy(kept, buf, ok ? (gsize)r->cluster : 0);
        } else if (r->readable[i]) {
            g_assert_true(ok);
            g_assert_cmpmem(buf, r->cluster, kept, r->cluster);
        }
    }
    node_close(node, NULL);
}

static void tell(const char *text, void *user)
{
    (void)user;
    g_test_message("%s", text);
}

static struct blk_check check(struct run *r, uint32_t fix)
{
    struct blk_check found = {.message = g_getenv("VERBOSE") ? tell : NULL};
    GError *error = NULL;
    struct blk_node *node = open_node(r, NODE_REPAIR | (fix ? NODE_RDWR : 0));
    g_assert_nonnull(node);
    node_check(node, fix, &found, &error);
    if (fix == ALL)
        g_assert_no_error(error);
    g_clear_error(&error);
    g_assert_true(node_close(node, NULL));
    return found;
}

/* What a repair that is not cut leaves; the image is as before then. */
static struct blk_check trial(struct run *r)
{
    const GByteArray *bytes = ram_disks[0].bytes;
    g_autoptr(GBytes) before = g_bytes_new(bytes->data, bytes->len);
    int64_t corruptions = check(r, ALL).corruptions;
    struct blk_check rest = check(r, 0);
    rest.corruptions = MAX(rest.corruptions, corruptions);
    ram_set(&ram_disks[0], g_bytes_get_data(before, NULL), (int64_t)g_bytes_get_size(before));
    return rest;
}

static int64_t cut_everywhere(struct run *r, struct cuts *cuts, const struct blk_check *rest)
{
    int64_t states = 0;
    cuts_choose(cuts, STATES, rng_next(&r->rng));
    for (; cuts_next(cuts); states++) {
        g_autofree char *state = cuts_describe(cuts);
        g_test_message("%s", state);
        view(r);
        struct blk_check after = check(r, ALL);
        g_assert_cmpint(after.corruptions, <=, rest->corruptions);
        after = check(r, 0);
        g_assert_cmpint(after.corruptions, <=, rest->corruptions);
        g_assert_cmpint(after.leaks, <=, rest->leaks);
        view(r);
    }
    return states;
}

static int64_t repair_run(uint64_t seed)
{
    static const int64_t clusters[] = {512, 4096, 65536};
    struct run r = {.rng = {seed}, .cluster = clusters[seed % 3], .loop = loop_new(NULL)};
    r.drivers = ram_drivers();
    r.graph = graph_new(r.loop, r.drivers);
    r.bytes = g_malloc0((gsize)(CLUSTERS * r.cluster));
    g_test_message("SEED=%" PRIu64, seed);
    create(&r);
    for (int64_t n = rng_between(&r.rng, 1, 4); n > 0; n--)
        damage(&r);
    view(&r);
    r.look = true;
    struct blk_check rest = trial(&r);
    struct cuts *cuts = cuts_record();
    check(&r, rng_percent(&r.rng, 25) ? CHECK_FIX_LEAKS : ALL);
    int64_t states = cut_everywhere(&r, cuts, &rest);
    cuts_free(cuts);
    graph_free(r.graph);
    loop_free(r.loop);
    g_free(r.drivers);
    g_free(r.bytes);
    return states;
}

static void test_repairs(void)
{
    int64_t seed = tally_environment("SEED", 1), states = 0;
    int64_t count = tally_environment("COUNT", g_getenv("CAIRN_SUITE") ? 5000 : 500);
    for (; count > 0; count--)
        states += repair_run((uint64_t)seed++);
    tally_print("repair-cut-states", states);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/crash/check/repairs", test_repairs);
    return g_test_run();
}
