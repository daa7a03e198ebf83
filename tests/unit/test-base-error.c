#include "base/error.h"

#include <errno.h>

static void test_first_error_wins(void)
{
    GError *error = NULL;
    g_assert_false(error_set(&error, EINVAL, "size %d is odd", 3));
    g_assert_false(error_set(&error, EIO, "later"));
    g_assert_error(error, CAIRN_ERROR, EINVAL);
    g_assert_cmpstr(error->message, ==, "size 3 is odd");
    g_clear_error(&error);
}

static void test_errno_text(void)
{
    GError *error = NULL;
    error_set_errno(&error, ENOENT, "could not open '%s'", "a");
    g_assert_cmpstr(error->message, ==, "could not open 'a': No such file or directory");
    g_assert_cmpint(error_errno(error), ==, ENOENT);
    g_clear_error(&error);
    g_assert_cmpint(error_errno(NULL), ==, EIO);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/error/first-error-wins", test_first_error_wins);
    g_test_add_func("/error/errno-text", test_errno_text);
    return g_test_run();
}
