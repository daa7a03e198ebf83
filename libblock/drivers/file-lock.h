/*
 * Locks that keep two programs from using one image against each other's
 * wishes; the same bytes that QEMU locks.
 */
#ifndef CAIRN_LIBBLOCK_FILE_LOCK_H
#define CAIRN_LIBBLOCK_FILE_LOCK_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

enum file_lock_bits {
    FILE_LOCK_READ = 1 << 0,
    FILE_LOCK_WRITE = 1 << 1,
    FILE_LOCK_WRITE_UNCHANGED = 1 << 2,
    FILE_LOCK_RESIZE = 1 << 3,
};

/* What a holder does with the file, and what nobody else may do meanwhile. */
struct file_lock {
    uint32_t uses, excludes; /* enum file_lock_bits */
};

/* The lock of a node opened with `flags` (enum node_flags). */
struct file_lock file_lock_for_flags(uint32_t flags);

/* Replaces the lock *held on `fd` by `wanted`; on failure *held stays. `required`: a file system
 * without locks is an error. */
bool file_lock_set(int fd, const char *filename, struct file_lock *held, struct file_lock wanted,
                   bool required, GError **error);

/* As file_lock_set() when the file gets another descriptor: `new_fd` takes over what `old_fd`
 * holds. On failure that still holds it. */
bool file_lock_move(int old_fd, int new_fd, const char *filename, struct file_lock *held,
                    struct file_lock wanted, bool required, GError **error);

#endif
