#include "base/loop.h"

#include <fcntl.h>
#include <unistd.h>
#include <glib.h>

static void write_and_read(void *arg)
{
    char out[5] = "hello", in[5] = "";
    struct iovec w = {out, 5}, r = {in, 5};
    int fd = *(int *)arg;
    g_assert_cmpint(loop_co_pwritev(fd, &w, 1, 100, 0), ==, 5);
    g_assert_cmpint(loop_co_fdatasync(fd), ==, 0);
    g_assert_cmpint(loop_co_preadv(fd, &r, 1, 100, 0), ==, 5);
    g_assert_cmpmem(in, 5, out, 5);
}

static void test_file(void)
{
    int fd = open(g_get_tmp_dir(), O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
    for (int use = 0; use < 2; use++) {
        struct loop *loop = loop_new(NULL);
        loop_use_ring(loop, use);
        loop_call(loop, write_and_read, &fd);
        loop_free(loop);
    }
    close(fd);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/loop/file", test_file);
    return g_test_run();
}
