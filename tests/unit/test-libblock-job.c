/*
 * Jobs: result and errors, progress from another thread, cancel, speed limit.
 */
#include "libblock/job.h"

#include <errno.h>

#include "tests/unit/libblock-fixture.h"

static bool co_count(struct job *job, void *arg, GError **error)
{
    int *steps = arg;
    job_add_total(job, *steps);
    for (int i = 0; i < *steps; i++) {
        if (job_is_cancelled(job)) {
            return error_set(error, EIO, "stopped");
        }
        loop_co_relax();
        job_add_done(job, 1);
    }
    return true;
}

static bool co_fail(struct job *job, void *arg, GError **error)
{
    return error_set(error, ENOSPC, "no room");
}

static bool co_throttled(struct job *job, void *arg, GError **error)
{
    int *megabytes = arg;
    for (int i = 0; i < *megabytes && !job_is_cancelled(job); i++) {
        job_co_throttle(job, 1 << 20);
        job_add_done(job, 1 << 20);
    }
    return !job_is_cancelled(job) || error_set(error, EINTR, "stopped");
}

static const struct job_type count_type = {.name = "count", .co_run = co_count};
static const struct job_type fail_type = {.name = "fail", .co_run = co_fail};
static const struct job_type throttled_type = {.name = "throttled", .co_run = co_throttled};

static void count_tick(struct job *job, void *user)
{
    (*(int *)user)++;
}

static void test_runs(void)
{
    struct fixture f;
    int steps = 10, ticks = 0;
    fixture_init(&f);
    struct job *job = job_new(&count_type, &steps);
    g_assert_true(job_run(job, f.graph, count_tick, &ticks, NULL));
    g_assert_cmpint(job_progress(job).done, ==, 10);
    g_assert_cmpint(job_progress(job).total, ==, 10);
    g_assert_cmpint(ticks, >=, 1);
    job_free(job);
    fixture_done(&f);
}

static void test_fails(void)
{
    struct fixture f;
    g_autoptr(GError) error = NULL;
    fixture_init(&f);
    struct job *job = job_new(&fail_type, NULL);
    g_assert_false(job_run(job, f.graph, NULL, NULL, &error));
    g_assert_cmpstr(error->message, ==, "no room");
    job_free(job);
    fixture_done(&f);
}

static gpointer cancel_thread(gpointer arg)
{
    while (job_progress(arg).done < 1000) {
        g_thread_yield();
    }
    job_cancel(arg);
    return NULL;
}

static void test_cancels(void)
{
    struct fixture f;
    int steps = INT32_MAX;
    g_autoptr(GError) error = NULL;
    fixture_init(&f);
    struct job *job = job_new(&count_type, &steps);
    GThread *thread = g_thread_new("cancel", cancel_thread, job);
    g_assert_false(job_run(job, f.graph, NULL, NULL, &error));
    g_assert_cmpint(error_errno(error), ==, ECANCELED);
    g_thread_join(thread);
    job_free(job);
    fixture_done(&f);
}

/* The first piece is free, the others are paid for in time; ticks go on meanwhile. */
static void test_throttles(void)
{
    struct fixture f;
    int megabytes = 4, ticks = 0;
    fixture_init(&f);
    struct job *job = job_new(&throttled_type, &megabytes);
    job_set_speed(job, 10 << 20);
    int64_t start = g_get_monotonic_time();
    g_assert_true(job_run(job, f.graph, count_tick, &ticks, NULL));
    g_assert_cmpint(g_get_monotonic_time() - start, >=, 290000);
    g_assert_cmpint(ticks, >=, 3);
    job_free(job);
    fixture_done(&f);
}

static void cancel_tick(struct job *job, void *user)
{
    job_cancel(job);
}

/* A cancelled job does not sleep its debt out. */
static void test_cancel_wakes(void)
{
    struct fixture f;
    int megabytes = 100;
    g_autoptr(GError) error = NULL;
    fixture_init(&f);
    struct job *job = job_new(&throttled_type, &megabytes);
    job_set_speed(job, 1 << 10);
    int64_t start = g_get_monotonic_time();
    g_assert_false(job_run(job, f.graph, cancel_tick, NULL, &error));
    g_assert_cmpint(error_errno(error), ==, ECANCELED);
    g_assert_cmpint(g_get_monotonic_time() - start, <, 30 * G_USEC_PER_SEC);
    job_free(job);
    fixture_done(&f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/job/runs", test_runs);
    g_test_add_func("/job/fails", test_fails);
    g_test_add_func("/job/cancels", test_cancels);
    g_test_add_func("/job/throttles", test_throttles);
    g_test_add_func("/job/cancel-wakes", test_cancel_wakes);
    return g_test_run();
}
