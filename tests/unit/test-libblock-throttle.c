/*
 * Throttle groups: the arithmetic on a clock that the test turns, what options
 * are refused, and a node that really waits (at least so long, never at most).
 */
#include <errno.h>

#include "libblock/filters/throttle-group.h"
#include "tests/unit/libblock-fixture.h"

#define SECOND INT64_C(1000000000)

static struct throttle_group *group_of(const char *json)
{
    struct throttle_limits limits;
    GError *error = NULL;
    bool any;
    json_t *options = json_unflatten(json_parse_text(json, "test", NULL), NULL);
    throttle_limits_take(options, &limits, &any, &error);
    g_assert_no_error(error);
    g_assert_cmpint(json_object_size(options), ==, 0);
    json_decref(options);
    return throttle_group_new("g", &limits);
}

/* Lets `count` requests through one after the other; the time that has passed then. */
static int64_t pass(struct throttle_group *group, bool write, int64_t bytes, int count, int64_t now)
{
    for (int i = 0; i < count; i++) {
        int64_t wait;
        while ((wait = throttle_group_wait(group, write, now))) {
            now += wait;
        }
        throttle_group_count(group, write, bytes);
    }
    return now;
}

static void assert_near(int64_t got, int64_t want)
{
    g_assert_cmpint(got, >, want - want / 50 - SECOND / 1000);
    g_assert_cmpint(got, <, want + want / 50 + SECOND / 1000);
}

/* A tenth of a second's worth goes at once, and one request may overdraw; then the rate holds. */
static void test_rate(void)
{
    struct throttle_group *group = group_of("{'limits.bps-total': 1000000}");
    assert_near(pass(group, false, 10000, 11, SECOND) - SECOND, 0);
    assert_near(pass(group, true, 10000, 1000, SECOND) - SECOND, 99 * SECOND / 10);
    throttle_group_unref(group);
}

static void test_sides(void)
{
    struct throttle_group *group = group_of("{'x-bps-write': 1000, 'x-iops-read': '10'}");
    assert_near(pass(group, true, 1000, 11, SECOND) - SECOND, 10 * SECOND - SECOND / 10);
    throttle_group_unref(group);
    group = group_of("{'x-bps-write': 1000, 'x-iops-read': '10'}");
    assert_near(pass(group, false, 1 << 20, 102, SECOND) - SECOND, 10 * SECOND);
    throttle_group_unref(group);
}

/* Five seconds at four times the rate, then the rate. */
static void test_burst(void)
{
    struct throttle_group *group = group_of("{'limits': {'bps-total': 1000, 'bps-total-max': 4000,"
                                            "'bps-total-max-length': 5}}");
    int64_t now = SECOND;
    int64_t full = pass(group, false, 100, 200, now);
    assert_near(full - now, 49 * SECOND / 10);
    int64_t end = pass(group, false, 100, 100, full);
    g_assert_cmpint(end - full, >, 3 * SECOND);
    g_assert_cmpint(pass(group, false, 100, 100, end) - end, >, 9 * SECOND);
    throttle_group_unref(group);
}

static void test_iops_size(void)
{
    struct throttle_group *group = group_of("{'x-iops-total': 100, 'x-iops-size': 4096}");
    assert_near(pass(group, true, 65536, 101, SECOND) - SECOND, 16 * SECOND - SECOND / 10);
    throttle_group_unref(group);
}

/* No time that passed, or ran backwards, gives room away. */
static void test_clock(void)
{
    struct throttle_group *group = group_of("{'x-bps-total': 1000}");
    int64_t now = pass(group, true, 1000, 1, SECOND);
    int64_t wait = throttle_group_wait(group, true, now);
    assert_near(wait, 9 * SECOND / 10);
    g_assert_cmpint(throttle_group_wait(group, true, now - SECOND / 2), ==, wait);
    g_assert_cmpint(throttle_group_wait(group, true, now + wait), ==, 0);
    throttle_group_unref(group);
}

static void test_refusals(void)
{
    static const char *const bad[] = {
        "{'limits': 3}",
        "{'limits': {'bps': 3}}",
        "{'x-bps-total': -1}",
        "{'x-bps-total': 'much'}",
        "{'x-bps-total': 1000000000000001}",
        "{'x-bps-total': 5, 'x-bps-read': 5}",
        "{'x-iops-total': 5, 'x-iops-write': 5}",
        "{'x-bps-total-max': 5}",
        "{'x-bps-total': 10, 'x-bps-total-max': 5}",
        "{'x-bps-total': 10, 'x-bps-total-max-length': 5}",
        "{'x-bps-total': 10, 'x-bps-total-max-length': 0}",
        "{'x-bps-total': 5, 'x-bps-total-max': 100000000, 'x-bps-total-max-length': 1000000000}",
        "{'x-iops-size': 4096}",
        "{'x-bps-total': 5, 'x-iops-size': 4096}",
    };
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        struct throttle_limits limits;
        g_autoptr(GError) error = NULL;
        bool any;
        json_t *options = json_parse_text(bad[i], "test", NULL);
        g_test_message("%s", bad[i]);
        g_assert_false(throttle_limits_take(options, &limits, &any, &error));
        g_assert_nonnull(error);
        json_decref(options);
    }
}

static struct blk_node *open_over(struct blk_node *mem, const char *json, GError **error)
{
    json_t *options = json_unflatten(json_parse_text(json, "test", NULL), NULL);
    struct blk_node *node = node_open_over(mem, "throttle", options, NODE_RDWR, error);
    json_decref(options);
    return node;
}

static void test_groups(void)
{
    struct fixture f;
    fixture_open(&f, 1 << 20, NULL);
    static const char *const bad[] = {
        "{}",
        "{'throttle-group': 'nowhere'}",
        "{'throttle-group': 'g', 'x-bps-total': 1}",
        "{'throttle-group': 'g', 'colour': 'red'}",
    };
    json_t *limits = json_pack("{s:s}", "x-iops-total", "20"),
           *wrong = json_pack("{s:s}", "x", "1");
    g_assert_true(graph_add_throttle_group(f.graph, "g", limits, NULL));
    g_assert_false(graph_add_throttle_group(f.graph, "g", limits, NULL));
    g_assert_false(graph_add_throttle_group(f.graph, "h", wrong, NULL));
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;
        g_assert_null(open_over(f.mem, bad[i], &error));
        g_test_message("%s", error->message);
    }
    struct blk_node *a = open_over(f.mem, "{'throttle-group': 'g'}", NULL);
    struct blk_node *b = open_over(f.mem, "{'throttle-group': 'g'}", NULL);
    int64_t start = g_get_monotonic_time();
    char buf[4];
    for (int i = 0; i < 4; i++) {
        g_assert_cmpint(node_write(a, 0, 4, "abcd", 0), ==, 0);
        g_assert_cmpint(node_read(b, 0, 4, buf), ==, 0);
    }
    g_assert_cmpmem(buf, 4, "abcd", 4);
    g_assert_cmpint(g_get_monotonic_time() - start, >=, 240000);
    g_assert_cmpint(node_zero(a, 0, 4, 0), ==, 0);
    g_assert_cmpint(node_discard(a, 0, 4), ==, 0);
    g_assert_true(node_close(a, NULL));
    g_assert_true(node_close(b, NULL));
    json_decref(limits);
    json_decref(wrong);
    fixture_close(&f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/throttle/rate", test_rate);
    g_test_add_func("/throttle/sides", test_sides);
    g_test_add_func("/throttle/burst", test_burst);
    g_test_add_func("/throttle/iops-size", test_iops_size);
    g_test_add_func("/throttle/clock", test_clock);
    g_test_add_func("/throttle/refusals", test_refusals);
    g_test_add_func("/throttle/groups", test_groups);
    return g_test_run();
}
