/*
 * Names: which driver a name means, how names inside images are resolved, what
 * trees and json: names open, and what a node is called.
 */
#include "libblock/name.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/libblock-fixture.h"

static void test_protocol_length(void)
{
    g_assert_cmpint(name_protocol_length("nbd://host/x"), ==, 3);
    g_assert_cmpint(name_protocol_length("file:a"), ==, 4);
    g_assert_cmpint(name_protocol_length("./a:b"), ==, 0);
    g_assert_cmpint(name_protocol_length("dir/a:b"), ==, 0);
    g_assert_cmpint(name_protocol_length("plain.img"), ==, 0);
    g_assert_cmpint(name_protocol_length(":x"), ==, 0);
    g_assert_cmpint(name_protocol_length(""), ==, 0);
}

static void test_resolve(void)
{
    static const char *const cases[][3] = {
        {"/d/top.img", "base.img", "/d/base.img"},
        {"/d/top.img", "/x/base.img", "/x/base.img"},
        {"top.img", "base.img", "base.img"},
        {"d/top.img", "../base.img", "d/../base.img"},
        {"file:/d/top.img", "base.img", "/d/base.img"},
        {"/d/top.img", "nbd://h/x", "nbd://h/x"},
        {"/d/top.img", "json:{}", "json:{}"},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *full = name_resolve(cases[i][0], cases[i][1]);
        g_assert_cmpstr(full, ==, cases[i][2]);
    }
}

static void test_find_protocol(void)
{
    struct fixture f;
    const char *rest;
    fixture_init(&f);
    g_assert_true(name_find_protocol(f.graph, "a.img", &rest, NULL) == &file_driver);
    g_assert_cmpstr(rest, ==, "a.img");
    g_assert_true(name_find_protocol(f.graph, "file:a:b", &rest, NULL) == &file_driver);
    g_assert_cmpstr(rest, ==, "a:b");
    g_assert_true(name_find_protocol(f.graph, "/dev/null", &rest, NULL) == &host_device_driver);
    g_assert_true(name_find_protocol(f.graph, "host_device:/dev/x", &rest, NULL) ==
                  &host_device_driver);
    g_assert_cmpstr(rest, ==, "/dev/x");
    g_assert_true(name_find_protocol(f.graph, "null-co://", &rest, NULL) == &null_co_driver);
    g_autoptr(GError) error = NULL;
    g_assert_null(name_find_protocol(f.graph, "gopher:a", &rest, &error));
    g_assert_nonnull(strstr(error->message, "unknown protocol 'gopher'"));
    g_assert_nonnull(strstr(error->message, "./gopher:a"));
    g_clear_error(&error);
    g_assert_null(name_find_protocol(f.graph, "strict:a", &rest, &error)); /* a filter */
    fixture_done(&f);
}

static struct blk_node *open_json(struct fixture *f, const char *name, GError **error)
{
    return node_open(f->graph, name, NULL, NULL, 0, error);
}

static void test_json_names(void)
{
    struct fixture f;
    fixture_init(&f);
    struct blk_node *node =
        open_json(&f, "json:{\"driver\": \"null-co\", \"size\": 4096, \"read-only\": true}", NULL);
    g_assert_nonnull(node);
    g_assert_cmpint(node_size(node), ==, 4096);
    node_close(node, NULL);
    node = open_json(&f, "json:{'driver': 'blklog', 'file.driver': 'null-co', 'file.size': '1M'}",
                     NULL);
    g_assert_nonnull(node);
    g_assert_cmpstr(node_driver_name(node_file(node)), ==, "null-co");
    g_assert_cmpint(node_size(node), ==, 1 << 20);
    node_close(node, NULL);
    fixture_done(&f);
}

static void test_bad_names(void)
{
    static const char *const bad[] = {
        "json:",
        "json:[]",
        "json:{\"driver\": 5}",
        "json:{\"driver\": \"nope\"}",
        "json:{\"driver\": \"null-co\", \"colour\": \"red\"}",
        "json:{\"driver\": \"blklog\"}",
        "json:{\"driver\": \"blklog\", \"file\": {}}",
        "json:{\"driver\": \"null-co\", \"cache\": {\"direct\": \"perhaps\"}}",
        "json:{\"driver\": \"null-co\", \"cache\": \"none\"}",
        "json:{\"driver\": \"null-co\", \"discard\": \"sometimes\"}",
        "json:{\"driver\": \"null-co\", \"size\": -1}",
        "json:{\"driver\": \"null-co\", \"force-share\": true}",
    };
    struct fixture f;
    fixture_init(&f);
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;
        g_assert_null(node_open(f.graph, bad[i], NULL, NULL, NODE_RDWR, &error));
        g_assert_nonnull(error);
    }
    fixture_done(&f);
}

/* Filters nest, but not without end. */
static void test_nesting(void)
{
    struct fixture f;
    fixture_init(&f);
    GString *name = g_string_new("json:");
    for (int i = 0; i < 17; i++) {
        g_string_append(name, "{\"driver\": \"blklog\", \"file\": ");
    }
    g_string_append(name, "{\"driver\": \"null-co\"}");
    for (int i = 0; i < 17; i++) {
        g_string_append(name, "}");
    }
    g_autoptr(GError) error = NULL;
    g_assert_null(open_json(&f, name->str, &error));
    g_assert_nonnull(strstr(error->message, "16"));
    g_string_free(name, TRUE);
    fixture_done(&f);
}

/* The name of a node opens the same node again. */
static void test_filenames(void)
{
    static const char *const names[][2] = {

        {"json:{\"driver\": \"null-co\", \"size\": 4096}",
         "json:{\"driver\":\"null-co\",\"size\":4096}"},
        {"json:{\"driver\": \"blklog\", \"file\": {\"driver\": \"null-co\"}, \"cache\": "
         "{\"direct\": true}}",
         "json:{\"driver\":\"blklog\",\"file\":{\"driver\":\"null-co\"}}"},
    };
    struct fixture f;
    fixture_init(&f);
    struct blk_node *plain = node_open(f.graph, "null-co://", "null-co", NULL, 0, NULL);
    g_assert_cmpstr(node_filename(plain), ==, "null-co://");
    node_close(plain, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        struct blk_node *node = open_json(&f, names[i][0], NULL);
        g_assert_cmpstr(node_filename(node), ==, names[i][1]);
        struct blk_node *again = open_json(&f, node_filename(node), NULL);
        g_assert_cmpstr(node_filename(again), ==, names[i][1]);
        node_close(again, NULL);
        node_close(node, NULL);
    }
    fixture_done(&f);
}

struct asker {
    struct blk_node *node;
    pthread_barrier_t *start;
    const char *name;
};

static void *ask_name(void *arg)
{
    struct asker *asker = arg;
    pthread_barrier_wait(asker->start);
    asker->name = node_filename(asker->node);
    return NULL;
}

/* Workers of a job name the same node in their errors, at once. */
static void test_filename_from_threads(void)
{
    enum { THREADS = 4, ROUNDS = 200 };
    struct fixture f;
    fixture_init(&f);
    for (int round = 0; round < ROUNDS; round++) {
        struct blk_node *node = open_json(&f, "json:{'driver':'null-co','size':4096}", NULL);
        pthread_t threads[THREADS];
        struct asker askers[THREADS];
        pthread_barrier_t start;
        pthread_barrier_init(&start, NULL, THREADS);
        for (int i = 0; i < THREADS; i++) {
            askers[i] = (struct asker){node, &start, NULL};
            g_assert_cmpint(pthread_create(&threads[i], NULL, ask_name, &askers[i]), ==, 0);
        }
        for (int i = 0; i < THREADS; i++) {
            pthread_join(threads[i], NULL);
            g_assert_true(askers[i].name == node_filename(node));
        }
        pthread_barrier_destroy(&start);
        node_close(node, NULL);
    }
    fixture_done(&f);
}

static void test_switches(void)
{
    struct fixture f;
    GError *error = NULL;
    fixture_init(&f);
    json_t *options = json_parse_text("{'driver': 'null-co', 'read-only': 'on', 'cache': "
                                      "{'no-flush': 'on', 'writeback': 'off'}, 'force-share': "
                                      "true, 'node-name': 'n', 'discard': 'unmap', "
                                      "'detect-zeroes': 'off', 'auto-read-only': true}",
                                      "test", &error);
    g_assert_no_error(error);
    struct blk_node *node = node_open(f.graph, NULL, NULL, options, NODE_RDWR, &error);
    g_assert_no_error(error);
    g_assert_cmphex(node->flags, ==, NODE_NO_FLUSH | NODE_WRITETHROUGH | NODE_FORCE_SHARE);
    node_close(node, NULL);
    json_decref(options);
    fixture_done(&f);
}

static void test_cache_words(void)
{
    uint32_t flags = NODE_RDWR;
    g_assert_true(node_parse_cache("directsync", &flags, NULL));
    g_assert_cmphex(flags, ==, NODE_RDWR | NODE_DIRECT | NODE_WRITETHROUGH);
    g_assert_true(node_parse_cache("unsafe", &flags, NULL));
    g_assert_cmphex(flags, ==, NODE_RDWR | NODE_NO_FLUSH);
    g_assert_true(node_parse_cache("writeback", &flags, NULL));
    g_assert_cmphex(flags, ==, NODE_RDWR);
    g_autoptr(GError) error = NULL;
    g_assert_false(node_parse_cache("sometimes", &flags, &error));
    g_assert_nonnull(strstr(error->message, "sometimes"));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/name/protocol-length", test_protocol_length);
    g_test_add_func("/name/resolve", test_resolve);
    g_test_add_func("/name/find-protocol", test_find_protocol);
    g_test_add_func("/name/json", test_json_names);
    g_test_add_func("/name/bad", test_bad_names);
    g_test_add_func("/name/nesting", test_nesting);
    g_test_add_func("/name/filenames", test_filenames);
    g_test_add_func("/name/filename-from-threads", test_filename_from_threads);
    g_test_add_func("/name/switches", test_switches);
    g_test_add_func("/name/cache-words", test_cache_words);
    return g_test_run();
}
