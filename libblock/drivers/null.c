/*
 * null-co, null-aio: a disk of any size that swallows writes and reads as
 * zeroes (or, by default, as whatever the buffer held: "read-zeroes" decides),
 * after a delay if told so. For measuring what is above it.
 */
#include "libblock/driver.h"

#include <errno.h>

struct null_options {
    char *filename;
    int64_t size;
    uint64_t latency_ns;
    bool read_zeroes;
};

static const struct field null_fields[] = {
    FIELD(struct null_options, filename, "filename", NULL, "ignored"),
    FIELD_SIZE(struct null_options, size, "size", "1G", "size of the disk"),
    FIELD(struct null_options, latency_ns, "latency-ns", "0", "delay of each request"),
    FIELD(struct null_options, read_zeroes, "read-zeroes", "on", "reads return zeroes"),
    {0},
};

static const char *const null_co_schemes[] = {"null-co", NULL};
static const char *const null_aio_schemes[] = {"null-aio", NULL};

static bool null_co_open(struct blk_node *node, json_t *rest, GError **error)
{
    const struct null_options *o = node->options;
    if (o->latency_ns > INT64_MAX) {
        return error_set(error, EINVAL, "latency-ns is too large");
    }
    node->size = o->size;
    return true;
}

static int null_co_delay(struct blk_node *node)
{
    const struct null_options *o = node->options;
    if (o->latency_ns) {
        loop_co_sleep(o->latency_ns);
    }
    return 0;
}

static int null_co_read(struct blk_node *node, int64_t offset, int64_t length, struct span span)
{
    const struct null_options *o = node->options;
    if (o->read_zeroes) {
        span_fill(span, 0, length);
    }
    return null_co_delay(node);
}

static int null_co_write(struct blk_node *node, int64_t offset, int64_t length, struct span span,
                         uint32_t flags)
{
    return null_co_delay(node);
}

static int null_co_zero(struct blk_node *node, int64_t offset, int64_t length, uint32_t flags)
{
    return null_co_delay(node);
}

static int null_co_map(struct blk_node *node, int64_t offset, int64_t length, uint32_t flags,
                       struct extent_list *list)
{
    const struct null_options *o = node->options;
    struct blk_extent extent = {.offset = offset,
                                .length = length,
                                .flags = EXTENT_ALLOCATED | EXTENT_OFFSET |
                                         (o->read_zeroes ? EXTENT_ZERO : EXTENT_DATA),
                                .leaf = node,
                                .leaf_offset = offset};
    extents_add(list, &extent);
    return 0;
}

static bool null_info(struct blk_node *node, struct blk_info *info, GError **error)
{
    info->actual_size = 0;
    return true;
}

#define NULL_DRIVER(driver_name, scheme_list)                                                      \
    {                                                                                              \
        .name = driver_name, .description = "a disk that swallows writes and reads as zeroes",     \
        .flags = DRIVER_PROTOCOL | DRIVER_ANY_LOOP | DRIVER_FUA, .options = null_fields,           \
        .options_size = sizeof(struct null_options), .schemes = scheme_list,                       \
        .co_open = null_co_open, .co_read = null_co_read, .co_write = null_co_write,               \
        .co_zero = null_co_zero, .co_flush = null_co_delay, .co_map = null_co_map,                 \
        .info = null_info,                                                                         \
    }

const struct blk_driver null_co_driver = NULL_DRIVER("null-co", null_co_schemes);
const struct blk_driver null_aio_driver = NULL_DRIVER("null-aio", null_aio_schemes);
