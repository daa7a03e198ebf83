/*
 * Tables hang in hash chains by file offset and in one list by age. Clean tables
 * beyond the limit leave from the old end; dirty ones, and those that are being
 * read or written, stay, so that changes can exceed the limit until the owner
 * writes them.
 *
 * A write takes a copy of the changed bytes first: the table may go on changing
 * while it is under way, and then simply is dirty again. Ordering is the
 * caller's, who calls qcow2_cache_co_write() between barriers.
 */
#include "qcow2/cache.h"

#include <errno.h>
#include <stdlib.h>

#include "base/base.h"
#include "libblock/driver.h"

enum { WRITE_ALIGN = 4096 };

struct qcow2_cache {
    struct blk_node *file;
    int64_t table_size, limit;
    int64_t count, dirty_count;
    struct qcow2_table **buckets;
    int64_t bucket_count; /* power of two */
    struct qcow2_table *newest, *oldest;
    struct co_queue loaded; /* waiting for some table to be read */
    enum blk_event load, update;
};

struct qcow2_cache *qcow2_cache_new(struct blk_node *file, int64_t table_size, int64_t limit,
                                    enum blk_event load, enum blk_event update)
{
    struct qcow2_cache *cache = g_new0(struct qcow2_cache, 1);
    cache->file = file;
    cache->load = load;
    cache->update = update;
    cache->table_size = table_size;
    cache->limit = max_i64(limit / table_size, 2);
    cache->bucket_count = 64;
    cache->buckets = g_new0(struct qcow2_table *, cache->bucket_count);
    return cache;
}

static void table_free(struct qcow2_table *table)
{
    free(table->data);
    g_free(table);
}

void qcow2_cache_free(struct qcow2_cache *cache)
{
    if (!cache) {
        return;
    }
    for (struct qcow2_table *t = cache->newest, *next; t; t = next) {
        next = t->older;
        table_free(t);
    }
    g_free(cache->buckets);
    g_free(cache);
}

static struct qcow2_table **bucket_of(const struct qcow2_cache *cache, int64_t offset)
{
    uint64_t hash = (uint64_t)(offset >> 9) * UINT64_C(0x9e3779b97f4a7c15);
    return &cache->buckets[hash >> 32 & (uint64_t)(cache->bucket_count - 1)];
}

static void list_remove(struct qcow2_cache *cache, struct qcow2_table *t)
{
    *(t->newer ? &t->newer->older : &cache->newest) = t->older;
    *(t->older ? &t->older->newer : &cache->oldest) = t->newer;
}

static void list_add(struct qcow2_cache *cache, struct qcow2_table *t)
{
    t->newer = NULL;
    t->older = cache->newest;
    *(t->older ? &t->older->newer : &cache->oldest) = t;
    cache->newest = t;
}

static void cache_grow_buckets(struct qcow2_cache *cache)
{
    g_free(cache->buckets);
    cache->bucket_count *= 2;
    cache->buckets = g_new0(struct qcow2_table *, cache->bucket_count);
    for (struct qcow2_table *t = cache->newest; t; t = t->older) {
        struct qcow2_table **bucket = bucket_of(cache, t->offset);
        t->chain = *bucket;
        *bucket = t;
    }
}

static void cache_remove(struct qcow2_cache *cache, struct qcow2_table *table)
{
    struct qcow2_table **at = bucket_of(cache, table->offset);
    while (*at != table) {
        at = &(*at)->chain;
    }
    *at = table->chain;
    list_remove(cache, table);
    cache->count--;
    cache->dirty_count -= table->dirty_to > 0;
    table_free(table);
}

/* Drops clean tables from the old end until a new one fits, as far as possible. */
static void cache_make_room(struct qcow2_cache *cache)
{
    struct qcow2_table *t = cache->oldest;
    while (t && cache->count - cache->dirty_count >= cache->limit) {
        struct qcow2_table *newer = t->newer;
        if (!t->dirty_to && !t->loading && !t->writing) {
            cache_remove(cache, t);
        }
        t = newer;
    }
}

static struct qcow2_table *cache_add(struct qcow2_cache *cache, int64_t offset)
{
    cache_make_room(cache);
    struct qcow2_table *table = g_new0(struct qcow2_table, 1);
    table->data = aligned_alloc(WRITE_ALIGN, (size_t)align_up(cache->table_size, WRITE_ALIGN));
    if (!table->data) {
        table_free(table);
        return NULL;
    }
    if (++cache->count > 2 * cache->bucket_count) {
        cache_grow_buckets(cache);
    }
    table->offset = offset;
    struct qcow2_table **bucket = bucket_of(cache, offset);
    table->chain = *bucket;
    *bucket = table;
    list_add(cache, table);
    return table;
}

struct qcow2_table *qcow2_cache_find(struct qcow2_cache *cache, int64_t offset)
{
    struct qcow2_table *t = *bucket_of(cache, offset);
    while (t && t->offset != offset) {
        t = t->chain;
    }
    if (t && t != cache->newest) {
        list_remove(cache, t);
        list_add(cache, t);
    }
    return t && !t->loading ? t : NULL;
}

/* Reads a table; the part of it that lies past the end of the file is zero. */
static int table_co_load(struct qcow2_cache *cache, struct qcow2_table *table)
{
    int64_t inside = min_i64(node_size(cache->file) - table->offset, cache->table_size);
    if (inside <= 0) {
        return -EIO;
    }
    memset(table->data + inside, 0, (size_t)(cache->table_size - inside));
    node_co_event(cache->file, cache->load);
    return node_co_pread(cache->file, table->offset, inside, table->data);
}

static bool cache_is_loading(struct qcow2_cache *cache, int64_t offset)
{
    struct qcow2_table *t = *bucket_of(cache, offset);
    while (t && t->offset != offset) {
        t = t->chain;
    }
    return t && t->loading;
}

int qcow2_cache_co_get(struct qcow2_cache *cache, int64_t offset, struct qcow2_table **ret_table)
{
    struct qcow2_table *table;
    while (!(table = qcow2_cache_find(cache, offset))) {
        if (cache_is_loading(cache, offset)) {
            co_queue_co_wait(&cache->loaded);
            continue;
        }
        table = cache_add(cache, offset);
        if (!table) {
            return -ENOMEM;
        }
        table->loading = true;
        int ret = table_co_load(cache, table);
        table->loading = false;
        co_queue_wake_all(&cache->loaded);
        if (ret) {
            cache_remove(cache, table);
            return ret;
        }
        break;
    }
    *ret_table = table;
    return 0;
}

struct qcow2_table *qcow2_cache_add_zero(struct qcow2_cache *cache, int64_t offset)
{
    struct qcow2_table *table = qcow2_cache_find(cache, offset);
    table = table ? table : cache_add(cache, offset);
    if (table) {
        memset(table->data, 0, (size_t)cache->table_size);
        qcow2_cache_dirty(cache, table, 0, (int)cache->table_size);
    }
    return table;
}

void qcow2_cache_drop(struct qcow2_cache *cache, int64_t offset, int64_t length)
{
    for (int64_t at = offset; at < offset + length; at += cache->table_size) {
        struct qcow2_table *table = qcow2_cache_find(cache, at);
        if (table) {
            cache_remove(cache, table);
        }
    }
}

void qcow2_cache_clear(struct qcow2_cache *cache)
{
    while (cache->newest) {
        cache_remove(cache, cache->newest);
    }
}

void qcow2_cache_dirty(struct qcow2_cache *cache, struct qcow2_table *table, int from, int to)
{
    if (!table->dirty_to) {
        cache->dirty_count++;
        table->dirty_from = from;
    }
    table->dirty_from = MIN(table->dirty_from, from);
    table->dirty_to = MAX(table->dirty_to, to);
}

int64_t qcow2_cache_dirty_bytes(const struct qcow2_cache *cache)
{
    return cache->dirty_count * cache->table_size;
}

/* Writes the dirty bytes of one table, widened to whole blocks, through `copy`. */
static int table_co_write(struct qcow2_cache *cache, struct qcow2_table *table, uint8_t *copy)
{
    node_co_event(cache->file, cache->update);
    int old_from = table->dirty_from, old_to = table->dirty_to;
    int64_t from = align_down(old_from, WRITE_ALIGN);
    int64_t to = min_i64(align_up(old_to, WRITE_ALIGN), cache->table_size);
    memcpy(copy, table->data + from, (size_t)(to - from));
    table->dirty_from = table->dirty_to = 0;
    cache->dirty_count--;
    table->writing++;
    int ret = node_co_pwrite(cache->file, table->offset + from, to - from, copy);
    table->writing--;
    if (ret) {
        qcow2_cache_dirty(cache, table, old_from, old_to);
    }
    return ret;
}

static int compare_offsets(const void *a, const void *b)
{
    const struct qcow2_table *x = *(struct qcow2_table *const *)a;
    const struct qcow2_table *y = *(struct qcow2_table *const *)b;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* The dirty tables that `want` accepts, in file order; NULL when memory is short. */
static struct qcow2_table **cache_collect(struct qcow2_cache *cache,
                                          bool (*want)(const struct qcow2_table *table, void *arg),
                                          void *arg, int64_t *ret_count)
{
    struct qcow2_table **list = g_try_new(struct qcow2_table *, cache->dirty_count);
    int64_t n = 0;
    for (struct qcow2_table *t = cache->newest; list && t; t = t->older) {
        if (t->dirty_to && (!want || want(t, arg))) {
            list[n++] = t;
        }
    }
    if (n) {
        qsort(list, (size_t)n, sizeof(*list), compare_offsets);
    }
    *ret_count = n;
    return list;
}

int qcow2_cache_co_write(struct qcow2_cache *cache,
                         bool (*want)(const struct qcow2_table *table, void *arg), void *arg)
{
    if (!cache || !cache->dirty_count) {
        return 0;
    }
    int64_t count;
    struct qcow2_table **list = cache_collect(cache, want, arg, &count);
    uint8_t *copy = aligned_alloc(WRITE_ALIGN, (size_t)align_up(cache->table_size, WRITE_ALIGN));
    int ret = list && copy ? 0 : -ENOMEM;
    for (int64_t i = 0; i < count && !ret; i++) {
        ret = table_co_write(cache, list[i], copy);
    }
    free(copy);
    g_free(list);
    return ret;
}
