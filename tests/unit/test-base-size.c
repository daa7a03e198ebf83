#include "base/size.h"

#include <errno.h>

#include "base/error.h"

static void assert_size(const char *text, int64_t want)
{
    g_autoptr(GError) error = NULL;
    int64_t got = -1;
    g_assert_true(size_parse(text, "size", &got, &error));
    g_assert_no_error(error);
    g_assert_cmpint(got, ==, want);
}

static void assert_refused(const char *text, int code)
{
    g_autoptr(GError) error = NULL;
    int64_t got = -1;
    g_assert_false(size_parse(text, "image size", &got, &error));
    g_assert_error(error, CAIRN_ERROR, code);
    g_assert_cmpint(got, ==, -1);
    g_assert_true(g_str_has_prefix(error->message, "image size: '"));
}

static void test_suffixes(void)
{
    assert_size("0", 0);
    assert_size("512", 512);
    assert_size("512b", 512);
    assert_size("65536K", 65536 * 1024);
    assert_size("10M", 10 << 20);
    assert_size("5g", INT64_C(5) << 30);
    assert_size("1T", INT64_C(1) << 40);
    assert_size("1P", INT64_C(1) << 50);
    assert_size("7E", INT64_C(7) << 60);
    assert_size("0x200", 512);
}

static void test_fractions(void)
{
    assert_size("1.5G", INT64_C(3) << 29);
    assert_size("0.5k", 512);
    assert_size("1.1k", 1126);
    assert_size("1.0000000000000000000000000001M", 1 << 20);
}

static void test_limits(void)
{
    assert_size("9223372036854775807", INT64_MAX);
    assert_refused("9223372036854775808", ERANGE);
    assert_refused("8E", ERANGE);
    assert_refused("99999999999999999999999999", ERANGE);
}

static void test_refused(void)
{
    static const char *const bad[] = {"",   "-1",  "k",   "1.5", "1.5b", "1kk",    "1 k", " 1",
                                      "1q", "1e3", "1.k", ".5k", "0x",   "0x1.8k", "+5",  "1k "};
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        assert_refused(bad[i], EINVAL);
    }
}

static void test_format(void)
{
    static const struct {
        int64_t bytes;
        const char *text;
    } rows[] = {{0, "0 B"},
                {999, "999 B"},
                {1000, "0.977 KiB"},
                {196616, "192 KiB"},
                {INT64_C(3) << 29, "1.5 GiB"},
                {1023488, "1000 KiB"},
                {INT64_MAX, "8 EiB"}};
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *text = size_format(rows[i].bytes);
        g_assert_cmpstr(text, ==, rows[i].text);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/size/suffixes", test_suffixes);
    g_test_add_func("/size/fractions", test_fractions);
    g_test_add_func("/size/limits", test_limits);
    g_test_add_func("/size/refused", test_refused);
    g_test_add_func("/size/format", test_format);
    return g_test_run();
}
