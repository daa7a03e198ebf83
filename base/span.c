/*
 * Walking an array of iovecs. Every function takes the next contiguous piece
 * with span_next() and stops when `len` bytes are done; empty elements are
 * stepped over.
 */
#include "base/span.h"

#include <string.h>

/* The next piece of at most `len` bytes, and the span behind it. */
static void *span_next(struct span *span, size_t len, size_t *ret_size)
{
    while (span->skip == span->iov->iov_len) {
        span->iov++;
        span->skip = 0;
    }
    char *piece = (char *)span->iov->iov_base + span->skip;
    size_t left = span->iov->iov_len - span->skip;
    *ret_size = left < len ? left : len;
    span->skip += *ret_size;
    return piece;
}

struct span span_skip(struct span span, size_t bytes)
{
    while (bytes && bytes >= span.iov->iov_len - span.skip) {
        bytes -= span.iov->iov_len - span.skip;
        span.iov++;
        span.skip = 0;
    }
    span.skip += bytes;
    return span;
}

void *span_flat(struct span span, size_t len)
{
    size_t size = 0;
    void *piece = len ? span_next(&span, len, &size) : (void *)span.iov;
    return size == len ? piece : NULL;
}

void span_read(struct span span, void *buf, size_t len)
{
    for (size_t size; len; len -= size, buf = (char *)buf + size) {
        const void *piece = span_next(&span, len, &size);
        memcpy(buf, piece, size);
    }
}

void span_write(struct span span, const void *buf, size_t len)
{
    for (size_t size; len; len -= size, buf = (const char *)buf + size) {
        void *piece = span_next(&span, len, &size);
        memcpy(piece, buf, size);
    }
}

void span_fill(struct span span, int byte, size_t len)
{
    for (size_t size; len; len -= size) {
        void *piece = span_next(&span, len, &size);
        memset(piece, byte, size);
    }
}

bool span_is_zero(struct span span, size_t len)
{
    for (size_t size; len; len -= size) {
        const void *piece = span_next(&span, len, &size);
        if (!bytes_are_zero(piece, size)) {
            return false;
        }
    }
    return true;
}

size_t span_to_iov(struct span span, size_t len, struct iovec *iov, int max, int *ret_iovcnt)
{
    size_t covered = 0;
    int n = 0;
    while (covered < len && n < max) {
        iov[n].iov_base = span_next(&span, len - covered, &iov[n].iov_len);
        covered += iov[n++].iov_len;
    }
    *ret_iovcnt = n;
    return covered;
}
