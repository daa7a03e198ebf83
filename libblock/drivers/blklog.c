/*
 * blklog: a filter that passes everything on and records what changes the image,
 * in memory or, with the option `log`, in a file. The format is in blklog.h, the
 * reader in blklog-read.c.
 */
#include "libblock/drivers/blklog.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "libblock/driver.h"
#include "libblock/drivers/blklog-format.h"

struct blklog_options {
    char *log;
};

struct blklog_state {
    int fd;             /* of the log file, -1 for memory */
    GByteArray *memory; /* what is not in the file (yet) */
};

static const struct field blklog_fields[] = {
    FIELD(struct blklog_options, log, "log", NULL, "file to record into; none: memory"),
    {0},
};

/* Writes out what memory holds, when there is a file for it. */
static int drain_memory(struct blklog_state *s)
{
    size_t done = 0;
    while (s->fd >= 0 && done < s->memory->len) {
        ssize_t n = write(s->fd, s->memory->data + done, s->memory->len - done);
        if (n < 0 && errno != EINTR) {
            return -errno;
        }
        done += n > 0 ? n : 0;
    }
    g_byte_array_remove_range(s->memory, 0, done);
    return 0;
}

static void append_head(struct blklog_state *s, uint32_t type, uint32_t flags, int64_t offset,
                        int64_t length, int64_t data_length)
{
    uint8_t head[BLKLOG_RECORD_HEAD];
    store_le32(head, type);
    store_le32(head + 4, (flags & REQ_FUA ? 1 : 0) | (flags & REQ_MAY_UNMAP ? 2 : 0));
    store_le64(head + 8, offset);
    store_le64(head + 16, length);
    store_le64(head + 24, data_length);
    g_byte_array_append(s->memory, head, sizeof(head));
}

static int record(struct blk_node *node, uint32_t type, uint32_t flags, int64_t offset,
                  int64_t length)
{
    struct blklog_state *s = node->state;
    append_head(s, type, flags, offset, length, 0);
    return drain_memory(s);
}

static int record_write(struct blk_node *node, int64_t offset, int64_t length, struct span span,
                        uint32_t flags)
{
    struct blklog_state *s = node->state;
    if (length > G_MAXUINT - BLKLOG_RECORD_HEAD - s->memory->len) {
        return -EFBIG;
    }
    append_head(s, BLKLOG_WRITE, flags, offset, length, length);
    guint at = s->memory->len;
    g_byte_array_set_size(s->memory, at + length);
    span_read(span, s->memory->data + at, length);
    return drain_memory(s);
}

static bool blklog_co_open(struct blk_node *node, json_t *rest, GError **error)
{
    struct blklog_state *s = node->state;
    const struct blklog_options *o = node->options;
    s->fd = -1;
    if (o->log) {
        s->fd = open(o->log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        if (s->fd < 0) {
            return error_set_errno(error, errno, "could not create the log '%s'", o->log);
        }
    }
    uint8_t head[BLKLOG_FILE_HEAD] = BLKLOG_MAGIC;
    store_le32(head + 8, BLKLOG_VERSION);
    s->memory = g_byte_array_new();
    g_byte_array_append(s->memory, head, sizeof(head));
    node->size = node_size(node->file);
    node->growable = node->file->growable;
    return record(node, BLKLOG_RESIZE, 0, 0, node->size) == 0 ||
           error_set(error, EIO, "could not write the log '%s'", o->log);
}

static bool blklog_co_close(struct blk_node *node, GError **error)
{
    struct blklog_state *s = node->state;
    const struct blklog_options *o = node->options;
    g_byte_array_unref(s->memory);
    return s->fd < 0 || close(s->fd) == 0 ||
           error_set_errno(error, errno, "could not close the log '%s'", o->log);
}

static int blklog_co_write(struct blk_node *node, int64_t offset, int64_t length, struct span span,
                           uint32_t flags)
{
    int ret = node_co_write(node->file, offset, length, span, flags);
    return ret ? ret : record_write(node, offset, length, span, flags);
}

static int blklog_co_zero(struct blk_node *node, int64_t offset, int64_t length, uint32_t flags)
{
    int ret = node_co_zero(node->file, offset, length, flags);
    return ret ? ret : record(node, BLKLOG_ZERO, flags, offset, length);
}

static int blklog_co_discard(struct blk_node *node, int64_t offset, int64_t length)
{
    int ret = node_co_discard(node->file, offset, length);
    return ret ? ret : record(node, BLKLOG_DISCARD, 0, offset, length);
}

static int blklog_co_flush(struct blk_node *node)
{
    return record(node, BLKLOG_FLUSH, 0, 0, 0);
}

static bool blklog_co_resize(struct blk_node *node, int64_t size, const char *preallocation,
                             GError **error)
{
    if (!node_co_resize(node->file, size, preallocation, error)) {
        return false;
    }
    node->size = size;
    return record(node, BLKLOG_RESIZE, 0, 0, size) == 0 ||
           error_set(error, EIO, "could not write the log");
}

GBytes *blklog_copy(struct blk_node *node)
{
    const struct blklog_state *s = node->state;
    return g_bytes_new(s->memory->data, s->memory->len);
}

void blklog_mark(struct blk_node *node, const char *text)
{
    struct blklog_state *s = node->state;
    size_t length = strlen(text);
    append_head(s, BLKLOG_MARK, 0, 0, 0, length);
    g_byte_array_append(s->memory, (const uint8_t *)text, length);
    drain_memory(s);
}

const struct blk_driver blklog_driver = {
    .name = "blklog",
    .description = "records writes, flushes and discards",
    .flags = DRIVER_FILTER | DRIVER_FUA,
    .state_size = sizeof(struct blklog_state),
    .options = blklog_fields,
    .options_size = sizeof(struct blklog_options),
    .co_open = blklog_co_open,
    .co_close = blklog_co_close,
    .co_write = blklog_co_write,
    .co_zero = blklog_co_zero,
    .co_discard = blklog_co_discard,
    .co_flush = blklog_co_flush,
    .co_resize = blklog_co_resize,
};
