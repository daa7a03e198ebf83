/*
 * Bytes in and out of a file, each time by the cheapest way that does not stall
 * others: in place where the bytes come from memory (tmpfs, page cache hits by
 * RWF_NOWAIT) and where a one-image tool may wait (writes, small reads), through the loop
 * otherwise. Direct I/O always takes the loop.
 */
#include "libblock/drivers/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    IOV_BATCH = 64,          /* elements of one system call */
    PATIENT_MAX = 64 * 1024, /* bytes that a tool waits for in place: tables and headers */
    INLINE_MAX = 256 * 1024, /* bytes a server copies in place before others get a turn */
};

static int64_t iov_length(const struct iovec *iov, int iovcnt)
{
    int64_t length = 0;
    for (int i = 0; i < iovcnt; i++) {
        length += iov[i].iov_len;
    }
    return length;
}

typedef int64_t file_fn(struct file_state *s, int fd, const struct iovec *iov, int iovcnt,
                        int64_t offset, int flags);

static int64_t result_of(ssize_t n)
{
    return n < 0 ? -errno : n;
}

static bool is_set(const bool *flag)
{
    return __atomic_load_n(flag, __ATOMIC_RELAXED);
}

static void set(bool *flag)
{
    __atomic_store_n(flag, true, __ATOMIC_RELAXED);
}

static int64_t io_co_read_some(struct file_state *s, int fd, const struct iovec *iov, int iovcnt,
                               int64_t offset, int flags)
{
    if (!s->align && (s->ram || (s->patient && iov_length(iov, iovcnt) <= PATIENT_MAX))) {
        return result_of(preadv(fd, iov, iovcnt, offset));
    }
    if (!s->align && !is_set(&s->no_nowait)) {
        int64_t n = result_of(preadv2(fd, iov, iovcnt, offset, RWF_NOWAIT));
        if (n != -EAGAIN && n != -EOPNOTSUPP && n != -EINVAL) {
            return n;
        }
        if (n != -EAGAIN) {
            set(&s->no_nowait);
        }
    }
    return loop_co_preadv(fd, iov, iovcnt, offset, 0);
}

static int64_t io_co_write_some(struct file_state *s, int fd, const struct iovec *iov, int iovcnt,
                                int64_t offset, int flags)
{
    if (!s->align && (s->ram || s->patient)) {
        return result_of(pwritev2(fd, iov, iovcnt, offset, flags));
    }
    return loop_co_pwritev(fd, iov, iovcnt, offset, flags);
}

/* Repeats `some` until all is done. A read of 0 bytes is the end of the file, which shrank behind
 * our back: the rest reads as zeroes. */
static int io_co_move_all(struct file_state *s, int fd, file_fn *some, int64_t offset,
                          int64_t length, struct span span, int flags)
{
    int64_t max = s->patient || s->align ? INT32_MAX & ~0xfff : INLINE_MAX;
    while (length > 0) {
        struct iovec iov[IOV_BATCH];
        int iovcnt;
        int64_t want = span_to_iov(span, min_i64(length, max), iov, IOV_BATCH, &iovcnt);
        int64_t n = some(s, fd, iov, iovcnt, offset, flags);
        if (n == -EINTR) {
            continue;
        }
        if (n < 0) {
            return n;
        }
        if (n == 0) {
            if (some == io_co_write_some) {
                return -ENOSPC;
            }
            span_fill(span, 0, length);
            return 0;
        }
        offset += n;
        length -= n;
        span = length ? span_skip(span, n) : span;
        if (length && n == want && s->ram && !s->patient) {
            loop_co_relax();
        }
    }
    return 0;
}

/* A descriptor of the same file without O_DIRECT; made by the first request that needs it. */
static int tail_fd(struct blk_node *node)
{
    struct file_state *s = node->state;
    int fd = __atomic_load_n(&s->tail_fd, __ATOMIC_ACQUIRE);
    if (fd >= 0) {
        return fd;
    }
    char path[32];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", s->fd);
    fd = open(path, O_CLOEXEC | (node->flags & NODE_RDWR ? O_RDWR : O_RDONLY));
    if (fd < 0) {
        return -errno;
    }
    int none = -1;
    if (!__atomic_compare_exchange_n(&s->tail_fd, &none, fd, false, __ATOMIC_ACQ_REL,
                                     __ATOMIC_ACQUIRE)) {
        close(fd);
        fd = none;
    }
    return fd;
}

/* All of a request but, with O_DIRECT, an end that is not aligned: that is the end of the file. */
static int io_co_move(struct blk_node *node, file_fn *some, int64_t offset, int64_t length,
                      struct span span, int flags)
{
    struct file_state *s = node->state;
    int64_t tail = s->align ? length & (s->align - 1) : 0;
    int ret =
        length > tail ? io_co_move_all(s, s->fd, some, offset, length - tail, span, flags) : 0;
    if (!ret && tail) {
        int fd = tail_fd(node);
        ret = fd < 0 ? fd
                     : io_co_move_all(s, fd, some, offset + length - tail, tail,
                                      span_skip(span, length - tail), flags);
    }
    return ret;
}

int file_co_read(struct blk_node *node, int64_t offset, int64_t length, struct span span)
{
    return io_co_move(node, io_co_read_some, offset, length, span, 0);
}

int file_co_write(struct blk_node *node, int64_t offset, int64_t length, struct span span,
                  uint32_t flags)
{
    return io_co_move(node, io_co_write_some, offset, length, span,
                      flags & REQ_FUA ? RWF_DSYNC : 0);
}

int file_co_flush(struct blk_node *node)
{
    struct file_state *s = node->state;
    if (s->patient || s->ram) {
        return fdatasync(s->fd) < 0 ? -errno : 0;
    }
    return loop_co_fdatasync(s->fd);
}
