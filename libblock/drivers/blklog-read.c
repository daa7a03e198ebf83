/*
 * Reading and replaying a log of a blklog node. A log may be cut off anywhere:
 * what is not there whole is not there.
 */
#include "libblock/drivers/blklog.h"

#include <errno.h>

#include "libblock/drivers/blklog-format.h"
#include "libblock/libblock.h"

static bool has_head(const uint8_t *bytes, size_t size)
{
    return size >= BLKLOG_FILE_HEAD && !memcmp(bytes, BLKLOG_MAGIC, strlen(BLKLOG_MAGIC)) &&
           load_le32(bytes + 8) == BLKLOG_VERSION;
}

static bool is_sane(const struct blklog_record *r)
{
    return r->type >= BLKLOG_WRITE && r->type <= BLKLOG_MARK && r->offset >= 0 && r->length >= 0 &&
           r->offset <= INT64_MAX - r->length &&
           (r->type != BLKLOG_WRITE || r->data_length == r->length);
}

bool blklog_next(GBytes *log, size_t *pos, struct blklog_record *ret_record)
{
    size_t size;
    const uint8_t *bytes = g_bytes_get_data(log, &size);
    size_t at = *pos ? *pos : BLKLOG_FILE_HEAD;
    if (!has_head(bytes, size) || at > size || size - at < BLKLOG_RECORD_HEAD) {
        return false;
    }
    const uint8_t *head = bytes + at;
    uint32_t flags = load_le32(head + 4);
    uint64_t data_length = load_le64(head + 24);
    at += BLKLOG_RECORD_HEAD;
    if (data_length > size - at) {
        return false;
    }
    struct blklog_record record = {
        .type = load_le32(head),
        .flags = (flags & 1 ? REQ_FUA : 0) | (flags & 2 ? REQ_MAY_UNMAP : 0),
        .offset = load_le64(head + 8),
        .length = load_le64(head + 16),
        .data = data_length ? bytes + at : NULL,
        .data_length = data_length,
    };
    if (!is_sane(&record)) {
        return false;
    }
    *pos = at + data_length;
    *ret_record = record;
    return true;
}

int blklog_apply(const struct blklog_record *r, struct blk_node *target)
{
    switch (r->type) {
    case BLKLOG_WRITE: return node_write(target, r->offset, r->length, r->data, 0);
    case BLKLOG_ZERO:
    case BLKLOG_DISCARD: return node_zero(target, r->offset, r->length, REQ_MAY_UNMAP);
    case BLKLOG_RESIZE: return node_resize(target, r->length, NULL, NULL) ? 0 : -EIO;
    case BLKLOG_FLUSH:
    case BLKLOG_MARK: return 0;
    }
    return -EINVAL;
}

bool blklog_replay(GBytes *log, int64_t count, struct blk_node *target)
{
    struct blklog_record record;
    size_t pos = 0;
    for (int64_t i = 0; i < count; i++) {
        if (!blklog_next(log, &pos, &record) || blklog_apply(&record, target)) {
            return false;
        }
    }
    return true;
}
