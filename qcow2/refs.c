/*
 * A byte holds a count up to 62 and two marks; 63 says that the count is in a
 * page of 256 wide counters, made when the first of its clusters needs one.
 *
 *     bytes  | 1 | 1 | 63 | 1 | ... untouched memory, zero ... | 2 |
 *                      |
 *     wide             +--> uint32_t[256]
 *
 * A sparse image costs what its metadata touches: the bytes come as zero pages
 * from the system, and how many of them were touched is counted against the limit,
 * so that a small hostile file cannot make it large.
 */
#include "qcow2/refs.h"

#include <glib.h>
#include <sys/mman.h>

#include "base/bitmap.h"
#include "base/bytes.h"
#include "base/span.h"

enum { PAGE_BITS = 12, PAGE = 1 << PAGE_BITS, WIDE_BITS = 8, WIDE = 1 << WIDE_BITS };

struct refs {
    int64_t clusters;
    int64_t memory; /* bytes that may still be touched */
    uint8_t *bytes;
    uint32_t **wide;
    struct bitmap *touched; /* a bit for each page of `bytes` */
    int64_t last_page;      /* known to be touched; -1: none */
};

struct refs *refs_new(int64_t clusters, int64_t memory)
{
    struct refs *refs = g_new0(struct refs, 1);
    int64_t size = align_up(clusters + 1, PAGE);
    refs->clusters = clusters;
    refs->memory = memory;
    refs->last_page = -1;
    refs->bytes = g_try_malloc0((gsize)size);
    refs->wide = g_try_new0(uint32_t *, size >> WIDE_BITS);
    refs->touched = bitmap_try_new(size >> PAGE_BITS);
    if (!refs->bytes || !refs->wide || !refs->touched) {
        refs_free(refs);
        return NULL;
    }
    if (size > memory) {
        int64_t first = align_up((int64_t)(intptr_t)refs->bytes, PAGE);
        madvise((void *)(intptr_t)first, (size_t)(size - PAGE), MADV_NOHUGEPAGE);
    }
    return refs;
}

void refs_free(struct refs *refs)
{
    if (!refs) {
        return;
    }
    int64_t pages = align_up(refs->clusters + 1, PAGE) >> PAGE_BITS;
    for (int64_t page = 0; refs->touched; page++) {
        page = bitmap_next_set(refs->touched, page);
        if (page >= pages) {
            break;
        }
        for (int i = 0; i < PAGE / WIDE; i++) {
            g_free(refs->wide[page * (PAGE / WIDE) + i]);
        }
    }
    g_free(refs->wide);
    g_free(refs->bytes);
    bitmap_free(refs->touched);
    g_free(refs);
}

int64_t refs_clusters(const struct refs *refs)
{
    return refs->clusters;
}

/* Takes `bytes` of what may be touched. */
static bool pay(struct refs *refs, int64_t bytes)
{
    if (bytes > refs->memory) {
        return false;
    }
    refs->memory -= bytes;
    return true;
}

static bool touch(struct refs *refs, int64_t cluster)
{
    int64_t page = cluster >> PAGE_BITS;
    if (!bitmap_test(refs->touched, page)) {
        if (!pay(refs, PAGE)) {
            return false;
        }
        bitmap_set(refs->touched, page, 1);
    }
    refs->last_page = page;
    return true;
}

/* The wide counter of `cluster`, made if need be; NULL when memory is short. */
static uint32_t *wide_make(struct refs *refs, int64_t cluster)
{
    uint32_t **slot = &refs->wide[cluster >> WIDE_BITS];
    if (!*slot && pay(refs, WIDE * (int64_t)sizeof(uint32_t))) {
        *slot = g_try_new0(uint32_t, WIDE);
    }
    return *slot ? &(*slot)[cluster & (WIDE - 1)] : NULL;
}

uint32_t refs_get(const struct refs *refs, int64_t cluster)
{
    int value = refs->bytes[cluster] & REFS_MANY;
    return value < REFS_MANY ? (uint32_t)value
                             : refs->wide[cluster >> WIDE_BITS][cluster & (WIDE - 1)];
}

bool refs_set(struct refs *refs, int64_t cluster, uint32_t count)
{
    if (refs->last_page != cluster >> PAGE_BITS && !touch(refs, cluster)) {
        return false;
    }
    uint32_t small = count;
    if (count >= REFS_MANY) {
        uint32_t *wide = wide_make(refs, cluster);
        if (!wide) {
            return false;
        }
        *wide = count;
        small = REFS_MANY;
    }
    refs->bytes[cluster] = (uint8_t)((refs->bytes[cluster] & REFS_MARKS) | small);
    return true;
}

bool refs_add(struct refs *refs, int64_t cluster, uint32_t more, int marks)
{
    uint8_t *byte = &refs->bytes[cluster];
    uint32_t small = *byte & REFS_MANY;
    if (more < REFS_MANY - small && refs->last_page == cluster >> PAGE_BITS) {
        *byte = (uint8_t)((*byte + more) | (uint32_t)marks);
        return true;
    }
    uint64_t sum = (uint64_t)refs_get(refs, cluster) + more;
    if (!refs_set(refs, cluster, sum > UINT32_MAX ? UINT32_MAX : (uint32_t)sum)) {
        return false;
    }
    *byte = (uint8_t)(*byte | marks);
    return true;
}

bool refs_add_run(struct refs *refs, int64_t cluster, int64_t count, uint32_t more, int marks)
{
    int64_t end = cluster + count;
    while (cluster < end) {
        int64_t n = min_i64(end, align_down(cluster, PAGE) + PAGE) - cluster;
        if (!refs_add(refs, cluster, more, marks)) {
            return false;
        }
        uint8_t *rest = refs->bytes + cluster + 1;
        if (more < REFS_MANY && bytes_are_zero(rest, n - 1)) {
            memset(rest, (int)(more | (uint32_t)marks), (size_t)(n - 1));
        } else {
            for (int64_t i = 1; i < n; i++) {
                if (!refs_add(refs, cluster + i, more, marks)) {
                    return false;
                }
            }
        }
        cluster += n;
    }
    return true;
}

int refs_marks(const struct refs *refs, int64_t cluster)
{
    return refs->bytes[cluster] & REFS_MARKS;
}

void refs_clear_marks(struct refs *refs, int64_t cluster)
{
    refs->bytes[cluster] &= REFS_MANY;
}

int64_t refs_next(const struct refs *refs, int64_t from)
{
    int64_t at = from;
    while (at < refs->clusters && !refs->bytes[at]) {
        if (!is_aligned(at, PAGE)) {
            at++;
            continue;
        }
        int64_t page = bitmap_next_set(refs->touched, at >> PAGE_BITS) << PAGE_BITS;
        at = page > at ? page : at + 1;
    }
    return min_i64(at, refs->clusters);
}

const uint8_t *refs_bytes(const struct refs *refs)
{
    return refs->bytes;
}
