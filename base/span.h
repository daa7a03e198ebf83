/*
 * A span is a read position in an array of iovecs, passed by value. A driver
 * receives (span, len) and hands parts of it on without copying the array.
 *
 * A span does not own memory and does not know its length: the length
 * travels beside it and never exceeds what the iovecs hold after `skip`.
 */
#ifndef CAIRN_BASE_SPAN_H
#define CAIRN_BASE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct span {
    const struct iovec *iov; /* current element */
    size_t skip;             /* bytes of it already consumed */
};

/* A span over one buffer; `slot` must outlive the span. */
static inline struct span span_of(struct iovec *slot, void *buf, size_t len)
{
    slot->iov_base = buf;
    slot->iov_len = len;
    return (struct span){slot, 0};
}

/* The span `bytes` further on. */
struct span span_skip(struct span span, size_t bytes);

/* The address of the next `len` bytes when they are contiguous, else NULL. For no bytes, some
 * address that is not NULL. */
void *span_flat(struct span span, size_t len);

/* Copies `len` bytes from the span to `buf`, or from `buf` into the span. */
void span_read(struct span span, void *buf, size_t len);
void span_write(struct span span, const void *buf, size_t len);

/* Fills `len` bytes of the span with `byte`. */
void span_fill(struct span span, int byte, size_t len);

/* True when the next `len` bytes are all zero. */
bool span_is_zero(struct span span, size_t len);

/* Fills iov[0..max-1] with the next `len` bytes, as many as fit; writes their
 * count to *ret_iovcnt and returns the bytes covered. */
size_t span_to_iov(struct span span, size_t len, struct iovec *iov, int max, int *ret_iovcnt);

/* True when `len` bytes at `buf` are zero (vectorised). */
bool bytes_are_zero(const void *buf, size_t len);

#endif
