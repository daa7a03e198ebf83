/*
 * mem: a disk in memory, sparse and growable, gone when it is closed. Bytes
 * live in blocks of 64 KiB that exist once they are written. A mutex guards the
 * table and the blocks, so every loop may use the node.
 */
#include "libblock/driver.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

enum { BLOCK_SIZE = 64 * 1024 };

struct mem_options {
    char *filename;
    int64_t size;
};

struct mem_state {
    pthread_mutex_t mutex; /* guards blocks and what is in them */
    GHashTable *blocks;    /* int64_t block number -> BLOCK_SIZE bytes */
};

static const struct field mem_fields[] = {
    FIELD(struct mem_options, filename, "filename", NULL, "ignored"),
    FIELD_SIZE(struct mem_options, size, "size", "0", "size at the start"),
    {0},
};

static const char *const mem_schemes[] = {"mem", NULL};

static bool mem_co_open(struct blk_node *node, json_t *rest, GError **error)
{
    const struct mem_options *o = node->options;
    struct mem_state *s = node->state;
    pthread_mutex_init(&s->mutex, NULL);
    s->blocks = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
    node->size = o->size;
    node->growable = true;
    return true;
}

static bool mem_co_close(struct blk_node *node, GError **error)
{
    struct mem_state *s = node->state;
    g_hash_table_destroy(s->blocks);
    pthread_mutex_destroy(&s->mutex);
    return true;
}

static uint8_t *find_block(struct mem_state *s, int64_t number)
{
    return g_hash_table_lookup(s->blocks, &number);
}

static uint8_t *make_block(struct mem_state *s, int64_t number)
{
    uint8_t *block = find_block(s, number);
    if (!block) {
        block = g_try_malloc0(BLOCK_SIZE);
        if (block) {
            g_hash_table_insert(s->blocks, g_memdup2(&number, sizeof(number)), block);
        }
    }
    return block;
}

/* The part of [offset, +length) that lies in the first block it touches. */
static int64_t in_block(int64_t offset, int64_t length)
{
    return min_i64(length, BLOCK_SIZE - offset % BLOCK_SIZE);
}

static int mem_co_read(struct blk_node *node, int64_t offset, int64_t length, struct span span)
{
    struct mem_state *s = node->state;
    pthread_mutex_lock(&s->mutex);
    for (int64_t n, done = 0; done < length; done += n) {
        n = in_block(offset + done, length - done);
        const uint8_t *block = find_block(s, (offset + done) / BLOCK_SIZE);
        struct span part = span_skip(span, done);
        if (block) {
            span_write(part, block + (offset + done) % BLOCK_SIZE, n);
        } else {
            span_fill(part, 0, n);
        }
    }
    pthread_mutex_unlock(&s->mutex);
    return 0;
}

static int mem_co_write(struct blk_node *node, int64_t offset, int64_t length, struct span span,
                        uint32_t flags)
{
    struct mem_state *s = node->state;
    int ret = 0;
    pthread_mutex_lock(&s->mutex);
    for (int64_t n, done = 0; done < length && !ret; done += n) {
        n = in_block(offset + done, length - done);
        uint8_t *block = make_block(s, (offset + done) / BLOCK_SIZE);
        if (block) {
            span_read(span_skip(span, done), block + (offset + done) % BLOCK_SIZE, n);
        }
        ret = block ? 0 : -ENOMEM;
    }
    pthread_mutex_unlock(&s->mutex);
    return ret;
}

/* Zeroes bytes; whole blocks go away. The mutex is held. */
static void zero_locked(struct mem_state *s, int64_t offset, int64_t length)
{
    for (int64_t n; length > 0; offset += n, length -= n) {
        n = in_block(offset, length);
        int64_t number = offset / BLOCK_SIZE;
        uint8_t *block = find_block(s, number);
        if (block && n == BLOCK_SIZE) {
            g_hash_table_remove(s->blocks, &number);
        } else if (block) {
            memset(block + offset % BLOCK_SIZE, 0, n);
        }
    }
}

static int mem_co_zero(struct blk_node *node, int64_t offset, int64_t length, uint32_t flags)
{
    struct mem_state *s = node->state;
    pthread_mutex_lock(&s->mutex);
    zero_locked(s, offset, length);
    pthread_mutex_unlock(&s->mutex);
    return 0;
}

static int mem_co_discard(struct blk_node *node, int64_t offset, int64_t length)
{
    return mem_co_zero(node, offset, length, 0);
}

/* Drops what lies past `size`, so that growing again shows zeroes. The mutex is held. */
static void truncate_locked(struct mem_state *s, int64_t size)
{
    int64_t first = div_up(size, BLOCK_SIZE);
    if (size % BLOCK_SIZE) {
        zero_locked(s, size, BLOCK_SIZE - size % BLOCK_SIZE);
    }
    GHashTableIter iter;
    gpointer key;
    g_hash_table_iter_init(&iter, s->blocks);
    while (g_hash_table_iter_next(&iter, &key, NULL)) {
        if (*(int64_t *)key >= first) {
            g_hash_table_iter_remove(&iter);
        }
    }
}

static bool mem_co_resize(struct blk_node *node, int64_t size, const char *preallocation,
                          GError **error)
{
    struct mem_state *s = node->state;
    pthread_mutex_lock(&s->mutex);
    if (size < node->size) {
        truncate_locked(s, size);
    }
    pthread_mutex_unlock(&s->mutex);
    __atomic_store_n(&node->size, size, __ATOMIC_RELAXED);
    return true;
}

static int mem_co_map(struct blk_node *node, int64_t offset, int64_t length, uint32_t flags,
                      struct extent_list *list)
{
    struct mem_state *s = node->state;
    bool room = true;
    pthread_mutex_lock(&s->mutex);
    for (int64_t n; length > 0 && room; offset += n, length -= n) {
        n = in_block(offset, length);
        bool data = find_block(s, offset / BLOCK_SIZE);
        struct blk_extent extent = {.offset = offset,
                                    .length = n,
                                    .flags = EXTENT_ALLOCATED | EXTENT_OFFSET |
                                             (data ? EXTENT_DATA : EXTENT_ZERO),
                                    .leaf = node,
                                    .leaf_offset = offset};
        room = extents_add(list, &extent);
    }
    pthread_mutex_unlock(&s->mutex);
    return 0;
}

static bool mem_info(struct blk_node *node, struct blk_info *info, GError **error)
{
    struct mem_state *s = node->state;
    pthread_mutex_lock(&s->mutex);
    info->actual_size = (int64_t)g_hash_table_size(s->blocks) * BLOCK_SIZE;
    pthread_mutex_unlock(&s->mutex);
    return true;
}

const struct blk_driver mem_driver = {
    .name = "mem",
    .description = "a disk in memory, gone when it is closed",
    .flags = DRIVER_PROTOCOL | DRIVER_ANY_LOOP | DRIVER_FUA,
    .state_size = sizeof(struct mem_state),
    .options = mem_fields,
    .options_size = sizeof(struct mem_options),
    .schemes = mem_schemes,
    .co_open = mem_co_open,
    .co_close = mem_co_close,
    .co_read = mem_co_read,
    .co_write = mem_co_write,
    .co_zero = mem_co_zero,
    .co_discard = mem_co_discard,
    .co_map = mem_co_map,
    .co_resize = mem_co_resize,
    .info = mem_info,
};
