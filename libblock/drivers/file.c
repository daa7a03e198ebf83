/*
 * file: regular files (and, told so, block devices). Opening finds out what the
 * file can do; file-io.c moves bytes, file-space.c deals with holes,
 * file-create.c makes and resizes.
 *
 * A file may end anywhere. With O_DIRECT everything is aligned but that end,
 * which goes through a second descriptor without O_DIRECT; the kernel keeps the
 * two in step.
 */
#include "libblock/drivers/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "libblock/driver.h"
#include "libblock/drivers/file-align.h"

static const char *const locking_words[] = {"off", "on", "auto", NULL};
static const char *const aio_words[] = {"threads", "native", "io_uring", NULL};

const struct field file_fields[] = {
    FIELD(struct file_options, filename, "filename", NULL, "path of the file"),
    FIELD_ENUM(struct file_options, locking, "locking", "auto", locking_words,
               "lock the file against other programs"),
    FIELD_ENUM(struct file_options, aio, "aio", "threads", aio_words,
               "accepted; the fastest way that works is used"),
    FIELD(struct file_options, drop_cache, "drop-cache", "on", "accepted"),
    {0},
};

static bool find_size(struct blk_node *node, const struct stat *st, GError **error)
{
    struct file_state *s = node->state;
    const struct file_options *o = node->options;
    uint64_t size = st->st_size;
    s->device = S_ISBLK(st->st_mode);
    if (S_ISDIR(st->st_mode)) {
        return error_set(error, EISDIR, "could not open '%s': it is a directory", o->filename);
    }
    if (s->device ? ioctl(s->fd, BLKGETSIZE64, &size) < 0 : !S_ISREG(st->st_mode)) {
        return error_set(error, EINVAL, "could not open '%s': neither a regular file nor a disk",
                         o->filename);
    }
    if (size > INT64_MAX) {
        return error_set(error, EFBIG, "'%s' is too large", o->filename);
    }
    node->size = size;
    node->growable = !s->device;
    return true;
}

static bool is_in_ram(int fd)
{
    struct statfs fs;
    return fstatfs(fd, &fs) == 0 && (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC);
}

static bool find_abilities(struct blk_node *node, GError **error)
{
    struct file_state *s = node->state;
    const struct file_options *o = node->options;
    struct file_align align = {1, 0};
    if ((node->flags & NODE_DIRECT) && !file_align_probe(s->fd, &align)) {
        return error_set(error, EINVAL, "'%s': no alignment for direct I/O works here",
                         o->filename);
    }
    s->align = align.offset;
    s->memory_align = align.memory;
    s->ram = !s->device && is_in_ram(s->fd);
    s->patient = !(node->flags & NODE_SERVER);
    return true;
}

static bool take_locks(struct blk_node *node, uint32_t flags, GError **error)
{
    struct file_state *s = node->state;
    const struct file_options *o = node->options;
    if (o->locking == FILE_LOCKING_OFF) {
        return true;
    }
    return file_lock_set(s->fd, o->filename, &s->lock, file_lock_for_flags(flags),
                         o->locking == FILE_LOCKING_ON, error);
}

/* Without waiting, in case it is a FIFO that somebody put in the way. */
bool file_open_fd(struct blk_node *node, GError **error)
{
    struct file_state *s = node->state;
    const struct file_options *o = node->options;
    s->tail_fd = -1;
    if (!o->filename) {
        return error_set(error, EINVAL, "driver '%s' needs the option 'filename'",
                         node->driver->name);
    }
    int flags = O_CLOEXEC | O_NONBLOCK | (node->flags & NODE_RDWR ? O_RDWR : O_RDONLY) |
                (node->flags & NODE_DIRECT ? O_DIRECT : 0);
    s->fd = open(o->filename, flags);
    struct stat st;
    if (s->fd < 0 || fstat(s->fd, &st) < 0 || fcntl(s->fd, F_SETFL, flags & ~O_NONBLOCK) < 0) {
        int err = errno;
        bool direct = err == EINVAL && (node->flags & NODE_DIRECT);
        error_set_errno(error, err, "could not open '%s'%s", o->filename,
                        direct ? " (the file system may not support O_DIRECT)" : "");
    } else if (find_size(node, &st, error) && find_abilities(node, error) &&
               take_locks(node, node->flags, error)) {
        return true;
    }
    if (s->fd >= 0) {
        close(s->fd);
    }
    return false;
}

static bool file_co_open(struct blk_node *node, json_t *rest, GError **error)
{
    return file_open_fd(node, error);
}

bool file_co_close(struct blk_node *node, GError **error)
{
    struct file_state *s = node->state;
    const struct file_options *o = node->options;
    int err = 0;
    if (s->tail_fd >= 0 && close(s->tail_fd) < 0) {
        err = errno;
    }
    if (close(s->fd) < 0) {
        err = errno;
    }
    return !err || !(node->flags & NODE_RDWR) ||
           error_set_errno(error, err, "could not close '%s'", o->filename);
}

bool file_reopen(struct blk_node *node, uint32_t flags, GError **error)
{
    const struct file_options *o = node->options;
    uint32_t fixed = NODE_RDWR | NODE_DIRECT;
    if ((flags ^ node->flags) & fixed) {
        return error_set(error, ENOTSUP, "'%s' cannot change its access while open", o->filename);
    }
    return take_locks(node, flags, error);
}

void file_limits(struct blk_node *node, struct blk_limits *limits)
{
    const struct file_state *s = node->state;
    if (s->align) {
        limits->request_align = s->align;
        limits->memory_align = s->memory_align;
        limits->max_transfer = 64 * MiB;
    }
    limits->max_zero = limits->max_discard = 1 * GiB;
}

static bool file_info(struct blk_node *node, struct blk_info *info, GError **error)
{
    const struct file_state *s = node->state;
    const struct file_options *o = node->options;
    struct stat st;
    if (fstat(s->fd, &st) < 0) {
        return error_set_errno(error, errno, "could not stat '%s'", o->filename);
    }
    info->actual_size = (int64_t)st.st_blocks * 512;
    info->specific = json_pack("{s:s, s:{}}", "type", node->driver->name, "data");
    return true;
}

const struct blk_driver file_driver = {
    .name = "file",
    .description = "a regular file",
    .flags = DRIVER_PROTOCOL | DRIVER_ANY_LOOP | DRIVER_FUA,
    .state_size = sizeof(struct file_state),
    .options = file_fields,
    .options_size = sizeof(struct file_options),
    .create_options = file_create_fields,
    .create_options_size = sizeof(struct file_create_options),
    .co_open = file_co_open,
    .co_close = file_co_close,
    .reopen = file_reopen,
    .limits = file_limits,
    .co_read = file_co_read,
    .co_write = file_co_write,
    .co_zero = file_co_zero,
    .co_discard = file_co_discard,
    .co_flush = file_co_flush,
    .co_map = file_co_map,
    .co_resize = file_co_resize,
    .co_copy_range = file_co_copy_range,
    .info = file_info,
    .co_create = file_co_create,
};
