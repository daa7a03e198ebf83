/*
 * Everything here runs three times: with the ring, with loop_use_ring(false),
 * and in a process where seccomp refuses io_uring_setup, as containers do. The
 * filter cannot be taken off again, so the refused runs come last.
 */
#include "base/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/co-shadow.h"
#include "base/loop-impl.h"

enum mode { MODE_RING, MODE_THREADS, MODE_REFUSED };

static void refuse_syscall(int nr)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {G_N_ELEMENTS(code), code};
    g_assert_cmpint(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), ==, 0);
    g_assert_cmpint(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter), ==, 0);
}

static struct loop *new_loop(const void *mode)
{
    static bool refused;
    if (GPOINTER_TO_INT(mode) == MODE_REFUSED && !refused) {
        refused = true;
        refuse_syscall(__NR_io_uring_setup);
    }
    struct loop *loop = loop_new(NULL);
    loop_use_ring(loop, GPOINTER_TO_INT(mode) != MODE_THREADS);
    return loop;
}

static int temp_file(void)
{
    int fd = open(g_get_tmp_dir(), O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
    g_assert_cmpint(fd, >=, 0);
    return fd;
}

/* Files */

static void use_file(void *arg)
{
    char out[5] = "hello", in[9] = "", more[3];
    struct iovec w[] = {{out, 2}, {out + 2, 3}}, r[] = {{in, 6}, {more, 3}};
    int fd = *(int *)arg;
    g_assert_cmpint(loop_co_pwritev(fd, w, 2, 100, 0), ==, 5);
    g_assert_cmpint(loop_co_fdatasync(fd), ==, 0);
    g_assert_cmpint(loop_co_preadv(fd, r, 2, 99, 0), ==, 6);
    g_assert_cmpmem(in, 6, "\0hello", 6);
    g_assert_cmpint(loop_co_preadv(fd, r, 2, 105, 0), ==, 0);
    g_assert_cmpint(loop_co_fallocate(fd, 0, 0, 8192), ==, 0);
    g_assert_cmpint(lseek(fd, 0, SEEK_END), ==, 8192);
    g_assert_cmpint(loop_co_fallocate(fd, 0, -1, 10), ==, -EINVAL);
    g_assert_cmpint(loop_co_preadv(-1, r, 2, 0, 0), ==, -EBADF);
    g_assert_cmpint(loop_co_pwritev(-1, r, 2, 0, 0), ==, -EBADF);
    g_assert_cmpint(loop_co_fdatasync(-1), ==, -EBADF);
}

static void test_file(const void *mode)
{
    int fd = temp_file();
    struct loop *loop = new_loop(mode);
    loop_call(loop, use_file, &fd);
    g_assert_cmpint(loop->ring != NULL, ==, GPOINTER_TO_INT(mode) == MODE_RING);
    loop_free(loop);
    close(fd);
}

enum { READERS = 700, BLOCK = 64 };

struct library {
    int fd, started, ended;
};

static void read_blocks(void *arg)
{
    struct library *library = arg;
    int first = library->started++;
    for (int i = 0; i < 4; i++) {
        int want = (first * 4 + i) % READERS;
        int found[BLOCK / sizeof(int)];
        struct iovec iov = {found, BLOCK};
        g_assert_cmpint(loop_co_preadv(library->fd, &iov, 1, want * BLOCK, 0), ==, BLOCK);
        g_assert_cmpint(found[0], ==, want);
    }
    library->ended++;
}

/* More requests at once than the ring has places. */
static void test_many_requests(const void *mode)
{
    struct library library = {.fd = temp_file()};
    struct loop *loop = new_loop(mode);
    for (int i = 0; i < READERS; i++) {
        int block[BLOCK / sizeof(int)] = {i};
        g_assert_cmpint(pwrite(library.fd, block, BLOCK, i * BLOCK), ==, BLOCK);
    }
    for (int i = 0; i < READERS; i++) {
        loop_spawn(loop, read_blocks, &library);
    }
    while (library.ended < READERS) {
        loop_turn(loop, true);
    }
    loop_free(loop);
    close(library.fd);
}

/* Timers */

struct alarm {
    struct loop_timer timer;
    GString *log;
    char name;
    struct alarm *cancels;
};

static void alarm_rings(void *arg)
{
    struct alarm *alarm = arg;
    g_string_append_c(alarm->log, alarm->name);
    if (alarm->cancels) {
        loop_timer_cancel(&alarm->cancels->timer);
    }
}

static void test_timers(const void *mode)
{
    struct loop *loop = new_loop(mode);
    g_autoptr(GString) log = g_string_new("");
    struct alarm alarms[6] = {0};
    int64_t now = loop_now(loop);
    const int delays[] = {3, 1, 2, 1, 4, 4};
    for (int i = 0; i < 6; i++) {
        alarms[i].log = log;
        alarms[i].name = 'a' + i;
        loop_timer_arm(loop, &alarms[i].timer, now + delays[i] * 1000000, alarm_rings, &alarms[i]);
    }
    alarms[4].cancels = &alarms[5];
    loop_timer_arm(loop, &alarms[2].timer, now + 3500000, alarm_rings, &alarms[2]);
    loop_timer_cancel(&alarms[3].timer);
    loop_timer_cancel(&alarms[3].timer);
    while (log->len < 4) {
        loop_turn(loop, true);
    }
    g_assert_cmpint(loop_now(loop) - now, >=, 4000000);
    loop_turn(loop, false);
    g_assert_cmpstr(log->str, ==, "bace");
    loop_free(loop);
}

static void test_timers_random(const void *mode)
{
    enum { COUNT = 500 };
    struct loop *loop = new_loop(mode);
    g_autofree struct loop_timer *timers = g_new0(struct loop_timer, COUNT);
    g_autoptr(GString) log = g_string_new("");
    struct alarm alarm = {.log = log, .name = '.'};
    GRand *rand = g_rand_new_with_seed(4);
    for (int i = 0; i < 5000; i++) {
        struct loop_timer *timer = &timers[g_rand_int_range(rand, 0, COUNT)];
        if (g_rand_int_range(rand, 0, 3)) {
            loop_timer_arm(loop, timer, g_rand_int_range(rand, 0, 1000), alarm_rings, &alarm);
        } else {
            loop_timer_cancel(timer);
        }
    }
    for (int i = 1; i < loop->timer_count; i++) {
        g_assert_cmpint(loop->timers[(i - 1) / 2]->when_ns, <=, loop->timers[i]->when_ns);
        g_assert_cmpint(loop->timers[i]->index, ==, i + 1);
    }
    size_t armed = loop->timer_count;
    loop_turn(loop, true);
    g_assert_cmpint(log->len, ==, armed);
    g_rand_free(rand);
    loop_free(loop);
}

static void rearm(void *arg)
{
    struct alarm *alarm = arg;
    g_string_append_c(alarm->log, alarm->name);
    loop_timer_arm(alarm->timer.loop, &alarm->timer, 0, rearm, alarm);
}

static void test_timer_cannot_hold_the_loop(const void *mode)
{
    struct loop *loop = new_loop(mode);
    g_autoptr(GString) log = g_string_new("");
    struct alarm alarm = {.log = log, .name = '.'};
    loop_timer_arm(loop, &alarm.timer, 0, rearm, &alarm);
    for (int i = 0; i < 3; i++) {
        loop_turn(loop, true);
    }
    g_assert_cmpstr(log->str, ==, "...");
    loop_timer_cancel(&alarm.timer);
    loop_free(loop);
}

static void sleep_a_while(void *arg)
{
    struct loop *loop = loop_current();
    int64_t start = loop_now(loop);
    loop_co_sleep(2000000);
    g_assert_cmpint(loop_now(loop) - start, >=, 2000000);
    ++*(int *)arg;
}

static void test_sleep(const void *mode)
{
    struct loop *loop = new_loop(mode);
    int over = 0;
    for (int i = 0; i < 100; i++) {
        loop_spawn(loop, sleep_a_while, &over);
    }
    while (over < 100) {
        loop_turn(loop, true);
    }
    loop_free(loop);
}

/* Readiness */

struct watch {
    int fd;
    unsigned events;
    int result;
    bool over;
    struct co *co;
};

static void watch_fd(void *arg)
{
    struct watch *watch = arg;
    watch->over = false;
    watch->co = co_self();
    watch->result = loop_co_poll(watch->fd, watch->events);
    watch->over = true;
}

static int watch_end(struct loop *loop, struct watch *watch)
{
    while (!watch->over) {
        loop_turn(loop, true);
    }
    return watch->result;
}

static void test_poll(const void *mode)
{
    struct loop *loop = new_loop(mode);
    int pipe_fds[2];
    g_assert_cmpint(pipe2(pipe_fds, O_CLOEXEC), ==, 0);
    struct watch in = {.fd = pipe_fds[0], .events = POLLIN},
                 out = {.fd = pipe_fds[1], .events = POLLOUT};
    loop_spawn(loop, watch_fd, &in);
    loop_call(loop, watch_fd, &out);
    g_assert_cmpint(out.result, ==, POLLOUT);
    loop_turn(loop, false);
    g_assert_false(in.over);
    g_assert_cmpint(write(pipe_fds[1], "x", 1), ==, 1);
    g_assert_cmpint(watch_end(loop, &in), ==, POLLIN);
    close(pipe_fds[1]);
    loop_call(loop, watch_fd, &in);
    g_assert_cmpint(in.result, ==, POLLIN | POLLHUP);
    close(pipe_fds[0]);
    struct watch bad = {.fd = 1 << 20, .events = POLLIN};
    loop_call(loop, watch_fd, &bad);
    g_assert_cmpint(bad.result, ==, -EBADF);
    loop_free(loop);
}

static void test_poll_cancel(const void *mode)
{
    struct loop *loop = new_loop(mode);
    int pipe_fds[2];
    g_assert_cmpint(pipe2(pipe_fds, O_CLOEXEC), ==, 0);
    struct watch a = {.fd = pipe_fds[0], .events = POLLIN}, b = a;
    for (int turns = 0; turns < 2; turns++) {
        loop_spawn(loop, watch_fd, &a);
        loop_spawn(loop, watch_fd, &b);
        for (int i = 0; i < turns; i++) {
            loop_turn(loop, false);
        }
        loop_cancel_poll(a.co);
        loop_cancel_poll(a.co);
        g_assert_cmpint(watch_end(loop, &a), ==, -ECANCELED);
        g_assert_false(b.over);
        g_assert_cmpint(write(pipe_fds[1], "x", 1), ==, 1);
        g_assert_cmpint(watch_end(loop, &b), ==, POLLIN);
        char byte;
        g_assert_cmpint(read(pipe_fds[0], &byte, 1), ==, 1);
    }
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    loop_free(loop);
}

static gpointer write_bytes(gpointer arg)
{
    for (int i = 0; i < 500; i++) {
        g_assert_cmpint(write(*(int *)arg, "x", 1), ==, 1);
    }
    return NULL;
}

static void test_poll_cancel_races(const void *mode)
{
    struct loop *loop = new_loop(mode);
    int pipe_fds[2], ready = 0;
    char byte;
    g_assert_cmpint(pipe2(pipe_fds, O_CLOEXEC), ==, 0);
    GThread *thread = g_thread_new("writer", write_bytes, &pipe_fds[1]);
    struct watch watch = {.fd = pipe_fds[0], .events = POLLIN};
    for (int i = 0; ready < 500; i++) {
        loop_spawn(loop, watch_fd, &watch);
        for (int turns = i % 3; turns; turns--) {
            loop_turn(loop, false);
        }
        if (!watch.over) {
            loop_cancel_poll(watch.co);
        }
        int result = watch_end(loop, &watch);
        g_assert_true(result == POLLIN || result == -ECANCELED);
        if (result == POLLIN) {
            g_assert_cmpint(read(pipe_fds[0], &byte, 1), ==, 1);
            ready++;
        }
    }
    g_thread_join(thread);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    loop_free(loop);
}

/* Other threads */

enum { PRODUCERS = 4, POSTS = 3000 };

struct producer {
    struct loop *loop;
    int received;
    int *total;
};

static void post_received(void *arg)
{
    struct producer *producer = arg;
    g_assert_null(co_self());
    g_assert_true(loop_current() == producer->loop);
    producer->received++;
    ++*producer->total;
}

static gpointer produce(gpointer arg)
{
    struct producer *producer = arg;
    for (int i = 0; i < POSTS; i++) {
        loop_post(producer->loop, post_received, producer);
    }
    return NULL;
}

static void test_posts_from_many_threads(const void *mode)
{
    struct loop *loop = new_loop(mode);
    int fd = temp_file(), total = 0;
    loop_call(loop, use_file, &fd);
    struct producer producers[PRODUCERS] = {0};
    GThread *threads[PRODUCERS];
    for (int i = 0; i < PRODUCERS; i++) {
        producers[i] = (struct producer){.loop = loop, .total = &total};
        threads[i] = g_thread_new("producer", produce, &producers[i]);
    }
    while (total < PRODUCERS * POSTS) {
        loop_turn(loop, true);
    }
    for (int i = 0; i < PRODUCERS; i++) {
        g_thread_join(threads[i]);
        g_assert_cmpint(producers[i].received, ==, POSTS);
    }
    loop_free(loop);
    close(fd);
}

static void append_digit(void *arg)
{
    GString **log = arg;
    g_string_append_printf(*log, "%d", (int)(*log)->len);
}

static void test_posts_are_in_order(const void *mode)
{
    struct loop *loop = new_loop(mode);
    g_autoptr(GString) log = g_string_new("");
    GString *logs[3] = {log, log, log};
    for (int i = 0; i < 3; i++) {
        loop_post(loop, append_digit, &logs[i]);
    }
    g_assert_cmpstr(log->str, ==, "");
    loop_turn(loop, true);
    g_assert_cmpstr(log->str, ==, "012");
    loop_free(loop);
}

struct sleeper {
    struct loop *loop;
    struct co *co;
    int woken;
    bool go; /* atomic: may be woken */
};

static void sleep_until_woken(void *arg)
{
    struct sleeper *sleeper = arg;
    sleeper->co = co_self();
    for (int i = 0; i < 500; i++) {
        __atomic_store_n(&sleeper->go, true, __ATOMIC_RELEASE);
        co_yield();
        sleeper->woken++;
    }
}

static gpointer wake_up(gpointer arg)
{
    struct sleeper *sleeper = arg;
    for (int i = 0; i < 500; i++) {
        while (!__atomic_exchange_n(&sleeper->go, false, __ATOMIC_ACQUIRE)) {
            g_thread_yield();
        }
        loop_wake_remote(sleeper->loop, sleeper->co);
    }
    return NULL;
}

static void test_wake_remote(const void *mode)
{
    struct loop *loop = new_loop(mode);
    struct sleeper sleepers[3] = {0};
    GThread *threads[3];
    for (int i = 0; i < 3; i++) {
        sleepers[i].loop = loop;
        loop_spawn(loop, sleep_until_woken, &sleepers[i]);
        threads[i] = g_thread_new("waker", wake_up, &sleepers[i]);
    }
    while (sleepers[0].woken + sleepers[1].woken + sleepers[2].woken < 1500) {
        loop_turn(loop, true);
    }
    for (int i = 0; i < 3; i++) {
        g_thread_join(threads[i]);
    }
    loop_free(loop);
}

struct server {
    struct loop *loop;
    bool stop;
    int calls;
};

static gpointer serve(gpointer arg)
{
    struct server *server = arg;
    while (!server->stop) {
        loop_turn(server->loop, true);
    }
    loop_free(server->loop);
    return NULL;
}

static void server_stops(void *arg)
{
    ((struct server *)arg)->stop = true;
}

static void call_in_server(void *arg)
{
    struct server *server = arg;
    g_assert_true(loop_current() == server->loop);
    int fd = temp_file();
    use_file(&fd);
    close(fd);
    server->calls++;
}

static void call_here(void *arg)
{
    ++*(int *)arg;
}

static void call_server(void *arg)
{
    struct server *server = arg;
    int here = 0;
    for (int i = 0; i < 50; i++) {
        loop_co_call(server->loop, call_in_server, server);
        loop_co_call(loop_current(), call_here, &here);
    }
    g_assert_cmpint(here, ==, 50);
}

static void test_call_another_loop(const void *mode)
{
    struct loop *loop = new_loop(mode);
    struct server server = {.loop = new_loop(mode)};
    GThread *thread = g_thread_new("server", serve, &server);
    loop_call(loop, call_server, &server);
    g_assert_cmpint(server.calls, ==, 50);
    loop_post(server.loop, server_stops, &server);
    g_thread_join(thread);
    loop_free(loop);
}

static gpointer kick_later(gpointer arg)
{
    loop_kick(arg);
    return NULL;
}

static void test_kick(const void *mode)
{
    struct loop *loop = new_loop(mode);
    loop_kick(loop);
    loop_turn(loop, true);
    for (int i = 0; i < 200; i++) {
        GThread *thread = g_thread_new("kicker", kick_later, loop);
        loop_turn(loop, true);
        g_thread_join(thread);
    }
    loop_free(loop);
}

static void set_flag(void *arg)
{
    *(bool *)arg = true;
}

struct last_words {
    struct loop *loop;
    bool said;
};

static gpointer say_last_words(gpointer arg)
{
    struct last_words *last = arg;
    loop_post(last->loop, set_flag, &last->said);
    return NULL;
}

/* The loop goes away as soon as it has the message; its sender must not touch it any more. */
static void test_free_after_last_post(const void *mode)
{
    for (int i = 0; i < 200; i++) {
        struct last_words last = {new_loop(mode), false};
        GThread *thread = g_thread_new("last", say_last_words, &last);
        while (!last.said) {
            loop_turn(last.loop, true);
        }
        loop_free(last.loop);
        g_thread_join(thread);
    }
}

/* Turns and spawns */

struct talker {
    GString *log;
    char name;
};

static void talk(void *arg)
{
    struct talker *talker = arg;
    for (int i = 0; i < 3; i++) {
        g_string_append_c(talker->log, talker->name);
        loop_co_relax();
    }
}

static void test_relax_is_fair(const void *mode)
{
    struct loop *loop = new_loop(mode);
    g_autoptr(GString) log = g_string_new("");
    struct talker a = {log, 'a'}, b = {log, 'b'};
    loop_spawn(loop, talk, &a);
    loop_spawn(loop, talk, &b);
    for (int i = 0; i < 3; i++) {
        loop_turn(loop, true);
    }
    g_assert_cmpstr(log->str, ==, "ababab");
    loop_free(loop);
}

static int open_fds(void)
{
    int count = 0;
    for (int fd = 0; fd < 200; fd++) {
        count += fcntl(fd, F_GETFD) >= 0;
    }
    return count;
}

static void relax_once(void *arg)
{
    loop_co_relax();
    call_here(arg);
}

static void test_idle_loop_opens_nothing(const void *mode)
{
    int before = open_fds(), runs = 0;
    struct loop *loop = new_loop(mode);
    loop_call(loop, call_here, &runs);
    loop_call(loop, relax_once, &runs);
    loop_turn(loop, false);
    g_assert_cmpint(open_fds(), ==, before);
    g_assert_cmpint(runs, ==, 2);
    loop_free(loop);
}

static void spawn_inside(void *arg)
{
    int *left = arg;
    if (--*left) {
        loop_co_relax();
        loop_spawn(loop_current(), spawn_inside, left);
    }
}

static void test_ten_thousand_spawns(const void *mode)
{
    struct loop *loop = new_loop(mode);
    int left = 10000;
    loop_call(loop, spawn_inside, &left);
    while (left) {
        loop_turn(loop, true);
    }
    loop_free(loop);
}

/* 3000 coroutines at once where there is room for a few hundred. */
static void test_spawns_wait_for_stacks(const void *mode)
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
    struct loop *loop = new_loop(mode);
    g_autofree char *statm = NULL;
    g_file_get_contents("/proc/self/statm", &statm, NULL, NULL);
    rlim_t room = g_ascii_strtoll(statm, NULL, 10) * sysconf(_SC_PAGESIZE) + (20 << 20);
    g_assert_cmpint(setrlimit(RLIMIT_AS, &(struct rlimit){room, room}), ==, 0);
    int over = 0;
    for (int i = 0; i < 3000; i++) {
        loop_spawn(loop, sleep_a_while, &over);
    }
    g_assert_nonnull(loop->starved);
    while (over < 3000) {
        loop_turn(loop, true);
    }
    loop_free(loop);
}

static void test_enter_refused(const void *mode)
{
    if (!g_test_subprocess()) {
        g_test_trap_subprocess(NULL, 0, 0);
        g_test_trap_assert_passed();
        return;
    }
    refuse_syscall(__NR_io_uring_enter);
    int fd = temp_file();
    struct loop *loop = loop_new(NULL);
    loop_call(loop, use_file, &fd);
    g_assert_true(loop->ring_refused);
    loop_free(loop);
}

/* A sandbox comes down while a poll and the read of the eventfd are in the ring. */
static void test_enter_refused_later(const void *mode)
{
    if (!g_test_subprocess()) {
        g_test_trap_subprocess(NULL, 0, 0);
        g_test_trap_assert_passed();
        return;
    }
    int fd = temp_file(), pipe_fds[2], slept = 0;
    g_assert_cmpint(pipe2(pipe_fds, O_CLOEXEC), ==, 0);
    struct watch early = {.fd = pipe_fds[0], .events = POLLIN}, late = early;
    struct loop *loop = new_loop(mode);
    loop_spawn(loop, watch_fd, &early);
    loop_call(loop, sleep_a_while, &slept);
    refuse_syscall(__NR_io_uring_enter);
    loop_spawn(loop, watch_fd, &late);
    loop_call(loop, use_file, &fd);
    g_assert_true(!loop->ring || loop->ring_refused);
    g_assert_cmpint(write(pipe_fds[1], "x", 1), ==, 1);
    g_assert_cmpint(watch_end(loop, &early), ==, POLLIN);
    g_assert_cmpint(watch_end(loop, &late), ==, POLLIN);
    GThread *thread = g_thread_new("kicker", kick_later, loop);
    loop_turn(loop, true);
    g_thread_join(thread);
    loop_free(loop);
}

static const struct {
    const char *name;
    void (*fn)(const void *mode);
} tests[] = {
    {"file", test_file},
    {"many-requests", test_many_requests},
    {"timers", test_timers},
    {"timers-random", test_timers_random},
    {"timer-cannot-hold-the-loop", test_timer_cannot_hold_the_loop},
    {"sleep", test_sleep},
    {"poll", test_poll},
    {"poll-cancel", test_poll_cancel},
    {"poll-cancel-races", test_poll_cancel_races},
    {"posts-from-many-threads", test_posts_from_many_threads},
    {"posts-are-in-order", test_posts_are_in_order},
    {"wake-remote", test_wake_remote},
    {"call-another-loop", test_call_another_loop},
    {"kick", test_kick},
    {"free-after-last-post", test_free_after_last_post},
    {"relax-is-fair", test_relax_is_fair},
    {"idle-loop-opens-nothing", test_idle_loop_opens_nothing},
    {"ten-thousand-spawns", test_ten_thousand_spawns},
    {"spawns-wait-for-stacks", test_spawns_wait_for_stacks},
    {"enter-refused", test_enter_refused},
    {"enter-refused-later", test_enter_refused_later},
};

int main(int argc, char **argv)
{
    static const char *const modes[] = {"ring", "threads", "refused"};
    g_test_init(&argc, &argv, NULL);
    for (int mode = 0; mode < 3; mode++) {
        for (size_t i = 0; i < G_N_ELEMENTS(tests); i++) {
            g_autofree char *path = g_strdup_printf("/loop/%s/%s", modes[mode], tests[i].name);
            g_test_add_data_func(path, GINT_TO_POINTER(mode), tests[i].fn);
        }
    }
    return g_test_run();
}
