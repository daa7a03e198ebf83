/*
 * Image locks: which bytes an open takes, who refuses whom, and who is named.
 * The other program is a forked child that holds an image until told to go.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libblock/drivers/file-lock.h"
#include "tests/unit/libblock-fixture.h"

enum { READ = FILE_LOCK_READ, WRITE = FILE_LOCK_WRITE, RESIZE = FILE_LOCK_RESIZE };

/* As observed of qemu-img, qemu-io and qemu-nbd 7.2 and 11.1. */
static const struct {
    uint32_t flags, uses, excludes;
} table[] = {
    {0, READ, 0},
    {NODE_RDWR, READ | WRITE, 0},
    {NODE_NO_IO, 0, 0},
    {NODE_FORCE_SHARE, READ, 0},
    {NODE_UNSHARED, READ, WRITE | RESIZE},
    {NODE_UNSHARED | NODE_RDWR, READ | WRITE | RESIZE, WRITE | RESIZE},
    {NODE_UNSHARED | NODE_NO_IO, 0, WRITE | RESIZE},
    {NODE_UNSHARED | NODE_FORCE_SHARE, READ, 0},
    {NODE_UNSHARED | NODE_NO_IO | NODE_FORCE_SHARE, 0, 0},
    {NODE_UNSHARED | NODE_RDWR | NODE_NO_LOCK, 0, 0},
};

static void test_flags(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(table); i++) {
        struct file_lock lock = file_lock_for_flags(table[i].flags);
        g_assert_cmphex(lock.uses, ==, table[i].uses);
        g_assert_cmphex(lock.excludes, ==, table[i].excludes);
    }
}

struct holder {
    pid_t pid;
    int release; /* closing it lets the child go */
};

static int open_lock(const char *path, struct file_lock lock, GError **error)
{
    struct file_lock held = {0, 0};
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (!file_lock_set(fd, path, &held, lock, true, error)) {
        close(fd);
        return -1;
    }
    return fd;
}

static struct holder hold(const char *path, struct file_lock lock)
{
    int ready[2], release[2];
    char byte;
    g_assert_cmpint(pipe(ready) | pipe(release), ==, 0);
    struct holder h = {fork(), release[1]};
    if (h.pid == 0) {
        close(release[1]);
        int fd = open_lock(path, lock, NULL);
        g_assert_cmpint(write(ready[1], fd >= 0 ? "y" : "n", 1), ==, 1);
        _exit(read(release[0], &byte, 1) != 0);
    }
    close(release[0]);
    g_assert_cmpint(read(ready[0], &byte, 1), ==, 1);
    g_assert_cmpint(byte, ==, 'y');
    close(ready[0]);
    close(ready[1]);
    return h;
}

static void let_go(struct holder *h)
{
    int status;
    close(h->release);
    g_assert_cmpint(waitpid(h->pid, &status, 0), ==, h->pid);
    g_assert_cmpint(status, ==, 0);
}

static char *temp_file(void)
{
    char *path = NULL;
    int fd = g_file_open_tmp("lock-XXXXXX", &path, NULL);
    g_assert_cmpint(ftruncate(fd, 65536), ==, 0);
    close(fd);
    return path;
}

/* Every pair of ways to open: refused exactly when one uses what the other excludes. */
static void test_pairs(void)
{
    g_autofree char *path = temp_file();
    for (size_t i = 0; i < G_N_ELEMENTS(table); i++) {
        struct file_lock first = {table[i].uses, table[i].excludes};
        struct holder h = hold(path, first);
        for (size_t j = 0; j < G_N_ELEMENTS(table); j++) {
            struct file_lock second = {table[j].uses, table[j].excludes};
            bool clash = (first.uses & second.excludes) || (second.uses & first.excludes);
            int fd = open_lock(path, second, NULL);
            g_assert_true((fd < 0) == clash);
            if (fd >= 0) {
                close(fd);
            }
        }
        let_go(&h);
    }
    g_unlink(path);
}

static void test_message(void)
{
    g_autofree char *path = temp_file();
    g_autoptr(GError) error = NULL;
    struct holder h = hold(path, (struct file_lock){READ | WRITE, WRITE | RESIZE});
    g_autofree char *pid = g_strdup_printf("(pid %d)", h.pid);
    g_autofree char *question = g_strdup_printf("Is another process using the image [%s]?", path);
    g_assert_cmpint(open_lock(path, (struct file_lock){WRITE, 0}, &error), ==, -1);
    g_assert_true(g_str_has_prefix(error->message, "Failed to get \"write\" lock"));
    g_assert_nonnull(strstr(error->message, pid));
    g_assert_nonnull(strstr(error->message, "lock"));
    g_assert_nonnull(strstr(error->message, question));
    g_clear_error(&error);
    g_assert_cmpint(open_lock(path, (struct file_lock){0, WRITE}, &error), ==, -1);
    g_assert_true(g_str_has_prefix(error->message, "Failed to get shared \"write\" lock"));
    let_go(&h);
    g_unlink(path);
}

/* A failed try leaves no bytes locked behind; a change of mind keeps what is still wanted. */
static void test_changes(void)
{
    g_autofree char *path = temp_file();
    struct file_lock mine = {0, 0};
    int fd = open(path, O_RDWR | O_CLOEXEC);
    struct holder h = hold(path, (struct file_lock){READ | WRITE, 0});
    g_assert_true(file_lock_set(fd, path, &mine, (struct file_lock){READ, 0}, true, NULL));
    g_assert_false(file_lock_set(fd, path, &mine, (struct file_lock){READ, WRITE}, true, NULL));
    g_assert_cmphex(mine.uses, ==, READ);
    g_assert_cmphex(mine.excludes, ==, 0);
    int other = open_lock(path, (struct file_lock){WRITE, RESIZE}, NULL);
    g_assert_cmpint(other, >=, 0);
    close(other);
    let_go(&h);
    g_assert_true(file_lock_set(fd, path, &mine, (struct file_lock){READ, WRITE}, true, NULL));
    g_assert_cmpint(open_lock(path, (struct file_lock){WRITE, 0}, NULL), ==, -1);
    close(fd);
    g_unlink(path);
}

static struct blk_node *open_file(struct fixture *f, const char *path, const char *json,
                                  uint32_t flags, GError **error)
{
    json_t *options = json ? json_parse_text(json, "test", NULL) : NULL;
    struct blk_node *node = node_open(f->graph, path, "file", options, flags, error);
    json_decref(options);
    return node;
}

static void test_nodes(void)
{
    struct fixture f;
    g_autofree char *path = temp_file();
    g_autoptr(GError) error = NULL;
    fixture_init(&f);
    struct holder h = hold(path, (struct file_lock){READ | WRITE | RESIZE, WRITE | RESIZE});
    g_assert_null(open_file(&f, path, NULL, NODE_RDWR, &error));
    g_assert_nonnull(strstr(error->message, "write"));
    struct blk_node *node = open_file(&f, path, NULL, 0, NULL);
    g_assert_nonnull(node);
    node_close(node, NULL);
    node = open_file(&f, path, "{'locking': 'off'}", NODE_RDWR, NULL);
    g_assert_nonnull(node);
    node_close(node, NULL);
    node = open_file(&f, path, NULL, NODE_RDWR | NODE_NO_LOCK, NULL);
    g_assert_nonnull(node);
    node_close(node, NULL);
    let_go(&h);
    node = open_file(&f, path, NULL, NODE_RDWR, NULL);
    h = hold(path, (struct file_lock){READ, RESIZE});
    g_assert_false(node_resize(node, 4096, NULL, NULL));
    g_assert_cmpint(node_size(node), ==, 65536);
    let_go(&h);
    g_assert_true(node_resize(node, 4096, NULL, NULL));
    node_close(node, NULL);
    fixture_done(&f);
    g_unlink(path);
}

/* Creating does not truncate what somebody is using. */
static void test_create(void)
{
    struct fixture f;
    g_autofree char *path = temp_file();
    fixture_init(&f);
    struct holder h = hold(path, (struct file_lock){READ | WRITE | RESIZE, WRITE | RESIZE});
    g_assert_false(image_create(f.graph, path, "file", 512, NULL, 0, NULL, NULL));
    g_autofree char *text = NULL;
    gsize length;
    g_assert_true(g_file_get_contents(path, &text, &length, NULL));
    g_assert_cmpint(length, ==, 65536);
    let_go(&h);
    g_assert_true(image_create(f.graph, path, "file", 512, NULL, 0, NULL, NULL));
    fixture_done(&f);
    g_unlink(path);
}

/* Reopening changes access and locks together, or neither. */
static void test_reopen(void)
{
    struct fixture f;
    g_autofree char *path = temp_file();
    uint8_t byte = 7;
    fixture_init(&f);
    struct blk_node *node = open_file(&f, path, NULL, NODE_UNSHARED, NULL);
    struct holder h = hold(path, (struct file_lock){READ, WRITE});
    g_assert_false(node_reopen(node, NODE_RDWR | NODE_UNSHARED, NULL));
    g_assert_cmpint(node_write(node, 0, 1, &byte, 0), ==, -EPERM);
    g_assert_cmpint(open_lock(path, (struct file_lock){WRITE, 0}, NULL), ==, -1);
    let_go(&h);
    g_assert_cmpint(open_lock(path, (struct file_lock){WRITE, 0}, NULL), ==, -1);
    g_assert_true(node_reopen(node, NODE_RDWR | NODE_UNSHARED, NULL));
    g_assert_cmpint(node_write(node, 0, 1, &byte, 0), ==, 0);
    g_assert_cmpint(open_lock(path, (struct file_lock){READ, WRITE}, NULL), ==, -1);
    g_assert_true(node_reopen(node, NODE_UNSHARED, NULL));
    g_assert_cmpint(node_write(node, 0, 1, &byte, 0), ==, -EPERM);
    int fd = open_lock(path, (struct file_lock){READ, WRITE}, NULL);
    g_assert_cmpint(fd, >=, 0);
    close(fd);
    node_close(node, NULL);
    fixture_done(&f);
    g_unlink(path);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/lock/flags", test_flags);
    g_test_add_func("/lock/pairs", test_pairs);
    g_test_add_func("/lock/message", test_message);
    g_test_add_func("/lock/changes", test_changes);
    g_test_add_func("/lock/nodes", test_nodes);
    g_test_add_func("/lock/create", test_create);
    g_test_add_func("/lock/reopen", test_reopen);
    return g_test_run();
}
