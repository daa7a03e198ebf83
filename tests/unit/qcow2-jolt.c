#include "tests/unit/qcow2-jolt.h"

struct jolt *jolt_of(struct blk_node *node)
{
    g_assert(node->driver == &jolt_driver);
    return node->state;
}

static int jolt_co_begin(struct blk_node *node, enum jolt_kind kind)
{
    struct jolt *jolt = node->state;
    int64_t number = ++jolt->count[kind];
    int turns = jolt->rand && g_rand_boolean(jolt->rand) ? g_rand_int_range(jolt->rand, 0, 6) : 0;
    while (turns-- > 0) {
        loop_co_relax();
    }
    while (jolt->hold_at[kind] == number) {
        loop_co_relax();
    }
    int64_t at = jolt->fail_at[kind];
    return at && number >= at && number < at + jolt->fail_times ? jolt->error : 0;
}

static bool jolt_co_open(struct blk_node *node, json_t *rest, GError **error)
{
    node->size = node->file->size;
    node->growable = node->file->growable;
    return true;
}

static int jolt_co_read(struct blk_node *node, int64_t offset, int64_t length, struct span span)
{
    int ret = jolt_co_begin(node, JOLT_READ);
    return ret ? ret : node_co_read(node->file, offset, length, span);
}

static int jolt_co_write(struct blk_node *node, int64_t offset, int64_t length, struct span span,
                         uint32_t flags)
{
    int ret = jolt_co_begin(node, JOLT_WRITE);
    return ret ? ret : node_co_write(node->file, offset, length, span, flags);
}

static int jolt_co_flush(struct blk_node *node)
{
    return jolt_co_begin(node, JOLT_FLUSH);
}

const struct blk_driver jolt_driver = {
    .name = "jolt",
    .description = "test filter",
    .flags = DRIVER_FILTER,
    .state_size = sizeof(struct jolt),
    .co_open = jolt_co_open,
    .co_read = jolt_co_read,
    .co_write = jolt_co_write,
    .co_flush = jolt_co_flush,
};
