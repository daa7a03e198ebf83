#include "tests/tools/qcow2-ref.h"

#include <glib.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/bytes.h"

/* Added to a count: this cluster holds metadata. Of the L2 tables of snapshots some are shared. */
enum { TABLE = 1 << 30, SHARED = 1 << 29, COUNT = SHARED - 1 };

struct walk {
    const uint8_t *bytes;
    int64_t size, cluster, clusters;
    int cluster_bits, refcount_bits;
    uint32_t *counts; /* references found, with TABLE or SHARED */
    bool active;      /* the tables at hand are those of the guest's disk: COPIED counts */
    struct qcow2_ref result;
};

static const uint64_t offset_mask = UINT64_C(0x00fffffffffffe00);
static const uint64_t copied = UINT64_C(1) << 63, packed = UINT64_C(1) << 62;

G_GNUC_PRINTF(3, 4)
static void complain(struct walk *walk, int64_t *counter, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (walk->result.first[0] == '\0' ||
        walk->result.corruptions + (counter == &walk->result.corruptions) == 1)
        vsnprintf(walk->result.first, sizeof(walk->result.first), format, args);
    va_end(args);
    (*counter)++;
}

#define corrupt(walk, ...) complain(walk, &(walk)->result.corruptions, __VA_ARGS__)
#define leak(walk, ...) complain(walk, &(walk)->result.leaks, __VA_ARGS__)

/* Counts references to the clusters of [offset, +length); false when they are not in the file. */
static bool count(struct walk *walk, int64_t offset, int64_t length, bool table, const char *what)
{
    int64_t first = offset >> walk->cluster_bits,
            last = (offset + length - 1) >> walk->cluster_bits;
    if (offset < 0 || length <= 0 || last >= walk->clusters) {
        corrupt(walk, "%s at %#" PRIx64 " is past the end of the file", what, offset);
        return false;
    }
    for (int64_t i = first; i <= last; i++) {
        if (walk->counts[i] >= SHARED || (table && walk->counts[i]))
            corrupt(walk, "%s at %#" PRIx64 " overlaps metadata or data", what, offset);
        walk->counts[i] += table ? TABLE + 1 : 1;
    }
    return true;
}

/* As count(), for a table, which must lie on a cluster and whole in the file. */
static bool count_table(struct walk *walk, int64_t offset, int64_t length, const char *what)
{
    if (offset & (walk->cluster - 1)) {
        corrupt(walk, "%s at %#" PRIx64 " is not on a cluster", what, offset);
        return false;
    }
    if (!count(walk, offset, length, true, what))
        return false;
    if (offset + length > walk->size) {
        corrupt(walk, "%s at %#" PRIx64 " is cut off by the end of the file", what, offset);
        return false;
    }
    return true;
}

/* As count_table(), for an L2 table, which other L1 tables may refer to as well. */
static bool count_l2(struct walk *walk, int64_t offset)
{
    int64_t i = offset >> walk->cluster_bits;
    if (!walk->active && !(offset & (walk->cluster - 1)) && i < walk->clusters &&
        (walk->counts[i] & SHARED)) {
        walk->counts[i]++;
        return true;
    }
    if (!count_table(walk, offset, walk->cluster, "L2 table"))
        return false;
    walk->counts[i] += SHARED - TABLE;
    return true;
}

static uint64_t stored_in_block(const uint8_t *block, int64_t index, int bits)
{
    switch (bits) {
    case 64: return load_be64(block + index * 8);
    case 32: return load_be32(block + index * 4);
    case 16: return load_be16(block + index * 2);
    default: return (block[index * bits / 8] >> (index * bits % 8)) & ((1U << bits) - 1);
    }
}

static uint64_t stored_count(struct walk *walk, int64_t cluster)
{
    int64_t per_block = walk->cluster * 8 / walk->refcount_bits;
    int64_t table = (int64_t)load_be64(walk->bytes + 48);
    int64_t entries = load_be32(walk->bytes + 56) * (walk->cluster / 8);
    if (cluster / per_block >= entries || table + (cluster / per_block + 1) * 8 > walk->size)
        return 0;
    int64_t block = (int64_t)load_be64(walk->bytes + table + cluster / per_block * 8);
    if (!block || block < 0 || block > walk->size - walk->cluster)
        return 0;
    return stored_in_block(walk->bytes + block, cluster % per_block, walk->refcount_bits);
}

static void check_copied(struct walk *walk, uint64_t entry, const char *what)
{
    uint64_t stored = stored_count(walk, (int64_t)(entry & offset_mask) >> walk->cluster_bits);
    if (walk->active && ((entry & copied) != 0) != (stored == 1))
        corrupt(walk, "%s %#" PRIx64 " and refcount %" PRIu64 " disagree on COPIED", what, entry,
                stored);
}

static void walk_packed(struct walk *walk, uint64_t entry)
{
    int shift = 62 - (walk->cluster_bits - 8);
    int64_t offset = (int64_t)(entry & ((UINT64_C(1) << shift) - 1));
    int64_t sectors = (int64_t)((entry & ~(copied | packed)) >> shift) + 1;
    if (entry & copied)
        corrupt(walk, "compressed entry %#" PRIx64 " has COPIED", entry);
    count(walk, offset, sectors * 512 - (offset & 511), false, "compressed cluster");
}

static void walk_l2(struct walk *walk, int64_t table)
{
    bool v3 = load_be32(walk->bytes + 4) >= 3;
    for (int64_t i = 0; i < walk->cluster / 8; i++) {
        uint64_t entry = load_be64(walk->bytes + table + i * 8);
        int64_t offset = (int64_t)(entry & offset_mask);
        if (entry & packed) {
            walk_packed(walk, entry);
            continue;
        }
        if (entry & ~(offset_mask | copied | v3))
            corrupt(walk, "L2 entry %#" PRIx64 " has reserved bits", entry);
        if (offset & (walk->cluster - 1))
            corrupt(walk, "L2 entry %#" PRIx64 " is not on a cluster", entry);
        else if (offset && count(walk, offset, walk->cluster, false, "data cluster"))
            check_copied(walk, entry, "L2 entry");
    }
}

static void walk_l1(struct walk *walk, int64_t table, int64_t entries)
{
    if (!entries || !count_table(walk, table, entries * 8, "L1 table"))
        return;
    for (int64_t i = 0; i < entries; i++) {
        uint64_t entry = load_be64(walk->bytes + table + i * 8);
        if (entry & ~(offset_mask | copied))
            corrupt(walk, "L1 entry %#" PRIx64 " has reserved bits", entry);
        int64_t offset = (int64_t)(entry & offset_mask);
        if (!offset || !count_l2(walk, offset))
            continue;
        check_copied(walk, entry, "L1 entry");
        walk_l2(walk, offset);
    }
}

static void walk_snapshots(struct walk *walk)
{
    int64_t at = (int64_t)load_be64(walk->bytes + 64), start = at;
    uint32_t n = load_be32(walk->bytes + 60);
    for (uint32_t i = 0; i < n; i++) {
        const uint8_t *entry = walk->bytes + at;
        if (at < 0 || at > walk->size - 40) {
            corrupt(walk, "snapshot %u is past the end of the file", i);
            return;
        }
        walk_l1(walk, (int64_t)load_be64(entry), load_be32(entry + 8));
        at += (40 + (int64_t)load_be32(entry + 36) + load_be16(entry + 12) + load_be16(entry + 14) +
               7) /
              8 * 8;
    }
    if (n)
        count_table(walk, start, at - start, "snapshot table");
}

static void walk_refcounts(struct walk *walk)
{
    int64_t table = (int64_t)load_be64(walk->bytes + 48);
    int64_t length = load_be32(walk->bytes + 56) * walk->cluster;
    if (!count_table(walk, table, length, "refcount table"))
        return;
    for (int64_t i = 0; i < length / 8; i++) {
        int64_t block = (int64_t)load_be64(walk->bytes + table + i * 8);
        if (block)
            count_table(walk, block, walk->cluster, "refcount block");
    }
}

static void compare_counts(struct walk *walk)
{
    for (int64_t i = 0; i < walk->clusters; i++) {
        uint64_t stored = stored_count(walk, i), found = walk->counts[i] & COUNT;
        if (stored < found)
            corrupt(walk, "cluster %" PRId64 " has refcount %" PRIu64 " and %" PRIu64 " references",
                    i, stored, found);
        else if (stored > found)
            leak(walk, "cluster %" PRId64 " has refcount %" PRIu64 " and %" PRIu64 " references", i,
                 stored, found);
    }
}

struct qcow2_ref qcow2_ref_check(const uint8_t *bytes, int64_t size)
{
    struct walk walk = {.bytes = bytes, .size = size};
    if (size < 104 || load_be32(bytes) != 0x514649fb) {
        corrupt(&walk, "no qcow2 header");
        return walk.result;
    }
    bool v3 = load_be32(bytes + 4) >= 3;
    walk.cluster_bits = (int)load_be32(bytes + 20);
    walk.cluster = INT64_C(1) << walk.cluster_bits;
    walk.clusters = div_up(size, walk.cluster);
    walk.refcount_bits = v3 ? 1 << load_be32(bytes + 96) : 16;
    walk.counts = g_new0(uint32_t, (gsize)walk.clusters);
    count(&walk, 0, walk.cluster, true, "header");
    walk_refcounts(&walk);
    walk.active = true;
    walk_l1(&walk, (int64_t)load_be64(bytes + 40), load_be32(bytes + 36));
    walk.active = false;
    walk_snapshots(&walk);
    bool dirty = v3 && (load_be64(bytes + 72) & 1);
    if (!dirty)
        compare_counts(&walk);
    g_free(walk.counts);
    return walk.result;
}
