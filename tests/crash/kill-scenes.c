/*
 * Signals at random moments of every command of ../fault/scene-list.c. After
 * SIGKILL nothing runs any more, so the files must be right as they are: an
 * output absent or whole, an image that is changed in place sound, with its old
 * or its new contents, all sources as they were. SIGINT and SIGTERM end the
 * command with 130 and 143, and nothing is left behind.
 *
 * A command over such small images is over in a few milliseconds; that is why
 * the moments are also chosen by calls: tests/fault/every-nth.c kills at the
 * Nth write, flush, resize and rename.
 *
 * SEED=n chooses other moments; COUNT=n says how many SIGKILLs there are in all.
 */
#include <glib.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/fault/scene.h"
#include "tests/tools/rng.h"
#include "tests/tools/tally.h"

static struct {
    struct rng rng;
    int built;     /* scenes */
    int64_t kills; /* SIGKILLs that found the command running */
    int64_t signals;
} run;

/* How long the undisturbed command takes. */
static int64_t duration(const struct scene *scene)
{
    struct outcome outcome;
    scene_reset(scene, false);
    int64_t begin = g_get_monotonic_time();
    scene_wait(scene, scene_start(scene, NULL), &outcome);
    int64_t took = g_get_monotonic_time() - begin;
    g_assert_true(scene_succeeded(scene, outcome.status));
    outcome_clear(&outcome);
    return took;
}

/* What is wrong with the status after the signal, or NULL. */
static const char *judge_status(const struct scene *scene, int status, int sig)
{
    bool killed = WIFSIGNALED(status) && WTERMSIG(status) == sig; /* or before it was caught */
    bool cleaned = WIFEXITED(status) && WEXITSTATUS(status) == 128 + sig;
    return killed || cleaned || scene_succeeded(scene, status) ? NULL : "another status";
}

/* One run with a signal after `us` microseconds; true when the signal found it running. */
static bool cut(const struct scene *scene, int sig, int64_t us)
{
    struct outcome outcome;
    scene_reset(scene, rng_percent(&run.rng, 50));
    GPid pid = scene_start(scene, NULL);
    g_usleep((gulong)us);
    kill(pid, sig);
    scene_wait(scene, pid, &outcome);
    bool succeeded = scene_succeeded(scene, outcome.status);
    g_autofree char *why = g_strdup(judge_status(scene, outcome.status, sig));
    if (!why)
        why = scene_judge_files(scene, succeeded, sig == SIGKILL);
    if (why) {
        g_test_message("%s, signal %d after %" PRId64 " us, status %#x: %s", scene->name, sig, us,
                       outcome.status, why);
        g_test_fail();
    }
    outcome_clear(&outcome);
    return !succeeded;
}

static void test_scene(gconstpointer data)
{
    const struct scene *scene = data;
    int64_t whole = duration(scene);
    int64_t total = tally_environment("COUNT", g_test_slow() ? 2000 : 200);
    int64_t kills = (total + run.built - 1) / run.built;
    for (int64_t i = 0; i < kills; i++)
        for (int tries = 0; tries < 10; tries++)
            if (cut(scene, SIGKILL, rng_below(&run.rng, whole)) && ++run.kills)
                break;
    for (int64_t i = 0; i < kills / 2 + 1; i++)
        run.signals += cut(scene, i & 1 ? SIGINT : SIGTERM, rng_below(&run.rng, whole));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    run.rng.state = (uint64_t)tally_environment("SEED", 1);
    scenes_start(g_getenv("CAIRN_IMG"));
    for (int i = 0; i < scene_count; i++) {
        g_autofree char *path = g_strconcat("/kill-scenes/", scenes[i].name, NULL);
        run.built += scene_is_built(&scenes[i]);
        if (scene_is_built(&scenes[i]))
            g_test_add_data_func(path, &scenes[i], test_scene);
    }
    int status = g_test_run();
    scenes_stop();
    tally_print("kills", run.kills);
    tally_print("signals", run.signals);
    return status;
}
