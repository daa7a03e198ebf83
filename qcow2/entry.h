/*
 * Table entries of qcow2, decoded into what they mean and encoded back. Pure:
 * no state, no I/O. An entry that breaks the format's rules decodes to
 * QCOW2_CORRUPT and never to something that could be followed.
 */
#ifndef CAIRN_QCOW2_ENTRY_H
#define CAIRN_QCOW2_ENTRY_H

#include <stdbool.h>
#include <stdint.h>

enum qcow2_kind {
    QCOW2_UNALLOCATED, /* the backing file shows through */
    QCOW2_NORMAL,      /* data at host_off */
    QCOW2_ZERO,        /* reads as zero, no host cluster */
    QCOW2_ZERO_ALLOC,  /* reads as zero, and keeps the host cluster at host_off */
    QCOW2_COMPRESSED,  /* `length` packed bytes at most, at host_off */
    QCOW2_CORRUPT,
};

/* One decoded L1 or L2 entry. */
struct qcow2_entry {
    enum qcow2_kind kind;
    bool copied;      /* the refcount is exactly one: may be written in place */
    int64_t host_off; /* bytes; 0 where there is none */
    int64_t length;   /* bytes: packed ones for QCOW2_COMPRESSED, else the cluster size */
};

/* An L2 entry (specification: "L2 table entry"). `version` 2 knows no zero flag. */
struct qcow2_entry qcow2_l2_decode(uint64_t raw, int cluster_bits, int version);

/* The inverse. `entry` fits the format: see qcow2_packed_fits() for compressed ones. */
uint64_t qcow2_l2_encode(const struct qcow2_entry *entry, int cluster_bits);

/* Whether `length` packed bytes at `host_off` can be described by an entry. */
bool qcow2_packed_fits(int64_t host_off, int64_t length, int cluster_bits);

/* The first entry of table[index..count-1], decoded, and how many entries from there on
 * continue it: same kind, and the host clusters follow each other. Compressed and corrupt entries
 * stand alone. `table` holds big-endian entries; index < count. */
int qcow2_l2_run(const void *table, int index, int count, int cluster_bits, int version,
                 struct qcow2_entry *ret_first);

/* An L1 entry: kind is NORMAL (an L2 table at host_off), UNALLOCATED or CORRUPT. */
struct qcow2_entry qcow2_l1_decode(uint64_t raw, int cluster_bits);
uint64_t qcow2_l1_encode(int64_t table_off, bool copied);

/* The parts of an L1 or L2 entry one by one, valid or not: for check. Reserved bits are those that
 * must be 0 in an entry that is not compressed. */
#define QCOW2_COPIED_FLAG (UINT64_C(1) << 63)
#define QCOW2_COMPRESSED_FLAG (UINT64_C(1) << 62)
#define QCOW2_ZERO_FLAG UINT64_C(1)
#define QCOW2_OFFSET_MASK UINT64_C(0x00fffffffffffe00)

static inline int64_t qcow2_entry_offset(uint64_t raw)
{
    return (int64_t)(raw & QCOW2_OFFSET_MASK);
}

static inline bool qcow2_entry_copied(uint64_t raw)
{
    return raw & QCOW2_COPIED_FLAG;
}

bool qcow2_l1_reserved(uint64_t raw);
bool qcow2_l2_reserved(uint64_t raw, int version);
void qcow2_packed_place(uint64_t raw, int cluster_bits, int64_t *ret_offset, int64_t *ret_length);
bool qcow2_reftable_reserved(uint64_t raw);

/* The bits that an L2 entry of an aligned cluster may have. */
uint64_t qcow2_plain_entry_mask(int cluster_bits, int version);

/* A refcount table entry: the offset of the refcount block, 0 for none, -1 for a corrupt one. */
int64_t qcow2_reftable_decode(uint64_t raw, int cluster_bits);

/* Refcount number `index` of a block whose entries are 1 << order bits wide, order 0..6. */
uint64_t qcow2_refcount_get(const void *block, int64_t index, int order);
void qcow2_refcount_set(void *block, int64_t index, int order, uint64_t value);

/* The largest refcount of that width. */
uint64_t qcow2_refcount_max(int order);

#endif
