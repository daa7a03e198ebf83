/*
 * The strict filter and the graph around it. See libblock-fixture.h.
 */
#include "tests/unit/libblock-fixture.h"

#include <errno.h>

#include "libblock/driver.h"
#include "libblock/node.h"

static struct strict *strict_of(struct blk_node *node)
{
    return *(struct strict **)node->state;
}

static bool strict_co_open(struct blk_node *node, json_t *rest, GError **error)
{
    *(struct strict **)node->state = g_new0(struct strict, 1);
    node->growable = false;
    return true;
}

static bool strict_co_close(struct blk_node *node, GError **error)
{
    g_free(strict_of(node));
    return true;
}

static void strict_limits(struct blk_node *node, struct blk_limits *limits)
{
    *limits = strict_of(node)->limits;
}

static void check_range(struct blk_node *node, int64_t offset, int64_t length)
{
    int64_t align = node->limits.request_align;
    g_assert_cmpint(offset % align, ==, 0);
    g_assert_cmpint(length, >, 0);
    g_assert_true(length % align == 0 || offset + length == node_size(node));
    g_assert_cmpint(offset + length, <=, node_size(node));
}

static void check_buffers(struct blk_node *node, int64_t length, struct span span)
{
    struct strict *s = strict_of(node);
    int64_t max = node->limits.max_transfer;
    g_assert_true(max == 0 || length <= max);
    s->longest = MAX(s->longest, length);
    struct iovec iov[64];
    int count;
    g_assert_cmpint(span_to_iov(span, length, iov, 64, &count), >, 0);
    for (int i = 0; i < count; i++) {
        g_assert_cmpint((intptr_t)iov[i].iov_base % node->limits.memory_align, ==, 0);
    }
}

static void wait_at_gate(struct strict *s)
{
    s->parallel++;
    s->max_parallel = MAX(s->max_parallel, s->parallel);
    while (s->hold) {
        s->held++;
        co_queue_co_wait(&s->gate);
        s->held--;
    }
    s->parallel--;
}

static int strict_co_read(struct blk_node *node, int64_t offset, int64_t length, struct span span)
{
    struct strict *s = strict_of(node);
    check_range(node, offset, length);
    check_buffers(node, length, span);
    s->reads++;
    wait_at_gate(s);
    return node_co_read(node->file, offset, length, span);
}

static int strict_co_write(struct blk_node *node, int64_t offset, int64_t length, struct span span,
                           uint32_t flags)
{
    struct strict *s = strict_of(node);
    check_range(node, offset, length);
    check_buffers(node, length, span);
    g_assert_cmpint(flags, ==, 0);
    s->writes++;
    wait_at_gate(s);
    return s->fail_write ? s->fail_write : node_co_write(node->file, offset, length, span, flags);
}

static int strict_co_zero(struct blk_node *node, int64_t offset, int64_t length, uint32_t flags)
{
    struct strict *s = strict_of(node);
    int64_t align = node->limits.zero_align;
    g_assert_cmpint(offset % align, ==, 0);
    g_assert_true(length % align == 0 || offset + length == node_size(node));
    g_assert_true(node->limits.max_zero == 0 || length <= node->limits.max_zero);
    s->zeroes++;
    wait_at_gate(s);
    return s->no_zero ? -ENOTSUP : node_co_zero(node->file, offset, length, flags);
}

static int strict_co_discard(struct blk_node *node, int64_t offset, int64_t length)
{
    struct strict *s = strict_of(node);
    int64_t align = node->limits.discard_align;
    g_assert_cmpint(offset % align, ==, 0);
    g_assert_true(length % align == 0 || offset + length == node_size(node));
    g_assert_true(node->limits.max_discard == 0 || length <= node->limits.max_discard);
    s->discards++;
    return node_co_discard(node->file, offset, length);
}

static int strict_co_flush(struct blk_node *node)
{
    struct strict *s = strict_of(node);
    s->flushes++;
    wait_at_gate(s);
    return s->fail_flush;
}

static const struct blk_driver strict_driver = {
    .name = "strict",
    .flags = DRIVER_FILTER,
    .state_size = sizeof(struct strict *),
    .co_open = strict_co_open,
    .co_close = strict_co_close,
    .limits = strict_limits,
    .co_read = strict_co_read,
    .co_write = strict_co_write,
    .co_zero = strict_co_zero,
    .co_discard = strict_co_discard,
    .co_flush = strict_co_flush,
};

/* A medium that fails to flush once and then claims that all is well. */
static bool brittle_co_open(struct blk_node *node, json_t *rest, GError **error)
{
    node->size = 4096;
    return true;
}

static int brittle_co_move(struct blk_node *node, int64_t offset, int64_t length, struct span span)
{
    return 0;
}

static int brittle_co_write(struct blk_node *node, int64_t offset, int64_t length, struct span span,
                            uint32_t flags)
{
    return 0;
}

static int brittle_co_flush(struct blk_node *node)
{
    int *flushes = node->state;
    return (*flushes)++ == 0 ? -EIO : 0;
}

static const struct blk_driver brittle_driver = {
    .name = "brittle",
    .flags = DRIVER_PROTOCOL,
    .state_size = sizeof(int),
    .co_open = brittle_co_open,
    .co_read = brittle_co_move,
    .co_write = brittle_co_write,
    .co_flush = brittle_co_flush,
};

static const struct blk_driver *const drivers[] = {
    &file_driver,     &host_device_driver, &mem_driver,    &null_co_driver,
    &null_aio_driver, &strict_driver,      &blklog_driver, &brittle_driver,
    &blkdebug_driver, &throttle_driver,    NULL,
};

void fixture_init(struct fixture *f)
{
    *f = (struct fixture){.loop = loop_new(NULL)};
    f->graph = graph_new(f->loop, drivers);
}

void fixture_done(struct fixture *f)
{
    graph_free(f->graph);
    loop_free(f->loop);
}

/* The node is the driver's own, so the test may set its limits after open. */
void fixture_open(struct fixture *f, int64_t size, const struct blk_limits *limits)
{
    GError *error = NULL;
    fixture_init(f);
    json_t *options = json_pack("{s:s, s:I}", "driver", "mem", "size", (json_int_t)size);
    f->mem = node_open(f->graph, NULL, NULL, options, NODE_RDWR, &error);
    g_assert_no_error(error);
    json_decref(options);
    f->node = node_open_over(f->mem, "strict", NULL, NODE_RDWR, &error);
    g_assert_no_error(error);
    f->strict = *(struct strict **)f->node->state;
    if (limits) {
        f->strict->limits = *limits;
        node_update_limits(f->node);
    }
}

void fixture_close(struct fixture *f)
{
    node_close(f->node, NULL);
    g_assert_true(node_close(f->mem, NULL));
    fixture_done(f);
}

void fixture_release(struct fixture *f)
{
    f->strict->hold = false;
    co_queue_wake_all(&f->strict->gate);
}
