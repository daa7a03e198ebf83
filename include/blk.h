/*
 * libblock: disk images as byte ranges.
 *
 *     char *error = NULL;
 *     struct blk *disk = blk_open("disk.qcow2", NULL, BLK_READ_WRITE, &error);
 *     if (!disk) { fprintf(stderr, "%s\n", error); blk_free(error); return 1; }
 *     int ret = blk_read(disk, buffer, 4096, 0);
 *     ...
 *     if (!blk_close(disk, &error)) ...
 *
 * Offsets and lengths are bytes, of any alignment. Calls that move data return
 * 0 or a negative errno value, and are all or nothing. Calls that manage images
 * return NULL or false and, when `ret_error` is not NULL, set *ret_error to one
 * line of text (two for a locked image) that the caller frees with blk_free().
 *
 * An image is used by one thread at a time; different images are independent.
 * Links: pkg-config libblock.
 */
#ifndef CAIRN_BLK_H
#define CAIRN_BLK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define BLK_PUBLIC __attribute__((visibility("default")))
#else
#define BLK_PUBLIC
#endif

struct blk;

/* How to open an image. */
enum blk_open_flags {
    BLK_READ_ONLY = 0,
    BLK_READ_WRITE = 1 << 0,
    BLK_DIRECT = 1 << 1,      /* bypass the host's page cache */
    BLK_NO_FLUSH = 1 << 2,    /* for throw-away data: flushes do nothing */
    BLK_NO_BACKING = 1 << 3,  /* do not open backing files: what is not here reads as zero */
    BLK_FORCE_SHARE = 1 << 4, /* read although another program writes the image */
    BLK_UNTRUSTED = 1 << 5,   /* follow no file name that the image contains */
    BLK_TRUSTED = 1 << 6,     /* follow every one, also devices and network addresses */
};

/* Opens `name`: a path, "PROTOCOL:rest", a URI or "json:{...}". `format` is "raw", "qcow2", ...;
 * NULL guesses it from the content, which an untrusted guest could have written. */
BLK_PUBLIC struct blk *blk_open(const char *name, const char *format, unsigned flags,
                                char **ret_error);

/* Writes out what is pending and closes. False when anything written may not be on the disk; the
 * handle is gone all the same. NULL is accepted. */
BLK_PUBLIC bool blk_close(struct blk *image, char **ret_error);

/* Creates an image of `size` bytes. `options` is "key=value,..." as for `cairn-img create -o`, or
 * NULL. */
BLK_PUBLIC bool blk_create(const char *name, const char *format, int64_t size, const char *options,
                           char **ret_error);

/* Frees what the library returned; NULL is accepted. */
BLK_PUBLIC void blk_free(void *memory);

/* What is known about an open image. Strings belong to the image and live until blk_close(). */
struct blk_facts {
    int64_t size;         /* as the guest sees it */
    int64_t actual_size;  /* space that the file takes, -1 when not known */
    int64_t cluster_size; /* 0 when the format has none */
    const char *format;
    const char *backing_file; /* as written in the image, NULL for none */
    bool writable, dirty, encrypted, compressed;
};
BLK_PUBLIC bool blk_info(struct blk *image, struct blk_facts *ret_facts, char **ret_error);
BLK_PUBLIC int64_t blk_size(const struct blk *image);

/* ---- synchronous requests ---- */

enum blk_request_flags {
    BLK_FUA = 1 << 0,       /* durable when done */
    BLK_MAY_UNMAP = 1 << 1, /* zeroing may give the space back */
};

BLK_PUBLIC int blk_read(struct blk *image, void *buffer, size_t length, int64_t offset);
BLK_PUBLIC int blk_write(struct blk *image, const void *buffer, size_t length, int64_t offset,
                         unsigned flags);
BLK_PUBLIC int blk_zero(struct blk *image, int64_t length, int64_t offset, unsigned flags);

/* Tells that a range is not needed any more; its content is undefined afterwards. */
BLK_PUBLIC int blk_discard(struct blk *image, int64_t length, int64_t offset);

/* Makes everything written so far durable. Once it has failed it keeps failing. */
BLK_PUBLIC int blk_flush(struct blk *image);

/* One run of bytes of the same kind. */
struct blk_segment {
    int64_t offset, length;
    bool data;      /* must be read */
    bool zero;      /* reads as zeroes */
    bool allocated; /* the image or one of its backing files provides it */
    int depth;      /* 0: the image itself, 1: its backing file, ... */
};

/* Maps [offset, offset+length) from the front into at most `max` segments; returns how many, or a
 * negative errno value. They cover the range without gaps unless `max` was reached. */
BLK_PUBLIC int blk_map(struct blk *image, int64_t length, int64_t offset,
                       struct blk_segment *segments, int max);

/* ---- requests with a callback ---- */

enum blk_op_kind { BLK_OP_READ, BLK_OP_WRITE, BLK_OP_ZERO, BLK_OP_DISCARD, BLK_OP_FLUSH };

struct blk_op {
    enum blk_op_kind kind;
    unsigned flags; /* enum blk_request_flags */
    int64_t offset, length;
    const struct iovec *iov; /* read, write: `length` bytes, which live until the callback */
    void (*done)(void *user, int result); /* 0 or a negative errno value */
    void *user;
};

/* Starts a request; `op` may be forgotten at once. Its callback runs inside this call or a later
 * blk_poll(), blk_close() or synchronous request of the same thread, and may submit again. Negative
 * errno when nothing was started. */
BLK_PUBLIC int blk_submit(struct blk *image, const struct blk_op *op);

/* Moves requests on and runs callbacks; with `wait`, until at least one has run or none is left.
 * Returns how many are still under way. */
BLK_PUBLIC int blk_poll(struct blk *image, bool wait);

#ifdef __cplusplus
}
#endif

#endif
