/*
 * Snapshot table and bitmap directory as JSON, with the keys of QMP's
 * SnapshotInfo and Qcow2BitmapInfo, and the rest of the format's own information.
 *
 * Both tables are lists of entries of varying length. They are read in one piece
 * whose size is bounded by what the format allows for the announced number of
 * entries, and by the end of the file.
 */
#include "qcow2/describe.h"

#include <errno.h>
#include <inttypes.h>

#include "qcow2/snapshots.h"

enum {
    BITMAP_FIXED = 24,
    MAX_NAME = 1023,
    MAX_LIST = 64 * 1024 * 1024,
    BITMAP_IN_USE = 1,
    BITMAP_AUTO = 2,
};

/* Reads at most `length` bytes at `offset`, as far as the file goes. */
static uint8_t *co_read_list(struct qcow2_image *image, int64_t offset, int64_t length,
                             const char *what, int64_t *ret_length, GError **error)
{
    length = min_i64(length, node_size(image->node->file) - offset);
    if (length <= 0) {
        error_set(error, EINVAL, "the %s at 0x%" PRIx64 " is past the end of the file", what,
                  offset);
        return NULL;
    }
    uint8_t *buf = g_try_malloc((gsize)length);
    int ret = buf ? node_co_pread(image->node->file, offset, length, buf) : -ENOMEM;
    if (ret) {
        error_set_errno(error, -ret, "could not read the %s", what);
        g_free(buf);
        return NULL;
    }
    *ret_length = length;
    return buf;
}

/* Text from an image: bytes that are no UTF-8 become U+FFFD. */
static json_t *json_text(const uint8_t *p, size_t length)
{
    g_autofree char *text = g_utf8_make_valid((const char *)p, (gssize)length);
    return json_string(text);
}

/* ---- snapshots ---- */

static json_t *snapshot_json(const struct qcow2_snapshot *s)
{
    json_t *out =
        json_pack("{s:I, s:I, s:o, s:I, s:I, s:I, s:o, s:I}", "icount", (json_int_t)s->icount,
                  "vm-clock-nsec", (json_int_t)(s->vm_clock_ns % 1000000000), "name",
                  json_text((const uint8_t *)s->name, strlen(s->name)), "date-sec",
                  (json_int_t)s->date_sec, "date-nsec", (json_int_t)s->date_nsec, "vm-clock-sec",
                  (json_int_t)(s->vm_clock_ns / 1000000000), "id",
                  json_text((const uint8_t *)s->id, strlen(s->id)), "vm-state-size",
                  (json_int_t)s->vm_state_size);
    if (s->icount == UINT64_MAX) {
        json_object_del(out, "icount");
    }
    return out;
}

static json_t *snapshots_json(const struct qcow2_image *image)
{
    json_t *list = json_array();
    for (guint i = 0; i < image->snapshots->len; i++) {
        json_array_append_new(
            list, snapshot_json(&g_array_index(image->snapshots, struct qcow2_snapshot, i)));
    }
    return list;
}

/* ---- bitmaps ---- */

static json_t *bitmap_json(const uint8_t *p, uint32_t extra, uint16_t name_len)
{
    uint32_t flags = load_be32(p + 12);
    json_t *words = json_array();
    if (flags & BITMAP_IN_USE) {
        json_array_append_new(words, json_string("in-use"));
    }
    if (flags & BITMAP_AUTO) {
        json_array_append_new(words, json_string("auto"));
    }
    return json_pack("{s:o, s:o, s:I}", "flags", words, "name",
                     json_text(p + BITMAP_FIXED + extra, name_len), "granularity",
                     (json_int_t)(INT64_C(1) << MIN(p[17], 62)));
}

static bool parse_bitmaps(struct qcow2_image *image, const uint8_t *buf, int64_t length,
                          GError **error)
{
    int64_t pos = 0;
    for (uint32_t i = 0; i < image->header.bitmaps; i++) {
        const uint8_t *p = buf + pos;
        if (length - pos < BITMAP_FIXED) {
            return error_set(error, EINVAL, "the bitmap directory ends within entry %u", i);
        }
        uint16_t name_len = load_be16(p + 18);
        uint32_t extra = load_be32(p + 20);
        int64_t size = BITMAP_FIXED + (int64_t)extra + name_len;
        if (size > length - pos || name_len > MAX_NAME) {
            return error_set(error, EINVAL, "bitmap %u is not valid (%" PRId64 " bytes)", i, size);
        }
        json_array_append_new(image->bitmap_list, bitmap_json(p, extra, name_len));
        pos += min_i64(align_up(size, 8), length - pos);
    }
    return true;
}

static bool co_load_bitmaps(struct qcow2_image *image, GError **error)
{
    int64_t length = min_i64(image->header.bitmaps_length, MAX_LIST);
    g_autofree uint8_t *buf = co_read_list(image, image->header.bitmaps_offset, length,
                                           "bitmap directory", &length, error);
    image->bitmap_list = json_array();
    return buf && parse_bitmaps(image, buf, length, error);
}

bool qcow2_co_describe_load(struct qcow2_image *image, GError **error)
{
    const struct qcow2_header *h = &image->header;
    return qcow2_co_snapshots_load(image, error) &&
           (!(h->autoclear & QCOW2_AUTOCLEAR_BITMAPS) || co_load_bitmaps(image, error));
}

/* ---- info ---- */

/* Adds a truth value, where the image can have it. */
static void set_flag(json_t *data, const char *key, bool there, uint64_t value)
{
    if (there) {
        json_object_set_new(data, key, json_boolean(value));
    }
}

static json_t *specific_data(const struct qcow2_image *image)
{
    const struct qcow2_header *h = &image->header;
    bool v3 = h->version >= 3;
    json_t *data = json_object();
    json_object_set_new(data, "compat", json_string(v3 ? "1.1" : "0.10"));
    json_object_set_new(data, "compression-type",
                        json_string(h->compression == QCOW2_ZSTD ? "zstd" : "zlib"));
    set_flag(data, "lazy-refcounts", v3, h->compatible & QCOW2_COMPAT_LAZY);
    if (image->bitmap_list) {
        json_object_set(data, "bitmaps", image->bitmap_list);
    }
    json_object_set_new(data, "refcount-bits", json_integer(1 << h->refcount_order));
    if (h->data_file) {
        json_object_set_new(data, "data-file", json_string(h->data_file));
    }
    set_flag(data, "data-file-raw", h->incompatible & QCOW2_INCOMPAT_DATA_FILE,
             h->autoclear & QCOW2_AUTOCLEAR_RAW_DATA);
    set_flag(data, "corrupt", v3, h->incompatible & QCOW2_INCOMPAT_CORRUPT);
    set_flag(data, "extended-l2", v3, h->incompatible & QCOW2_INCOMPAT_EXTENDED_L2);
    if (h->crypt_method) {
        json_object_set_new(data, "encrypt",
                            json_pack("{s:s}", "format", h->crypt_method == 1 ? "aes" : "luks"));
    }
    return data;
}

bool qcow2_info(struct blk_node *node, struct blk_info *info, GError **error)
{
    const struct qcow2_image *image = qcow2_image(node);
    const struct qcow2_header *h = &image->header;
    info->cluster_size = image->cluster_size;
    info->vm_state_offset = align_up(node->size, image->cluster_size << image->l2_bits);
    info->dirty = h->incompatible & QCOW2_INCOMPAT_DIRTY;
    info->encrypted = h->crypt_method;
    info->backing_filename = g_strdup(h->backing_file);
    info->backing_format = g_strdup(h->backing_format);
    info->snapshots = image->snapshots && image->snapshots->len ? snapshots_json(image) : NULL;
    info->specific = json_pack("{s:s, s:o}", "type", "qcow2", "data", specific_data(image));
    return true;
}
