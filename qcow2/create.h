/*
 * Making an empty image.
 */
#ifndef CAIRN_QCOW2_CREATE_H
#define CAIRN_QCOW2_CREATE_H

#include "qcow2/image.h"
#include "qcow2/layout.h"

/* blk_create.options: names and defaults of QEMU 11.1. */
struct qcow2_create_options {
    char *backing_file, *backing_format;
    int64_t cluster_size, extent_size_hint, size;
    int compat, compression_type, preallocation;
    uint32_t refcount_bits;
    bool lazy_refcounts, extended_l2, nocow, data_file_raw, keep_data_file;
    char *data_file;
    char *encryption;
    char *encrypt_format, *encrypt_key_secret, *encrypt_cipher_alg, *encrypt_cipher_mode;
    char *encrypt_hash_alg, *encrypt_iter_time, *encrypt_ivgen_alg, *encrypt_ivgen_hash_alg;
};

extern const struct field qcow2_create_fields[];

/* Whether the options go together. */
bool qcow2_create_check(const struct qcow2_create_options *options, GError **error);
bool qcow2_create_is_v3(const struct qcow2_create_options *options);

/* Whether space for all of the disk is taken at once. */
bool qcow2_create_fills(const struct qcow2_create_options *options);

/* Writes the tables of a new image, each padded to whole clusters, but for an L1 table that ends
 * the file. */
int qcow2_co_write_tables(struct blk_node *file, const struct qcow2_layout *layout);

/* The driver's co_create. */
bool qcow2_co_create(const struct blk_create *create, GError **error);

#endif
