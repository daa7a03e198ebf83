/*
 * file: regular files (and, told so, block devices). Opening finds out what the
 * file can do; file-io.c moves bytes, file-space.c deals with holes,
 * file-create.c makes and resizes.
 *
 * A file may end anywhere. With O_DIRECT everything is aligned but that end,
 * which goes through a second descriptor without O_DIRECT; the kernel keeps the
 * two in step. A name is resolved once, and what it led to is judged by the
 * descriptor.
 */
#include "libblock/drivers/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdio.h>
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

static bool refuse_special(const char *filename, GError **error)
{
    return error_set(error, EACCES,
                     "could not open '%s': it is no regular file, and an image names it "
                     "(--allow-ref=all opens it)",
                     filename);
}

static bool find_size(struct blk_node *node, GError **error)
{
    struct file_state *s = node->state;
    const struct file_options *o = node->options;
    struct stat st;
    if (fstat(s->fd, &st) < 0) {
        return error_set_errno(error, errno, "could not stat '%s'", o->filename);
    }
    uint64_t size = st.st_size;
    s->device = S_ISBLK(st.st_mode);
    if (S_ISDIR(st.st_mode)) {
        return error_set(error, EISDIR, "could not open '%s': it is a directory", o->filename);
    }
    if ((node->flags & NODE_REGULAR) && !S_ISREG(st.st_mode)) {
        return refuse_special(o->filename, error);
    }
    if (s->device ? ioctl(s->fd, BLKGETSIZE64, &size) < 0 : !S_ISREG(st.st_mode)) {
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

/* Always -1. */
static int open_failed(const char *filename, int flags, GError **error)
{
    bool direct = errno == EINVAL && (flags & O_DIRECT);
    error_set_errno(error, errno, "could not open '%s'%s", filename,
                    direct ? " (the file system may not support O_DIRECT)" : "");
    return -1;
}

/* Opens what the descriptor `held` (O_PATH) stands for. Without /proc: what the name means now. */
static int open_held(int held, const char *filename, int flags)
{
    char path[32];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", held);
    int fd = open(path, flags);
    return fd < 0 && errno == ENOENT ? open(filename, flags | O_NOCTTY) : fd;
}

/* As open(2), but a device or FIFO is not even opened: for some that alone does things. */
static int open_regular(const char *filename, int flags, GError **error)
{
    struct stat st;
    int fd = -1, held = open(filename, O_PATH | O_CLOEXEC);
    if (held < 0 || fstat(held, &st) < 0) {
        open_failed(filename, 0, error);
    } else if (!S_ISREG(st.st_mode)) {
        refuse_special(filename, error);
    } else if ((fd = open_held(held, filename, flags)) < 0) {
        open_failed(filename, flags, error);
    }
    if (held >= 0) {
        close(held);
    }
    return fd;
}

/* Without waiting, in case it is a FIFO that somebody put in the way. */
static int open_any(const char *filename, int flags, GError **error)
{
    int fd = open(filename, flags | O_NONBLOCK);
    if (fd >= 0 && fcntl(fd, F_SETFL, flags) == 0) {
        return fd;
    }
    open_failed(filename, flags, error);
    if (fd >= 0) {
        close(fd);
    }
    return -1;
}

bool file_open_fd(struct blk_node *node, GError **error)
{
    struct file_state *s = node->state;
    const struct file_options *o = node->options;
    s->tail_fd = -1;
    if (!o->filename) {
        return error_set(error, EINVAL, "driver '%s' needs the option 'filename'",
                         node->driver->name);
    }
    int flags = O_CLOEXEC | (node->flags & NODE_RDWR ? O_RDWR : O_RDONLY) |
                (node->flags & NODE_DIRECT ? O_DIRECT : 0);
    s->fd = node->flags & NODE_REGULAR ? open_regular(o->filename, flags, error)
                                       : open_any(o->filename, flags, error);
    if (s->fd < 0) {
        return false;
    }
    if (find_size(node, error) && find_abilities(node, error) &&
        take_locks(node, node->flags, error)) {
        return true;
    }
    close(s->fd);
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

/* The same file through a descriptor of other access. */
static bool change_access(struct blk_node *node, uint32_t flags, GError **error)
{
    struct file_state *s = node->state;
    const struct file_options *o = node->options;
    int access =
        O_CLOEXEC | (flags & NODE_RDWR ? O_RDWR : O_RDONLY) | (flags & NODE_DIRECT ? O_DIRECT : 0);
    int fd = open_held(s->fd, o->filename, access);
    if (fd < 0) {
        open_failed(o->filename, access, error);
        return false;
    }
    if (o->locking != FILE_LOCKING_OFF &&
        !file_lock_move(s->fd, fd, o->filename, &s->lock, file_lock_for_flags(flags),
                        o->locking == FILE_LOCKING_ON, error)) {
        close(fd);
        return false;
    }
    if (s->tail_fd >= 0) {
        close(s->tail_fd);
        s->tail_fd = -1;
    }
    close(s->fd);
    s->fd = fd;
    return true;
}

bool file_co_reopen(struct blk_node *node, uint32_t flags, GError **error)
{
    const struct file_options *o = node->options;
    uint32_t changed = flags ^ node->flags;
    if (changed & NODE_DIRECT) {
        return error_set(error, ENOTSUP, "'%s' cannot change its access while open", o->filename);
    }
    return changed & NODE_RDWR ? change_access(node, flags, error) : take_locks(node, flags, error);
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
    .co_reopen = file_co_reopen,
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
