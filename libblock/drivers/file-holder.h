/*
 * Who holds a lock on a file.
 */
#ifndef CAIRN_LIBBLOCK_FILE_HOLDER_H
#define CAIRN_LIBBLOCK_FILE_HOLDER_H

#include <inttypes.h>

/* "qemu-nbd (pid 1234)" for a process, not this descriptor, that holds a lock on byte `byte` of the
 * file open as `fd`; NULL when it cannot be found out. Free with g_free(). */
char *file_holder_describe(int fd, int64_t byte);

#endif
