/*
 * A bounded cache of metadata tables, or of equal slices of them: L2 tables in
 * one cache, refcount blocks in another. The caller says which changed bytes go
 * to the file and when; the cache never writes by itself.
 */
#ifndef CAIRN_QCOW2_CACHE_H
#define CAIRN_QCOW2_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "libblock/driver.h"

struct qcow2_cache;

struct qcow2_table {
    int64_t offset;           /* in the file */
    uint8_t *data;            /* as on the disk: big endian */
    int64_t tag;              /* the owner's: for L2 the L1 index */
    int dirty_from, dirty_to; /* bytes of `data` that the file does not have yet */

    bool loading;
    int writing;                       /* writes in flight */
    struct qcow2_table *chain;         /* same hash bucket */
    struct qcow2_table *newer, *older; /* order of use */
};

/* A cache of tables of `table_size` bytes in `file`, at most `limit` bytes of clean ones. `load`
 * and `update` are raised before a table is read or written. */
struct qcow2_cache *qcow2_cache_new(struct blk_node *file, int64_t table_size, int64_t limit,
                                    enum blk_event load, enum blk_event update);
void qcow2_cache_free(struct qcow2_cache *cache);

/* The table at `offset`, read when it is not in. It stays valid until the caller yields. */
int qcow2_cache_co_get(struct qcow2_cache *cache, int64_t offset, struct qcow2_table **ret_table);

/* The same without reading: NULL when it is not in. */
struct qcow2_table *qcow2_cache_find(struct qcow2_cache *cache, int64_t offset);

/* A table of zeroes that is wholly dirty, for a newly allocated place. NULL when memory is short.
 */
struct qcow2_table *qcow2_cache_add_zero(struct qcow2_cache *cache, int64_t offset);

/* Forgets the tables in [offset, +length) and their changes. */
void qcow2_cache_drop(struct qcow2_cache *cache, int64_t offset, int64_t length);

/* Forgets all tables and their changes. */
void qcow2_cache_clear(struct qcow2_cache *cache);

/* Bytes [from, to) of the table have changed. */
void qcow2_cache_dirty(struct qcow2_cache *cache, struct qcow2_table *table, int from, int to);

/* Bytes held by tables with changes; 0: nothing to write. */
int64_t qcow2_cache_dirty_bytes(const struct qcow2_cache *cache);

/* Writes the changes of every dirty table that `want` accepts (NULL: all), in file order. What
 * could not be written stays dirty. One caller at a time. */
int qcow2_cache_co_write(struct qcow2_cache *cache,
                         bool (*want)(const struct qcow2_table *table, void *arg), void *arg);

#endif
