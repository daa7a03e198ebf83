/*
 * blkdebug over memory, and below qcow2: rules as text, which request fails when,
 * breakpoints, and limits.
 */
#include <errno.h>
#include <string.h>

#include "formats/formats.h"
#include "libblock/driver.h"
#include "libblock/filters/blkdebug-rules.h"

struct bench {
    struct loop *loop;
    struct blk_graph *graph;
    struct blk_node *mem;
    GString *told; /* what drivers reported */
};

static void on_report(enum report_kind kind, const char *text, void *user)
{
    struct bench *b = user;
    g_string_append_printf(b->told, "%s\n", text);
}

static void bench_init(struct bench *b, gconstpointer data)
{
    b->loop = loop_new(NULL);
    b->graph = graph_new(b->loop, formats_drivers);
    b->told = g_string_new(NULL);
    graph_set_report(b->graph, on_report, b);
    b->mem = node_open(b->graph, "mem:", "mem", NULL, NODE_RDWR, NULL);
    g_assert_nonnull(b->mem);
    g_assert_true(node_resize(b->mem, 1 << 20, NULL, NULL));
}

static void bench_done(struct bench *b, gconstpointer data)
{
    g_assert_true(node_close(b->mem, NULL));
    graph_free(b->graph);
    loop_free(b->loop);
    g_string_free(b->told, true);
}

static struct blk_node *open_debug(struct bench *b, const char *json, GError **error)
{
    json_t *options = json_unflatten(json_parse_text(json, "test", NULL), NULL);
    struct blk_node *node = node_open_over(b->mem, "blkdebug", options, NODE_RDWR, error);
    json_decref(options);
    return node;
}

static struct blk_node *must_open(struct bench *b, const char *json)
{
    GError *error = NULL;
    struct blk_node *node = open_debug(b, json, &error);
    g_assert_no_error(error);
    return node;
}

static int write_at(struct blk_node *node, int64_t offset)
{
    return node_write(node, offset, 4, "abcd", 0);
}

/* ---- rules as text ---- */

static void test_config(void)
{
    static const char text[] = "# comment\n\n[inject-error]\n event = \"l2_alloc.write\"\n"
                               "errno = \"28\"\nsector=\"2\"\nonce = \"on\"\niotype = write\n"
                               "[set-state \"named\"]\nstate = \"1\"\nevent = \"flush_to_disk\"\n"
                               "new_state = \"7\"";
    GError *error = NULL;
    g_autoptr(GPtrArray) rules = g_ptr_array_new_with_free_func(rule_free);
    g_assert_true(rules_parse_config(text, "f", rules, &error));
    g_assert_no_error(error);
    g_assert_cmpint(rules->len, ==, 2);
    const struct rule *inject = rules->pdata[0], *set = rules->pdata[1];
    g_assert_cmpint(inject->event, ==, BLK_EVENT_L2_ALLOC_WRITE);
    g_assert_cmpint(inject->error, ==, 28);
    g_assert_cmpint(inject->offset, ==, 1024);
    g_assert_cmpint(inject->iotypes, ==, RULE_WRITE);
    g_assert_true(inject->once && !inject->immediately);
    g_assert_cmpint(set->state, ==, 1);
    g_assert_cmpint(set->new_state, ==, 7);
}

/* Every text that is not right is refused with a line number or the option's name. */
static void test_hostile_config(void)
{
    static const struct {
        const char *text, *pattern;
    } rows[] = {
        {"event = \"l2_load\"", "*line 1*section first*"},
        {"[inject-error", "*line 1*']'*"},
        {"[]", "*no section ''*"},
        {"[injected]\n", "*no section 'injected'*"},
        {"[inject-error]\nerrno = \"5\"\n", "*Missing event*line 1*"},
        {"[inject-error]\nevent\n", "*line 2*key*"},
        {"[inject-error]\nevent = \"l2_load\n", "*line 2*quote*"},
        {"[inject-error]\nevent = \"\n", "*line 2*quote*"},
        {"[inject-error]\nevent = \"nothing\"\n", "*no event 'nothing'*"},
        {"[inject-error]\nevent = \"none\"\nerrno = \"-5\"\n", "*errno -5*"},
        {"[inject-error]\nevent = \"none\"\nerrno = \"99999999999\"\n", "*errno*"},
        {"[inject-error]\nevent = \"none\"\nsector = \"9223372036854775807\"\n", "*sector*range*"},
        {"[inject-error]\nevent = \"none\"\nstate = \"-1\"\n", "*state -1*"},
        {"[inject-error]\nevent = \"none\"\niotype = \"sing\"\n", "*iotype*"},
        {"[inject-error]\nevent = \"none\"\nnew_state = \"2\"\n", "*new_state*"},
        {"[set-state]\nevent = \"none\"\nerrno = \"2\"\n", "*errno*"},
        {"[inject-error]\nevent = \"\xff\xfe\"\n", "*event*"},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(GPtrArray) rules = g_ptr_array_new_with_free_func(rule_free);
        g_assert_false(rules_parse_config(rows[i].text, "f", rules, &error));
        g_test_message("row %zu: %s", i, error->message);
        g_assert_true(g_pattern_match_simple(rows[i].pattern, error->message));
    }
}

static void test_too_many(void)
{
    g_autoptr(GString) text = g_string_new(NULL);
    for (int i = 0; i < 5000; i++) {
        g_string_append(text, "[inject-error]\nevent = \"none\"\n");
    }
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) rules = g_ptr_array_new_with_free_func(rule_free);
    g_assert_false(rules_parse_config(text->str, "f", rules, &error));
    g_assert_cmpint(error->code, ==, E2BIG);
}

/* Options in both forms, and those that are refused. */
static void test_options(struct bench *b, gconstpointer data)
{
    static const char *const good[] = {
        "{'inject-error.0.event': 'none', 'inject-error.1.event': 'l2_load'}",
        "{'inject-error': [{'event': 'none', 'errno': 5, 'once': true}], 'set-state': []}",
        "{'align': 512, 'max-transfer': '64k', 'opt-write-zero': '64k', 'max-write-zero': '128k'}",
        "{'take-child-perms.0': 'write', 'unshare-child-perms': ['resize']}",
    };
    static const char *const bad[] = {
        "{'inject-error': 'none'}",
        "{'inject-error': [3]}",
        "{'inject-error': [{}]}",
        "{'inject-error.0.event': 'none', 'inject-error.0.colour': 'red'}",
        "{'config': '/nonexistent/rules'}",
        "{'config': '/'}",
        "{'align': 3}",
        "{'align': 512, 'max-transfer': 1000}",
        "{'opt-write-zero': 3000}",
        "{'align': 4096, 'opt-discard': 512}",
        "{'opt-discard': 1024, 'max-discard': 1536}",
        "{'take-child-perms': ['everything']}",
        "{'unshare-child-perms': 'write'}",
        "{'colour': 'red'}",
    };
    for (size_t i = 0; i < G_N_ELEMENTS(good); i++) {
        node_close(must_open(b, good[i]), NULL);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;
        g_test_message("%s", bad[i]);
        g_assert_null(open_debug(b, bad[i], &error));
        g_assert_nonnull(error);
    }
}

/* ---- errors ---- */

static void test_inject(struct bench *b, gconstpointer data)
{
    struct blk_node *node = must_open(b, "{'inject-error': [{'event': 'none', 'sector': 2,"
                                         "'errno': 28, 'iotype': 'write'}]}");
    g_assert_cmpint(write_at(node, 1020), ==, 0);
    g_assert_cmpint(write_at(node, 1022), ==, -ENOSPC);
    g_assert_cmpint(write_at(node, 1024), ==, -ENOSPC);
    g_assert_cmpint(write_at(node, 1025), ==, 0);
    char buf[8];
    g_assert_cmpint(node_read(node, 1024, 4, buf), ==, 0);
    g_assert_cmpint(node_zero(node, 0, 4096, 0), ==, 0);
    g_assert_true(node_close(node, NULL));
}

static void test_iotypes(struct bench *b, gconstpointer data)
{
    char buf[8];
    struct blk_node *node = must_open(b, "{'inject-error': [{'event': 'none', 'iotype': 'read'}]}");
    g_assert_cmpint(write_at(node, 0), ==, 0);
    g_assert_cmpint(node_read(node, 0, 4, buf), ==, -EIO);
    node_close(node, NULL);
    node = must_open(b, "{'inject-error': [{'event': 'none', 'iotype': 'write-zeroes'}]}");
    g_assert_cmpint(write_at(node, 0), ==, 0);
    g_assert_cmpint(node_zero(node, 0, 4096, 0), ==, -EIO);
    node_close(node, NULL);
    node = must_open(b, "{'inject-error': [{'event': 'none', 'iotype': 'discard'}]}");
    g_assert_cmpint(node_discard(node, 0, 4096), ==, -EIO);
    node_close(node, NULL);
    node = must_open(b, "{'inject-error': [{'event': 'none', 'iotype': 'flush', 'once': true}]}");
    g_assert_cmpint(write_at(node, 0), ==, 0);
    g_assert_cmpint(node_flush(node), ==, -EIO);
    g_assert_cmpint(node_flush(node), ==, 0);
    node_close(node, NULL);
    node = must_open(b, "{'inject-error': [{'event': 'none', 'iotype': 'block-status'}]}");
    struct extent_list list = {0};
    g_assert_cmpint(node_map(node, 0, 4096, 0, &list), ==, -EIO);
    g_assert_cmpint(write_at(node, 0), ==, 0);
    node_close(node, NULL);
    extents_done(&list);
}

static void test_once(struct bench *b, gconstpointer data)
{
    struct blk_node *node =
        must_open(b, "{'inject-error': [{'event': 'none', 'once': 'on', 'immediately': 'on'}]}");
    g_assert_cmpint(write_at(node, 0), ==, -EIO);
    g_assert_cmpint(write_at(node, 0), ==, 0);
    g_assert_true(node_close(node, NULL));
}

/* The second write is the one that fails: states count. */
static void test_states(struct bench *b, gconstpointer data)
{
    struct blk_node *node =
        must_open(b, "{'inject-error': [{'event': 'pwritev', 'state': 2, 'once': true}],"
                     "'set-state': [{'event': 'pwritev', 'state': 1, 'new_state': 2},"
                     "              {'event': 'pwritev', 'state': 2, 'new_state': 3}]}");
    g_assert_cmpint(write_at(node, 0), ==, 0);
    g_assert_cmpint(write_at(node, 0), ==, -EIO);
    g_assert_cmpint(write_at(node, 0), ==, 0);
    g_assert_true(node_close(node, NULL));
}

/* ---- below qcow2 ---- */

static struct blk_node *open_qcow2(struct bench *b, struct blk_node *debug)
{
    GError *error = NULL;
    image_create_over(b->mem, "qcow2", 1 << 20, NULL, &error);
    g_assert_no_error(error);
    struct blk_node *node = node_open_over(debug, "qcow2", NULL, NODE_RDWR, &error);
    g_assert_no_error(error);
    return node;
}

static void test_qcow2_event(struct bench *b, gconstpointer data)
{
    struct blk_node *debug = must_open(b, "{'inject-error': [{'event': 'cluster_alloc',"
                                          "'errno': 28, 'once': true}]}");
    struct blk_node *node = open_qcow2(b, debug);
    g_assert_cmpint(write_at(node, 0), ==, -ENOSPC);
    g_assert_cmpint(write_at(node, 0), ==, 0);
    char buf[4];
    g_assert_cmpint(node_read(node, 0, 4, buf), ==, 0);
    g_assert_cmpmem(buf, 4, "abcd", 4);
    g_assert_true(node_close(node, NULL));
    g_assert_true(node_close(debug, NULL));
}

struct write_call {
    struct blk_request request;
    struct iovec iov;
    char bytes[4];
    int result;
};

static void on_done(struct blk_request *request, int result)
{
    struct write_call *call = request->user;
    call->result = result;
}

static void submit(struct blk_node *node, struct write_call *call, const char *bytes)
{
    *call = (struct write_call){.request = {REQ_WRITE, 0, 0, 4, &call->iov, on_done, call},
                                .iov = {call->bytes, 4},
                                .result = 1};
    memcpy(call->bytes, bytes, 4);
    node_submit(node, &call->request);
}

static void turn_until(struct bench *b, const int *result)
{
    while (*result > 0) {
        loop_turn(b->loop, true);
    }
}

/* A write that waits at a breakpoint keeps the next write to its cluster waiting, too. */
static void test_breakpoint(struct bench *b, gconstpointer data)
{
    GError *error = NULL;
    struct blk_node *debug = must_open(b, "{}");
    struct blk_node *node = open_qcow2(b, debug);
    struct write_call first, second;
    g_assert_true(node_debug_break(node, "write_aio", "A", &error));
    submit(node, &first, "1111");
    while (!node_debug_is_suspended(node, "A")) {
        loop_turn(b->loop, false);
    }
    submit(node, &second, "2222");
    loop_turn(b->loop, false);
    g_assert_cmpint(first.result + second.result, ==, 2);
    g_assert_true(node_debug_resume(node, "A", &error));
    turn_until(b, &first.result);
    turn_until(b, &second.result);
    char buf[4];
    g_assert_cmpint(node_read(node, 0, 4, buf), ==, 0);
    g_assert_cmpmem(buf, 4, "2222", 4);
    g_assert_cmpstr(b->told->str, ==,
                    "blkdebug: Suspended request 'A'\nblkdebug: Resuming request 'A'\n");
    g_assert_true(node_close(node, NULL));
    g_assert_true(node_close(debug, NULL));
}

static void test_breakpoint_words(struct bench *b, gconstpointer data)
{
    struct blk_node *node = must_open(b, "{}");
    g_autoptr(GError) error = NULL;
    g_assert_false(node_debug_break(node, "nothing", "A", NULL));
    g_assert_false(node_debug_resume(node, "A", NULL));
    g_assert_false(node_debug_remove_break(node, "A", NULL));
    g_assert_false(node_debug_break(b->mem, "pwritev", "A", &error));
    g_assert_cmpint(error->code, ==, ENOTSUP);
    g_assert_true(node_debug_break(node, "pwritev", "A", NULL));
    g_assert_true(node_debug_break(node, "pwritev", "B", NULL));
    g_assert_true(node_debug_remove_break(node, "A", NULL));
    struct write_call call;
    submit(node, &call, "abcd");
    while (!node_debug_is_suspended(node, "B")) {
        loop_turn(b->loop, false);
    }
    g_assert_true(node_debug_remove_break(node, NULL, NULL));
    turn_until(b, &call.result);
    g_assert_cmpint(call.result, ==, 0);
    g_assert_true(node_close(node, NULL));
}

static void test_limits(struct bench *b, gconstpointer data)
{
    struct blk_node *node = must_open(b, "{'align': 4096, 'max-transfer': 8192, 'opt-write-zero':"
                                         "16384, 'max-write-zero': 32768, 'opt-discard': 8192}");
    const struct blk_limits *limits = node_limits(node);
    g_assert_cmpint(limits->request_align, ==, 4096);
    g_assert_cmpint(limits->max_transfer, ==, 8192);
    g_assert_cmpint(limits->zero_align, ==, 16384);
    g_assert_cmpint(limits->max_zero, ==, 32768);
    g_assert_cmpint(limits->discard_align, ==, 8192);
    static uint8_t pattern[100000], got[100000];
    memset(pattern, 7, sizeof(pattern));
    g_assert_cmpint(node_write(node, 123, sizeof(pattern), pattern, 0), ==, 0);
    g_assert_cmpint(node_read(b->mem, 123, sizeof(got), got), ==, 0);
    g_assert_cmpmem(got, sizeof(got), pattern, sizeof(pattern));
    g_assert_true(node_close(node, NULL));
}

/* Jobs must not read past a filter whose reads count. */
static void test_map_hides_leaf(struct bench *b, gconstpointer data)
{
    struct blk_node *debug = must_open(b, "{}");
    struct blk_node *node = open_qcow2(b, debug);
    g_assert_cmpint(write_at(node, 0), ==, 0);
    struct extent_list list = {0};
    g_assert_cmpint(node_map(node, 0, 65536, MAP_LEAF | MAP_CHAIN, &list), ==, 0);
    g_assert_cmpint(list.count, >, 0);
    for (int i = 0; i < list.count; i++) {
        g_assert_cmpint(list.items[i].flags & EXTENT_OFFSET, ==, 0);
    }
    extents_done(&list);
    g_assert_true(node_close(node, NULL));
    g_assert_true(node_close(debug, NULL));
}

#define ADD(path, test) g_test_add(path, struct bench, NULL, bench_init, test, bench_done)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/blkdebug/config", test_config);
    g_test_add_func("/blkdebug/hostile-config", test_hostile_config);
    g_test_add_func("/blkdebug/too-many", test_too_many);
    ADD("/blkdebug/options", test_options);
    ADD("/blkdebug/inject", test_inject);
    ADD("/blkdebug/iotypes", test_iotypes);
    ADD("/blkdebug/once", test_once);
    ADD("/blkdebug/states", test_states);
    ADD("/blkdebug/qcow2-event", test_qcow2_event);
    ADD("/blkdebug/breakpoint", test_breakpoint);
    ADD("/blkdebug/breakpoint-words", test_breakpoint_words);
    ADD("/blkdebug/limits", test_limits);
    ADD("/blkdebug/map-hides-leaf", test_map_hides_leaf);
    return g_test_run();
}
