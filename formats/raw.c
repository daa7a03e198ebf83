/*
 * raw: the file's bytes as they are, or a slice of them: `offset` skips the
 * first bytes, `size` ends the slice early. No state but those two, so every
 * loop may use a raw node over a leaf.
 */
#include "formats/raw.h"

#include <errno.h>

#include "libblock/driver.h"

struct raw_options {
    int64_t offset, size; /* size 0: up to the end */
};

struct raw_state {
    int64_t offset;
    bool sliced; /* `size` was given: the slice does not follow the file's size */
};

static const struct field raw_fields[] = {
    FIELD_SIZE(struct raw_options, offset, "offset", "0", "bytes of the file to skip"),
    FIELD_SIZE(struct raw_options, size, "size", "0", "bytes of the file to show; 0: all"),
    {0},
};

static const char *const preallocation_words[] = {"off", "falloc", "full", NULL};

struct raw_create_options {
    int preallocation;
};

static const struct field raw_create_fields[] = {
    FIELD_ENUM(struct raw_create_options, preallocation, "preallocation", "off",
               preallocation_words, "space to reserve: none, by falloc, or by writing zeroes"),
    {0},
};

static bool raw_co_open(struct blk_node *node, json_t *rest, GError **error)
{
    const struct raw_options *o = node->options;
    struct raw_state *s = node->state;
    int64_t whole = node_size(node->file);
    s->offset = o->offset;
    s->sliced = o->size > 0;
    if (s->offset > whole || o->size > whole - s->offset) {
        return error_set(error, EINVAL,
                         "offset %" PRId64 " and size %" PRId64
                         " reach past the end of '%s', which has %" PRId64 " bytes",
                         s->offset, o->size, node_filename(node->file), whole);
    }
    node->size = s->sliced ? o->size : whole - s->offset;
    return true;
}

/* What is aligned for the guest need not be for the file: then the file sorts it out. */
static void raw_limits(struct blk_node *node, struct blk_limits *limits)
{
    const struct raw_state *s = node->state;
    if (!is_aligned(s->offset, limits->request_align)) {
        limits->request_align = 1;
    }
    if (!is_aligned(s->offset, limits->zero_align)) {
        limits->zero_align = 1;
    }
    limits->discard_align = 1;
}

static int raw_co_read(struct blk_node *node, int64_t offset, int64_t length, struct span span)
{
    const struct raw_state *s = node->state;
    return node_co_read(node->file, s->offset + offset, length, span);
}

static int raw_co_write(struct blk_node *node, int64_t offset, int64_t length, struct span span,
                        uint32_t flags)
{
    const struct raw_state *s = node->state;
    return node_co_write(node->file, s->offset + offset, length, span, flags);
}

static int raw_co_zero(struct blk_node *node, int64_t offset, int64_t length, uint32_t flags)
{
    const struct raw_state *s = node->state;
    return node_co_zero(node->file, s->offset + offset, length, flags);
}

static int raw_co_discard(struct blk_node *node, int64_t offset, int64_t length)
{
    const struct raw_state *s = node->state;
    return node_co_discard(node->file, s->offset + offset, length);
}

static int raw_co_map(struct blk_node *node, int64_t offset, int64_t length, uint32_t flags,
                      struct extent_list *list)
{
    const struct raw_state *s = node->state;
    struct blk_extent extent = {.offset = offset,
                                .length = length,
                                .flags = EXTENT_DATA | EXTENT_ALLOCATED | EXTENT_OFFSET,
                                .leaf = node->file,
                                .leaf_offset = s->offset + offset};
    extents_add(list, &extent);
    return 0;
}

static bool raw_co_resize(struct blk_node *node, int64_t size, const char *preallocation,
                          GError **error)
{
    const struct raw_state *s = node->state;
    if (s->sliced) {
        return error_set(error, ENOTSUP, "a raw image with the option 'size' cannot be resized");
    }
    if (size > INT64_MAX - s->offset) {
        return error_set(error, EFBIG, "a size of %" PRId64 " bytes is too large", size);
    }
    if (!node_co_resize(node->file, s->offset + size, preallocation, error)) {
        return false;
    }
    node->size = size;
    return true;
}

static bool raw_co_create(const struct blk_create *create, GError **error)
{
    const struct raw_create_options *o = create->options;
    struct blk_node *file = create->file;
    if (node_size(file) == create->size && o->preallocation == 0) {
        return true;
    }
    if (!file->growable && node_size(file) >= create->size) {
        return true;
    }
    return node_co_resize(file, create->size, preallocation_words[o->preallocation], error);
}

/* ---- filling an image: every byte has its place already ---- */

enum { HOLE_SIZE = 4096 };

struct plan {
    struct blk_node *leaf;
    int64_t offset; /* of the image in the leaf */
    bool fresh;
};

/* A device that was "created" still holds what it held before, so only a file is fresh. */
static int raw_co_begin(struct blk_node *node, bool fresh, struct plan **ret_plan)
{
    const struct raw_state *s = node->state;
    if (!node_is_leaf(node->file) || !is_aligned(s->offset, node->file->limits.zero_align)) {
        return -ENOTSUP;
    }
    struct plan *plan = g_new0(struct plan, 1);
    *plan = (struct plan){node->file, s->offset, fresh && node->file->growable};
    *ret_plan = plan;
    return 0;
}

static void raw_describe(struct plan *plan, struct plan_facts *ret_facts)
{
    *ret_facts = (struct plan_facts){
        .cluster_size = max_i64(HOLE_SIZE, plan->leaf->limits.request_align),
        .leaf = plan->leaf,
        .zero_from = plan->fresh ? plan->offset : INT64_MAX,
        .unordered = true,
    };
}

static int64_t raw_co_place(struct plan *plan, int64_t offset, int64_t length,
                            int64_t *ret_leaf_offset)
{
    *ret_leaf_offset = plan->offset + offset;
    return length;
}

static int raw_co_plan_zero(struct plan *plan, int64_t offset, int64_t length, uint32_t flags)
{
    if (!plan->fresh) {
        return leaf_co_zero(plan->leaf, plan->offset + offset, length, flags | REQ_NO_FALLBACK);
    }
    return flags & REQ_MAY_UNMAP ? 0 : -ENOTSUP;
}

static int raw_co_finish(struct plan *plan, bool commit)
{
    g_free(plan);
    return 0;
}

static const struct plan_ops raw_plan = {
    .co_begin = raw_co_begin,
    .describe = raw_describe,
    .co_place = raw_co_place,
    .co_zero = raw_co_plan_zero,
    .co_finish = raw_co_finish,
};

/* All of the disk, whether it is written as holes or not. */
static bool raw_co_measure(const void *create_options, struct blk_node *source, int64_t size,
                           struct blk_measure *ret_measure, GError **error)
{
    int64_t whole = align_up(size, 512);
    *ret_measure = (struct blk_measure){whole, whole, -1};
    return true;
}

static const struct amend_ops raw_amend_ops = {.co_measure = raw_co_measure};

const struct blk_driver raw_driver = {
    .name = "raw",
    .description = "the bytes of a file as they are",
    .flags = DRIVER_FORMAT | DRIVER_ANY_LOOP | DRIVER_FUA | DRIVER_PLAIN,
    .state_size = sizeof(struct raw_state),
    .options = raw_fields,
    .options_size = sizeof(struct raw_options),
    .create_options = raw_create_fields,
    .create_options_size = sizeof(struct raw_create_options),
    .co_open = raw_co_open,
    .limits = raw_limits,
    .co_read = raw_co_read,
    .co_write = raw_co_write,
    .co_zero = raw_co_zero,
    .co_discard = raw_co_discard,
    .co_map = raw_co_map,
    .co_resize = raw_co_resize,
    .co_create = raw_co_create,
    .plan = &raw_plan,
    .amend = &raw_amend_ops,
};
