/*
 * Header bytes to struct and back.
 *
 *     0          72 | 104.. | header_length      backing name       cluster size
 *     | v2 fields | v3 fields | extensions ... end | "base.qcow2" |
 *
 * A decoder in three steps: the fixed fields are copied out, the extensions are
 * walked (the area ends at the backing file's name or at the cluster's end), and
 * the whole is checked. Nothing is followed, and nothing is allocated beyond the
 * bytes handed in.
 */
#include "qcow2/header.h"

#include <errno.h>
#include <inttypes.h>

#include "base/bytes.h"
#include "base/error.h"

enum {
    MAGIC = 0x514649fb,
    MIN_V3_HEADER = 104,
    KNOWN_HEADER = 105, /* bytes up to and with compression_type */
    EXT_END = 0,
    EXT_BITMAPS = 0x23852875,
    EXT_CRYPTO = 0x0537be77,
    EXT_DATA_FILE = 0x44415441,
    EXT_FEATURES = 0x6803f857,
    FEATURE_ENTRY = 48,
    FEATURE_NAME = 46,
};
#define EXT_BACKING_FORMAT UINT32_C(0xe2792aca)
#define KNOWN_INCOMPATIBLE                                                                         \
    (QCOW2_INCOMPAT_DIRTY | QCOW2_INCOMPAT_CORRUPT | QCOW2_INCOMPAT_DATA_FILE |                    \
     QCOW2_INCOMPAT_COMPRESSION | QCOW2_INCOMPAT_EXTENDED_L2)

/* The feature name table that goes into new images. */
static const struct {
    uint8_t type, bit;
    const char *name;
} feature_names[] = {
    {0, 0, "dirty bit"},        {0, 1, "corrupt bit"},         {0, 2, "external data file"},
    {0, 3, "compression type"}, {0, 4, "extended L2 entries"}, {1, 0, "lazy refcounts"},
    {2, 0, "bitmaps"},          {2, 1, "raw external data"},
};

/* What the walk needs besides the header itself. */
struct walk {
    const uint8_t *buf;
    size_t len; /* bytes at buf */
    uint32_t header_length;
    const uint8_t *features; /* the feature name table, or NULL */
    uint32_t features_length;
    int64_t backing_offset;
    uint32_t backing_length;
};

int64_t qcow2_l1_entries(int64_t size, int cluster_bits)
{
    int64_t per_l1 = INT64_C(1) << (2 * cluster_bits - 3);
    int64_t entries = div_up(size, per_l1);
    return entries <= QCOW2_MAX_L1_BYTES / 8 ? entries : -1;
}

int64_t qcow2_header_probe(const uint8_t *buf, size_t len, GError **error)
{
    if (len < QCOW2_V2_HEADER || load_be32(buf) != MAGIC) {
        error_set(error, EINVAL, "not in qcow2 format");
        return 0;
    }
    uint32_t version = load_be32(buf + 4);
    if (version != 2 && version != 3) {
        error_set(error, ENOTSUP, "unsupported qcow2 version %u", version);
        return 0;
    }
    uint32_t bits = load_be32(buf + 20);
    if (bits < QCOW2_MIN_CLUSTER_BITS || bits > QCOW2_MAX_CLUSTER_BITS) {
        error_set(error, EINVAL, "unsupported cluster size: 2^%u (9 to 21 are known)", bits);
        return 0;
    }
    return INT64_C(1) << bits;
}

/* An offset as stored, clamped so that it fits a signed type and fails every later check. */
static int64_t load_offset(const uint8_t *p)
{
    uint64_t v = load_be64(p);
    return v > INT64_MAX ? INT64_MAX : (int64_t)v;
}

static void decode_v2(const uint8_t *buf, struct qcow2_header *h, struct walk *w)
{
    h->version = (int)load_be32(buf + 4);
    w->backing_offset = load_offset(buf + 8);
    w->backing_length = load_be32(buf + 16);
    h->cluster_bits = (int)load_be32(buf + 20);
    h->size = load_offset(buf + 24);
    h->crypt_method = load_be32(buf + 32);
    h->l1_entries = load_be32(buf + 36);
    h->l1_offset = load_offset(buf + 40);
    h->reftable_offset = load_offset(buf + 48);
    h->reftable_clusters = load_be32(buf + 56);
    h->snapshots = load_be32(buf + 60);
    h->snapshots_offset = load_offset(buf + 64);
    h->refcount_order = 4;
    w->header_length = QCOW2_V2_HEADER;
}

static bool decode_v3(const uint8_t *buf, struct qcow2_header *h, struct walk *w, GError **error)
{
    if (w->len < MIN_V3_HEADER) {
        return error_set(error, EINVAL, "the file ends within the header");
    }
    h->incompatible = load_be64(buf + 72);
    h->compatible = load_be64(buf + 80);
    h->autoclear = load_be64(buf + 88);
    uint32_t order = load_be32(buf + 96);
    w->header_length = load_be32(buf + 100);
    if (order > 6) {
        return error_set(error, EINVAL, "refcount order %u is more than 6 (64 bits)", order);
    }
    if (w->header_length < MIN_V3_HEADER || w->header_length % 8 ||
        w->header_length > (INT64_C(1) << h->cluster_bits) || w->header_length > w->len) {
        return error_set(error, EINVAL, "header length %u is not valid", w->header_length);
    }
    h->refcount_order = (int)order;
    uint8_t compression = w->header_length >= KNOWN_HEADER ? buf[104] : 0;
    if (compression > QCOW2_ZSTD) {
        return error_set(error, ENOTSUP, "unknown compression type %u", compression);
    }
    h->compression = compression;
    if (w->header_length > KNOWN_HEADER) {
        h->extra_length = w->header_length - KNOWN_HEADER;
        h->extra = g_memdup2(buf + KNOWN_HEADER, h->extra_length);
    }
    return true;
}

/* A string extension: refused when it was there before or contains a zero byte. */
static bool take_string(char **slot, const uint8_t *data, uint32_t length, const char *what,
                        GError **error)
{
    if (*slot) {
        return error_set(error, EINVAL, "more than one %s", what);
    }
    while (length && !data[length - 1]) {
        length--;
    }
    if (length > QCOW2_MAX_BACKING_NAME) {
        return error_set(error, EINVAL, "the %s is %u bytes long (at most %d)", what, length,
                         QCOW2_MAX_BACKING_NAME);
    }
    if (memchr(data, 0, length)) {
        return error_set(error, EINVAL, "the %s contains a zero byte", what);
    }
    *slot = g_strndup((const char *)data, length);
    return true;
}

static bool take_bitmaps(struct qcow2_header *h, const uint8_t *data, uint32_t length,
                         GError **error)
{
    if (h->has_bitmaps || length != 24) {
        return error_set(error, EINVAL, "the bitmaps extension is %s",
                         h->has_bitmaps ? "there twice" : "not 24 bytes long");
    }
    h->has_bitmaps = true;
    h->bitmaps = load_be32(data);
    h->bitmaps_length = load_offset(data + 8);
    h->bitmaps_offset = load_offset(data + 16);
    if (!h->bitmaps || h->bitmaps > QCOW2_MAX_BITMAPS || load_be32(data + 4)) {
        return error_set(error, EINVAL, "the bitmaps extension is not valid (%u bitmaps)",
                         h->bitmaps);
    }
    return true;
}

static bool take_crypto(struct qcow2_header *h, const uint8_t *data, uint32_t length,
                        GError **error)
{
    if (h->crypto_length || length != 16) {
        return error_set(error, EINVAL, "the encryption extension is %s",
                         h->crypto_length ? "there twice" : "not 16 bytes long");
    }
    h->crypto_offset = load_offset(data);
    h->crypto_length = load_offset(data + 8);
    return true;
}

static void keep_extension(struct qcow2_header *h, uint32_t type, const uint8_t *data,
                           uint32_t length)
{
    int n = h->extension_count++;
    h->extensions = g_renew(struct qcow2_extension, h->extensions, n + 1);
    h->extensions[n] = (struct qcow2_extension){type, length, g_memdup2(data, length)};
}

static bool take_extension(struct qcow2_header *h, struct walk *w, uint32_t type,
                           const uint8_t *data, uint32_t length, GError **error)
{
    switch (type) {
    case EXT_BACKING_FORMAT:
        return take_string(&h->backing_format, data, length, "backing format", error);
    case EXT_DATA_FILE: return take_string(&h->data_file, data, length, "data file name", error);
    case EXT_BITMAPS: return take_bitmaps(h, data, length, error);
    case EXT_CRYPTO: return take_crypto(h, data, length, error);
    case EXT_FEATURES:
        w->features = data;
        w->features_length = length;
        return true;
    default: keep_extension(h, type, data, length); return true;
    }
}

static bool walk_extensions(struct qcow2_header *h, struct walk *w, int64_t end, GError **error)
{
    int64_t pos = w->header_length;
    while (end - pos >= 8) {
        uint32_t type = load_be32(w->buf + pos);
        uint32_t length = load_be32(w->buf + pos + 4);
        pos += 8;
        if (type == EXT_END) {
            return true;
        }
        if (length > end - pos) {
            return error_set(error, EINVAL,
                             "header extension 0x%08x is %u bytes long, %" PRId64 " are left", type,
                             length, end - pos);
        }
        if (!take_extension(h, w, type, w->buf + pos, length, error)) {
            return false;
        }
        pos += min_i64(align_up(length, 8), end - pos);
    }
    return true;
}

static bool take_backing_name(struct qcow2_header *h, struct walk *w, GError **error)
{
    int64_t cluster = INT64_C(1) << h->cluster_bits;
    if (!w->backing_offset) {
        return true;
    }
    if (w->backing_offset < w->header_length || w->backing_offset > cluster) {
        return error_set(error, EINVAL,
                         "backing file name at %" PRId64 " is outside of the first cluster",
                         w->backing_offset);
    }
    if (w->backing_length > QCOW2_MAX_BACKING_NAME ||
        w->backing_length > cluster - w->backing_offset ||
        w->backing_offset + w->backing_length > (int64_t)w->len) {
        return error_set(error, EINVAL, "backing file name of %u bytes is too long",
                         w->backing_length);
    }
    if (!take_string(&h->backing_file, w->buf + w->backing_offset, w->backing_length,
                     "backing file name", error)) {
        return false;
    }
    if (!*h->backing_file) {
        g_clear_pointer(&h->backing_file, g_free);
    }
    return true;
}

/* Appends the name of bit `bit` from the image's feature name table, or its value. */
static void name_feature(GString *out, const struct walk *w, int bit)
{
    for (uint32_t pos = 0; pos + FEATURE_ENTRY <= w->features_length; pos += FEATURE_ENTRY) {
        const uint8_t *entry = w->features + pos;
        size_t length = strnlen((const char *)entry + 2, FEATURE_NAME);
        if (entry[0] == 0 && entry[1] == bit && length) {
            g_autofree char *name = g_strndup((const char *)entry + 2, length);
            g_autofree char *escaped = g_strescape(name, NULL);
            g_string_append_printf(out, "%s%s", out->len ? ", " : "", escaped);
            return;
        }
    }
    g_string_append_printf(out, "%sunknown incompatible feature: %" PRIx64, out->len ? ", " : "",
                           UINT64_C(1) << bit);
}

static bool check_features(const struct qcow2_header *h, const struct walk *w, GError **error)
{
    uint64_t unknown = h->incompatible & ~KNOWN_INCOMPATIBLE;
    if (unknown) {
        g_autoptr(GString) names = g_string_new(NULL);
        for (int bit = 0; bit < 64; bit++) {
            if (unknown >> bit & 1) {
                name_feature(names, w, bit);
            }
        }
        return error_set(error, ENOTSUP, "unsupported qcow2 feature(s): %s", names->str);
    }
    bool bit = h->incompatible & QCOW2_INCOMPAT_COMPRESSION;
    if (bit != (h->compression != QCOW2_ZLIB)) {
        return error_set(error, EINVAL, "compression type %d, but its feature bit is %s",
                         h->compression, bit ? "set" : "not set");
    }
    if ((h->incompatible & QCOW2_INCOMPAT_EXTENDED_L2) && h->cluster_bits < 14) {
        return error_set(error, EINVAL, "extended L2 entries need clusters of at least 16 KiB");
    }
    if ((h->autoclear & QCOW2_AUTOCLEAR_BITMAPS) && !h->has_bitmaps) {
        return error_set(error, EINVAL, "bitmaps are announced but there is no bitmaps extension");
    }
    if (h->crypt_method > 2) {
        return error_set(error, ENOTSUP, "unknown encryption method %u", h->crypt_method);
    }
    return true;
}

/* False when [offset, +length) is not a place for a table. */
static bool check_place(const struct qcow2_header *h, int64_t offset, int64_t length,
                        const char *what, GError **error)
{
    int64_t cluster = INT64_C(1) << h->cluster_bits;
    if (!is_aligned(offset, cluster) || offset < cluster || offset > (INT64_C(1) << 56) - length) {
        return error_set(error, EINVAL, "%s offset 0x%" PRIx64 " is not valid", what, offset);
    }
    return true;
}

static bool check_tables(const struct qcow2_header *h, GError **error)
{
    int64_t needed = qcow2_l1_entries(h->size, h->cluster_bits);
    if (h->size == INT64_MAX || needed < 0) {
        return error_set(error, EFBIG, "a disk size of %" PRId64 " bytes is too large", h->size);
    }
    if (h->l1_entries > QCOW2_MAX_L1_BYTES / 8) {
        return error_set(error, EFBIG, "active L1 table of %u entries is too large", h->l1_entries);
    }
    if (h->l1_entries < needed) {
        return error_set(error, EINVAL, "L1 table of %u entries is too small (needs %" PRId64 ")",
                         h->l1_entries, needed);
    }
    int64_t reftable = (int64_t)h->reftable_clusters << h->cluster_bits;
    if (reftable > QCOW2_MAX_REFTABLE_BYTES) {
        return error_set(error, EFBIG, "refcount table of %u clusters is too large",
                         h->reftable_clusters);
    }
    if (h->snapshots > QCOW2_MAX_SNAPSHOTS) {
        return error_set(error, EFBIG, "%u snapshots are too many (at most %d)", h->snapshots,
                         QCOW2_MAX_SNAPSHOTS);
    }
    return (!h->l1_entries ||
            check_place(h, h->l1_offset, (int64_t)h->l1_entries * 8, "L1 table", error)) &&
           check_place(h, h->reftable_offset, reftable, "refcount table", error) &&
           (!h->snapshots || check_place(h, h->snapshots_offset, 40, "snapshot table", error)) &&
           (!h->has_bitmaps ||
            check_place(h, h->bitmaps_offset, min_i64(h->bitmaps_length, INT64_C(1) << 55),
                        "bitmap directory", error));
}

static bool decode(struct qcow2_header *h, struct walk *w, GError **error)
{
    decode_v2(w->buf, h, w);
    if (h->version == 3 && !decode_v3(w->buf, h, w, error)) {
        return false;
    }
    int64_t end = min_i64(INT64_C(1) << h->cluster_bits, (int64_t)w->len);
    if (w->backing_offset >= w->header_length) {
        end = min_i64(end, w->backing_offset);
    }
    return walk_extensions(h, w, end, error) && take_backing_name(h, w, error) &&
           check_features(h, w, error) && check_tables(h, error);
}

bool qcow2_header_decode(const uint8_t *buf, size_t len, struct qcow2_header *ret_header,
                         GError **error)
{
    if (!qcow2_header_probe(buf, len, error)) {
        return false;
    }
    struct qcow2_header header = {0};
    struct walk walk = {.buf = buf, .len = len};
    if (!decode(&header, &walk, error)) {
        qcow2_header_clear(&header);
        return false;
    }
    *ret_header = header;
    return true;
}

void qcow2_header_clear(struct qcow2_header *header)
{
    for (int i = 0; i < header->extension_count; i++) {
        g_free(header->extensions[i].data);
    }
    g_free(header->extensions);
    g_free(header->extra);
    g_free(header->backing_file);
    g_free(header->backing_format);
    g_free(header->data_file);
    *header = (struct qcow2_header){0};
}

/* ---- encoding ---- */

/* A cursor over the cluster; `full` is set when something did not fit. */
struct sink {
    uint8_t *buf;
    int64_t pos, end;
    bool full;
};

static void put_extension(struct sink *s, uint32_t type, const void *data, uint32_t length)
{
    int64_t total = 8 + align_up(length, 8);
    if (total > s->end - s->pos) {
        s->full = true;
        return;
    }
    store_be32(s->buf + s->pos, type);
    store_be32(s->buf + s->pos + 4, length);
    if (length) {
        memcpy(s->buf + s->pos + 8, data, length);
    }
    s->pos += total;
}

static void put_string(struct sink *s, uint32_t type, const char *text)
{
    if (text) {
        put_extension(s, type, text, (uint32_t)strlen(text));
    }
}

/* The feature name table, left out where it would crowd out what the image needs. */
static void put_features(struct sink *s, int64_t reserve)
{
    uint8_t table[G_N_ELEMENTS(feature_names) * FEATURE_ENTRY] = {0};
    for (size_t i = 0; i < G_N_ELEMENTS(feature_names); i++) {
        uint8_t *entry = table + i * FEATURE_ENTRY;
        entry[0] = feature_names[i].type;
        entry[1] = feature_names[i].bit;
        memcpy(entry + 2, feature_names[i].name, strlen(feature_names[i].name));
    }
    if (s->end - s->pos >= 8 + (int64_t)sizeof(table) + reserve) {
        put_extension(s, EXT_FEATURES, table, sizeof(table));
    }
}

static void put_bitmaps(struct sink *s, const struct qcow2_header *h)
{
    uint8_t data[24] = {0};
    store_be32(data, h->bitmaps);
    store_be64(data + 8, (uint64_t)h->bitmaps_length);
    store_be64(data + 16, (uint64_t)h->bitmaps_offset);
    put_extension(s, EXT_BITMAPS, data, sizeof(data));
}

static void put_crypto(struct sink *s, const struct qcow2_header *h)
{
    uint8_t data[16];
    store_be64(data, (uint64_t)h->crypto_offset);
    store_be64(data + 8, (uint64_t)h->crypto_length);
    put_extension(s, EXT_CRYPTO, data, sizeof(data));
}

static void put_extensions(struct sink *s, const struct qcow2_header *h, bool features)
{
    put_string(s, EXT_BACKING_FORMAT, h->backing_format);
    put_string(s, EXT_DATA_FILE, h->data_file);
    if (h->crypto_length) {
        put_crypto(s, h);
    }
    if (h->has_bitmaps) {
        put_bitmaps(s, h);
    }
    for (int i = 0; i < h->extension_count; i++) {
        put_extension(s, h->extensions[i].type, h->extensions[i].data, h->extensions[i].length);
    }
    if (h->version >= 3 && features) {
        put_features(s, 8 + (h->backing_file ? (int64_t)strlen(h->backing_file) : 0));
    }
    put_extension(s, EXT_END, NULL, 0);
}

void qcow2_header_fields(const struct qcow2_header *h, uint8_t *buf)
{
    store_be64(buf + QCOW2_AT_SIZE, (uint64_t)h->size);
    store_be32(buf + 32, h->crypt_method);
    store_be32(buf + QCOW2_AT_L1_ENTRIES, h->l1_entries);
    store_be64(buf + QCOW2_AT_L1_ENTRIES + 4, (uint64_t)h->l1_offset);
    store_be64(buf + QCOW2_AT_REFTABLE, (uint64_t)h->reftable_offset);
    store_be32(buf + QCOW2_AT_REFTABLE + 8, h->reftable_clusters);
    store_be32(buf + 60, h->snapshots);
    store_be64(buf + 64, (uint64_t)h->snapshots_offset);
    store_be64(buf + QCOW2_AT_INCOMPATIBLE, h->incompatible);
    store_be64(buf + 80, h->compatible);
    store_be64(buf + QCOW2_AT_AUTOCLEAR, h->autoclear);
}

static uint32_t put_v3_fields(uint8_t *buf, const struct qcow2_header *h)
{
    uint32_t length = MAX(QCOW2_V3_HEADER, (uint32_t)align_up(KNOWN_HEADER + h->extra_length, 8));
    store_be32(buf + 96, (uint32_t)h->refcount_order);
    store_be32(buf + 100, length);
    buf[104] = (uint8_t)h->compression;
    if (h->extra_length) {
        memcpy(buf + KNOWN_HEADER, h->extra, h->extra_length);
    }
    return length;
}

static bool put_name(struct sink *s, const struct qcow2_header *h, int64_t at,
                     struct qcow2_header_parts *parts, GError **error)
{
    size_t length = h->backing_file ? strlen(h->backing_file) : 0;
    at = max_i64(at, s->pos);
    if (length > QCOW2_MAX_BACKING_NAME) {
        return error_set(error, EINVAL, "backing file name of %zu bytes is too long (at most %d)",
                         length, QCOW2_MAX_BACKING_NAME);
    }
    if (s->full || (int64_t)length > s->end - at) {
        return error_set(error, ENOSPC,
                         "header extensions and backing file name do not fit in a cluster of "
                         "%" PRId64 " bytes",
                         s->end);
    }
    *parts = (struct qcow2_header_parts){s->pos, length ? at : 0, (int64_t)length};
    if (length) {
        store_be64(s->buf + 8, (uint64_t)at);
        store_be32(s->buf + 16, (uint32_t)length);
        memcpy(s->buf + at, h->backing_file, length);
    }
    return true;
}

bool qcow2_header_encode_at(const struct qcow2_header *h, bool features, int64_t name_at,
                            uint8_t *cluster, struct qcow2_header_parts *ret_parts, GError **error)
{
    int64_t size = INT64_C(1) << h->cluster_bits;
    if (KNOWN_HEADER + (int64_t)h->extra_length > size - 8) {
        return error_set(error, ENOSPC, "the header does not fit in a cluster of %" PRId64 " bytes",
                         size);
    }
    memset(cluster, 0, (size_t)size);
    qcow2_header_fields(h, cluster);
    store_be32(cluster, MAGIC);
    store_be32(cluster + 4, (uint32_t)h->version);
    store_be32(cluster + 20, (uint32_t)h->cluster_bits);
    int64_t start = h->version >= 3 ? put_v3_fields(cluster, h) : QCOW2_V2_HEADER;
    memset(cluster + QCOW2_V2_HEADER, 0, h->version >= 3 ? 0 : (size_t)size - QCOW2_V2_HEADER);
    struct sink sink = {.buf = cluster, .pos = start, .end = size};
    put_extensions(&sink, h, features);
    return put_name(&sink, h, name_at, ret_parts, error);
}

bool qcow2_header_encode(const struct qcow2_header *h, uint8_t *cluster, GError **error)
{
    struct qcow2_header_parts parts;
    return qcow2_header_encode_at(h, true, 0, cluster, &parts, error);
}

struct qcow2_header_parts qcow2_header_find_parts(const uint8_t *cluster, int64_t length)
{
    struct qcow2_header_parts parts = {
        .extensions_end = load_be32(cluster + 4) >= 3 ? load_be32(cluster + 100) : QCOW2_V2_HEADER,
        .name_offset = min_i64(load_offset(cluster + 8), length),
        .name_length = load_be32(cluster + 16),
    };
    int64_t end = parts.name_offset ? parts.name_offset : length;
    while (end - parts.extensions_end >= 8) {
        const uint8_t *p = cluster + parts.extensions_end;
        parts.extensions_end += 8 + align_up(load_be32(p + 4), 8);
        if (load_be32(p) == EXT_END) {
            break;
        }
    }
    return parts;
}
