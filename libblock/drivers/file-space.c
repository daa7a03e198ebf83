/*
 * Holes: zeroing, discarding, finding and copying them. What a file system
 * cannot do is remembered per node, so that it is asked once.
 */
#include "libblock/drivers/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

static bool is_set(const bool *flag)
{
    return __atomic_load_n(flag, __ATOMIC_RELAXED);
}

static void set(bool *flag)
{
    __atomic_store_n(flag, true, __ATOMIC_RELAXED);
}

static bool is_unsupported(int ret)
{
    return ret == -EOPNOTSUPP || ret == -ENOSYS || ret == -ENOTTY || ret == -ENODEV;
}

static int space_co_allocate(struct file_state *s, int mode, int64_t offset, int64_t length)
{
    if (!s->patient && !s->ram) {
        return loop_co_fallocate(s->fd, mode, offset, length);
    }
    int ret;
    do {
        ret = fallocate(s->fd, mode, offset, length) < 0 ? -errno : 0;
    } while (ret == -EINTR);
    return ret;
}

/* fallocate() of a kind that may not be there; `missing` remembers it. */
static int space_co_try(struct file_state *s, int mode, int64_t offset, int64_t length,
                        bool *missing)
{
    if (is_set(missing)) {
        return -ENOTSUP;
    }
    int ret = space_co_allocate(s, mode, offset, length);
    if (is_unsupported(ret)) {
        set(missing);
        return -ENOTSUP;
    }
    return ret == -EINVAL ? -ENOTSUP : ret;
}

static int space_co_punch(struct file_state *s, int64_t offset, int64_t length)
{
    return space_co_try(s, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length,
                        &s->no_punch);
}

/* Makes the file reach to `end` by writing its last byte: unlike ftruncate() that cannot cut off
 * what somebody else appends meanwhile. */
static int extend(struct blk_node *node, int64_t end)
{
    const struct file_state *s = node->state;
    if (s->align) {
        return -ENOTSUP;
    }
    return pwrite(s->fd, "", 1, end - 1) == 1 ? 0 : -errno;
}

int file_co_zero(struct blk_node *node, int64_t offset, int64_t length, uint32_t flags)
{
    struct file_state *s = node->state;
    int64_t end = offset + length;
    int64_t inside = max_i64(0, min_i64(end, node_size(node)) - offset);
    int ret = -ENOTSUP;
    if (flags & REQ_MAY_UNMAP) {
        ret = inside ? space_co_punch(s, offset, inside) : 0;
        ret = !ret && inside < length ? extend(node, end) : ret;
    }
    if (ret == -ENOTSUP) {
        ret = space_co_try(s, FALLOC_FL_ZERO_RANGE, offset, length, &s->no_zero_range);
    }
    return ret || !(flags & REQ_FUA) ? ret : file_co_flush(node);
}

int file_co_discard(struct blk_node *node, int64_t offset, int64_t length)
{
    return space_co_punch(node->state, offset, length);
}

/* The first offset >= `from` where data (or a hole) begins; the end of the file when none does. */
static int64_t seek(int fd, int64_t from, int whence, int64_t end)
{
    int64_t at = lseek(fd, from, whence);
    return at >= 0 ? at : errno == ENXIO ? end : -errno;
}

int file_co_map(struct blk_node *node, int64_t offset, int64_t length, uint32_t flags,
                struct extent_list *list)
{
    const struct file_state *s = node->state;
    int64_t end = offset + length;
    bool more = true;
    while (offset < end && more) {
        int64_t data = s->device ? -EINVAL : seek(s->fd, offset, SEEK_DATA, end);
        int64_t stop = data > offset ? data : data < 0 ? end : seek(s->fd, offset, SEEK_HOLE, end);
        stop = stop <= offset ? end : min_i64(stop, end);
        struct blk_extent extent = {.offset = offset,
                                    .length = stop - offset,
                                    .flags = EXTENT_ALLOCATED | EXTENT_OFFSET |
                                             (data > offset ? EXTENT_ZERO : EXTENT_DATA),
                                    .leaf = node,
                                    .leaf_offset = offset};
        more = extents_add(list, &extent);
        offset = stop;
    }
    return 0;
}

static int clone_range(struct file_state *src, int64_t src_offset, struct file_state *dst,
                       int64_t dst_offset, int64_t length)
{
    struct file_clone_range range = {.src_fd = src->fd,
                                     .src_offset = src_offset,
                                     .src_length = length,
                                     .dest_offset = dst_offset};
    if (is_set(&dst->no_clone) || !is_aligned(src_offset | dst_offset | length, 4096)) {
        return -ENOTSUP;
    }
    if (ioctl(dst->fd, FICLONERANGE, &range) < 0) {
        set(&dst->no_clone);
        return -ENOTSUP;
    }
    return 0;
}

static bool cannot_copy(int err)
{
    return err == EXDEV || err == EOPNOTSUPP || err == ENOSYS || err == EINVAL || err == EBADF ||
           err == ETXTBSY || err == EPERM;
}

struct copy {
    int src_fd, dst_fd;
    int64_t src_offset, dst_offset, length;
};

static int64_t copy_all(void *arg)
{
    struct copy *c = arg;
    bool first = true;
    while (c->length > 0) {
        off64_t from = c->src_offset, to = c->dst_offset;
        ssize_t n = copy_file_range(c->src_fd, &from, c->dst_fd, &to, c->length, 0);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            int err = n < 0 ? errno : EIO;
            return first && (n == 0 || cannot_copy(err)) ? -ENOTSUP : -err;
        }
        first = false;
        c->src_offset += n;
        c->dst_offset += n;
        c->length -= n;
    }
    return 0;
}

int file_co_copy_range(struct blk_node *src, int64_t src_offset, struct blk_node *dst,
                       int64_t dst_offset, int64_t length)
{
    struct file_state *s = src->state, *d = dst->state;
    if (!clone_range(s, src_offset, d, dst_offset, length)) {
        return 0;
    }
    struct copy copy = {s->fd, d->fd, src_offset, dst_offset, length};
    return d->patient ? copy_all(&copy) : co_offload(copy_all, &copy);
}
