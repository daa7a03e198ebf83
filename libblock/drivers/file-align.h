/*
 * What a file takes with O_DIRECT.
 */
#ifndef CAIRN_LIBBLOCK_FILE_ALIGN_H
#define CAIRN_LIBBLOCK_FILE_ALIGN_H

#include <stdbool.h>
#include <stdint.h>

struct file_align {
    int64_t memory, offset; /* bytes, powers of two */
};

/* Finds the alignment of a file open with O_DIRECT; false when none up to 4096 works. */
bool file_align_probe(int fd, struct file_align *ret_align);

#endif
