/*
 * Every call of every command fails once: for each scene and each kind of fault
 * the 1st, 2nd, 3rd ... call of the fault's group fails, until a run meets none
 * (tests/tools/fault-shim.c). However a run ends, the files are judged by
 * scene.c; a run that fails must say so in a line that names a file, and one that
 * succeeds must have the right result. A failed flush is never forgotten.
 *
 * GLib ends the program when a small allocation of the control path fails. That
 * is allowed, and may leave files under hidden names, but does no other harm.
 *
 * The suite takes the first calls of each and a seeded choice of the others;
 * the long form (-m slow) takes all, and SEED=n COUNT=m calls n to n+m-1 of
 * each. VERBOSE=1 shows each run; NTH=n runs one.
 */
#include <errno.h>
#include <glib.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/fault/scene.h"
#include "tests/tools/fault.h"
#include "tests/tools/rng.h"
#include "tests/tools/tally.h"

enum fault_promise {
    MAY_SUCCEED = 0,
    MUST_FAIL = 1 << 0,   /* whoever meets it must not report success */
    MAY_ABORT = 1 << 1,   /* in GLib, for lack of memory */
    MAY_BE_BARE = 1 << 2, /* the message may name no file */
    RARE = 1 << 6,        /* left to the long form */
    IS_KILLED = 1 << 5,   /* by SIGKILL, so that nothing can be tidied up */
    MAY_GUESS = 1 << 4,   /* what is not known about a file is taken for the worst */
    MAY_LITTER = 1 << 3,  /* even what was to be removed could not be */
};

struct fault {
    const char *name;
    enum fault_group group;
    int error;
    bool stays;
    enum fault_route route;
    uint32_t promise;
};

static const struct fault faults[] = {
    {"read-eio", FAULT_READ, EIO, false, FAULT_CACHED, 0},
    {"read-eio-stays", FAULT_READ, EIO, true, FAULT_CACHED, 0},
    {"read-eintr", FAULT_READ, EINTR, false, FAULT_CACHED, 0},
    {"read-eagain", FAULT_READ, EAGAIN, false, FAULT_CACHED, RARE},
    {"read-short", FAULT_READ, FAULT_SHORT, false, FAULT_CACHED, 0},
    {"ring-read-eio", FAULT_READ, EIO, false, FAULT_RING, 0},
    {"ring-read-eintr", FAULT_READ, EINTR, false, FAULT_RING, RARE},
    {"ring-read-eagain", FAULT_READ, EAGAIN, false, FAULT_RING, RARE},
    {"ring-read-short", FAULT_READ, FAULT_SHORT, false, FAULT_RING, 0},
    {"pool-read-eio", FAULT_READ, EIO, false, FAULT_POOL, 0},
    {"pool-read-eintr", FAULT_READ, EINTR, false, FAULT_POOL, RARE},
    {"pool-read-short", FAULT_READ, FAULT_SHORT, false, FAULT_POOL, 0},
    {"write-eio", FAULT_WRITE, EIO, false, FAULT_CACHED, 0},
    {"write-eio-stays", FAULT_WRITE, EIO, true, FAULT_CACHED, 0},
    {"write-enospc-stays", FAULT_WRITE, ENOSPC, true, FAULT_CACHED, 0},
    {"write-edquot", FAULT_WRITE, EDQUOT, false, FAULT_CACHED, RARE},
    {"write-eintr", FAULT_WRITE, EINTR, false, FAULT_CACHED, 0},
    {"write-eagain", FAULT_WRITE, EAGAIN, false, FAULT_CACHED, RARE},
    {"write-short", FAULT_WRITE, FAULT_SHORT, false, FAULT_CACHED, 0},
    {"ring-write-eio", FAULT_WRITE, EIO, false, FAULT_RING, 0},
    {"ring-write-short", FAULT_WRITE, FAULT_SHORT, false, FAULT_RING, RARE},
    {"flush-eio", FAULT_FLUSH, EIO, false, FAULT_CACHED, MUST_FAIL},
    {"flush-enospc-stays", FAULT_FLUSH, ENOSPC, true, FAULT_CACHED, MUST_FAIL | RARE},
    {"space-eio", FAULT_SPACE, EIO, false, FAULT_CACHED, 0},
    {"space-enospc-stays", FAULT_SPACE, ENOSPC, true, FAULT_CACHED, 0},
    {"space-eopnotsupp-stays", FAULT_SPACE, EOPNOTSUPP, true, FAULT_CACHED, 0},
    {"space-eintr", FAULT_SPACE, EINTR, false, FAULT_CACHED, 0},
    {"space-short", FAULT_SPACE, FAULT_SHORT, false, FAULT_CACHED, RARE},
    {"open-emfile", FAULT_OPEN, EMFILE, false, FAULT_CACHED, 0},
    {"open-eacces", FAULT_OPEN, EACCES, false, FAULT_CACHED, 0},
    {"open-eio-stays", FAULT_OPEN, EIO, true, FAULT_CACHED, RARE},
    {"name-eio", FAULT_NAME, EIO, false, FAULT_CACHED, 0},
    {"name-enospc", FAULT_NAME, ENOSPC, false, FAULT_CACHED, RARE},
    {"name-eperm-stays", FAULT_NAME, EPERM, true, FAULT_CACHED, MAY_LITTER},
    {"ask-eio", FAULT_ASK, EIO, false, FAULT_CACHED, MAY_GUESS},
    {"ask-einval-stays", FAULT_ASK, EINVAL, true, FAULT_CACHED, MAY_GUESS},
    {"start-eagain", FAULT_START, EAGAIN, false, FAULT_RING, 0},
    {"start-enomem-stays", FAULT_START, ENOMEM, true, FAULT_RING, 0},
    {"close-eio", FAULT_CLOSE, EIO, false, FAULT_CACHED, 0},
    {"memory", FAULT_MEMORY, ENOMEM, false, FAULT_CACHED, MAY_ABORT | MAY_BE_BARE},
    {"large", FAULT_LARGE, ENOMEM, false, FAULT_CACHED, MAY_BE_BARE},
    {"large-stays", FAULT_LARGE, ENOMEM, true, FAULT_CACHED, MAY_BE_BARE},
    {"large-ring", FAULT_LARGE, ENOMEM, false, FAULT_RING, MAY_BE_BARE | RARE},
    {"memory-ring", FAULT_MEMORY, ENOMEM, false, FAULT_RING, MAY_ABORT | MAY_BE_BARE | RARE},
    {"map", FAULT_MAP, ENOMEM, false, FAULT_RING, MAY_ABORT | MAY_BE_BARE},
    {"map-stays", FAULT_MAP, ENOMEM, true, FAULT_RING, MAY_ABORT | MAY_BE_BARE | RARE},
};

/* The end comes at a call. */
static const struct fault kills[] = {
    {"kill-write", FAULT_WRITE, FAULT_KILL, false, FAULT_CACHED, IS_KILLED},
    {"kill-space", FAULT_SPACE, FAULT_KILL, false, FAULT_CACHED, IS_KILLED},
    {"kill-flush", FAULT_FLUSH, FAULT_KILL, false, FAULT_CACHED, IS_KILLED},
    {"kill-name", FAULT_NAME, FAULT_KILL, false, FAULT_CACHED, IS_KILLED},
};

static struct {
    struct fault_page *page;
    char *environment[3];
    bool verbose;
    int64_t points, fired; /* runs; runs in which the fault was met */
} run;

struct test {
    const struct scene *scene;
    const struct fault *fault;
};

static void map_page(const char *library)
{
    int fd = memfd_create("fault", 0); /* inherited */
    g_assert_cmpint(ftruncate(fd, sizeof(*run.page)), ==, 0);
    run.page = mmap(NULL, sizeof(*run.page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    g_assert_true(run.page != MAP_FAILED);
    run.environment[0] = g_strdup_printf("LD_PRELOAD=%s", library);
    run.environment[1] = g_strdup_printf(FAULT_ENV "=%d", fd);
}

static bool has_aborted(const struct outcome *outcome)
{
    int sig = WIFSIGNALED(outcome->status) ? WTERMSIG(outcome->status) : 0;
    return (sig == SIGTRAP || sig == SIGABRT) && !strstr(outcome->errors, "Assertion");
}

/* What is wrong with how the run ended, to be freed, or NULL. */
static char *judge(const struct test *test, const struct outcome *outcome)
{
    uint32_t promise = test->fault->promise;
    bool aborted = has_aborted(outcome) && (promise & MAY_ABORT || test->scene->aborts);
    bool killed = promise & IS_KILLED && WIFSIGNALED(outcome->status);
    bool succeeded = scene_succeeded(test->scene, outcome->status);
    if (!WIFEXITED(outcome->status) && !aborted && !killed)
        return g_strdup_printf("died of signal %d", WTERMSIG(outcome->status));
    if (succeeded && run.page->fired && promise & MUST_FAIL)
        return g_strdup("the failure is forgotten");
    char *why =
        scene_judge_files(test->scene, succeeded, aborted || killed || promise & MAY_LITTER);
    if (!why && !aborted && !killed && !(succeeded && promise & MAY_GUESS))
        why = scene_judge_words(test->scene, outcome);
    if (why && g_str_equal(why, "the error names no file") && promise & MAY_BE_BARE)
        g_clear_pointer(&why, g_free);
    return why;
}

/* One run, with the Nth call failing; false when it met no fault. */
static bool inject(const struct test *test, uint32_t nth)
{
    const struct fault *fault = test->fault;
    struct outcome outcome;
    *run.page = (struct fault_page){.group = fault->group,
                                    .route = fault->route,
                                    .error = fault->error,
                                    .nth = nth,
                                    .stays = fault->stays};
    scene_reset(test->scene, nth & 1);
    scene_wait(test->scene, scene_start(test->scene, (const char *const *)run.environment),
               &outcome);
    g_autofree char *why = judge(test, &outcome);
    if (why || run.verbose)
        g_test_message("%s, %s, call %u of %u: status %#x: %s%s%s", test->scene->name, fault->name,
                       nth, run.page->count, outcome.status, why ? why : "", why ? " | " : "",
                       outcome.errors);
    if (why)
        g_test_fail();
    outcome_clear(&outcome);
    bool fired = run.page->fired != 0;
    run.points += nth != 0;
    run.fired += fired;
    return fired;
}

/* Calls to fail: all in the long form, else the first few and a choice of the rest. */
static void test_faults(gconstpointer data)
{
    const struct test *test = data;
    struct rng rng = {42};
    int few = test->fault->group == FAULT_MEMORY ? 4 : 2;
    if (g_getenv("NTH")) {
        inject(test, (uint32_t)atoi(g_getenv("NTH")));
        return;
    }
    if (g_getenv("SEED")) {
        uint32_t first = (uint32_t)tally_environment("SEED", 1);
        uint32_t last = first + (uint32_t)tally_environment("COUNT", 1);
        for (uint32_t nth = first; nth < last && inject(test, nth);)
            nth++;
        return;
    }
    inject(test, 0);
    uint32_t total = run.page->count;
    uint32_t step = g_test_slow() ? 1 : 1 + total / (uint32_t)(2 * few);
    for (uint32_t nth = 1; inject(test, nth);)
        nth += nth < (uint32_t)few ? 1 : 1 + (uint32_t)rng_below(&rng, 2 * step - 1);
}

static void add_test(const struct scene *scene, const struct fault *fault)
{
    struct test *test = g_new(struct test, 1);
    *test = (struct test){scene, fault};
    g_autofree char *path = g_strdup_printf("/every-nth/%s/%s", scene->name, fault->name);
    bool due = !(fault->promise & RARE) || g_test_slow() || g_getenv("SEED");
    if (due && scene_is_built(scene))
        g_test_add_data_func_full(path, test, test_faults, g_free);
    else
        g_free(test);
}

static void add_tests(void)
{
    for (int i = 0; i < scene_count; i++) {
        for (size_t k = 0; k < G_N_ELEMENTS(faults); k++)
            add_test(&scenes[i], &faults[k]);
        for (size_t k = 0; k < G_N_ELEMENTS(kills); k++)
            add_test(&scenes[i], &kills[k]);
    }
}

static void test_nothing(void)
{
    g_test_skip("sanitizers want to be the first library, and count memory themselves");
}

/* As g_test_init(), with -k: a point that fails does not keep the others from being looked at. */
static void init_tests(int argc, char **argv)
{
    char **words = g_new0(char *, argc + 2);
    for (int i = 0; i < argc; i++)
        words[i] = argv[i];
    words[argc++] = (char *)"-k";
    g_test_init(&argc, &words, NULL);
    g_free(words);
}

int main(int argc, char **argv)
{
    init_tests(argc, argv);
    const char *library = g_getenv("CAIRN_FAULT_SHIM");
    const char *sanitizers = g_getenv("CAIRN_SANITIZERS");
    run.verbose = g_getenv("VERBOSE");
    if (!library || (sanitizers && !g_str_equal(sanitizers, "no"))) {
        g_test_add_func("/every-nth/all", test_nothing);
        return g_test_run();
    }
    map_page(library);
    scenes_start(g_getenv("CAIRN_IMG"));
    add_tests();
    int status = g_test_run();
    scenes_stop();
    tally_print("fault-points", run.points);
    tally_print("faults-met", run.fired);
    return status;
}
