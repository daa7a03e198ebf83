#include "base/trace.h"

static void trace_both(void)
{
    trace_enable("demo_*");
    for (int i = 0; i < 2; i++) {
        TRACE(demo_point, "value %d", i);
        TRACE(other_point, "value %d", i);
    }
}

static void test_enabled_points_print(void)
{
    if (g_test_subprocess()) {
        trace_both();
        return;
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_passed();
    g_test_trap_assert_stderr("demo_point value 0\ndemo_point value 1\n");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/trace/enabled-points-print", test_enabled_points_print);
    return g_test_run();
}
