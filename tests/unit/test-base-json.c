#include "base/json.h"

#include <errno.h>

#include "base/error.h"
#include "base/opts.h"

/* `value`, which is freed, printed compactly with sorted keys must equal `want`. */
static void assert_dumps(json_t *value, const char *want)
{
    g_assert_nonnull(value);
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_SORT_KEYS);
    g_assert_cmpstr(text, ==, want);
    free(text);
    json_decref(value);
}

static void assert_parses(const char *text, const char *want)
{
    g_autoptr(GError) error = NULL;
    assert_dumps(json_parse_text(text, "name", &error), want);
    g_assert_no_error(error);
}

static void assert_fails(json_t *value, GError *error, const char *part)
{
    g_assert_null(value);
    g_assert_nonnull(error);
    g_assert_nonnull(strstr(error->message, part));
    g_error_free(error);
}

static void test_parse(void)
{
    assert_parses("{\"a\": [1, true, null]}", "{\"a\":[1,true,null]}");
    assert_parses("{'a': 'b'}", "{\"a\":\"b\"}");
    assert_parses("'say \"hi\"'", "\"say \\\"hi\\\"\"");
    assert_parses("'it\\'s'", "\"it's\"");
    assert_parses("\"it's \\\\\"", "\"it's \\\\\"");
}

static void test_parse_refuses(void)
{
    static const char *const bad[] = {
        "", "{", "'a", "{'a':1,}", "1 2", "'\\", "{'a'}", "{'a':1,'a':2}", "nul", "\"\\u0000\""};
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        GError *error = NULL;
        json_t *value = json_parse_text(bad[i], "name", &error);
        assert_fails(value, error, "name: bad JSON text at line 1");
    }
}

static void test_parse_limits(void)
{
    GError *error = NULL;
    g_autofree char *deep = g_strnfill(65, '[');
    json_t *value = json_parse_text(deep, "name", &error);
    assert_fails(value, error, "deeper than 64");
    error = NULL;
    g_autofree char *huge = g_strnfill(1024 * 1024 + 1, ' ');
    value = json_parse_text(huge, "name", &error);
    assert_fails(value, error, "longer than");
}

static void assert_tree(const char *text, const char *want)
{
    g_autoptr(GError) error = NULL;
    assert_dumps(json_unflatten(json_parse_text(text, "name", NULL), &error), want);
    g_assert_no_error(error);
}

static void test_unflatten(void)
{
    assert_tree("{'file.filename': 'x', 'driver': 'raw'}",
                "{\"driver\":\"raw\",\"file\":{\"filename\":\"x\"}}");
    assert_tree("{'file': {'filename': 'x'}, 'file.driver': 'file'}",
                "{\"file\":{\"driver\":\"file\",\"filename\":\"x\"}}");
    assert_tree("{'c.1.x': 2, 'c.0.x': 1}", "{\"c\":[{\"x\":1},{\"x\":2}]}");
    assert_tree("{'c.1': 2, 'c.2': 1}", "{\"c\":{\"1\":2,\"2\":1}}");
    assert_tree("{'a..b.c': 1}", "{\"a.b\":{\"c\":1}}");
    assert_tree("{'a': {}, 'b': []}", "{\"a\":{},\"b\":[]}");
}

static void test_unflatten_refuses(void)
{
    static const char *const bad[] = {
        "{'a': 1, 'a.b': 2}", "{'a.b': 2, 'a': 1}", "{'': 1}",
        "{'a.': 1}",          "{'.a': 1}",          "{'a': {'b': 1}, 'a.b': 2}"};
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        GError *error = NULL;
        json_t *value = json_unflatten(json_parse_text(bad[i], "name", NULL), &error);
        assert_fails(value, error, "option");
    }
}

static void test_unflatten_depth(void)
{
    GString *text = g_string_new("{'a");
    for (int i = 0; i < 70; i++) {
        g_string_append(text, ".a");
    }
    g_string_append(text, "': 1}");
    GError *error = NULL;
    json_t *value = json_unflatten(json_parse_text(text->str, "name", NULL), &error);
    assert_fails(value, error, "nests too deeply");
    g_string_free(text, TRUE);
}

static void test_take(void)
{
    json_t *dict = json_parse_text("{'s': 'x', 'n': 1}", "name", NULL);
    g_autoptr(GError) error = NULL;
    g_autofree char *text = json_take_string(dict, "s", &error);
    g_assert_cmpstr(text, ==, "x");
    g_assert_null(json_take_string(dict, "s", &error));
    g_assert_no_error(error);
    g_assert_false(json_reject_rest(dict, "driver 'raw'", &error));
    g_assert_cmpstr(error->message, ==, "driver 'raw' does not know the option 'n'");
    g_clear_error(&error);
    g_assert_null(json_take_string(dict, "n", &error));
    g_assert_error(error, CAIRN_ERROR, EINVAL);
    g_assert_true(json_reject_rest(dict, "x", NULL));
    json_decref(dict);
}

static void assert_opts(const char *text, const char *implied, const char *want)
{
    g_autoptr(GError) error = NULL;
    assert_dumps(opts_parse(text, implied, &error), want);
    g_assert_no_error(error);
}

static void test_opts(void)
{
    assert_opts("", NULL, "{}");
    assert_opts("a=b,c.d=e,flag", NULL, "{\"a\":\"b\",\"c.d\":\"e\",\"flag\":\"on\"}");
    assert_opts("a=x,,y,b=", NULL, "{\"a\":\"x,y\",\"b\":\"\"}");
    assert_opts("a=1,a=2", NULL, "{\"a\":\"2\"}");
    assert_opts("raw,file=x", "driver", "{\"driver\":\"raw\",\"file\":\"x\"}");
    assert_opts("a,,b,c", "name", "{\"c\":\"on\",\"name\":\"a,b\"}");
    assert_opts("a=b=c,", "name", "{\"a\":\"b=c\"}");
    assert_opts("a=,,", NULL, "{\"a\":\",\"}");
}

static void test_opts_refuse(void)
{
    static const char *const bad[] = {"=x", "a=b,=c", ",", "a,,b", "a=\xff"};
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        GError *error = NULL;
        json_t *value = opts_parse(bad[i], NULL, &error);
        assert_fails(value, error, "option");
    }
}

static void test_opts_tree(void)
{
    g_autoptr(GError) error = NULL;
    assert_dumps(opts_parse_tree("driver=qcow2,file.filename=a,,b", NULL, &error),
                 "{\"driver\":\"qcow2\",\"file\":{\"filename\":\"a,b\"}}");
    g_assert_null(opts_parse_tree("a=1,a.b=2", NULL, &error));
    g_assert_error(error, CAIRN_ERROR, EINVAL);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/json/parse", test_parse);
    g_test_add_func("/json/parse-refuses", test_parse_refuses);
    g_test_add_func("/json/parse-limits", test_parse_limits);
    g_test_add_func("/json/unflatten", test_unflatten);
    g_test_add_func("/json/unflatten-refuses", test_unflatten_refuses);
    g_test_add_func("/json/unflatten-depth", test_unflatten_depth);
    g_test_add_func("/json/take", test_take);
    g_test_add_func("/opts/parse", test_opts);
    g_test_add_func("/opts/refuse", test_opts_refuse);
    g_test_add_func("/opts/tree", test_opts_tree);
    return g_test_run();
}
