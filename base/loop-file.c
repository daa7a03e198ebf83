/*
 * File calls. Each is described once by a struct file_call; file_prepare()
 * turns it into a ring request and file_block() into a system call that a pool
 * thread makes when there is no ring, or when the ring was told to try again.
 */
#include "base/loop-impl.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <unistd.h>

#include "base/pool.h"

enum file_op { FILE_READ, FILE_WRITE, FILE_SYNC, FILE_ALLOCATE };

struct file_call {
    enum file_op op;
    int fd;
    int flags; /* RWF_* or the mode of fallocate(2) */
    int iovcnt;
    const struct iovec *iov;
    int64_t offset, length;
};

static void file_prepare(struct io_uring_sqe *sqe, const struct file_call *call)
{
    switch (call->op) {
    case FILE_READ:
        io_uring_prep_readv2(sqe, call->fd, call->iov, call->iovcnt, call->offset, call->flags);
        break;
    case FILE_WRITE:
        io_uring_prep_writev2(sqe, call->fd, call->iov, call->iovcnt, call->offset, call->flags);
        break;
    case FILE_SYNC: io_uring_prep_fsync(sqe, call->fd, IORING_FSYNC_DATASYNC); break;
    case FILE_ALLOCATE:
        io_uring_prep_fallocate(sqe, call->fd, call->flags, call->offset, call->length);
        break;
    }
}

static int64_t file_try(const struct file_call *call)
{
    switch (call->op) {
    case FILE_READ: return preadv2(call->fd, call->iov, call->iovcnt, call->offset, call->flags);
    case FILE_WRITE: return pwritev2(call->fd, call->iov, call->iovcnt, call->offset, call->flags);
    case FILE_SYNC: return fdatasync(call->fd);
    default: return fallocate(call->fd, call->flags, call->offset, call->length);
    }
}

static int64_t file_block(void *arg)
{
    int64_t result;
    do {
        result = file_try(arg);
    } while (result < 0 && errno == EINTR);
    return result < 0 ? -errno : result;
}

static bool file_must_block(const struct loop *loop, const struct file_call *call, int64_t result)
{
    bool nowait = call->op <= FILE_WRITE && call->flags & RWF_NOWAIT && !loop->ring_refused;
    return result == -EINTR || (result == -EAGAIN && !nowait);
}

static int64_t file_co_run(struct file_call *call)
{
    struct loop *loop = loop_of_self();
    struct ring_wait wait = {0};
    struct io_uring_sqe *sqe = ring_get(loop) ? ring_co_sqe(loop) : NULL;
    if (sqe) {
        file_prepare(sqe, call);
        int64_t result = ring_co_wait(sqe, &wait);
        if (!file_must_block(loop, call, result)) {
            return result;
        }
    }
    return co_offload(file_block, call);
}

int64_t loop_co_preadv(int fd, const struct iovec *iov, int iovcnt, int64_t offset, int flags)
{
    struct file_call call = {FILE_READ, fd, flags, iovcnt, iov, offset, 0};
    return file_co_run(&call);
}

int64_t loop_co_pwritev(int fd, const struct iovec *iov, int iovcnt, int64_t offset, int flags)
{
    struct file_call call = {FILE_WRITE, fd, flags, iovcnt, iov, offset, 0};
    return file_co_run(&call);
}

int loop_co_fdatasync(int fd)
{
    struct file_call call = {.op = FILE_SYNC, .fd = fd};
    return file_co_run(&call);
}

int loop_co_fallocate(int fd, int mode, int64_t offset, int64_t length)
{
    struct file_call call = {FILE_ALLOCATE, fd, mode, 0, NULL, offset, length};
    return file_co_run(&call);
}
