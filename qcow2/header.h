/*
 * The first cluster of a qcow2 image: header fields, extensions and the backing
 * file's name, between bytes and a struct. Pure: no I/O, no state, nothing but
 * memory. Every limit on what a header may say is checked by qcow2_header_decode(), so that the
 * rest of the driver can compute with the fields.
 */
#ifndef CAIRN_QCOW2_HEADER_H
#define CAIRN_QCOW2_HEADER_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    QCOW2_MIN_CLUSTER_BITS = 9,
    QCOW2_MAX_CLUSTER_BITS = 21,
    QCOW2_MAX_L1_BYTES = 32 << 20,
    QCOW2_MAX_REFTABLE_BYTES = 8 << 20,
    QCOW2_MAX_SNAPSHOTS = 65536,
    QCOW2_MAX_BITMAPS = 65535,
    QCOW2_MAX_BACKING_NAME = 1023,
    QCOW2_V2_HEADER = 72,      /* bytes of a version 2 header */
    QCOW2_V3_HEADER = 112,     /* what we write; 104 is the least to be read */
    QCOW2_HEADER_FIXED = 4096, /* enough for qcow2_header_probe() */
};

/* Byte positions of the fields that are updated in place. */
enum {
    QCOW2_AT_SIZE = 24,
    QCOW2_AT_L1_ENTRIES = 36, /* 4 bytes, then 8 of l1_offset */
    QCOW2_AT_REFTABLE = 48,   /* 8 bytes offset, then 4 of clusters */
    QCOW2_AT_INCOMPATIBLE = 72,
    QCOW2_AT_AUTOCLEAR = 88,
};

#define QCOW2_INCOMPAT_DIRTY (UINT64_C(1) << 0)
#define QCOW2_INCOMPAT_CORRUPT (UINT64_C(1) << 1)
#define QCOW2_INCOMPAT_DATA_FILE (UINT64_C(1) << 2)
#define QCOW2_INCOMPAT_COMPRESSION (UINT64_C(1) << 3)
#define QCOW2_INCOMPAT_EXTENDED_L2 (UINT64_C(1) << 4)
#define QCOW2_COMPAT_LAZY (UINT64_C(1) << 0)
#define QCOW2_AUTOCLEAR_BITMAPS (UINT64_C(1) << 0)
#define QCOW2_AUTOCLEAR_RAW_DATA (UINT64_C(1) << 1)

enum qcow2_compression { QCOW2_ZLIB = 0, QCOW2_ZSTD = 1 };

/* An extension that this code does not interpret; kept when the header is rewritten. */
struct qcow2_extension {
    uint32_t type, length;
    uint8_t *data;
};

struct qcow2_header {
    int version; /* 2 or 3 */
    int cluster_bits;
    int refcount_order; /* a refcount has 1 << order bits */
    enum qcow2_compression compression;
    int64_t size;          /* of the guest's disk */
    uint32_t crypt_method; /* 0 none, 1 AES, 2 LUKS */
    uint32_t l1_entries;   /* of the active table */
    int64_t l1_offset;
    int64_t reftable_offset;
    uint32_t reftable_clusters;
    uint32_t snapshots; /* how many */
    int64_t snapshots_offset;
    uint64_t incompatible, compatible, autoclear;
    uint8_t *extra; /* header bytes past the fields known here, or NULL */
    uint32_t extra_length;
    char *backing_file;   /* as written in the image, or NULL */
    char *backing_format; /* or NULL */
    char *data_file;      /* or NULL */
    bool has_bitmaps;
    uint32_t bitmaps;                       /* how many */
    int64_t bitmaps_offset, bitmaps_length; /* their directory */
    int64_t crypto_offset, crypto_length;   /* LUKS header; length 0: none */
    struct qcow2_extension *extensions;
    int extension_count;
};

/* How many bytes qcow2_header_decode() wants to see (the cluster size), judged from the first bytes
 * of the file; 0 with *error when they are no qcow2 header. */
int64_t qcow2_header_probe(const uint8_t *buf, size_t len, GError **error);

/* Decodes `len` bytes from the start of an image: the whole first cluster, or less where the file
 * ends earlier. Unknown incompatible features are refused by name. On success the caller frees the
 * contents with qcow2_header_clear(). */
bool qcow2_header_decode(const uint8_t *buf, size_t len, struct qcow2_header *ret_header,
                         GError **error);

/* Writes the header, its extensions and the backing file's name into `cluster` (cluster-size bytes,
 * overwritten). Fails when they do not fit. */
bool qcow2_header_encode(const struct qcow2_header *header, uint8_t *cluster, GError **error);

/* Where those parts of a header lie that have no fixed place, in bytes. */
struct qcow2_header_parts {
    int64_t extensions_end;           /* with their end mark */
    int64_t name_offset, name_length; /* of the backing file; length 0: none */
};

/* As qcow2_header_encode(), with the name at `name_at`, or behind the extensions where these reach
 * further; without `features` the table of feature names is left out. */
bool qcow2_header_encode_at(const struct qcow2_header *header, bool features, int64_t name_at,
                            uint8_t *cluster, struct qcow2_header_parts *ret_parts, GError **error);

/* The parts of a first cluster that qcow2_header_decode() has accepted. */
struct qcow2_header_parts qcow2_header_find_parts(const uint8_t *cluster, int64_t length);

/* Fills bytes QCOW2_AT_SIZE up to and with the autoclear features of `buf`, for updates in place.
 */
void qcow2_header_fields(const struct qcow2_header *header, uint8_t *buf);

void qcow2_header_clear(struct qcow2_header *header);

/* L1 entries that a disk of `size` bytes needs, or -1 when that is more than the format allows. */
int64_t qcow2_l1_entries(int64_t size, int cluster_bits);

#endif
