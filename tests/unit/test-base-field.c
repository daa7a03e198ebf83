#include "base/field.h"

#include <errno.h>

#include "base/error.h"
#include "base/json.h"
#include "base/words.h"

struct thing {
    bool fast;
    int count;
    uint32_t small;
    uint64_t big;
    int64_t offset, size;
    char *name;
    GPtrArray *words;
    json_t *extra;
    int mode;
};

static const char *const mode_names[] = {"auto", "deflate", "zstd", NULL};

static const struct field fields[] = {
    FIELD(struct thing, fast, "fast", "on", "skip the slow part"),
    FIELD(struct thing, count, "count", "3", "how many"),
    FIELD(struct thing, small, "small", NULL, "32 bits"),
    FIELD(struct thing, big, "big", NULL, "64 bits"),
    FIELD(struct thing, offset, "offset", NULL, "where"),
    FIELD_SIZE(struct thing, size, "size", "64k", "bytes"),
    FIELD(struct thing, name, "name", NULL, "what to call it"),
    FIELD(struct thing, words, "word", NULL, "several"),
    FIELD(struct thing, extra, "extra", NULL, "anything"),
    FIELD_ENUM(struct thing, mode, "mode", "deflate", mode_names, "how"),
    {0}};

static bool set(struct thing *thing, const char *name, const char *text, GError **error)
{
    return field_set_text(field_find(fields, name), thing, text, "driver 'x'", error);
}

static void assert_refused(const char *name, const char *text, const char *message)
{
    struct thing thing = {0};
    g_autoptr(GError) error = NULL;
    g_assert_false(set(&thing, name, text, &error));
    g_assert_cmpstr(error->message, ==, message);
    fields_clear(fields, &thing);
}

static void test_defaults_and_clear(void)
{
    struct thing thing = {0}, zero = {0};
    fields_init(fields, &thing);
    g_assert_true(thing.fast);
    g_assert_cmpint(thing.count, ==, 3);
    g_assert_cmpint(thing.size, ==, 65536);
    g_assert_cmpint(thing.mode, ==, 1);
    g_assert_null(thing.name);
    g_assert_true(set(&thing, "name", "a", NULL) && set(&thing, "word", "b", NULL));
    fields_clear(fields, &thing);
    g_assert_cmpmem(&thing, sizeof(thing), &zero, sizeof(zero));
}

static void test_text(void)
{
    struct thing t = {0};
    g_assert_true(set(&t, "fast", "y", NULL) && t.fast);
    g_assert_true(set(&t, "fast", "off", NULL) && !t.fast);
    g_assert_true(set(&t, "count", "-2147483648", NULL) && t.count == INT_MIN);
    g_assert_true(set(&t, "small", "0xffffffff", NULL) && t.small == UINT32_MAX);
    g_assert_true(set(&t, "big", "18446744073709551615", NULL) && t.big == UINT64_MAX);
    g_assert_true(set(&t, "offset", "-9223372036854775808", NULL) && t.offset == INT64_MIN);
    g_assert_true(set(&t, "mode", "zstd", NULL) && t.mode == 2);
    g_assert_true(set(&t, "name", "a", NULL) && set(&t, "name", "b", NULL));
    g_assert_cmpstr(t.name, ==, "b");
    g_assert_true(set(&t, "word", "a", NULL) && set(&t, "word", "b", NULL));
    g_assert_cmpint(t.words->len, ==, 2);
    fields_clear(fields, &t);
}

static void test_text_refused(void)
{
    assert_refused("fast", "maybe", "driver 'x': option 'fast' wants on or off, not 'maybe'");
    assert_refused("mode", "zstf",
                   "driver 'x': option 'mode' wants one of auto, deflate, zstd, not 'zstf'; "
                   "did you mean 'zstd'?");
    assert_refused("mode", "brotli",
                   "driver 'x': option 'mode' wants one of auto, deflate, zstd, not 'brotli'");
    assert_refused("size", "-1",
                   "driver 'x': option 'size': '-1' is not a size; use bytes or a number with k, "
                   "M, G, T, P or E");
    static const struct {
        const char *name, *text;
    } bad[] = {{"count", "2147483648"},
               {"count", "-2147483649"},
               {"small", "-1"},
               {"small", "4294967296"},
               {"big", "18446744073709551616"},
               {"big", "-1"},
               {"offset", "9223372036854775808"},
               {"offset", ""},
               {"offset", "-"},
               {"offset", "0x"},
               {"offset", "0x0x1"},
               {"offset", "1a"},
               {"offset", "+1"},
               {"offset", " 1"}};
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        struct thing thing = {0};
        g_autoptr(GError) error = NULL;
        g_assert_false(set(&thing, bad[i].name, bad[i].text, &error));
        g_assert_error(error, CAIRN_ERROR, EINVAL);
    }
}

static void test_json(void)
{
    struct thing t = {0};
    json_t *dict = json_parse_text("{'fast': true, 'count': -5, 'size': '1k', 'mode': 'auto', "
                                   "'word': ['a', 'b'], 'extra': {'k': 1}, 'other': 1}",
                                   "test", NULL);
    g_assert_true(fields_take_json(fields, &t, dict, "thing", NULL));
    g_assert_true(t.fast);
    g_assert_cmpint(t.count, ==, -5);
    g_assert_cmpint(t.size, ==, 1024);
    g_assert_cmpint(t.words->len, ==, 2);
    g_assert_cmpint(json_object_size(dict), ==, 1);
    json_decref(dict);
    dict = fields_to_json(fields, &t);
    char *text = json_dumps(dict, JSON_COMPACT | JSON_SORT_KEYS);
    g_assert_cmpstr(text, ==,
                    "{\"big\":0,\"count\":-5,\"extra\":{\"k\":1},\"fast\":true,\"mode\":\"auto\","
                    "\"offset\":0,\"size\":1024,\"small\":0,\"word\":[\"a\",\"b\"]}");
    free(text);
    json_decref(dict);
    fields_clear(fields, &t);
}

static void test_json_refused(void)
{
    static const char *const bad[] = {
        "{'fast': 1}",    "{'name': 5}",           "{'word': [1]}",  "{'mode': 1}",
        "{'size': -1}",   "{'small': 4294967296}", "{'count': 1.5}", "{'count': {}}",
        "{'name': null}", "{'count': 99999999999}"};
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        struct thing t = {0};
        g_autoptr(GError) error = NULL;
        json_t *dict = json_parse_text(bad[i], "test", NULL);
        g_assert_false(fields_take_json(fields, &t, dict, "thing", &error));
        g_assert_true(g_str_has_prefix(error->message, "thing: option '"));
        json_decref(dict);
        fields_clear(fields, &t);
    }
}

static void test_help(void)
{
    g_autoptr(GString) out = g_string_new(NULL);
    fields_print_help(fields, out);
    g_assert_nonnull(strstr(out->str, "  size=<size>              - bytes (default: 64k)\n"));
    g_assert_nonnull(strstr(out->str, "mode=<auto|deflate|zstd>"));
    g_string_truncate(out, 0);
    fields_print_man(fields, out);
    g_assert_nonnull(strstr(out->str, ".It Cm \"\\&size\" Ns = Ns Ar \"\\&size\"\nBytes.\n"));
}

static void test_nearest(void)
{
    static const char *const names[] = {"output", "options", "quiet", NULL};
    g_assert_cmpstr(words_nearest(names, "ouptut"), ==, "output");
    g_assert_cmpstr(words_nearest(names, "option"), ==, "options");
    g_assert_cmpstr(words_nearest(names, "quit"), ==, "quiet");
    g_assert_null(words_nearest(names, "jobs"));
    g_autofree char *longest = g_strnfill(200, 'o');
    g_assert_null(words_nearest(names, longest));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/field/defaults-and-clear", test_defaults_and_clear);
    g_test_add_func("/field/text", test_text);
    g_test_add_func("/field/text-refused", test_text_refused);
    g_test_add_func("/field/json", test_json);
    g_test_add_func("/field/json-refused", test_json_refused);
    g_test_add_func("/field/help", test_help);
    g_test_add_func("/words/nearest", test_nearest);
    return g_test_run();
}
