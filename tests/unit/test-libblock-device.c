/*
 * host_device on loop devices with sectors of 512 and 4096 bytes, through the
 * page cache and with O_DIRECT. Skipped, aloud, where loop devices cannot be had.
 */
#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/libblock-fixture.h"

enum { SIZE = 1 << 20, STEPS = 60 };

struct setting {
    const char *name, *sector;
    uint32_t flags;
};

struct bench {
    char *file, *device;
};

/* The output of a command, or NULL when it failed. */
static char *run(const char *a, const char *b, const char *c, const char *d, const char *e)
{
    const char *argv[] = {"losetup", a, b, c, d, e, NULL};
    char *out = NULL;
    int status = -1;
    if (!g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, &out, NULL,
                      &status, NULL) ||
        status) {
        g_clear_pointer(&out, g_free);
    }
    return out ? g_strchomp(out) : NULL;
}

static bool bench_open(struct bench *b, const char *sector)
{
    int fd = g_file_open_tmp("device-XXXXXX", &b->file, NULL);
    g_assert_cmpint(ftruncate(fd, SIZE), ==, 0);
    close(fd);
    b->device = run("--find", "--show", "-b", sector, b->file);
    return b->device;
}

static void bench_close(struct bench *b)
{
    if (b->device) {
        g_free(run("-d", b->device, NULL, NULL, NULL));
    }
    g_unlink(b->file);
    g_free(b->file);
    g_free(b->device);
}

static void step(struct blk_node *node, GRand *rand, uint8_t *model)
{
    static uint8_t buf[SIZE];
    int64_t offset = g_rand_int_range(rand, 0, SIZE);
    int64_t length = g_rand_int_range(rand, 1, MIN(SIZE - offset, 50000) + 1);
    switch (g_rand_int_range(rand, 0, 4)) {
    case 0:
        memset(model + offset, 0, length);
        g_assert_cmpint(node_zero(node, offset, length, REQ_MAY_UNMAP), ==, 0);
        break;
    case 1:
        g_assert_cmpint(node_read(node, offset, length, buf), ==, 0);
        g_assert_true(!memcmp(buf, model + offset, length));
        break;
    default:
        memset(buf, g_rand_int_range(rand, 1, 256), length);
        memcpy(model + offset, buf, length);
        g_assert_cmpint(node_write(node, offset, length, buf, 0), ==, 0);
        break;
    }
}

static void check_node(struct blk_node *node)
{
    uint8_t *model = g_malloc0(SIZE), *got = g_malloc(SIZE);
    GRand *rand = g_rand_new_with_seed(3);
    g_assert_cmpstr(node_driver_name(node), ==, "host_device");
    g_assert_cmpint(node_size(node), ==, SIZE);
    for (int i = 0; i < STEPS; i++) {
        step(node, rand, model);
    }
    g_assert_cmpint(node_flush(node), ==, 0);
    g_assert_cmpint(node_read(node, 0, SIZE, got), ==, 0);
    g_assert_true(!memcmp(got, model, SIZE));
    g_assert_cmpint(node_write(node, SIZE - 1, 2, "ab", 0), ==, -EIO);
    g_assert_cmpint(node_discard(node, 0, SIZE), ==, 0);
    g_rand_free(rand);
    g_free(model);
    g_free(got);
}

static void test_device(gconstpointer data)
{
    const struct setting *setting = data;
    struct bench b;
    struct fixture f;
    g_autoptr(GError) error = NULL;
    fixture_init(&f);
    if (bench_open(&b, setting->sector)) {
        g_autofree char *name = g_strconcat("host_device:", b.device, NULL);
        struct blk_node *node =
            node_open(f.graph, name, "host_device", NULL, NODE_RDWR | setting->flags, &error);
        g_assert_no_error(error);
        check_node(node);
        g_assert_true(node_close(node, NULL));
        g_assert_true(image_create(f.graph, b.device, "host_device", SIZE, NULL, 0, NULL, NULL));
        g_assert_false(
            image_create(f.graph, b.device, "host_device", SIZE + 1, NULL, 0, NULL, &error));
        g_assert_cmpint(error_errno(error), ==, ENOSPC);
    } else {
        g_test_skip("no loop device: losetup needs root and a kernel that grants one");
    }
    bench_close(&b);
    fixture_done(&f);
}

static void test_refuses_files(void)
{
    struct fixture f;
    g_autoptr(GError) error = NULL;
    fixture_init(&f);
    g_assert_null(node_open(f.graph, "/etc/passwd", "host_device", NULL, 0, &error));
    g_assert_nonnull(strstr(error->message, "not a block device"));
    fixture_done(&f);
}

static const struct setting settings[] = {
    {"/device/512", "512", 0},
    {"/device/4096", "4096", 0},
    {"/device/512-direct", "512", NODE_DIRECT},
    {"/device/4096-direct", "4096", NODE_DIRECT},
    {"/device/4096-direct-server", "4096", NODE_DIRECT | NODE_SERVER},
};

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(settings); i++) {
        g_test_add_data_func(settings[i].name, &settings[i], test_device);
    }
    g_test_add_func("/device/refuses-files", test_refuses_files);
    return g_test_run();
}
