/*
 * cairn-io's map and alloc: which ranges the image itself holds, whatever its
 * backing file has.
 */
#include <inttypes.h>

#include "base/bytes.h"
#include "img-tool/io.h"
#include "img-tool/tool.h"

/* A stretch that is all allocated, or all not. */
struct stretch {
    int64_t offset, length;
    bool allocated;
};

typedef void stretch_fn(const struct stretch *stretch, void *user);

/* Calls `fn` for each stretch of [offset, end). */
static int walk(struct blk_node *node, int64_t offset, int64_t end, stretch_fn *fn, void *user)
{
    struct extent_list list = {.limit = 4096};
    struct stretch s = {.offset = offset};
    int ret = 0;
    while (offset < end && !ret) {
        extents_clear(&list);
        ret = node_map(node, offset, end - offset, 0, &list);
        for (int i = 0; i < list.count && !ret; i++) {
            const struct blk_extent *e = &list.items[i];
            bool allocated = e->flags & EXTENT_ALLOCATED;
            if (s.length && allocated != s.allocated) {
                fn(&s, user);
                s = (struct stretch){.offset = e->offset};
            }
            s.allocated = allocated;
            s.length += e->length;
            offset = e->offset + e->length;
        }
    }
    extents_done(&list);
    if (!ret && s.length) {
        fn(&s, user);
    }
    return ret;
}

static void print_stretch(const struct stretch *s, void *user)
{
    g_autofree char *length = io_quantity((double)s->length);
    g_autofree char *offset = io_quantity((double)s->offset);
    tool_printf("%s (0x%" PRIx64 ") bytes %s allocated at offset %s (0x%" PRIx64 ")\n", length,
                (uint64_t)s->length, s->allocated ? "   " : "not", offset, (uint64_t)s->offset);
}

static int run_map(struct io *io, const struct io_command *command, int argc, char **argv)
{
    int64_t size = node_size(io->node);
    int ret = walk(io->node, 0, size, print_stretch, NULL);
    if (ret) {
        tool_printf("Failed to query allocation status: %s\n", g_strerror(-ret));
        return -1;
    }
    return 0;
}

static void add_stretch(const struct stretch *s, void *user)
{
    int64_t *sum = user;
    *sum += s->allocated ? s->length : 0;
}

static int run_alloc(struct io *io, const struct io_command *command, int argc, char **argv)
{
    int64_t offset, count = 512, sum = 0;
    if (!io_number(argv[1], &offset) || (argc > 2 && !io_number(argv[2], &count))) {
        return -1;
    }
    count = max_i64(0, min_i64(count, node_size(io->node) - offset));
    int ret = walk(io->node, offset, offset + count, add_stretch, &sum);
    if (ret) {
        tool_printf("is_allocated failed: %s\n", g_strerror(-ret));
        return -1;
    }
    g_autofree char *text = io_quantity((double)offset);
    tool_printf("%" PRId64 "/%" PRId64 " bytes allocated at offset %s\n", sum, count, text);
    return 0;
}

const struct io_command io_map_command = {
    .name = "map",
    .synopsis = "",
    .summary = "prints the allocated areas of a file",
    .run = run_map,
};

const struct io_command io_alloc_command = {
    .name = "alloc",
    .alias = "a",
    .synopsis = "offset [count]",
    .summary = "checks if offset is allocated in the file",
    .min_args = 1,
    .max_args = 2,
    .run = run_alloc,
};
