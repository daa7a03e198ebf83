/*
 * --untrusted from the inside: each case runs in a process of its own, fences
 * itself in, and tries what an image that took it over would try.
 */
#include "img-tool/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "img-tool/tool.h"

enum { DIED_OF_TIME = 7, REFUSED = 9 };

struct scene {
    char *folder, *image, *other, *target;
};

void tool_die(const char *text)
{
    _exit(strstr(text, "processor time") ? DIED_OF_TIME : EXIT_FAILURE);
}

static void scene_init(struct scene *scene)
{
    scene->folder = g_dir_make_tmp("confine-XXXXXX", NULL);
    scene->image = g_build_filename(scene->folder, "image", NULL);
    scene->other = g_build_filename(scene->folder, "other", NULL);
    g_autofree char *out = g_build_filename(scene->folder, "out", NULL);
    scene->target = g_build_filename(out, "target", NULL);
    g_assert_true(g_file_set_contents(scene->image, "image", -1, NULL));
    g_assert_true(g_file_set_contents(scene->other, "other", -1, NULL));
    g_assert_cmpint(g_mkdir(out, 0700), ==, 0);
}

static void scene_done(struct scene *scene)
{
    g_autofree char *out = g_path_get_dirname(scene->target);
    g_unlink(scene->image);
    g_unlink(scene->other);
    g_unlink(scene->target);
    g_rmdir(out);
    g_rmdir(scene->folder);
    g_free(scene->folder);
    g_free(scene->image);
    g_free(scene->other);
    g_free(scene->target);
}

/* Runs `act` confined, in a child; returns the status that wait() tells. */
static int run_confined(const struct scene *scene, int (*act)(const struct scene *scene))
{
    pid_t child = fork();
    if (child == 0) {
        const char *reads[] = {scene->image, NULL};
        struct confinement confinement = {.reads = reads, .target = scene->target};
        _exit(confine_start(&confinement, NULL) ? act(scene) : 100);
    }
    int status = 0;
    g_assert_cmpint(waitpid(child, &status, 0), ==, child);
    return status;
}

static void expect_exit(int (*act)(const struct scene *scene), int code)
{
    struct scene scene;
    scene_init(&scene);
    int status = run_confined(&scene, act);
    g_assert_true(WIFEXITED(status));
    g_assert_cmpint(WEXITSTATUS(status), ==, code);
    scene_done(&scene);
}

static void expect_signal(int (*act)(const struct scene *scene), int number)
{
    struct scene scene;
    scene_init(&scene);
    int status = run_confined(&scene, act);
    g_assert_true(WIFSIGNALED(status));
    g_assert_cmpint(WTERMSIG(status), ==, number);
    scene_done(&scene);
}

static int read_image(const struct scene *scene)
{
    char text[5];
    int fd = open(scene->image, O_RDONLY);
    return fd >= 0 && read(fd, text, 5) == 5 && !memcmp(text, "image", 5) ? 0 : 1;
}

static int read_other(const struct scene *scene)
{
    return open(scene->other, O_RDONLY) < 0 && errno == EACCES ? REFUSED : 1;
}

static int write_image(const struct scene *scene)
{
    return open(scene->image, O_RDWR) < 0 && errno == EACCES ? REFUSED : 1;
}

static int make_target(const struct scene *scene)
{
    int fd = open(scene->target, O_RDWR | O_CREAT | O_EXCL, 0600);
    return fd >= 0 && write(fd, "x", 1) == 1 && !unlink(scene->target) ? 0 : 1;
}

static int make_elsewhere(const struct scene *scene)
{
    g_autofree char *name = g_strconcat(scene->other, "2", NULL);
    return open(name, O_RDWR | O_CREAT, 0600) < 0 && errno == EACCES ? REFUSED : 1;
}

static int open_socket(const struct scene *scene)
{
    return socket(AF_UNIX, SOCK_STREAM, 0) < 0 && errno == EPERM ? REFUSED : 1;
}

static int open_ring(const struct scene *scene)
{
    return syscall(SYS_io_uring_setup, 1, NULL) < 0 && errno == EPERM ? REFUSED : 1;
}

static int execute(const struct scene *scene)
{
    execl("/bin/true", "true", NULL);
    return 1;
}

static int make_process(const struct scene *scene)
{
    pid_t child = fork();
    if (child == 0) {
        _exit(0);
    }
    return child < 0 && errno == EPERM ? REFUSED : 1;
}

static void *do_nothing(void *arg)
{
    return arg;
}

static int make_thread(const struct scene *scene)
{
    pthread_t thread;
    void *result;
    return pthread_create(&thread, NULL, do_nothing, (void *)scene) == 0 &&
                   pthread_join(thread, &result) == 0 && result == scene
               ? 0
               : 1;
}

static int take_memory(const struct scene *scene)
{
    void *p = mmap(NULL, (size_t)2 << 30, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED && errno == ENOMEM ? REFUSED : 1;
}

/* The granted time is more than a test may take: the limit is lowered first. */
static int take_time(const struct scene *scene)
{
    struct rlimit limit;
    getrlimit(RLIMIT_CPU, &limit);
    if (limit.rlim_cur == RLIM_INFINITY) {
        return 1;
    }
    limit.rlim_cur = 1;
    setrlimit(RLIMIT_CPU, &limit);
    for (volatile int i = 0;; i++) {
    }
}

static int grant_time(const struct scene *scene)
{
    struct rlimit before, after;
    getrlimit(RLIMIT_CPU, &before);
    confine_allow_work(INT64_C(100) << 20);
    getrlimit(RLIMIT_CPU, &after);
    return after.rlim_cur == before.rlim_cur + 100 ? 0 : 1;
}

static bool has_landlock(void)
{
    return syscall(SYS_landlock_create_ruleset, NULL, 0, 1) >= 1;
}

static void test_files(void)
{
    if (!has_landlock()) {
        g_test_skip("this kernel has no Landlock");
        return;
    }
    expect_exit(read_image, 0);
    expect_exit(read_other, REFUSED);
    expect_exit(write_image, REFUSED);
    expect_exit(make_target, 0);
    expect_exit(make_elsewhere, REFUSED);
}

static void test_calls(void)
{
    expect_exit(open_socket, REFUSED);
    expect_exit(open_ring, REFUSED);
    expect_exit(make_process, REFUSED);
    expect_exit(make_thread, 0);
    expect_signal(execute, SIGSYS);
}

static void test_resources(void)
{
    expect_exit(grant_time, 0);
    if (!SANITIZED) { /* they take more memory, and the thread sanitizer holds signals back */
        expect_exit(take_memory, REFUSED);
        expect_exit(take_time, DIED_OF_TIME);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    if (SANITIZED) {
        g_test_message("sanitized builds are not confined");
    } else {
        g_test_add_func("/confine/files", test_files);
        g_test_add_func("/confine/calls", test_calls);
    }
    g_test_add_func("/confine/resources", test_resources);
    return g_test_run();
}
