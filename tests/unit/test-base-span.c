#include "base/span.h"

#include <glib.h>
#include <string.h>

#include "base/zero.h"

enum { SIZE = 1000, MAX_IOV = 40 };

/* Cuts `buf` into iovecs at random places, some of them empty. */
static int cut(GRand *rand, char *buf, struct iovec *iov)
{
    int n = 0;
    for (int at = 0; at < SIZE; n++) {
        int len = n == MAX_IOV - 1 ? SIZE - at : g_rand_int_range(rand, 0, 60);
        iov[n].iov_base = buf + at;
        iov[n].iov_len = MIN(len, SIZE - at);
        at += iov[n].iov_len;
    }
    return n;
}

static void fill(GRand *rand, char *buf)
{
    for (int i = 0; i < SIZE; i++) {
        buf[i] = g_rand_int_range(rand, 1, 256);
    }
}

static void test_against_flat(void)
{
    GRand *rand = g_rand_new_with_seed(2);
    char buf[SIZE], model[SIZE], part[SIZE];
    struct iovec iov[MAX_IOV];
    for (int round = 0; round < 500; round++) {
        fill(rand, buf);
        memcpy(model, buf, SIZE);
        cut(rand, buf, iov);
        int at = g_rand_int_range(rand, 0, SIZE), len = g_rand_int_range(rand, 0, SIZE - at + 1);
        struct span span = span_skip(span_skip((struct span){iov, 0}, at / 2), at - at / 2);
        span_read(span, part, len);
        g_assert_cmpmem(part, len, model + at, len);
        memset(part, round, len);
        span_write(span, part, len);
        memset(model + at, round, len);
        g_assert_cmpmem(buf, SIZE, model, SIZE);
        span_fill(span, 0, len);
        memset(model + at, 0, len);
        g_assert_cmpmem(buf, SIZE, model, SIZE);
        g_assert_true(span_is_zero(span, len));
        if (len) {
            buf[at + g_rand_int_range(rand, 0, len)] = 1;
            g_assert_false(span_is_zero(span, len));
        }
    }
    g_rand_free(rand);
}

static void test_to_iov(void)
{
    char buf[SIZE] = {0};
    struct iovec iov[] = {{buf, 10}, {buf + 10, 0}, {buf + 10, 20}, {buf + 30, 70}}, out[3];
    int n;
    struct span span = span_skip((struct span){iov, 0}, 4);
    g_assert_cmpint(span_to_iov(span, 50, out, 3, &n), ==, 50);
    g_assert_cmpint(n, ==, 3);
    g_assert_true(out[0].iov_base == buf + 4 && out[0].iov_len == 6);
    g_assert_true(out[1].iov_base == buf + 10 && out[1].iov_len == 20);
    g_assert_true(out[2].iov_base == buf + 30 && out[2].iov_len == 24);
    g_assert_cmpint(span_to_iov(span, 50, out, 2, &n), ==, 26);
    g_assert_cmpint(n, ==, 2);
    g_assert_cmpint(span_to_iov(span_skip(span, 96), 0, out, 3, &n), ==, 0);
    g_assert_cmpint(n, ==, 0);
}

static void test_flat(void)
{
    char buf[100];
    struct iovec iov[] = {{buf, 10}, {buf + 50, 20}}, slot;
    struct span span = {iov, 0};
    g_assert_true(span_flat(span, 10) == buf);
    g_assert_null(span_flat(span, 11));
    g_assert_true(span_flat(span_skip(span, 10), 20) == buf + 50);
    g_assert_true(span_flat(span_skip(span, 3), 7) == buf + 3);
    g_assert_nonnull(span_flat(span_skip(span, 30), 0));
    g_assert_true(span_flat(span_of(&slot, buf, 100), 100) == buf);
}

static void check_zero(bool (*is_zero)(const void *buf, size_t len))
{
    char buf[800] = {0};
    for (int start = 0; start < 33; start++) {
        for (int len = 0; len < 700; len += len < 150 ? 1 : 37) {
            buf[start + len] = 1;
            if (start) {
                buf[start - 1] = 1;
            }
            g_assert_true(is_zero(buf + start, len));
            buf[start + len] = 0;
            for (int i = 0; i < len; i++) {
                buf[start + i] = 0x10;
                g_assert_false(is_zero(buf + start, len));
                buf[start + i] = 0;
            }
            buf[MAX(start - 1, 0)] = 0;
        }
    }
}

static void test_zero_finds_every_byte(void)
{
    check_zero(bytes_are_zero);
    check_zero(zero_portable);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/span/against-flat", test_against_flat);
    g_test_add_func("/span/to-iov", test_to_iov);
    g_test_add_func("/span/flat", test_flat);
    g_test_add_func("/span/zero-finds-every-byte", test_zero_finds_every_byte);
    return g_test_run();
}
