/*
 * The alignment that O_DIRECT needs: newer kernels tell (statx), block devices
 * tell their sector size, and else it is tried out by reading.
 */
#include "libblock/drivers/file-align.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/stat.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/bytes.h"

enum { ALIGN_MIN = 512, ALIGN_MAX = 4096 };

#ifndef STATX_DIOALIGN
#define STATX_DIOALIGN 0x2000U
#endif

/* The start of the kernel's struct statx, up to what is needed; older headers end before it. */
struct statx_dio {
    uint32_t mask, blksize;
    uint8_t unused[0x98 - 8];
    uint32_t dio_mem_align, dio_offset_align;
    uint8_t rest[256 - 0x98 - 8];
};

_Static_assert(sizeof(struct statx_dio) == 256, "struct statx is 256 bytes");

static bool usable(int64_t align)
{
    return align > 0 && align <= 65536 && is_pow2(align);
}

static bool ask_statx(int fd, struct file_align *ret_align)
{
    struct statx_dio st = {0};
    if (syscall(SYS_statx, fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &st) < 0 ||
        !(st.mask & STATX_DIOALIGN) || !usable(st.dio_mem_align) || !usable(st.dio_offset_align)) {
        return false;
    }
    *ret_align = (struct file_align){st.dio_mem_align, st.dio_offset_align};
    return true;
}

static bool ask_device(int fd, struct file_align *ret_align)
{
    struct stat st;
    int sector;
    if (fstat(fd, &st) < 0 || !S_ISBLK(st.st_mode) || ioctl(fd, BLKSSZGET, &sector) < 0 ||
        !usable(sector)) {
        return false;
    }
    *ret_align = (struct file_align){sector, sector};
    return true;
}

/* The smallest length that can be read. An empty file answers every length with 0. */
static bool try_out(int fd, struct file_align *ret_align)
{
    void *buf = aligned_alloc(ALIGN_MAX, ALIGN_MAX);
    bool found = false;
    for (int64_t align = ALIGN_MIN; buf && align <= ALIGN_MAX && !found; align *= 2) {
        found = pread(fd, buf, align, 0) >= 0;
        if (found) {
            *ret_align = (struct file_align){max_i64(align, ALIGN_MAX), align};
        }
    }
    free(buf);
    return found;
}

bool file_align_probe(int fd, struct file_align *ret_align)
{
    return ask_statx(fd, ret_align) || ask_device(fd, ret_align) || try_out(fd, ret_align);
}
