#include "base/co.h"

#include <glib.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/co-shadow.h"

static void count_to_three(void *arg)
{
    for (int *n = arg; *n < 3; ++*n) {
        co_yield();
    }
}

static void test_yields_and_ends(void)
{
    int n = 0;
    struct co *co = co_new(count_to_three, &n);
    for (int i = 0; i < 3; i++) {
        g_assert_true(co_resume(co));
        g_assert_cmpint(n, ==, i);
    }
    g_assert_false(co_resume(co));
    g_assert_cmpint(n, ==, 3);
}

static void note_self(void *arg)
{
    struct co **self = arg;
    *self = co_self();
    co_yield();
    g_assert_true(co_self() == *self);
}

static void test_self(void)
{
    struct co *self = NULL;
    g_assert_null(co_self());
    struct co *co = co_new(note_self, &self);
    co_resume(co);
    g_assert_true(self == co);
    g_assert_null(co_self());
    co_resume(co);
    g_assert_null(co_self());
}

static void nest(void *arg)
{
    int *depth = arg;
    struct co *outer = co_self();
    if (--*depth) {
        struct co *inner = co_new(nest, depth);
        g_assert_true(co_resume(inner));
        g_assert_true(co_self() == outer);
        g_assert_false(co_resume(inner));
    }
    g_assert_true(co_self() == outer);
    co_yield();
}

static void test_nesting(void)
{
    int depth = 20;
    struct co *co = co_new(nest, &depth);
    g_assert_true(co_resume(co));
    g_assert_cmpint(depth, ==, 0);
    g_assert_false(co_resume(co));
}

static void nothing(void *arg)
{
    ++*(int *)arg;
}

static void test_ten_thousand_in_turn(void)
{
    int runs = 0;
    for (int i = 0; i < 10000; i++) {
        g_assert_false(co_resume(co_new(nothing, &runs)));
    }
    g_assert_cmpint(runs, ==, 10000);
    co_thread_done();
}

static void fill_stack(void *arg)
{
    volatile char local[4000];
    memset((char *)local, *(int *)arg, sizeof(local));
    co_yield();
    for (size_t i = 0; i < sizeof(local); i++) {
        g_assert_cmpint(local[i], ==, *(int *)arg);
    }
}

static void test_stacks_are_apart(void)
{
    struct co *cos[200];
    int ids[200];
    for (int i = 0; i < 200; i++) {
        ids[i] = i % 100;
        cos[i] = co_new(fill_stack, &ids[i]);
        g_assert_true(co_resume(cos[i]));
    }
    for (int i = 199; i >= 0; i--) {
        g_assert_false(co_resume(cos[i]));
    }
    co_thread_done();
}

static int64_t address_space(void)
{
    g_autofree char *text = NULL;
    g_assert_true(g_file_get_contents("/proc/self/statm", &text, NULL, NULL));
    return g_ascii_strtoll(text, NULL, 10) * sysconf(_SC_PAGESIZE);
}

static void spawn_many(int count)
{
    int ids = 1;
    g_autofree struct co **cos = g_new(struct co *, count);
    for (int i = 0; i < count; i++) {
        cos[i] = co_new(fill_stack, &ids);
        co_resume(cos[i]);
    }
    for (int i = 0; i < count; i++) {
        co_resume(cos[i]);
    }
}

static void test_pool_is_small(void)
{
    if (CO_CHECKED) {
        g_test_skip("a sanitizer needs the address space");
        return;
    }
    spawn_many(10);
    int64_t before = address_space();
    spawn_many(1000);
    g_assert_cmpint(address_space() - before, <=, 64 * 600 * 1024);
    co_thread_done();
    g_assert_cmpint(address_space() - before, <=, 1 << 20);
}

static void test_no_memory(void)
{
    if (CO_CHECKED) {
        g_test_skip("a sanitizer needs the address space");
        return;
    }
    if (!g_test_subprocess()) {
        g_test_trap_subprocess(NULL, 0, 0);
        g_test_trap_assert_passed();
        return;
    }
    struct rlimit none = {1 << 20, 1 << 20};
    int n = 0;
    co_thread_done();
    g_assert_cmpint(setrlimit(RLIMIT_AS, &none), ==, 0);
    g_assert_null(co_new(nothing, &n));
}

static int use_stack(volatile char *above, int frames)
{
    volatile char local[1024];
    local[0] = above[0];
    return frames ? use_stack(local, frames - 1) + local[0] : 0;
}

static void overflow_start(void *arg)
{
    char zero[1] = {0};
    use_stack(zero, 400);
}

static void test_guard_page(void)
{
    if (g_test_subprocess()) {
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        struct co *victim = co_new(overflow_start, NULL);
        for (int i = 0; i < 20; i++) {
            co_new(overflow_start, NULL); /* mapped below the victim */
        }
        co_resume(victim);
        _exit(0);
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_failed();
}

static gpointer run_in_thread(gpointer arg)
{
    test_nesting();
    test_ten_thousand_in_turn();
    return NULL;
}

static void test_threads(void)
{
    GThread *threads[4];
    for (int i = 0; i < 4; i++) {
        threads[i] = g_thread_new("co", run_in_thread, NULL);
    }
    for (int i = 0; i < 4; i++) {
        g_thread_join(threads[i]);
    }
}

static void add_doubles(void *arg)
{
    double sum = 0.5;
    for (int i = 1; i <= 100; i++) {
        co_yield();
        sum += i * 1.5;
    }
    *(double *)arg = sum;
}

static void test_floating_point(void)
{
    double a = 0, b = 0;
    struct co *x = co_new(add_doubles, &a);
    struct co *y = co_new(add_doubles, &b);
    bool more = true;
    while (more) {
        more = co_resume(x);
        g_assert_true(co_resume(y) == more);
    }
    g_assert_true(a == 0.5 + 5050 * 1.5 && b == a);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/co/yields-and-ends", test_yields_and_ends);
    g_test_add_func("/co/self", test_self);
    g_test_add_func("/co/nesting", test_nesting);
    g_test_add_func("/co/ten-thousand-in-turn", test_ten_thousand_in_turn);
    g_test_add_func("/co/stacks-are-apart", test_stacks_are_apart);
    g_test_add_func("/co/pool-is-small", test_pool_is_small);
    g_test_add_func("/co/no-memory", test_no_memory);
    g_test_add_func("/co/guard-page", test_guard_page);
    g_test_add_func("/co/threads", test_threads);
    g_test_add_func("/co/floating-point", test_floating_point);
    return g_test_run();
}
