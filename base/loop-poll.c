/*
 * Readiness of file descriptors: a poll request in the ring where there is
 * one, else a list that the loop hands to ppoll(2) when it sleeps.
 */
#include "base/loop-impl.h"

#include <errno.h>
#include <liburing.h>
#include <unistd.h>

static void poll_unlink(struct loop *loop, struct loop_poll *poll)
{
    struct loop_poll **link = &loop->polls;
    while (*link != poll) {
        link = &(*link)->next;
    }
    *link = poll->next;
}

/* A poll that is not listed still waits for a slot in the ring, and looks at `done` then. */
static void poll_finish(struct loop *loop, struct loop_poll *poll, int result)
{
    poll->result = result;
    poll->done = true;
    if (poll->listed) {
        poll_unlink(loop, poll);
        loop_wake(poll->co);
    }
}

static int poll_co_list(struct loop *loop, struct loop_poll *poll)
{
    struct loop_poll **end = &loop->polls;
    while (*end) {
        end = &(*end)->next;
    }
    *end = poll;
    poll->listed = true;
    while (!poll->done) {
        co_yield();
    }
    return poll->result;
}

/* -EAGAIN when the ring is refused by now. */
static int poll_co_ring(struct loop *loop, struct loop_poll *poll)
{
    struct io_uring_sqe *sqe = ring_co_sqe(loop);
    if (sqe && poll->done) {
        io_uring_prep_nop(sqe);
        io_uring_sqe_set_data64(sqe, 0);
    }
    if (!sqe || poll->done) {
        return poll->done ? poll->result : -EAGAIN;
    }
    io_uring_prep_poll_add(sqe, poll->fd, poll->events);
    poll->in_ring = true;
    int result = ring_co_wait(sqe, &poll->wait);
    poll->in_ring = false;
    return result;
}

int loop_co_poll(int fd, unsigned events)
{
    struct loop *loop = loop_of_self();
    struct loop_poll poll = {.fd = fd, .events = events, .co = co_self()};
    int result = -EAGAIN;
    poll.co->poll = &poll;
    if (ring_get(loop)) {
        result = poll_co_ring(loop, &poll);
    }
    if (result == -EAGAIN) {
        poll.wait.done = false;
        result = poll_co_list(loop, &poll);
    }
    poll.co->poll = NULL;
    return result;
}

void loop_cancel_poll(struct co *co)
{
    struct loop_poll *poll = co->poll;
    if (!poll || poll->done || poll->wait.done) {
        return;
    }
    if (poll->in_ring) {
        ring_cancel(co->loop, &poll->wait);
    } else {
        poll_finish(co->loop, poll, -ECANCELED);
    }
}

static int poll_gather(struct loop *loop)
{
    int count = 2;
    for (struct loop_poll *poll = loop->polls; poll; poll = poll->next) {
        count++;
    }
    if (count > loop->poll_room) {
        loop->poll_room = 2 * count;
        loop->poll_fds = g_renew(struct pollfd, loop->poll_fds, loop->poll_room);
    }
    bool ring_kicks = loop->ring && ring_has_kick(loop->ring);
    loop->poll_fds[0] = (struct pollfd){ring_kicks ? -1 : loop->kick_fd, POLLIN, 0};
    loop->poll_fds[1] = (struct pollfd){loop->ring ? ring_fd(loop->ring) : -1, POLLIN, 0};
    struct pollfd *slot = loop->poll_fds + 2;
    for (struct loop_poll *poll = loop->polls; poll; poll = poll->next) {
        *slot++ = (struct pollfd){poll->fd, poll->events, 0};
    }
    return count;
}

static void poll_scatter(struct loop *loop)
{
    struct pollfd *slot = loop->poll_fds;
    uint64_t count;
    if (slot[0].revents && read(loop->kick_fd, &count, sizeof(count)) < 0) {
        return;
    }
    slot += 2;
    for (struct loop_poll *poll = loop->polls, *next; poll; poll = next, slot++) {
        next = poll->next;
        if (slot->revents) {
            poll_finish(loop, poll, slot->revents & POLLNVAL ? -EBADF : slot->revents);
        }
    }
}

void poll_sleep(struct loop *loop, int64_t timeout_ns)
{
    struct timespec ts = {timeout_ns / 1000000000, timeout_ns % 1000000000};
    int count = poll_gather(loop);
    if (ppoll(loop->poll_fds, count, timeout_ns < 0 ? NULL : &ts, NULL) > 0) {
        poll_scatter(loop);
    }
}
