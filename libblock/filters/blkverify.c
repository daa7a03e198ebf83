/*
 * blkverify: a filter over two images that must hold the same. What is written
 * goes to both; what is read comes from `test` and is compared with `raw`. The
 * first difference, in contents or in how a request ends, is reported in words
 * and makes the request fail.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "libblock/driver.h"

static bool verify_co_open(struct blk_node *node, json_t *rest, GError **error)
{
    node->data_file = node_co_open_child(node, rest, "raw", false, node->flags, error);
    if (!node->data_file) {
        return false;
    }
    node->growable = false;
    if (node_size(node->data_file) < node_size(node->file)) {
        return error_set(error, EINVAL,
                         "'%s' has %" PRId64 " bytes and is compared with '%s', which has only "
                         "%" PRId64,
                         node_filename(node->file), node_size(node->file),
                         node_filename(node->data_file), node_size(node->data_file));
    }
    return true;
}

/* RAW:TEST. */
static bool verify_parse_name(const char *rest, json_t *tree, GError **error)
{
    const char *colon = strchr(rest, ':');
    if (!colon) {
        return error_set(error, EINVAL, "'blkverify:%s' is not blkverify:RAW:TEST", rest);
    }
    json_object_set_new(tree, "raw", json_stringn(rest, (size_t)(colon - rest)));
    json_object_set_new(tree, "test", json_string(colon + 1));
    return true;
}

/* Both ended alike: that result, else a report and -EIO. */
static int settle(struct blk_node *node, const char *what, int64_t offset, int64_t length, int raw,
                  int test)
{
    if (raw == test) {
        return test;
    }
    node_report(node, REPORT_TROUBLE,
                "blkverify: %s offset=%" PRId64 " bytes=%" PRId64 " return value mismatch %d != %d",
                what, offset, length, raw, test);
    return -EIO;
}

/* The place of the first byte in which the buffers differ, or -1. */
static int64_t find_difference(struct span span, const uint8_t *want, int64_t length)
{
    int64_t at = 0;
    for (const struct iovec *iov = span.iov; at < length; iov++, span.skip = 0) {
        int64_t n = min_i64((int64_t)(iov->iov_len - span.skip), length - at);
        const uint8_t *got = (const uint8_t *)iov->iov_base + span.skip;
        if (n && memcmp(got, want + at, (size_t)n)) {
            while (*got == want[at]) {
                got++;
                at++;
            }
            return at;
        }
        at += n;
    }
    return -1;
}

static int verify_co_read(struct blk_node *node, int64_t offset, int64_t length, struct span span)
{
    uint8_t *want = g_try_malloc((gsize)length);
    if (!want) {
        return -ENOMEM;
    }
    int raw = node_co_pread(node->data_file, offset, length, want);
    int ret =
        settle(node, "read", offset, length, raw, node_co_read(node->file, offset, length, span));
    int64_t at = ret ? -1 : find_difference(span, want, length);
    if (at >= 0) {
        node_report(node, REPORT_TROUBLE,
                    "blkverify: read offset=%" PRId64 " bytes=%" PRId64
                    " contents mismatch at offset %" PRId64,
                    offset, length, offset + at);
        ret = -EIO;
    }
    g_free(want);
    return ret;
}

static int verify_co_write(struct blk_node *node, int64_t offset, int64_t length, struct span span,
                           uint32_t flags)
{
    int raw = node_co_write(node->data_file, offset, length, span, flags);
    return settle(node, "write", offset, length, raw,
                  node_co_write(node->file, offset, length, span, flags));
}

static int verify_co_zero(struct blk_node *node, int64_t offset, int64_t length, uint32_t flags)
{
    flags &= ~(uint32_t)REQ_NO_FALLBACK;
    int raw = node_co_zero(node->data_file, offset, length, flags);
    return settle(node, "zero", offset, length, raw,
                  node_co_zero(node->file, offset, length, flags));
}

/* What is discarded reads as anything, and need not be the same in both: nothing is discarded. */
static int verify_co_discard(struct blk_node *node, int64_t offset, int64_t length)
{
    return 0;
}

static bool verify_co_resize(struct blk_node *node, int64_t size, const char *preallocation,
                             GError **error)
{
    if (!node_co_resize(node->data_file, size, preallocation, error) ||
        !node_co_resize(node->file, size, preallocation, error)) {
        return false;
    }
    node->size = size;
    return true;
}

const struct blk_driver blkverify_driver = {
    .name = "blkverify",
    .description = "compares an image with a raw one, for tests",
    .flags = DRIVER_FILTER | DRIVER_FUA | DRIVER_PROBES,
    .file_key = "test",
    .parse_name = verify_parse_name,
    .co_open = verify_co_open,
    .co_read = verify_co_read,
    .co_write = verify_co_write,
    .co_zero = verify_co_zero,
    .co_discard = verify_co_discard,
    .co_resize = verify_co_resize,
};
