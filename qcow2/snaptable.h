/*
 * Entries of the snapshot table, decoded into structs and encoded back. Pure: no
 * I/O, no state. Every limit on what an entry may say is checked here.
 */
#ifndef CAIRN_QCOW2_SNAPTABLE_H
#define CAIRN_QCOW2_SNAPTABLE_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    QCOW2_SNAPSHOT_MAX_EXTRA = 1024,
    QCOW2_SNAPSHOT_MAX_ENTRY = 40 + QCOW2_SNAPSHOT_MAX_EXTRA + 2 * 65535 + 7, /* bytes */
    QCOW2_MAX_SNAPTABLE_BYTES = 64 << 20,
};

struct qcow2_snapshot {
    char *id, *name;
    int64_t l1_offset; /* see qcow2_snapshot_check_l1() */
    uint32_t l1_entries;
    uint32_t date_sec, date_nsec;
    uint64_t vm_clock_ns;
    int64_t vm_state_size; /* bytes */
    int64_t size;          /* of the guest's disk, bytes; -1: not told, the image's own */
    uint64_t icount;       /* UINT64_MAX: unknown */
    uint8_t *extra;        /* data that this code does not know, kept as it is */
    uint32_t extra_length;
};

/* Decodes the entry at the front of `len` bytes. Returns how many bytes it takes with its padding;
 * 0 when it does not end within `len`; -1 with *error when it breaks a limit. On success the caller
 * frees the contents with qcow2_snapshot_clear(). */
int64_t qcow2_snapshot_decode(const uint8_t *buf, int64_t len, struct qcow2_snapshot *ret_snapshot,
                              GError **error);

/* Bytes of the encoded entry, padding included; -1 when its strings are too long. */
int64_t qcow2_snapshot_encoded_length(const struct qcow2_snapshot *snapshot);

/* Writes the entry, as many bytes as qcow2_snapshot_encoded_length() says. Its size is known. */
void qcow2_snapshot_encode(const struct qcow2_snapshot *snapshot, uint8_t *buf);

/* Whether the entry's L1 table can be followed: aligned, of legal size, at a possible offset. */
bool qcow2_snapshot_check_l1(const struct qcow2_snapshot *snapshot, int cluster_bits,
                             GError **error);

void qcow2_snapshot_copy(const struct qcow2_snapshot *snapshot, struct qcow2_snapshot *ret_copy);
void qcow2_snapshot_clear(struct qcow2_snapshot *snapshot);

/* A list of struct qcow2_snapshot that clears its items. */
GArray *qcow2_snapshots_new(void);

#endif
