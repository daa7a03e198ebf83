#include "base/bitmap.h"

#include <glib.h>

static void test_set_and_clear(void)
{
    struct bitmap *map = bitmap_try_new(200);
    bitmap_set(map, 60, 80);
    g_assert_cmpint(bitmap_count(map), ==, 80);
    g_assert_false(bitmap_test(map, 59));
    g_assert_true(bitmap_test(map, 60));
    g_assert_true(bitmap_test(map, 139));
    g_assert_false(bitmap_test(map, 140));
    bitmap_clear(map, 64, 64);
    g_assert_cmpint(bitmap_count(map), ==, 16);
    bitmap_free(map);
}

static void test_runs(void)
{
    struct bitmap *map = bitmap_try_new(1000);
    bitmap_set(map, 130, 500);
    g_assert_cmpint(bitmap_next_set(map, 0), ==, 130);
    g_assert_cmpint(bitmap_next_clear(map, 130), ==, 630);
    g_assert_cmpint(bitmap_next_set(map, 630), ==, 1000);
    g_assert_cmpint(bitmap_next_clear(map, 0), ==, 0);
    bitmap_free(map);
}

static void test_full_has_no_clear_bit(void)
{
    for (int64_t bits = 0; bits <= 130; bits++) {
        struct bitmap *map = bitmap_try_new(bits);
        g_assert_cmpint(bitmap_next_set(map, 0), ==, bits);
        bitmap_set(map, 0, bits);
        g_assert_cmpint(bitmap_count(map), ==, bits);
        g_assert_cmpint(bitmap_next_clear(map, 0), ==, bits);
        g_assert_cmpint(bitmap_next_clear(map, bits), ==, bits);
        bitmap_free(map);
    }
}

static void test_against_bytes(void)
{
    enum { BITS = 333 };
    char model[BITS] = {0};
    struct bitmap *map = bitmap_try_new(BITS);
    GRand *rand = g_rand_new_with_seed(1);
    for (int i = 0; i < 3000; i++) {
        int bit = g_rand_int_range(rand, 0, BITS),
            count = g_rand_int_range(rand, 0, BITS - bit + 1);
        bool set = g_rand_boolean(rand);
        (set ? bitmap_set : bitmap_clear)(map, bit, count);
        memset(model + bit, set, count);
        int from = g_rand_int_range(rand, 0, BITS), next = from;
        while (next < BITS && model[next] != set) {
            next++;
        }
        g_assert_cmpint((set ? bitmap_next_set : bitmap_next_clear)(map, from), ==, next);
    }
    g_rand_free(rand);
    bitmap_free(map);
}

static void test_impossible_sizes(void)
{
    g_assert_null(bitmap_try_new(-1));
    g_assert_null(bitmap_try_new(INT64_MAX));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/bitmap/set-and-clear", test_set_and_clear);
    g_test_add_func("/bitmap/runs", test_runs);
    g_test_add_func("/bitmap/full-has-no-clear-bit", test_full_has_no_clear_bit);
    g_test_add_func("/bitmap/against-bytes", test_against_bytes);
    g_test_add_func("/bitmap/impossible-sizes", test_impossible_sizes);
    return g_test_run();
}
