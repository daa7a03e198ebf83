/* How often clusters are referred to: small and large counts, marks, and the limit of memory. */
#include <glib.h>

#include "qcow2/refs.h"

enum { PLENTY = 64 * 1024 * 1024 };

static void test_small_and_large(void)
{
    struct refs *refs = refs_new(10000, PLENTY);
    g_assert_true(refs_add(refs, 5, 1, 0));
    g_assert_true(refs_add(refs, 5, 61, 0));
    g_assert_cmpuint(refs_get(refs, 5), ==, 62);
    g_assert_true(refs_add(refs, 5, 1, 0));
    g_assert_cmpuint(refs_get(refs, 5), ==, 63);
    g_assert_true(refs_add(refs, 5, 1000000, 0));
    g_assert_cmpuint(refs_get(refs, 5), ==, 1000063);
    g_assert_true(refs_add(refs, 5, UINT32_MAX, 0));
    g_assert_cmpuint(refs_get(refs, 5), ==, UINT32_MAX);
    g_assert_cmpuint(refs_get(refs, 4), ==, 0);
    g_assert_cmpuint(refs_get(refs, 6), ==, 0);
    refs_free(refs);
}

static void test_marks_stay(void)
{
    struct refs *refs = refs_new(10, PLENTY);
    g_assert_true(refs_add(refs, 9, 1, REFS_MARK_A));
    g_assert_true(refs_add(refs, 9, 100, REFS_MARK_B));
    g_assert_cmpint(refs_marks(refs, 9), ==, REFS_MARKS);
    g_assert_true(refs_set(refs, 9, 2));
    g_assert_cmpint(refs_marks(refs, 9), ==, REFS_MARKS);
    g_assert_cmpuint(refs_get(refs, 9), ==, 2);
    refs_clear_marks(refs, 9);
    g_assert_cmpint(refs_marks(refs, 9), ==, 0);
    g_assert_cmpuint(refs_get(refs, 9), ==, 2);
    refs_free(refs);
}

static void test_next(void)
{
    struct refs *refs = refs_new(INT64_C(1) << 30, PLENTY);
    static const int64_t used[] = {0, 4095, 4096, 5000, 123456789, (INT64_C(1) << 30) - 1};
    for (gsize i = 0; i < G_N_ELEMENTS(used); i++) {
        g_assert_true(refs_add(refs, used[i], 1, 0));
    }
    int64_t at = 0;
    for (gsize i = 0; i < G_N_ELEMENTS(used); i++, at++) {
        at = refs_next(refs, at);
        g_assert_cmpint(at, ==, used[i]);
    }
    g_assert_cmpint(refs_next(refs, at), ==, refs_clusters(refs));
    refs_free(refs);
}

/* Counts that lie far apart cost a page each, and no more than was allowed. */
static void test_limit(void)
{
    struct refs *refs = refs_new(INT64_C(1) << 30, 10 * 4096);
    int taken = 0;
    for (int64_t i = 0; i < 20; i++) {
        taken += refs_add(refs, i * 1000000, 1, 0);
    }
    g_assert_cmpint(taken, ==, 10);
    g_assert_true(refs_add(refs, 1, 1, 0));
    g_assert_false(refs_add(refs, 1, 1000, 0));
    g_assert_cmpuint(refs_get(refs, 1), ==, 1);
    refs_free(refs);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/qcow2/refs/small-and-large", test_small_and_large);
    g_test_add_func("/qcow2/refs/marks-stay", test_marks_stay);
    g_test_add_func("/qcow2/refs/next", test_next);
    g_test_add_func("/qcow2/refs/limit", test_limit);
    return g_test_run();
}
