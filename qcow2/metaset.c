/*
 * Pages of bits in a hash table: metadata is sparse in a large image but comes
 * in clumps, so a page of 4096 bits (512 bytes) costs little either way.
 */
#include "qcow2/metaset.h"

#include <errno.h>
#include <glib.h>
#include <stdlib.h>

#include "base/bytes.h"

enum { PAGE_BITS = 4096, MAX_PAGES = 1 << 18 };

struct metaset {
    GHashTable *pages; /* page number to uint64_t[PAGE_BITS / 64] */
};

struct metaset *metaset_new(void)
{
    struct metaset *set = g_new(struct metaset, 1);
    set->pages = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
    return set;
}

void metaset_free(struct metaset *set)
{
    if (set) {
        g_hash_table_unref(set->pages);
        g_free(set);
    }
}

static uint64_t *page_of(const struct metaset *set, int64_t cluster)
{
    int64_t key = cluster / PAGE_BITS;
    return g_hash_table_lookup(set->pages, &key);
}

static uint64_t *page_make(struct metaset *set, int64_t cluster)
{
    uint64_t *page = page_of(set, cluster);
    if (!page) {
        int64_t *key = g_new(int64_t, 1);
        *key = cluster / PAGE_BITS;
        page = g_new0(uint64_t, PAGE_BITS / 64);
        g_hash_table_insert(set->pages, key, page);
    }
    return page;
}

bool metaset_test(const struct metaset *set, int64_t first, int64_t count)
{
    const uint64_t *page = NULL;
    for (int64_t c = first; c < first + count; c++) {
        int bit = (int)(c % PAGE_BITS);
        if (c == first || !bit) {
            page = page_of(set, c);
        }
        if (page && page[bit / 64] >> (bit % 64) & 1) {
            return true;
        }
    }
    return false;
}

int metaset_add(struct metaset *set, int64_t first, int64_t count)
{
    if (metaset_test(set, first, count)) {
        return -EEXIST;
    }
    if (g_hash_table_size(set->pages) + count / PAGE_BITS + 2 > MAX_PAGES) {
        return -ENOMEM;
    }
    uint64_t *page = NULL;
    for (int64_t c = first; c < first + count; c++) {
        if (c == first || c % PAGE_BITS == 0) {
            page = page_make(set, c);
        }
        page[c % PAGE_BITS / 64] |= UINT64_C(1) << (c % 64);
    }
    return 0;
}

void metaset_remove(struct metaset *set, int64_t first, int64_t count)
{
    for (int64_t c = first; c < first + count; c++) {
        uint64_t *page = page_of(set, c);
        if (page) {
            page[c % PAGE_BITS / 64] &= ~(UINT64_C(1) << (c % 64));
        }
    }
}

static gint compare_keys(gconstpointer a, gconstpointer b)
{
    int64_t x = **(int64_t *const *)a, y = **(int64_t *const *)b;
    return x < y ? -1 : x > y;
}

/* Goes on with a run that ends where `cluster` begins, or hands it over and begins another. */
static void run_extend(int64_t cluster, int64_t *start, int64_t *end,
                       void (*take)(int64_t first, int64_t count, void *arg), void *arg)
{
    if (cluster != *end) {
        if (*end > *start) {
            take(*start, *end - *start, arg);
        }
        *start = cluster;
    }
    *end = cluster + 1;
}

void metaset_each_run(const struct metaset *set,
                      void (*take)(int64_t first, int64_t count, void *arg), void *arg)
{
    guint n;
    gpointer *keys = g_hash_table_get_keys_as_array(set->pages, &n);
    int64_t start = 0, end = 0;
    qsort(keys, n, sizeof(*keys), compare_keys);
    for (guint i = 0; i < n; i++) {
        const uint64_t *page = g_hash_table_lookup(set->pages, keys[i]);
        int64_t base = *(int64_t *)keys[i] * PAGE_BITS;
        for (int64_t bit = 0; bit < PAGE_BITS; bit++) {
            if (page[bit / 64] >> (bit % 64) & 1) {
                run_extend(base + bit, &start, &end, take, arg);
            }
        }
    }
    if (end > start) {
        take(start, end - start, arg);
    }
    g_free(keys);
}
