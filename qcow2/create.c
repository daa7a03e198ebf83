/*
 * Creating writes the tables of layout.h front to back through one buffer, and
 * the header last, so that what is not finished is no image. With preallocation
 * the tables count and map every cluster of the disk, in order.
 */
#include "qcow2/create.h"

#include <errno.h>
#include <inttypes.h>

#include "qcow2/layout.h"

enum { BUFFER = 1024 * 1024, COMPAT_V2 = 0, COMPAT_V3 = 1 };
enum { PREALLOC_OFF, PREALLOC_METADATA, PREALLOC_FALLOC, PREALLOC_FULL };

static const char *const compat_names[] = {"0.10", "1.1", "v2", "v3", NULL};
static const char *const compression_names[] = {"zlib", "zstd", NULL};
static const char *const preallocation_names[] = {"off", "metadata", "falloc", "full", NULL};

/* clang-format off */
#define CREATE_STR(member, name, help) FIELD(struct qcow2_create_options, member, name, NULL, help)
#define CREATE_BOOL(member, name, help) FIELD(struct qcow2_create_options, member, name, "off", help)
const struct field qcow2_create_fields[] = {
    CREATE_STR(backing_file, "backing_file", "file name of a base image"),
    CREATE_STR(backing_format, "backing_fmt", "image format of the base image"),
    FIELD_SIZE(struct qcow2_create_options, cluster_size, "cluster_size", "65536",
               "bytes of a cluster, a power of two between 512 and 2M"),
    FIELD_ENUM(struct qcow2_create_options, compat, "compat", "1.1", compat_names,
               "compatibility level: v2 (0.10) or v3 (1.1)"),
    FIELD_ENUM(struct qcow2_create_options, compression_type, "compression_type", "zlib",
               compression_names, "how compressed clusters are compressed: zlib or zstd"),
    CREATE_STR(data_file, "data_file", "file name of an external data file"),
    CREATE_BOOL(data_file_raw, "data_file_raw",
                "the external data file must stay valid as a raw image"),
    CREATE_STR(encrypt_cipher_alg, "encrypt.cipher-alg", "name of the encryption cipher"),
    CREATE_STR(encrypt_cipher_mode, "encrypt.cipher-mode", "name of the cipher mode"),
    CREATE_STR(encrypt_format, "encrypt.format", "encrypt the image: aes or luks"),
    CREATE_STR(encrypt_hash_alg, "encrypt.hash-alg", "name of the hash"),
    CREATE_STR(encrypt_iter_time, "encrypt.iter-time", "milliseconds to spend in PBKDF"),
    CREATE_STR(encrypt_ivgen_alg, "encrypt.ivgen-alg", "name of the IV generator"),
    CREATE_STR(encrypt_ivgen_hash_alg, "encrypt.ivgen-hash-alg", "name of the IV generator's hash"),
    CREATE_STR(encrypt_key_secret, "encrypt.key-secret", "secret that holds the passphrase"),
    CREATE_STR(encryption, "encryption", "encrypt the image with AES"),
    CREATE_BOOL(extended_l2, "extended_l2", "extended L2 tables"),
    FIELD_SIZE(struct qcow2_create_options, extent_size_hint, "extent_size_hint", NULL,
               "extent size hint for the image file (accepted)"),
    CREATE_BOOL(keep_data_file, "keep_data_file", "the external data file exists already"),
    CREATE_BOOL(lazy_refcounts, "lazy_refcounts", "postpone refcount updates"),
    CREATE_BOOL(nocow, "nocow", "turn off copy-on-write of the file system (accepted)"),
    FIELD_ENUM(struct qcow2_create_options, preallocation, "preallocation", "off",
               preallocation_names, "what to allocate now: off, metadata, falloc or full"),
    FIELD(struct qcow2_create_options, refcount_bits, "refcount_bits", "16",
          "bits of a refcount: a power of two up to 64"),
    FIELD_SIZE(struct qcow2_create_options, size, "size", NULL, "size of the guest's disk"),
    {0}};
/* clang-format on */

/* ---- checking ---- */

static bool check_unbuilt(const struct qcow2_create_options *o, GError **error)
{
    const char *encrypt = o->encrypt_format ? "encrypt.format" : NULL;
    if (o->encryption && strcmp(o->encryption, "off")) {
        encrypt = "encryption";
    }
    if (encrypt) {
        return error_set(error, ENOTSUP, "%s: encrypted qcow2 images are not supported yet",
                         encrypt);
    }
    if (o->encrypt_key_secret || o->encrypt_cipher_alg || o->encrypt_cipher_mode ||
        o->encrypt_hash_alg || o->encrypt_iter_time || o->encrypt_ivgen_alg ||
        o->encrypt_ivgen_hash_alg) {
        return error_set(error, EINVAL, "encrypt.* options need encrypt.format");
    }
    if (o->data_file || o->data_file_raw || o->keep_data_file) {
        return error_set(error, ENOTSUP, "data_file: external data files are not supported yet");
    }
    if (o->extended_l2) {
        return error_set(error, ENOTSUP, "extended_l2: extended L2 tables are not supported yet");
    }
    return true;
}

static bool check_v2(const struct qcow2_create_options *o, GError **error)
{
    if (o->refcount_bits != 16) {
        return error_set(error, EINVAL,
                         "Different refcount widths than 16 bits require compatibility level 1.1 "
                         "or above (use version=v3 or greater)");
    }
    if (o->lazy_refcounts) {
        return error_set(error, EINVAL,
                         "Lazy refcounts only supported with compatibility level 1.1 and above "
                         "(use version=v3 or greater)");
    }
    return o->compression_type == QCOW2_ZLIB ||
           error_set(error, EINVAL,
                     "Non-zlib compression type is only supported with compatibility level 1.1 "
                     "and above (use version=v3 or greater)");
}

static int log2_of(uint64_t power)
{
    return __builtin_ctzll(power);
}

bool qcow2_create_is_v3(const struct qcow2_create_options *o)
{
    return o->compat % 2 != COMPAT_V2;
}

bool qcow2_create_fills(const struct qcow2_create_options *o)
{
    return o->preallocation >= PREALLOC_FALLOC;
}

bool qcow2_create_check(const struct qcow2_create_options *o, GError **error)
{
    if (!is_pow2((uint64_t)o->cluster_size) || o->cluster_size < 512 || o->cluster_size > 2 * MiB) {
        return error_set(error, EINVAL,
                         "Cluster size must be a power of two between 512 and 2048k");
    }
    if (!is_pow2(o->refcount_bits) || o->refcount_bits > 64) {
        return error_set(error, EINVAL,
                         "Refcount width must be a power of two and may not exceed 64 bits");
    }
    if (o->backing_file && o->preallocation != PREALLOC_OFF) {
        return error_set(error, EINVAL,
                         "Backing file and preallocation can only be used at the same time if "
                         "extended_l2 is on");
    }
    if (o->backing_format && !o->backing_file) {
        return error_set(error, EINVAL, "backing_fmt needs backing_file");
    }
    return check_unbuilt(o, error) && (qcow2_create_is_v3(o) || check_v2(o, error));
}

/* ---- writing ---- */

/* A stretch of tables on its way to the file. */
struct out {
    struct blk_node *file;
    uint8_t *buf;
    int64_t used, offset; /* bytes in buf; where they go */
};

static int co_out_flush(struct out *out)
{
    int ret = out->used ? node_co_pwrite(out->file, out->offset, out->used, out->buf) : 0;
    out->offset += out->used;
    out->used = 0;
    return ret;
}

/* Room for `length` more bytes (at most BUFFER), zeroed. */
static int co_out_room(struct out *out, int64_t length, uint8_t **ret_room)
{
    int ret = out->used + length > BUFFER ? co_out_flush(out) : 0;
    *ret_room = out->buf + out->used;
    memset(*ret_room, 0, (size_t)length);
    out->used += length;
    return ret;
}

/* `count` entries that point to clusters from `target` on, and zeroes up to `total` entries. */
static int co_out_pointers(struct out *out, const struct qcow2_layout *l, int64_t target,
                           uint64_t flags, int64_t count, int64_t total)
{
    int ret = 0;
    for (int64_t i = 0, n; i < total && !ret; i += n) {
        uint8_t *room;
        n = min_i64(total - i, BUFFER / 8);
        ret = co_out_room(out, n * 8, &room);
        for (int64_t k = 0; k < n && i + k < count; k++) {
            store_be64(room + 8 * k, (uint64_t)(target + ((i + k) << l->cluster_bits)) | flags);
        }
    }
    return ret;
}

/* Refcount blocks that count the first `total` clusters once. */
static int co_out_refblocks(struct out *out, const struct qcow2_layout *l)
{
    int64_t bytes = l->refblocks << l->cluster_bits;
    int64_t per_chunk = (INT64_C(8) * BUFFER) >> l->refcount_order, done = 0;
    int ret = 0;
    for (int64_t at = 0, n; at < bytes && !ret; at += n) {
        uint8_t *room;
        n = min_i64(bytes - at, BUFFER);
        ret = co_out_room(out, n, &room);
        int64_t count = min_i64(per_chunk, l->total - done);
        for (int64_t i = 0; i < count; i++) {
            qcow2_refcount_set(room, i, l->refcount_order, 1);
        }
        done += count;
    }
    return ret;
}

int qcow2_co_write_tables(struct blk_node *file, const struct qcow2_layout *l)
{
    const uint64_t copied = UINT64_C(1) << 63;
    struct out out = {.file = file, .buf = g_try_malloc(BUFFER), .offset = l->reftable_offset};
    int shift = l->cluster_bits - 3;
    int64_t l1_total = l->l2_tables ? l->l1_clusters << shift : l->l1_entries;
    int ret = out.buf ? 0 : -ENOMEM;
    ret = ret ? ret
              : co_out_pointers(&out, l, l->refblocks_offset, 0, l->refblocks,
                                l->reftable_clusters << shift);
    ret = ret ? ret : co_out_flush(&out);
    ret = ret ? ret : co_out_refblocks(&out, l);
    ret = ret ? ret : co_out_flush(&out);
    ret = ret ? ret : co_out_pointers(&out, l, l->l2_offset, copied, l->l2_tables, l1_total);
    ret = ret ? ret
              : co_out_pointers(&out, l, l->data_offset, copied, l->data_clusters,
                                l->l2_tables << shift);
    ret = ret ? ret : co_out_flush(&out);
    g_free(out.buf);
    return ret;
}

static struct qcow2_header header_of(const struct qcow2_create_options *o, int64_t size,
                                     const struct qcow2_layout *l)
{
    bool zstd = o->compression_type == QCOW2_ZSTD;
    return (struct qcow2_header){
        .version = qcow2_create_is_v3(o) ? 3 : 2,
        .cluster_bits = l->cluster_bits,
        .refcount_order = l->refcount_order,
        .compression = zstd ? QCOW2_ZSTD : QCOW2_ZLIB,
        .size = size,
        .l1_entries = (uint32_t)l->l1_entries,
        .l1_offset = l->l1_offset,
        .reftable_offset = l->reftable_offset,
        .reftable_clusters = (uint32_t)l->reftable_clusters,
        .incompatible = zstd ? QCOW2_INCOMPAT_COMPRESSION : 0,
        .compatible = o->lazy_refcounts ? QCOW2_COMPAT_LAZY : 0,
        .backing_file = o->backing_file,
        .backing_format = o->backing_format,
    };
}

/* Gives the file its length, as the preallocation mode wants it. */
static bool co_extend(const struct blk_create *create, const struct qcow2_layout *l, int mode,
                      GError **error)
{
    int64_t total = mode == PREALLOC_OFF ? 0 : l->total << l->cluster_bits;
    const char *name = mode >= PREALLOC_FALLOC ? preallocation_names[mode] : "off";
    if (create->file->growable) {
        return node_size(create->file) >= total || node_co_resize(create->file, total, name, error);
    }
    total = l->total << l->cluster_bits;
    return node_size(create->file) >= total ||
           error_set(error, ENOSPC, "'%s' has %" PRId64 " bytes, the image needs %" PRId64,
                     create->filename, node_size(create->file), total);
}

bool qcow2_co_create(const struct blk_create *create, GError **error)
{
    const struct qcow2_create_options *o = create->options;
    int64_t size = align_up(min_i64(create->size, INT64_MAX - 512), 512);
    struct qcow2_layout layout;
    if (!qcow2_create_check(o, error) ||
        !qcow2_layout_plan(size, log2_of((uint64_t)o->cluster_size), log2_of(o->refcount_bits),
                           o->preallocation != PREALLOC_OFF, &layout, error)) {
        return false;
    }
    struct qcow2_header header = header_of(o, size, &layout);
    g_autofree uint8_t *cluster = g_try_malloc((gsize)o->cluster_size);
    if (!cluster) {
        return error_set_errno(error, ENOMEM, "could not create '%s'", create->filename);
    }
    if (!qcow2_header_encode(&header, cluster, error)) {
        return false;
    }
    int ret = qcow2_co_write_tables(create->file, &layout);
    if (!ret && !co_extend(create, &layout, o->preallocation, error)) {
        return false;
    }
    ret = ret ? ret : node_co_pwrite(create->file, 0, o->cluster_size, cluster);
    return !ret || error_set_errno(error, -ret, "could not write '%s'", create->filename);
}
