/*
 * io_uring. The ring is made for the first request that wants it. A seccomp
 * filter may refuse any of its system calls, at once or later (a sandbox came
 * down): then the loop never asks again, requests that the kernel has not taken
 * end with -EAGAIN, and their callers go the other way.
 *
 * Requests are gathered in the submission queue and handed over once a turn.
 * A completion finds its ring_wait through user_data; 0 and KICK stand for
 * requests that nobody waits for. While the loop sleeps in the ring, a read of
 * its eventfd is under way, so that other threads can wake it.
 */
#include "base/loop-impl.h"

#include <errno.h>
#include <liburing.h>
#include <unistd.h>

#define RING_ENTRIES 256
#define KICK UINT64_C(1)

struct ring {
    struct io_uring uring;
    bool kick_armed;
    uint64_t kick_count; /* what the read of the eventfd fills */
};

static bool ring_init(struct io_uring *uring)
{
    unsigned flags = IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG;
    int err = io_uring_queue_init(RING_ENTRIES, uring, flags);
    if (err == -EINVAL) {
        err = io_uring_queue_init(RING_ENTRIES, uring, 0);
    }
    return !err;
}

static struct ring *ring_new(void)
{
    struct ring *ring = g_new0(struct ring, 1);
    if (!ring_init(&ring->uring)) {
        g_free(ring);
        return NULL;
    }
    return ring;
}

struct ring *ring_get(struct loop *loop)
{
    if (!loop->ring_wanted || loop->ring_refused) {
        return NULL;
    }
    if (!loop->ring) {
        loop->ring = ring_new();
        loop->ring_refused = !loop->ring;
    }
    return loop->ring;
}

void ring_free(struct loop *loop)
{
    struct ring *ring = loop->ring;
    if (!ring) {
        return;
    }
    uint64_t one = 1;
    if (ring->kick_armed && write(loop->kick_fd, &one, sizeof(one)) == sizeof(one)) {
        while (ring->kick_armed && io_uring_submit_and_wait(&ring->uring, 1) >= 0) {
            ring_reap(loop);
        }
    }
    io_uring_queue_exit(&ring->uring);
    g_free(ring);
    loop->ring = NULL;
}

int ring_fd(struct ring *ring)
{
    return ring->uring.ring_fd;
}

bool ring_has_kick(struct ring *ring)
{
    return ring->kick_armed;
}

/* An unused slot, or NULL while the kernel takes no more. */
static struct io_uring_sqe *ring_slot(struct loop *loop)
{
    if (loop->ring_refused) {
        return NULL;
    }
    struct io_uring_sqe *sqe = io_uring_get_sqe(&loop->ring->uring);
    if (!sqe) {
        ring_submit(loop);
        sqe = loop->ring_refused ? NULL : io_uring_get_sqe(&loop->ring->uring);
    }
    return sqe;
}

struct io_uring_sqe *ring_co_sqe(struct loop *loop)
{
    struct io_uring_sqe *sqe;
    while (!(sqe = ring_slot(loop)) && !loop->ring_refused) {
        loop_co_relax();
    }
    return sqe;
}

int ring_co_wait(struct io_uring_sqe *sqe, struct ring_wait *wait)
{
    wait->co = co_self();
    io_uring_sqe_set_data(sqe, wait);
    while (!wait->done) {
        co_yield();
    }
    return wait->result;
}

void ring_cancel(struct loop *loop, struct ring_wait *wait)
{
    struct io_uring_sqe *sqe;
    do {
        sqe = ring_slot(loop);
    } while (!sqe && !loop->ring_refused);
    if (!sqe) {
        return;
    }
    io_uring_prep_cancel(sqe, wait, 0);
    io_uring_sqe_set_data64(sqe, 0);
}

static void ring_complete(struct ring *ring, const struct io_uring_cqe *cqe)
{
    if (cqe->user_data == KICK) {
        ring->kick_armed = false;
    } else if (cqe->user_data) {
        struct ring_wait *wait = io_uring_cqe_get_data(cqe);
        wait->result = cqe->res;
        wait->done = true;
        loop_wake(wait->co);
    }
}

bool ring_reap(struct loop *loop)
{
    struct io_uring_cqe *cqes[64];
    bool any = false;
    unsigned n;
    if (!loop->ring) {
        return false;
    }
    while ((n = io_uring_peek_batch_cqe(&loop->ring->uring, cqes, 64))) {
        for (unsigned i = 0; i < n; i++) {
            any |= cqes[i]->user_data > KICK;
            ring_complete(loop->ring, cqes[i]);
        }
        io_uring_cq_advance(&loop->ring->uring, n);
    }
    return any;
}

/* Ends the requests that the kernel has not taken, and never asks it again. */
static void ring_abandon(struct loop *loop)
{
    struct io_uring_sq *sq = &loop->ring->uring.sq;
    loop->ring_refused = true;
    for (unsigned head = *sq->khead; head != *sq->ktail; head++) {
        unsigned index = head & *sq->kring_mask; /* newer rings have no array between */
        struct io_uring_sqe *sqe = &sq->sqes[sq->array ? sq->array[index] : index];
        struct io_uring_cqe cqe = {.user_data = sqe->user_data, .res = -EAGAIN};
        ring_complete(loop->ring, &cqe);
    }
    *sq->ktail = *sq->khead;
    sq->sqe_head = sq->sqe_tail = *sq->khead;
}

/* The kernel may refuse for a moment (memory, completions not yet read): then slots stay in the
 * queue until the next turn. */
static void ring_submitted(struct loop *loop, int result)
{
    if (result == -EBUSY || result == -EAGAIN) {
        ring_reap(loop);
    } else if (result == -EPERM || result == -ENOSYS || result == -EACCES) {
        ring_abandon(loop);
    }
}

void ring_submit(struct loop *loop)
{
    if (loop->ring && !loop->ring_refused && io_uring_sq_ready(&loop->ring->uring)) {
        ring_submitted(loop, io_uring_submit(&loop->ring->uring));
    }
}

static void ring_arm_kick(struct loop *loop)
{
    struct ring *ring = loop->ring;
    if (ring->kick_armed || loop->kick_fd < 0) {
        return;
    }
    struct io_uring_sqe *sqe = ring_slot(loop);
    if (sqe) {
        io_uring_prep_read(sqe, loop->kick_fd, &ring->kick_count, sizeof(ring->kick_count), 0);
        io_uring_sqe_set_data64(sqe, KICK);
        ring->kick_armed = true;
    }
}

void ring_sleep(struct loop *loop, int64_t timeout_ns)
{
    struct io_uring *uring = &loop->ring->uring;
    ring_arm_kick(loop);
    if (!loop->ring->kick_armed) {
        ring_submit(loop);
        poll_sleep(loop, timeout_ns);
        return;
    }
    struct __kernel_timespec ts = {timeout_ns / 1000000000, timeout_ns % 1000000000};
    struct io_uring_cqe *cqe;
    ring_submitted(
        loop, io_uring_submit_and_wait_timeout(uring, &cqe, 1, timeout_ns < 0 ? NULL : &ts, NULL));
}
