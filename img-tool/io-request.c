/*
 * Requests and their buffers. One coroutine function knows every kind; commands
 * run it to its end, or let it run on in the background.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/loop.h"
#include "img-tool/io.h"
#include "img-tool/tool.h"

#define BUFFER_ALIGN 4096
#define MISALIGNMENT 16

static bool is_outside(const struct io_request *r)
{
    bool state = r->kind == IO_STATE_READ || r->kind == IO_STATE_WRITE;
    int64_t size = node_size(r->node);
    return !state && r->kind != IO_FLUSH && (r->offset > size || r->length > size - r->offset);
}

static int request_co_perform(const struct io_request *r)
{
    struct span span = {r->iov, 0};
    switch (r->kind) {
    case IO_READ: return node_co_read(r->node, r->offset, r->length, span);
    case IO_WRITE: return node_co_write(r->node, r->offset, r->length, span, r->flags);
    case IO_ZERO: return node_co_zero(r->node, r->offset, r->length, r->flags);
    case IO_PACKED: return node_co_write_compressed(r->node, r->offset, r->length, span);
    case IO_STATE_READ: return node_co_vmstate_read(r->node, r->offset, r->length, span);
    case IO_STATE_WRITE: return node_co_vmstate_write(r->node, r->offset, r->length, span);
    case IO_DISCARD: return node_co_discard(r->node, r->offset, r->length);
    case IO_FLUSH: return node_co_flush(r->node);
    }
    return -EINVAL;
}

void io_co_perform(void *arg)
{
    struct io_request *r = arg;
    r->result = is_outside(r) ? -EIO : request_co_perform(r);
}

int io_perform(struct io *io, struct io_request *request)
{
    loop_call(io->session.loop, io_co_perform, request);
    return request->result;
}

void io_drain(struct io *io)
{
    while (io->in_flight) {
        loop_turn(io->session.loop, true);
    }
}

/* ---- buffers ---- */

uint8_t *io_buffer_new(struct io *io, int64_t length, int byte)
{
    size_t shift = io->misalign ? MISALIGNMENT : 0;
    size_t size = (size_t)align_up(length + (int64_t)shift, BUFFER_ALIGN);
    uint8_t *buf =
        size ? aligned_alloc(BUFFER_ALIGN, size) : aligned_alloc(BUFFER_ALIGN, BUFFER_ALIGN);
    if (!buf) {
        io_complain("no memory for a buffer of %" PRId64 " bytes", length);
        return NULL;
    }
    buf += shift;
    memset(buf, byte, (size_t)length);
    return buf;
}

void io_buffer_free(struct io *io, uint8_t *buf)
{
    if (buf) {
        free(buf - (io->misalign ? MISALIGNMENT : 0));
    }
}

/* Parses the lengths; -1 and a message when one of them, or their sum, is impossible. */
static int64_t sum_lengths(char **argv, struct iovec *iov)
{
    int64_t sum = 0;
    for (int i = 0; argv[i]; i++) {
        int64_t length;
        if (!io_number(argv[i], &length)) {
            return -1;
        }
        if (length > IO_LENGTH_MAX) {
            tool_printf("Argument '%s' exceeds maximum size %" PRId64 "\n", argv[i], IO_LENGTH_MAX);
            return -1;
        }
        sum += length;
        if (sum > IO_LENGTH_MAX) {
            tool_printf("The total number of bytes exceed the maximum size %" PRId64 "\n",
                        IO_LENGTH_MAX);
            return -1;
        }
        iov[i].iov_len = (size_t)length;
    }
    return sum;
}

bool io_vector_init(struct io *io, struct io_vector *vector, char **argv, int byte)
{
    guint count = g_strv_length(argv);
    *vector = (struct io_vector){.iov = g_new0(struct iovec, count + 1)};
    vector->length = sum_lengths(argv, vector->iov);
    vector->buf = vector->length < 0 ? NULL : io_buffer_new(io, vector->length, byte);
    if (!vector->buf) {
        g_free(vector->iov);
        return false;
    }
    uint8_t *at = vector->buf;
    for (guint i = 0; i < count; i++) {
        vector->iov[i].iov_base = at;
        at += vector->iov[i].iov_len;
    }
    return true;
}

void io_vector_done(struct io *io, struct io_vector *vector)
{
    io_buffer_free(io, vector->buf);
    g_free(vector->iov);
}
