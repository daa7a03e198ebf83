/*
 * Making and resizing files. A file that is already there is locked before it
 * is emptied, so that nobody's running disk is truncated.
 */
#include "libblock/drivers/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum preallocation { PREALLOCATION_OFF, PREALLOCATION_FALLOC, PREALLOCATION_FULL };

static const char *const preallocation_words[] = {"off", "falloc", "full", NULL};

const struct field file_create_fields[] = {
    FIELD_ENUM(struct file_create_options, preallocation, "preallocation", "off",
               preallocation_words, "space to reserve: none, by falloc, or by writing zeroes"),
    FIELD(struct file_create_options, nocow, "nocow", "off", "turn off copy-on-write (btrfs)"),
    FIELD_SIZE(struct file_create_options, extent_size_hint, "extent_size_hint", "1M",
               "size hint for the extents of the file (XFS); 0 for none"),
    {0},
};

static int write_zeroes(int fd, int64_t offset, int64_t end)
{
    int64_t chunk = min_i64(end - offset, MiB);
    void *zeroes = g_try_malloc0(chunk);
    int ret = zeroes ? 0 : -ENOMEM;
    while (offset < end && !ret) {
        ssize_t n = pwrite(fd, zeroes, min_i64(chunk, end - offset), offset);
        ret = n < 0 && errno != EINTR ? -errno : 0;
        offset += n > 0 ? n : 0;
    }
    g_free(zeroes);
    return ret;
}

static int grow(int fd, int64_t old_size, int64_t size, int mode)
{
    if (ftruncate(fd, size) < 0) {
        return -errno;
    }
    if (mode == PREALLOCATION_OFF || size == old_size) {
        return 0;
    }
    if (mode == PREALLOCATION_FULL) {
        return write_zeroes(fd, old_size, size);
    }
    return fallocate(fd, 0, old_size, size - old_size) < 0 ? -errno : 0;
}

static int find_mode(const char *word)
{
    for (int i = 0; preallocation_words[i]; i++) {
        if (!strcmp(preallocation_words[i], word)) {
            return i;
        }
    }
    return -1;
}

bool file_set_size(int fd, const char *filename, int64_t old_size, int64_t size,
                   const char *preallocation, GError **error)
{
    int mode = preallocation ? find_mode(preallocation) : PREALLOCATION_OFF;
    if (mode < 0) {
        return error_set(error, ENOTSUP, "preallocation mode '%s' is not for files", preallocation);
    }
    if (size < old_size && mode != PREALLOCATION_OFF) {
        return error_set(error, ENOTSUP, "preallocation cannot be used for shrinking '%s'",
                         filename);
    }
    int ret = grow(fd, old_size, size, mode);
    if (ret && size > old_size && ftruncate(fd, old_size) < 0) {
        ret = -errno;
    }
    return !ret || error_set_errno(error, -ret, "could not resize '%s' to %" PRId64 " bytes",
                                   filename, size);
}

/* Whoever changes the size says so, even where the node itself was opened without that right. */
static bool lock_size(struct blk_node *node, GError **error)
{
    struct file_state *s = node->state;
    const struct file_options *o = node->options;
    struct file_lock wanted = s->lock;
    wanted.uses |= FILE_LOCK_RESIZE;
    return o->locking == FILE_LOCKING_OFF || (node->flags & NODE_NO_LOCK) ||
           file_lock_set(s->fd, o->filename, &s->lock, wanted, o->locking == FILE_LOCKING_ON,
                         error);
}

bool file_co_resize(struct blk_node *node, int64_t size, const char *preallocation, GError **error)
{
    const struct file_state *s = node->state;
    const struct file_options *o = node->options;
    if (!lock_size(node, error) ||
        !file_set_size(s->fd, o->filename, node_size(node), size, preallocation, error)) {
        return false;
    }
    __atomic_store_n(&node->size, size, __ATOMIC_RELAXED);
    return true;
}

/* Both are hints: file systems that do not know them are left alone. */
static void apply_hints(int fd, const struct file_create_options *o)
{
    int attributes;
    if (o->nocow && ioctl(fd, FS_IOC_GETFLAGS, &attributes) == 0) {
        attributes |= FS_NOCOW_FL;
        (void)!ioctl(fd, FS_IOC_SETFLAGS, &attributes);
    }
    struct fsxattr xattr;
    if (o->extent_size_hint && ioctl(fd, FS_IOC_FSGETXATTR, &xattr) == 0) {
        xattr.fsx_xflags |= FS_XFLAG_EXTSIZE;
        xattr.fsx_extsize = min_i64(o->extent_size_hint, UINT32_MAX);
        (void)!ioctl(fd, FS_IOC_FSSETXATTR, &xattr);
    }
}

static bool fill(int fd, const struct blk_create *create, GError **error)
{
    const struct file_create_options *o = create->options;
    struct file_lock held = {0, 0};
    struct file_lock wanted = {FILE_LOCK_WRITE | FILE_LOCK_RESIZE, FILE_LOCK_RESIZE};
    struct stat st;
    if (!file_lock_set(fd, create->filename, &held, wanted, false, error)) {
        return false;
    }
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        return error_set(error, EINVAL, "could not create '%s': it is there and no regular file",
                         create->filename);
    }
    if (ftruncate(fd, 0) < 0) {
        return error_set_errno(error, errno, "could not empty '%s'", create->filename);
    }
    apply_hints(fd, o);
    return file_set_size(fd, create->filename, 0, create->size,
                         preallocation_words[o->preallocation], error);
}

bool file_co_create(const struct blk_create *create, GError **error)
{
    int fd = open(create->filename, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) {
        return error_set_errno(error, errno, "could not create '%s'", create->filename);
    }
    bool ok = fill(fd, create, error);
    if (close(fd) < 0 && ok) {
        ok = error_set_errno(error, errno, "could not create '%s'", create->filename);
    }
    return ok;
}
