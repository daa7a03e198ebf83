/*
 * Preloaded into a program under test: counts the system and library calls of
 * one group and makes the Nth of them fail, as told by the shared page of
 * fault.h. Flushes that succeed do nothing, which only makes tests faster.
 *
 * Requests that go through io_uring are counted when they are submitted; one
 * that is to fail is really done, and its result is replaced when it is reaped.
 * Standard input and output do not count. Memory is counted from the library's
 * own start on, and taken from glibc's inner names, since dlsym() allocates.
 */
#include "tests/tools/fault.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

/* The next definition of `name`, with its type. */
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *old, size_t size);
extern void *__libc_memalign(size_t align, size_t size);

static struct fault_page *page;

__attribute__((constructor)) static void attach(void)
{
    const char *text = getenv(FAULT_ENV);
    if (text) {
        int fd = atoi(text);
        long at = syscall(SYS_mmap, NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        page = at == -1 ? NULL : (struct fault_page *)at;
        syscall(SYS_close, fd);
    }
}

/* Counts one call; the errno (or FAULT_SHORT) with which it fails, or 0. */
static int fault(enum fault_group group)
{
    if (!page || page->group != group) {
        return 0;
    }
    uint32_t nth = __atomic_add_fetch(&page->count, 1, __ATOMIC_RELAXED);
    bool hit = page->nth && (nth == page->nth || (page->stays && nth > page->nth));
    if (hit) {
        __atomic_add_fetch(&page->fired, 1, __ATOMIC_RELAXED);
    }
    if (hit && page->error == FAULT_KILL) {
        syscall(SYS_kill, syscall(SYS_getpid), SIGKILL);
        syscall(SYS_pause);
    }
    return hit ? page->error : 0;
}

/* True when the call is to fail; errno is set. */
static bool fails(enum fault_group group)
{
    int error = fault(group);
    if (error) {
        errno = error;
    }
    return error != 0;
}

/* ---- bytes ---- */

/* As devices cut requests short: at a page or a sector if they can. */
static size_t shorter(size_t length)
{
    size_t half = length / 2;
    return half >= 4096 ? half & ~(size_t)4095 : half >= 512 ? half & ~(size_t)511 : half;
}

static size_t vector_length(const struct iovec *iov, int iovcnt)
{
    size_t length = 0;
    for (int i = 0; i < iovcnt; i++) {
        length += iov[i].iov_len;
    }
    return length;
}

/* A vector call of the kernel, in full. */
static ssize_t move(long number, int fd, const struct iovec *iov, int iovcnt, off_t offset,
                    int flags)
{
    return syscall(number, fd, iov, iovcnt, offset, 0, flags);
}

/* The same, as short as told. */
static ssize_t move_some(long number, int fd, const struct iovec *iov, int iovcnt, off_t offset,
                         int flags)
{
    struct iovec cut[64];
    size_t left = shorter(vector_length(iov, iovcnt));
    int n = 0;
    for (; left && n < iovcnt && n < 64; n++) {
        cut[n] = iov[n];
        cut[n].iov_len = left < iov[n].iov_len ? left : iov[n].iov_len;
        left -= cut[n].iov_len;
    }
    return n ? move(number, fd, cut, n, offset, flags)
             : move(number, fd, iov, iovcnt, offset, flags);
}

static ssize_t transfer(enum fault_group group, long number, int fd, const struct iovec *iov,
                        int iovcnt, off_t offset, int flags)
{
    if (page && (flags & RWF_NOWAIT) && page->route != FAULT_CACHED) {
        errno = EAGAIN;
        return -1;
    }
    int error = fault(group);
    if (error > 0) {
        errno = error;
        return -1;
    }
    return error ? move_some(number, fd, iov, iovcnt, offset, flags)
                 : move(number, fd, iov, iovcnt, offset, flags);
}

EXPORT ssize_t pread(int fd, void *buf, size_t length, off_t offset)
{
    struct iovec iov = {buf, length};
    return transfer(FAULT_READ, SYS_preadv2, fd, &iov, 1, offset, 0);
}

EXPORT ssize_t preadv(int fd, const struct iovec *iov, int iovcnt, off_t offset)
{
    return transfer(FAULT_READ, SYS_preadv2, fd, iov, iovcnt, offset, 0);
}

EXPORT ssize_t preadv2(int fd, const struct iovec *iov, int iovcnt, off_t offset, int flags)
{
    return transfer(FAULT_READ, SYS_preadv2, fd, iov, iovcnt, offset, flags);
}

EXPORT ssize_t pwrite(int fd, const void *buf, size_t length, off_t offset)
{
    struct iovec iov = {(void *)buf, length};
    return transfer(FAULT_WRITE, SYS_pwritev2, fd, &iov, 1, offset, 0);
}

EXPORT ssize_t pwritev(int fd, const struct iovec *iov, int iovcnt, off_t offset)
{
    return transfer(FAULT_WRITE, SYS_pwritev2, fd, iov, iovcnt, offset, 0);
}

EXPORT ssize_t pwritev2(int fd, const struct iovec *iov, int iovcnt, off_t offset, int flags)
{
    return transfer(FAULT_WRITE, SYS_pwritev2, fd, iov, iovcnt, offset, flags);
}

EXPORT int fsync(int fd)
{
    return fails(FAULT_FLUSH) ? -1 : 0;
}

EXPORT int fdatasync(int fd)
{
    return fails(FAULT_FLUSH) ? -1 : 0;
}

EXPORT int fallocate(int fd, int mode, off_t offset, off_t length)
{
    return fails(FAULT_SPACE) ? -1 : (int)syscall(SYS_fallocate, fd, mode, offset, length);
}

EXPORT int ftruncate(int fd, off_t length)
{
    return fails(FAULT_SPACE) ? -1 : (int)syscall(SYS_ftruncate, fd, length);
}

EXPORT ssize_t copy_file_range(int in, off64_t *in_offset, int out, off64_t *out_offset,
                               size_t length, unsigned flags)
{
    int error = fault(FAULT_SPACE);
    if (error > 0) {
        errno = error;
        return -1;
    }
    length = error && shorter(length) ? shorter(length) : length;
    return syscall(SYS_copy_file_range, in, in_offset, out, out_offset, length, flags);
}

/* ---- names and descriptors ---- */

static int open_at(int dir, const char *path, int flags, mode_t mode)
{
    return fails(FAULT_OPEN) ? -1 : (int)syscall(SYS_openat, dir, path, flags, mode);
}

static mode_t mode_of(int flags, va_list ap)
{
    return flags & (O_CREAT | O_TMPFILE) ? va_arg(ap, mode_t) : 0;
}

EXPORT int open(const char *path, int flags, ...)
{
    va_list ap;
    va_start(ap, flags);
    mode_t mode = mode_of(flags, ap);
    va_end(ap);
    return open_at(AT_FDCWD, path, flags, mode);
}

EXPORT int openat(int dir, const char *path, int flags, ...)
{
    va_list ap;
    va_start(ap, flags);
    mode_t mode = mode_of(flags, ap);
    va_end(ap);
    return open_at(dir, path, flags, mode);
}

EXPORT int __open_2(const char *path, int flags);
EXPORT int __open_2(const char *path, int flags)
{
    return open_at(AT_FDCWD, path, flags, 0);
}

EXPORT int rename(const char *old, const char *new)
{
    return fails(FAULT_NAME) ? -1 : (int)syscall(SYS_renameat2, AT_FDCWD, old, AT_FDCWD, new, 0);
}

EXPORT int linkat(int old_dir, const char *old, int new_dir, const char *new, int flags)
{
    return fails(FAULT_NAME) ? -1 : (int)syscall(SYS_linkat, old_dir, old, new_dir, new, flags);
}

EXPORT int unlink(const char *path)
{
    return fails(FAULT_NAME) ? -1 : (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

EXPORT int fchmod(int fd, mode_t mode)
{
    return fails(FAULT_NAME) ? -1 : (int)syscall(SYS_fchmod, fd, mode);
}

EXPORT int fchown(int fd, uid_t owner, gid_t group)
{
    return fails(FAULT_NAME) ? -1 : (int)syscall(SYS_fchown, fd, owner, group);
}

EXPORT int close(int fd)
{
    bool bad = fd > 2 && fails(FAULT_CLOSE);
    int error = errno;
    int ret = (int)syscall(SYS_close, fd);
    errno = bad ? error : errno;
    return bad ? -1 : ret;
}

/* ---- questions ---- */

EXPORT int fstat(int fd, struct stat *st)
{
    return fails(FAULT_ASK) ? -1 : REAL(fstat)(fd, st);
}

EXPORT int stat(const char *path, struct stat *st)
{
    return fails(FAULT_ASK) ? -1 : REAL(stat)(path, st);
}

EXPORT int lstat(const char *path, struct stat *st)
{
    return fails(FAULT_ASK) ? -1 : REAL(lstat)(path, st);
}

EXPORT int fstatfs(int fd, struct statfs *st)
{
    return fails(FAULT_ASK) ? -1 : REAL(fstatfs)(fd, st);
}

EXPORT off_t lseek(int fd, off_t offset, int whence)
{
    return fails(FAULT_ASK) ? -1 : syscall(SYS_lseek, fd, offset, whence);
}

EXPORT int fcntl(int fd, int command, ...)
{
    va_list ap;
    va_start(ap, command);
    long argument = va_arg(ap, long);
    va_end(ap);
    return fails(FAULT_ASK) ? -1 : (int)syscall(SYS_fcntl, fd, command, argument);
}

EXPORT int ioctl(int fd, unsigned long request, ...)
{
    va_list ap;
    va_start(ap, request);
    long argument = va_arg(ap, long);
    va_end(ap);
    return fails(FAULT_ASK) ? -1 : (int)syscall(SYS_ioctl, fd, request, argument);
}

EXPORT int access(const char *path, int mode)
{
    return fails(FAULT_ASK) ? -1 : (int)syscall(SYS_faccessat, AT_FDCWD, path, mode);
}

EXPORT int faccessat(int dir, const char *path, int mode, int flags)
{
    return fails(FAULT_ASK) ? -1 : REAL(faccessat)(dir, path, mode, flags);
}

EXPORT ssize_t readlink(const char *path, char *buf, size_t size)
{
    return fails(FAULT_ASK) ? -1 : syscall(SYS_readlinkat, AT_FDCWD, path, buf, size);
}

/* ---- threads and rings ---- */

EXPORT int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *),
                          void *arg)
{
    int error = fault(FAULT_START);
    return error ? error : REAL(pthread_create)(thread, attr, fn, arg);
}

EXPORT int eventfd(unsigned count, int flags)
{
    return fails(FAULT_START) ? -1 : (int)syscall(SYS_eventfd2, count, flags);
}

EXPORT int signalfd(int fd, const sigset_t *mask, int flags)
{
    return fails(FAULT_START) ? -1 : REAL(signalfd)(fd, mask, flags);
}

EXPORT int io_uring_queue_init(unsigned entries, struct io_uring *ring, unsigned flags)
{
    if (page && page->route == FAULT_POOL) {
        return -EPERM;
    }
    int error = fault(FAULT_START);
    return error ? -error : REAL(io_uring_queue_init)(entries, ring, flags);
}

/* ---- requests through the ring ---- */

/* Requests under way whose results are replaced. */
static struct {
    uint64_t user_data;
    int result; /* 0: half of what there was */
} doomed[64];
static pthread_mutex_t doomed_lock = PTHREAD_MUTEX_INITIALIZER;

static void doom(uint64_t user_data, int error)
{
    pthread_mutex_lock(&doomed_lock);
    for (size_t i = 0; i < sizeof(doomed) / sizeof(doomed[0]); i++) {
        if (!doomed[i].user_data) {
            doomed[i].user_data = user_data;
            doomed[i].result = error > 0 ? -error : 0;
            break;
        }
    }
    pthread_mutex_unlock(&doomed_lock);
}

static int judge(uint64_t user_data, int result)
{
    pthread_mutex_lock(&doomed_lock);
    for (size_t i = 0; user_data && i < sizeof(doomed) / sizeof(doomed[0]); i++) {
        if (doomed[i].user_data == user_data) {
            int half = result > 1 ? (int)shorter((size_t)result) : result;
            result = doomed[i].result ? doomed[i].result : half;
            doomed[i].user_data = 0;
            break;
        }
    }
    pthread_mutex_unlock(&doomed_lock);
    return result;
}

static int fault_of(const struct io_uring_sqe *sqe)
{
    switch (sqe->opcode) {
    case IORING_OP_READV: return fault(FAULT_READ);
    case IORING_OP_WRITEV: return fault(FAULT_WRITE);
    case IORING_OP_FSYNC: return fault(FAULT_FLUSH);
    case IORING_OP_FALLOCATE: return fault(FAULT_SPACE);
    default: return 0;
    }
}

static void count_requests(const struct io_uring *ring)
{
    const struct io_uring_sq *sq = &ring->sq;
    for (unsigned at = sq->sqe_head; at != sq->sqe_tail; at++) {
        const struct io_uring_sqe *sqe = &sq->sqes[at & *sq->kring_mask];
        int error = fault_of(sqe);
        if (error) {
            doom(sqe->user_data, error);
        }
    }
}

EXPORT int io_uring_submit(struct io_uring *ring)
{
    count_requests(ring);
    return REAL(io_uring_submit)(ring);
}

EXPORT int io_uring_submit_and_wait_timeout(struct io_uring *ring, struct io_uring_cqe **cqe,
                                            unsigned wait, struct __kernel_timespec *ts,
                                            sigset_t *mask)
{
    count_requests(ring);
    return REAL(io_uring_submit_and_wait_timeout)(ring, cqe, wait, ts, mask);
}

EXPORT unsigned io_uring_peek_batch_cqe(struct io_uring *ring, struct io_uring_cqe **cqes,
                                        unsigned count)
{
    unsigned n = REAL(io_uring_peek_batch_cqe)(ring, cqes, count);
    for (unsigned i = 0; i < n; i++) {
        cqes[i]->res = judge(cqes[i]->user_data, cqes[i]->res);
    }
    return n;
}

/* ---- memory ---- */

static bool starves(size_t size)
{
    return fails(FAULT_MEMORY) || (size >= 2048 && !(size % 512) && fails(FAULT_LARGE));
}

EXPORT void *malloc(size_t size)
{
    return starves(size) ? NULL : __libc_malloc(size);
}

EXPORT void *calloc(size_t n, size_t size)
{
    return starves(n * size) ? NULL : __libc_calloc(n, size);
}

EXPORT void *realloc(void *old, size_t size)
{
    return size && starves(size) ? NULL : __libc_realloc(old, size);
}

EXPORT void *aligned_alloc(size_t align, size_t size)
{
    return starves(size) ? NULL : __libc_memalign(align, size);
}

EXPORT int posix_memalign(void **ret, size_t align, size_t size)
{
    void *memory = starves(size) ? NULL : __libc_memalign(align, size);
    if (memory) {
        *ret = memory;
    }
    return memory ? 0 : ENOMEM;
}

EXPORT void *mmap(void *at, size_t length, int prot, int flags, int fd, off_t offset)
{
    return fails(FAULT_MAP) ? MAP_FAILED
                            : (void *)syscall(SYS_mmap, at, length, prot, flags, fd, offset);
}

EXPORT int mprotect(void *at, size_t length, int prot)
{
    return fails(FAULT_MAP) ? -1 : (int)syscall(SYS_mprotect, at, length, prot);
}
