/*
 * Image locks, as an agreement on bytes of the image file itself (their
 * content does not matter). Who uses an image in way i holds a shared lock on
 * byte 100+i; who does not bear others to use it so holds one on byte 200+i.
 * Nobody ever locks exclusively: after taking its bytes, a program asks whether
 * an exclusive lock on the opposite bytes would conflict, and gives up when it
 * would. Two programs that start at once may both give up; they never both go on.
 *
 * The locks belong to the open file description (F_OFD_*), so that a library
 * closing the same file elsewhere in the process does not drop them.
 */
#include "libblock/drivers/file-lock.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "libblock/drivers/file-holder.h"
#include "base/error.h"
#include "libblock/libblock.h"

enum { USE_BASE = 100, EXCLUDE_BASE = 200, LOCK_BITS = 4 };

static const char *const lock_names[LOCK_BITS] = {"consistent read", "write", "write unchanged",
                                                  "resize"};

struct file_lock file_lock_for_flags(uint32_t flags)
{
    struct file_lock lock = {0, 0};
    if (flags & NODE_NO_LOCK) {
        return lock;
    }
    bool owner = flags & NODE_UNSHARED;
    lock.uses |= flags & NODE_NO_IO ? 0 : FILE_LOCK_READ;
    if (flags & NODE_RDWR) {
        lock.uses |= FILE_LOCK_WRITE | (owner ? FILE_LOCK_RESIZE : 0);
    }
    if (owner && !(flags & NODE_FORCE_SHARE)) {
        lock.excludes = FILE_LOCK_WRITE | FILE_LOCK_RESIZE;
    }
    return lock;
}

static int lock_byte(int fd, int64_t byte, bool hold)
{
    struct flock fl = {
        .l_type = hold ? F_RDLCK : F_UNLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
    return fcntl(fd, F_OFD_SETLK, &fl) < 0 ? -errno : 0;
}

/* Takes the bytes of `to` that `from` lacks, or, with `hold` false, drops those of `from` that `to`
 * lacks. */
static int change_bytes(int fd, int base, uint32_t from, uint32_t to, bool hold)
{
    uint32_t change = hold ? to & ~from : from & ~to;
    int ret = 0;
    for (int i = 0; i < LOCK_BITS && !ret; i++) {
        ret = change & (1u << i) ? lock_byte(fd, base + i, hold) : 0;
    }
    return ret;
}

static int take(int fd, const struct file_lock *held, const struct file_lock *wanted)
{
    int ret = change_bytes(fd, USE_BASE, held->uses, wanted->uses, true);
    return ret ? ret : change_bytes(fd, EXCLUDE_BASE, held->excludes, wanted->excludes, true);
}

static void drop(int fd, const struct file_lock *held, const struct file_lock *wanted)
{
    change_bytes(fd, USE_BASE, held->uses, wanted->uses, false);
    change_bytes(fd, EXCLUDE_BASE, held->excludes, wanted->excludes, false);
}

/* The first bit of `bits` whose byte somebody else holds, -1 for none, or -errno below that. */
static int find_conflict(int fd, int base, uint32_t bits)
{
    for (int i = 0; i < LOCK_BITS; i++) {
        struct flock fl = {
            .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = base + i, .l_len = 1};
        if (!(bits & (1u << i))) {
            continue;
        }
        if (fcntl(fd, F_OFD_GETLK, &fl) < 0) {
            return -1;
        }
        if (fl.l_type != F_UNLCK) {
            return i;
        }
    }
    return -1;
}

static bool check(int fd, const char *filename, const struct file_lock *wanted, GError **error)
{
    int bit = find_conflict(fd, EXCLUDE_BASE, wanted->uses);
    const char *shared = "";
    int64_t byte = EXCLUDE_BASE + bit;
    if (bit < 0) {
        bit = find_conflict(fd, USE_BASE, wanted->excludes);
        shared = "shared ";
        byte = USE_BASE + bit;
    }
    if (bit < 0) {
        return true;
    }
    g_autofree char *holder = file_holder_describe(fd, byte);
    return error_set(
        error, EAGAIN, "Failed to get %s\"%s\" lock%s%s\nIs another process using the image [%s]?",
        shared, lock_names[bit], holder ? ": held by " : "", holder ? holder : "", filename);
}

bool file_lock_set(int fd, const char *filename, struct file_lock *held, struct file_lock wanted,
                   bool required, GError **error)
{
    int ret = take(fd, held, &wanted);
    if (ret) {
        drop(fd, &wanted, held);
        return !required || error_set_errno(error, -ret, "could not lock '%s'", filename);
    }
    if (!check(fd, filename, &wanted, error)) {
        drop(fd, &wanted, held);
        return false;
    }
    drop(fd, held, &wanted);
    *held = wanted;
    return true;
}

bool file_lock_move(int old_fd, int new_fd, const char *filename, struct file_lock *held,
                    struct file_lock wanted, bool required, GError **error)
{
    const struct file_lock none = {0, 0};
    int ret = take(new_fd, &none, &wanted);
    drop(old_fd, held, &none);
    if (ret ? !required : check(new_fd, filename, &wanted, error)) {
        *held = ret ? none : wanted;
        return true;
    }
    if (ret) {
        error_set_errno(error, -ret, "could not lock '%s'", filename);
    }
    drop(new_fd, &wanted, &none);
    take(old_fd, &none, held);
    return false;
}
