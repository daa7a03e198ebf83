/*
 * The bit layouts of L1, L2 and refcount entries, in one place.
 *
 *     standard L2:   63 copied | 62 = 0 | 61..56 zero | 55..9 host offset | 8..1 zero | 0 zero flag
 *     compressed L2: 63        | 62 = 1 | 61..x more 512-byte sectors | x-1..0 byte offset
 *     L1:            63 copied | 62..56 zero | 55..9 table offset | 8..0 zero
 *
 * with x = 62 - (cluster_bits - 8). Host offset 0 is the header, so no entry may point there.
 */
#include "qcow2/entry.h"

#include "base/bytes.h"

enum { SECTOR = 512, OFFSET_BITS = 56 };

#define L1_RESERVED UINT64_C(0x7f000000000001ff)
#define L2_RESERVED UINT64_C(0x3f000000000001fe)
#define REFTABLE_RESERVED UINT64_C(0x00000000000001ff)

static struct qcow2_entry entry_plain(enum qcow2_kind kind, int cluster_bits)
{
    return (struct qcow2_entry){.kind = kind, .length = INT64_C(1) << cluster_bits};
}

static int packed_shift(int cluster_bits)
{
    return 62 - (cluster_bits - 8);
}

static struct qcow2_entry packed_decode(uint64_t raw, int cluster_bits)
{
    struct qcow2_entry entry = {.kind = QCOW2_COMPRESSED};
    qcow2_packed_place(raw, cluster_bits, &entry.host_off, &entry.length);
    bool fits = !(entry.host_off >> OFFSET_BITS) && entry.host_off >> cluster_bits;
    return fits ? entry : entry_plain(QCOW2_CORRUPT, cluster_bits);
}

struct qcow2_entry qcow2_l2_decode(uint64_t raw, int cluster_bits, int version)
{
    if (raw & QCOW2_COMPRESSED_FLAG) {
        return packed_decode(raw, cluster_bits);
    }
    int64_t offset = (int64_t)(raw & QCOW2_OFFSET_MASK);
    bool zero = raw & QCOW2_ZERO_FLAG;
    bool copied = raw & QCOW2_COPIED_FLAG;
    if ((raw & L2_RESERVED) || !is_aligned(offset, INT64_C(1) << cluster_bits) ||
        (copied && !offset) || (zero && version < 3)) {
        return entry_plain(QCOW2_CORRUPT, cluster_bits);
    }
    struct qcow2_entry entry = entry_plain(QCOW2_UNALLOCATED, cluster_bits);
    if (offset) {
        entry.kind = zero ? QCOW2_ZERO_ALLOC : QCOW2_NORMAL;
    } else if (zero) {
        entry.kind = QCOW2_ZERO;
    }
    entry.host_off = offset;
    entry.copied = copied;
    return entry;
}

uint64_t qcow2_l2_encode(const struct qcow2_entry *entry, int cluster_bits)
{
    uint64_t offset = (uint64_t)entry->host_off;
    uint64_t copied = entry->copied ? QCOW2_COPIED_FLAG : 0;
    switch (entry->kind) {
    case QCOW2_NORMAL: return offset | copied;
    case QCOW2_ZERO: return QCOW2_ZERO_FLAG;
    case QCOW2_ZERO_ALLOC: return offset | copied | QCOW2_ZERO_FLAG;
    case QCOW2_COMPRESSED: {
        uint64_t more = (offset % SECTOR + (uint64_t)entry->length - 1) / SECTOR;
        return QCOW2_COMPRESSED_FLAG | more << packed_shift(cluster_bits) | offset;
    }
    default: return 0;
    }
}

bool qcow2_packed_fits(int64_t host_off, int64_t length, int cluster_bits)
{
    int shift = packed_shift(cluster_bits);
    int64_t limit = INT64_C(1) << (shift < OFFSET_BITS ? shift : OFFSET_BITS);
    return host_off < limit && length <= (INT64_C(1) << cluster_bits);
}

/* How many of the `count` words at p equal `word`, from the front. */
static int count_equal(const uint8_t *p, int count, uint64_t word)
{
    int n = 0;
    for (uint64_t w; n < count; n++) {
        memcpy(&w, p + 8 * n, 8);
        if (w != word) {
            break;
        }
    }
    return n;
}

/* How many of the `count` entries at p count up from `raw` in steps of `step`. */
static int count_rising(const uint8_t *p, int count, uint64_t raw, uint64_t step)
{
    int n = 0;
    while (n < count && load_be64(p + 8 * n) == raw + (uint64_t)n * step) {
        n++;
    }
    return n;
}

int qcow2_l2_run(const void *table, int index, int count, int cluster_bits, int version,
                 struct qcow2_entry *ret_first)
{
    const uint8_t *p = (const uint8_t *)table + 8 * (int64_t)index;
    uint64_t raw = load_be64(p);
    struct qcow2_entry first = qcow2_l2_decode(raw, cluster_bits, version);
    int n = 1;
    switch (first.kind) {
    case QCOW2_UNALLOCATED:
    case QCOW2_ZERO: n = count_equal(p, count - index, htobe64(raw)); break;
    case QCOW2_NORMAL:
    case QCOW2_ZERO_ALLOC: {
        int64_t room = ((INT64_C(1) << OFFSET_BITS) - first.host_off) >> cluster_bits;
        n = count_rising(p, (int)min_i64(count - index, room), raw, UINT64_C(1) << cluster_bits);
        break;
    }
    default: break;
    }
    *ret_first = first;
    return n;
}

struct qcow2_entry qcow2_l1_decode(uint64_t raw, int cluster_bits)
{
    int64_t offset = (int64_t)(raw & QCOW2_OFFSET_MASK);
    bool copied = raw & QCOW2_COPIED_FLAG;
    if ((raw & L1_RESERVED) || !is_aligned(offset, INT64_C(1) << cluster_bits) ||
        (copied && !offset)) {
        return entry_plain(QCOW2_CORRUPT, cluster_bits);
    }
    struct qcow2_entry entry = entry_plain(offset ? QCOW2_NORMAL : QCOW2_UNALLOCATED, cluster_bits);
    entry.host_off = offset;
    entry.copied = copied;
    return entry;
}

uint64_t qcow2_l1_encode(int64_t table_off, bool copied)
{
    return (uint64_t)table_off | (copied ? QCOW2_COPIED_FLAG : 0);
}

bool qcow2_l1_reserved(uint64_t raw)
{
    return raw & L1_RESERVED;
}

bool qcow2_l2_reserved(uint64_t raw, int version)
{
    return raw & (L2_RESERVED | (version < 3 ? QCOW2_ZERO_FLAG : 0));
}

void qcow2_packed_place(uint64_t raw, int cluster_bits, int64_t *ret_offset, int64_t *ret_length)
{
    int shift = packed_shift(cluster_bits);
    uint64_t offset = raw & ((UINT64_C(1) << shift) - 1);
    uint64_t more = (raw & (QCOW2_COMPRESSED_FLAG - 1)) >> shift;
    *ret_offset = (int64_t)offset;
    *ret_length = (int64_t)((more + 1) * SECTOR - offset % SECTOR);
}

uint64_t qcow2_plain_entry_mask(int cluster_bits, int version)
{
    uint64_t within = (UINT64_C(1) << cluster_bits) - 1;
    return QCOW2_COPIED_FLAG | (QCOW2_OFFSET_MASK & ~within) | (version < 3 ? 0 : QCOW2_ZERO_FLAG);
}

bool qcow2_reftable_reserved(uint64_t raw)
{
    return raw & REFTABLE_RESERVED;
}

int64_t qcow2_reftable_decode(uint64_t raw, int cluster_bits)
{
    bool bad = (raw & REFTABLE_RESERVED) || raw >> OFFSET_BITS ||
               !is_aligned((int64_t)raw, INT64_C(1) << cluster_bits);
    return bad ? -1 : (int64_t)raw;
}

uint64_t qcow2_refcount_get(const void *block, int64_t index, int order)
{
    const uint8_t *p = block;
    switch (order) {
    case 3: return p[index];
    case 4: return load_be16(p + 2 * index);
    case 5: return load_be32(p + 4 * index);
    case 6: return load_be64(p + 8 * index);
    default: {
        int64_t bit = index << order;
        return p[bit / 8] >> (bit % 8) & ((1u << (1 << order)) - 1);
    }
    }
}

void qcow2_refcount_set(void *block, int64_t index, int order, uint64_t value)
{
    uint8_t *p = block;
    switch (order) {
    case 3: p[index] = (uint8_t)value; break;
    case 4: store_be16(p + 2 * index, (uint16_t)value); break;
    case 5: store_be32(p + 4 * index, (uint32_t)value); break;
    case 6: store_be64(p + 8 * index, value); break;
    default: {
        int64_t bit = index << order;
        unsigned mask = ((1u << (1 << order)) - 1) << (bit % 8);
        p[bit / 8] = (uint8_t)((p[bit / 8] & ~mask) | ((unsigned)value << (bit % 8) & mask));
    }
    }
}

uint64_t qcow2_refcount_max(int order)
{
    return order == 6 ? UINT64_MAX : (UINT64_C(1) << (1 << order)) - 1;
}
