#include "base/pool.h"

#include <errno.h>
#include <glib.h>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/loop.h"
#include "base/co-shadow.h"
#include "base/pool-impl.h"

struct meeting {
    pthread_barrier_t barrier;
    int running;
};

static int64_t meet(void *arg)
{
    struct meeting *meeting = arg;
    pthread_barrier_wait(&meeting->barrier);
    return -EILSEQ;
}

static void offload_meet(void *arg)
{
    struct meeting *meeting = arg;
    g_assert_cmpint(co_offload(meet, meeting), ==, -EILSEQ);
    meeting->running--;
}

/* `count` jobs that end only when all of them run. */
static void hold_meeting(struct loop *loop, int count)
{
    struct meeting meeting = {.running = count};
    pthread_barrier_init(&meeting.barrier, NULL, count);
    for (int i = 0; i < count; i++) {
        loop_spawn(loop, offload_meet, &meeting);
    }
    while (meeting.running) {
        loop_turn(loop, true);
    }
    pthread_barrier_destroy(&meeting.barrier);
}

static void test_jobs_run_in_parallel(void)
{
    struct loop *loop = loop_new(NULL);
    hold_meeting(loop, 1);
    while (!pool_idle_count(loop_pool(loop))) {
        sched_yield();
    }
    hold_meeting(loop, 4);
    g_assert_cmpint(pool_thread_count(loop_pool(loop)), ==, 4);
    loop_free(loop);
}

struct crowd {
    int inside, most; /* atomic */
    int done;
    pthread_t loop_thread;
};

static int64_t crowd_job(void *arg)
{
    struct crowd *crowd = arg;
    int inside = __atomic_add_fetch(&crowd->inside, 1, __ATOMIC_SEQ_CST);
    int most = __atomic_load_n(&crowd->most, __ATOMIC_SEQ_CST);
    while (inside > most && !__atomic_compare_exchange_n(&crowd->most, &most, inside, false,
                                                         __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
    }
    sched_yield();
    __atomic_sub_fetch(&crowd->inside, 1, __ATOMIC_SEQ_CST);
    return 7;
}

static void crowd_done(void *arg, int64_t result)
{
    struct crowd *crowd = arg;
    g_assert_true(pthread_equal(pthread_self(), crowd->loop_thread));
    g_assert_cmpint(result, ==, 7);
    crowd->done++;
}

static int64_t thread_job(void *arg)
{
    *(pthread_t *)arg = pthread_self();
    return 1;
}

static void in_place_co_run(void *arg)
{
    g_assert_cmpint(co_offload(thread_job, arg), ==, 1);
}

static void test_in_place(void)
{
    struct loop *loop = loop_new(NULL);
    pthread_t thread = 0;
    pool_set_in_place(loop_pool(loop));
    loop_call(loop, in_place_co_run, &thread);
    g_assert_true(pthread_equal(thread, pthread_self()));
    g_assert_cmpint(pool_thread_count(loop_pool(loop)), ==, 0);
    loop_free(loop);
}

static void test_limit(void)
{
    struct loop *loop = loop_new(NULL);
    struct pool *pool = pool_new(2);
    struct crowd crowd = {.loop_thread = pthread_self()};
    for (int i = 0; i < 2000; i++) {
        pool_submit(pool, loop, crowd_job, crowd_done, &crowd);
    }
    g_assert_cmpint(pool_thread_count(pool), <=, 2);
    while (crowd.done < 2000) {
        loop_turn(loop, true);
    }
    g_assert_cmpint(crowd.most, <=, 2);
    pool_unref(pool);
    loop_free(loop);
}

static void wait_until_idle(void *arg)
{
    struct pool *pool = arg;
    struct crowd crowd = {0};
    g_assert_cmpint(co_offload(crowd_job, &crowd), ==, 7);
    for (int i = 0; i < 10000 && pool_thread_count(pool); i++) {
        loop_co_sleep(1000000);
    }
    g_assert_cmpint(pool_thread_count(pool), ==, 0);
    g_assert_cmpint(co_offload(crowd_job, &crowd), ==, 7);
}

static void test_idle_threads_end(void)
{
    struct loop *loop = loop_new(NULL);
    pool_set_idle_ns(loop_pool(loop), 1000000);
    loop_call(loop, wait_until_idle, loop_pool(loop));
    loop_free(loop);
}

static void test_pool_is_shared(void)
{
    struct loop *a = loop_new(NULL), *b = loop_new(a);
    g_assert_true(loop_pool(a) == loop_pool(b));
    loop_free(a);
    hold_meeting(b, 1);
    loop_free(b);
}

static int64_t whose_thread(void *arg)
{
    *(pthread_t *)arg = pthread_self();
    return 0;
}

static void offload_here(void *arg)
{
    pthread_t thread;
    co_offload(whose_thread, &thread);
    g_assert_true(pthread_equal(thread, pthread_self()));
}

static int64_t address_space(void)
{
    g_autofree char *text = NULL;
    g_assert_true(g_file_get_contents("/proc/self/statm", &text, NULL, NULL));
    return g_ascii_strtoll(text, NULL, 10) * sysconf(_SC_PAGESIZE);
}

static void submit_here_done(void *arg, int64_t result)
{
    *(int *)arg += result;
}

static int64_t three(void *arg)
{
    return 3;
}

static void test_no_threads_to_be_had(void)
{
    if (CO_CHECKED) {
        g_test_skip("a sanitizer needs the address space");
        return;
    }
    if (!g_test_subprocess()) {
        g_test_trap_subprocess(NULL, 0, 0);
        g_test_trap_assert_passed();
        return;
    }
    struct loop *loop = loop_new(NULL);
    rlim_t bytes = address_space() + (200 << 10);
    struct rlimit tight = {bytes, bytes};
    int sum = 0;
    g_assert_cmpint(setrlimit(RLIMIT_AS, &tight), ==, 0);
    loop_call(loop, offload_here, NULL);
    pool_submit(loop_pool(loop), loop, three, submit_here_done, &sum);
    g_assert_cmpint(sum, ==, 0);
    loop_turn(loop, true);
    g_assert_cmpint(sum, ==, 3);
    loop_free(loop);
}

static void test_cpus_follow_affinity(void)
{
    cpu_set_t old, one;
    g_assert_cmpint(sched_getaffinity(0, sizeof(old), &old), ==, 0);
    int cpus = pool_cpus();
    g_assert_cmpint(cpus, >=, 1);
    g_assert_cmpint(cpus, <=, CPU_COUNT(&old));
    CPU_ZERO(&one);
    for (int cpu = 0; !CPU_COUNT(&one); cpu++) {
        if (CPU_ISSET(cpu, &old)) {
            CPU_SET(cpu, &one);
        }
    }
    g_assert_cmpint(sched_setaffinity(0, sizeof(one), &one), ==, 0);
    g_assert_cmpint(pool_cpus(), ==, 1);
    g_assert_cmpint(sched_setaffinity(0, sizeof(old), &old), ==, 0);
}

static void test_cpu_max(void)
{
    g_assert_cmpint(pool_parse_cpu_max("max 100000\n"), ==, 0);
    g_assert_cmpint(pool_parse_cpu_max("200000 100000\n"), ==, 2);
    g_assert_cmpint(pool_parse_cpu_max("150000 100000\n"), ==, 2);
    g_assert_cmpint(pool_parse_cpu_max("1000 100000\n"), ==, 1);
    g_assert_cmpint(pool_parse_cpu_max("1000 0\n"), ==, 0);
    g_assert_cmpint(pool_parse_cpu_max(""), ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/pool/jobs-run-in-parallel", test_jobs_run_in_parallel);
    g_test_add_func("/pool/in-place", test_in_place);
    g_test_add_func("/pool/limit", test_limit);
    g_test_add_func("/pool/idle-threads-end", test_idle_threads_end);
    g_test_add_func("/pool/shared", test_pool_is_shared);
    g_test_add_func("/pool/no-threads-to-be-had", test_no_threads_to_be_had);
    g_test_add_func("/pool/cpus-follow-affinity", test_cpus_follow_affinity);
    g_test_add_func("/pool/cpu-max", test_cpu_max);
    return g_test_run();
}
