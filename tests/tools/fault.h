/*
 * What a test and the interposed library tests/tools/fault-shim.c say to each
 * other: a page of shared memory, the descriptor of which the program inherits.
 * The test fills in which call is to fail, and how; the library counts.
 */
#ifndef CAIRN_TESTS_FAULT_H
#define CAIRN_TESTS_FAULT_H

#include <stdint.h>

/* Holds the number of the descriptor. Without it the library does nothing. */
#define FAULT_ENV "CAIRN_FAULT_FD"

/* Calls that are counted together. */
enum fault_group {
    FAULT_READ,   /* pread and its like, also through the ring */
    FAULT_WRITE,  /* pwrite and its like, also through the ring */
    FAULT_FLUSH,  /* fsync, fdatasync */
    FAULT_SPACE,  /* fallocate, ftruncate, copy_file_range */
    FAULT_OPEN,   /* open, openat */
    FAULT_NAME,   /* rename, linkat, unlink, fchmod, fchown */
    FAULT_ASK,    /* stat and its like, lseek, fcntl, ioctl, access, readlink */
    FAULT_START,  /* threads, event descriptors, rings */
    FAULT_CLOSE,  /* close, which closes all the same */
    FAULT_MEMORY, /* malloc and its like */
    FAULT_LARGE, /* the same, of sectors, 2 KiB or more: buffers and tables that outside input sizes
                  */
    FAULT_MAP,   /* mmap, mprotect */
    FAULT_GROUPS
};

/* How file data is made to travel. */
enum fault_route {
    FAULT_CACHED, /* as the program likes: mostly in place */
    FAULT_RING,   /* nothing is in the page cache: long reads take io_uring */
    FAULT_POOL,   /* nothing is in the page cache, and there is no io_uring */
};

/* Instead of an errno: the call moves fewer bytes; SIGKILL comes before the call. */
enum { FAULT_SHORT = -1, FAULT_KILL = -2 };

struct fault_page {
    uint32_t group; /* enum fault_group */
    uint32_t route; /* enum fault_route */
    int32_t error;  /* the errno to fail with, FAULT_SHORT or FAULT_KILL */
    uint32_t nth;   /* the call that fails, from 1; 0: none */
    uint32_t stays; /* every later call of the group fails, too */
    /* out; atomic */
    uint32_t count; /* calls of the group so far */
    uint32_t fired; /* calls that were made to fail */
};

#endif
