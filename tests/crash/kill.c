/*
 * Signals at random moments of cairn-img create and convert. Under the final
 * name there is afterwards what was there before, or the finished image; the
 * source is as it was; after SIGINT and SIGTERM nothing else is left behind.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/tools/rng.h"

enum { SOURCE_SIZE = 12 << 20 };

/* One command; the target is always "target". */
struct scene {
    const char *name, *command;
    const char *check; /* finishes the sentence "compare ..." over a finished target, or NULL */
};

static const struct scene scenes[] = {
    {"convert-raw", "convert -f raw -O raw source.raw target", "-f raw -F raw source.raw target"},
    {"convert-qcow2", "convert -f raw -O qcow2 source.raw target",
     "-f raw -F qcow2 source.raw target"},
    {"convert-packed", "convert -c -f raw -O qcow2 source.raw target",
     "-f raw -F qcow2 source.raw target"},
    {"create-full", "create -q -f qcow2 -o preallocation=full target 16M", NULL},
};

static struct {
    char *tool;
    char *sum; /* of the source */
    struct rng rng;
} run;

static char *file_sum(const char *path)
{
    char *data;
    gsize size;
    if (!g_file_get_contents(path, &data, &size, NULL))
        return NULL;
    char *sum = g_compute_checksum_for_data(G_CHECKSUM_SHA256, (guchar *)data, size);
    g_free(data);
    return sum;
}

static pid_t start(const char *command)
{
    g_auto(GStrv) word = g_strsplit(command, " ", -1);
    pid_t pid = fork();
    g_assert_cmpint(pid, >=, 0);
    if (pid)
        return pid;
    char *argv[16] = {run.tool};
    for (int i = 0; word[i]; i++)
        argv[i + 1] = word[i];
    int null = open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 3; fd++)
        dup2(null, fd);
    execv(argv[0], argv);
    _exit(127);
}

static int run_whole(const char *command)
{
    int status;
    pid_t pid = start(command);
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    return status;
}

/* Starts the command and sends `sig` after `us` microseconds; the status of wait(2). */
static int run_and_kill(const char *command, int sig, int64_t us)
{
    int status;
    pid_t pid = start(command);
    g_usleep((gulong)us);
    kill(pid, sig);
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    return status;
}

/* How long the undisturbed command takes. */
static int64_t duration(const struct scene *scene)
{
    int64_t begin = g_get_monotonic_time();
    g_assert_cmpint(run_whole(scene->command), ==, 0);
    g_unlink("target");
    return g_get_monotonic_time() - begin;
}

static int count_files(void)
{
    int n = 0;
    GDir *dir = g_dir_open(".", 0, NULL);
    while (g_dir_read_name(dir))
        n++;
    g_dir_close(dir);
    return n;
}

static void remove_strays(void)
{
    GDir *dir = g_dir_open(".", 0, NULL);
    for (const char *name; (name = g_dir_read_name(dir));)
        if (!g_str_equal(name, "source.raw"))
            g_unlink(name);
    g_dir_close(dir);
}

static void check_target(const struct scene *scene, const char *old_sum, bool finished)
{
    g_autofree char *sum = file_sum("target");
    if (g_strcmp0(sum, old_sum) == 0 && !finished)
        return;
    if (!sum)
        g_error("%s: succeeded without a target", scene->name);
    if (scene->check) {
        g_autofree char *compare = g_strconcat("compare -q ", scene->check, NULL);
        if (run_whole(compare))
            g_error("%s: a half-made target", scene->name);
    } else if (run_whole("map -f qcow2 target")) {
        g_error("%s: a half-made target", scene->name);
    }
}

static void check_status(const struct scene *scene, int status, int sig)
{
    bool finished = status == 0;
    bool killed = WIFSIGNALED(status) && WTERMSIG(status) == sig; /* or before it began */
    bool cleaned = WIFEXITED(status) && WEXITSTATUS(status) == 128 + sig;
    if (!finished && !killed && !cleaned)
        g_error("%s: status %#x after signal %d", scene->name, status, sig);
}

static void cut_once(const struct scene *scene, int sig, int64_t us)
{
    bool had_target = rng_percent(&run.rng, 50);
    if (had_target)
        g_assert_true(g_file_set_contents("target", "precious", -1, NULL));
    g_autofree char *old_sum = file_sum("target");
    int status = run_and_kill(scene->command, sig, us);
    g_autofree char *source_sum = file_sum("source.raw");
    g_assert_cmpstr(source_sum, ==, run.sum);
    check_status(scene, status, sig);
    check_target(scene, old_sum, status == 0);
    int files = count_files() - g_file_test("target", G_FILE_TEST_EXISTS) - 1;
    if (sig != SIGKILL && files)
        g_error("%s: signal %d after %" PRId64 " us left %d files behind", scene->name, sig, us,
                files);
    remove_strays();
}

static void test_scene(gconstpointer data)
{
    static const int signals[] = {SIGKILL, SIGINT, SIGTERM};
    const struct scene *scene = data;
    int64_t whole = duration(scene);
    int cuts = g_test_slow() ? 500 : 13;
    for (int i = 0; i < cuts; i++)
        cut_once(scene, signals[i % 3], rng_below(&run.rng, whole + whole / 8 + 1));
}

static void make_source(void)
{
    g_autofree uint64_t *bytes = g_malloc(SOURCE_SIZE);
    for (size_t i = 0; i < SOURCE_SIZE / sizeof(*bytes); i++)
        bytes[i] = i % 16 ? i : rng_next(&run.rng);
    g_assert_true(g_file_set_contents("source.raw", (char *)bytes, SOURCE_SIZE, NULL));
    run.sum = file_sum("source.raw");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_autofree char *folder = g_dir_make_tmp("cairn-kill-XXXXXX", NULL);
    run.tool = (char *)g_getenv("CAIRN_IMG");
    run.rng.state = g_getenv("SEED") ? g_ascii_strtoull(g_getenv("SEED"), NULL, 10) : 1;
    if (!run.tool || !folder || g_chdir(folder) < 0)
        g_error("CAIRN_IMG is not set, or there is no folder for temporary files");
    make_source();
    for (size_t i = 0; i < G_N_ELEMENTS(scenes); i++) {
        g_autofree char *path = g_strconcat("/kill/", scenes[i].name, NULL);
        g_test_add_data_func(path, &scenes[i], test_scene);
    }
    int status = g_test_run();
    remove_strays();
    g_unlink("source.raw");
    g_assert_cmpint(g_chdir("/"), ==, 0);
    g_rmdir(folder);
    return status;
}
