/*
 * Opening reads the first cluster, decides what may be done with the image, and
 * loads the L1 table; everything else comes when it is needed. For `info`
 * (NODE_NO_IO) not even L1 is read.
 *
 * For check (NODE_REPAIR) nothing of the tables is believed: such a node has no
 * size, and can be checked and nothing else.
 *
 * What this driver cannot keep right is refused by name: for any use where the
 * guest's data could be misread, for writing where something else in the image
 * would go stale.
 */
#include "qcow2/open.h"

#include <errno.h>
#include <inttypes.h>

#include "qcow2/alloc.h"
#include "qcow2/check.h"
#include "qcow2/commit.h"
#include "qcow2/describe.h"
#include "qcow2/protect.h"

enum {
    MAX_SLICE = 64 * 1024,
    MAX_TRANSFER = 16 * 1024 * 1024,
    DEFAULT_L2_CACHE = 32 * 1024 * 1024,
    DEFAULT_REFBLOCKS = 4, /* tables in the refcount cache */
};

/* clang-format off */
const struct field qcow2_option_fields[] = {
    FIELD(struct qcow2_options, lazy_refcounts, "lazy-refcounts", "off",
          "postpone refcount updates (there is no need: they are always ordered and batched)"),
    FIELD(struct qcow2_options, discard_request, "pass-discard-request", "off",
          "give discarded clusters back to the file"),
    FIELD(struct qcow2_options, discard_snapshot, "pass-discard-snapshot", "on",
          "give clusters of deleted snapshots back to the file"),
    FIELD(struct qcow2_options, discard_other, "pass-discard-other", "off",
          "give other freed clusters back to the file"),
    FIELD(struct qcow2_options, discard_no_unref, "discard-no-unref", "off",
          "keep discarded clusters allocated"),
    FIELD_SIZE(struct qcow2_options, cache_size, "cache-size", NULL,
               "bytes of L2 and refcount cache together"),
    FIELD_SIZE(struct qcow2_options, l2_cache_size, "l2-cache-size", NULL, "bytes of L2 cache"),
    FIELD_SIZE(struct qcow2_options, l2_cache_entry_size, "l2-cache-entry-size", NULL,
               "bytes read at once from an L2 table"),
    FIELD_SIZE(struct qcow2_options, refcount_cache_size, "refcount-cache-size", NULL,
               "bytes of refcount cache"),
    FIELD(struct qcow2_options, cache_clean_interval, "cache-clean-interval", "600",
          "seconds after which unused cache entries are dropped (accepted)"),
    FIELD(struct qcow2_options, overlap_check, "overlap-check", NULL,
          "what metadata is protected against being overwritten: none, constant, cached, all; or "
          "template=MODE and main-header=on|off, active-l1=, active-l2=, refcount-table=, "
          "refcount-block=, snapshot-table=, inactive-l1=, inactive-l2=, bitmap-directory="),
    {0}};
/* clang-format on */

/* ---- header ---- */

static bool co_read_header(struct blk_node *node, struct qcow2_header *ret_header, GError **error)
{
    int64_t file_size = node_size(node->file);
    int64_t len = min_i64(file_size, QCOW2_HEADER_FIXED);
    g_autofree uint8_t *head = g_try_malloc(QCOW2_HEADER_FIXED);
    int ret = head ? node_co_pread(node->file, 0, len, head) : -ENOMEM;
    if (ret) {
        return error_set_errno(error, -ret, "could not read the qcow2 header");
    }
    int64_t want = min_i64(qcow2_header_probe(head, (size_t)len, error), file_size);
    if (want <= len) {
        return want && qcow2_header_decode(head, (size_t)want, ret_header, error);
    }
    g_autofree uint8_t *cluster = g_try_malloc((gsize)want);
    ret = cluster ? node_co_pread(node->file, 0, want, cluster) : -ENOMEM;
    if (ret) {
        return error_set_errno(error, -ret, "could not read the qcow2 header");
    }
    return qcow2_header_decode(cluster, (size_t)want, ret_header, error);
}

/* What makes the guest's data unreadable here. */
static bool check_readable(const struct qcow2_header *h, uint32_t flags, GError **error)
{
    if (!h->reftable_clusters && !(flags & NODE_REPAIR)) {
        return error_set(error, EINVAL,
                         "the image does not contain a refcount table; 'check -r all' makes one");
    }
    if (h->incompatible & QCOW2_INCOMPAT_DATA_FILE) {
        return error_set(error, ENOTSUP,
                         "qcow2 images with an external data file are not "
                         "supported yet");
    }
    if (h->incompatible & QCOW2_INCOMPAT_EXTENDED_L2) {
        return error_set(error, ENOTSUP,
                         "qcow2 images with extended L2 entries are not supported yet");
    }
    if (h->crypt_method) {
        return error_set(error, ENOTSUP, "%s-encrypted qcow2 images are not supported yet",
                         h->crypt_method == 1 ? "AES" : "LUKS");
    }
    return true;
}

/* What a writer would have to keep right and cannot yet. */
static bool check_may_write(const struct qcow2_header *h, GError **error)
{
    if (h->incompatible & QCOW2_INCOMPAT_CORRUPT) {
        return error_set(error, EACCES, "Image is corrupt; cannot be opened read/write");
    }
    if (h->autoclear & QCOW2_AUTOCLEAR_BITMAPS) {
        return error_set(error, ENOTSUP,
                         "writing to qcow2 images with persistent bitmaps is not supported yet");
    }
    return true;
}

static bool check_lazy(const struct qcow2_image *image, GError **error)
{
    const struct qcow2_options *o = image->node->options;
    return !o->lazy_refcounts || image->header.version >= 3 ||
           error_set(error, EINVAL,
                     "Lazy refcounts require a qcow2 image with at least qemu 1.1 compatibility "
                     "level");
}

/* A writer relies on the refcounts. Those of an image that was not closed are mended first. */
static bool co_begin_writing(struct qcow2_image *image, GError **error)
{
    return check_may_write(&image->header, error) &&
           (!(image->header.incompatible & QCOW2_INCOMPAT_DIRTY) ||
            qcow2_co_repair_dirty(image, error));
}

/* ---- tables ---- */

static bool co_load_l1(struct qcow2_image *image, GError **error)
{
    const struct qcow2_header *h = &image->header;
    int64_t bytes = (int64_t)h->l1_entries * 8;
    if (bytes && h->l1_offset + bytes > node_size(image->node->file)) {
        return error_set(error, EINVAL, "the L1 table at 0x%" PRIx64 " is past the end of the file",
                         h->l1_offset);
    }
    image->l1 = g_try_new(uint64_t, h->l1_entries + 1);
    if (!image->l1) {
        return error_set(error, ENOMEM, "no memory for an L1 table of %u entries", h->l1_entries);
    }
    int ret = bytes ? node_co_pread(image->node->file, h->l1_offset, bytes, image->l1) : 0;
    if (ret) {
        return error_set_errno(error, -ret, "could not read the L1 table");
    }
    for (uint32_t i = 0; i < h->l1_entries; i++) {
        image->l1[i] = be64toh(image->l1[i]);
    }
    return true;
}

/* L2 tables are cached in slices; the default limit covers the whole disk up to 32 MiB. */
static bool make_caches(struct qcow2_image *image, GError **error)
{
    const struct qcow2_options *o = image->node->options;
    int64_t slice = min_i64(image->cluster_size, MAX_SLICE);
    if (o->l2_cache_entry_size) {
        slice = o->l2_cache_entry_size;
        if (!is_pow2((uint64_t)slice) || slice < 512 || slice > image->cluster_size) {
            return error_set(error, EINVAL,
                             "l2-cache-entry-size %" PRId64
                             " is not a power of two between 512 and the cluster size",
                             slice);
        }
    }
    image->slice_size = slice;
    int64_t limit = o->l2_cache_size;
    if (!limit) {
        limit = o->cache_size ? o->cache_size - min_i64(o->refcount_cache_size, o->cache_size)
                              : DEFAULT_L2_CACHE;
        limit = min_i64(limit, (int64_t)image->header.l1_entries << image->cluster_bits);
    }
    int64_t refs =
        o->refcount_cache_size ? o->refcount_cache_size : DEFAULT_REFBLOCKS * image->cluster_size;
    image->l2 =
        qcow2_cache_new(image->node->file, slice, limit, BLK_EVENT_L2_LOAD, BLK_EVENT_L2_UPDATE);
    image->refblocks = qcow2_cache_new(image->node->file, slice, max_i64(refs, 256 * KiB),
                                       BLK_EVENT_REFBLOCK_LOAD, BLK_EVENT_REFBLOCK_UPDATE_PART);
    return true;
}

bool qcow2_caches_reset(struct qcow2_image *image, GError **error)
{
    qcow2_cache_free(image->l2);
    qcow2_cache_free(image->refblocks);
    image->l2 = image->refblocks = NULL;
    return make_caches(image, error);
}

/* ---- backing file ---- */

/* The user's word on the backing file: absent, none, only a driver, or a whole node. */
static bool co_open_backing(struct blk_node *node, json_t *rest, GError **error)
{
    struct qcow2_image *image = qcow2_image(node);
    uint32_t flags = node->flags & ~(uint32_t)(NODE_RDWR | NODE_REPAIR);
    const char *name = image->header.backing_file;
    const char *format = image->header.backing_format;
    json_t *told = json_object_get(rest, "backing");
    bool none = json_is_null(told) || (json_is_string(told) && !*json_string_value(told)) ||
                (node->flags & (NODE_NO_BACKING | NODE_REPAIR));
    g_autofree char *driver = NULL;
    if (none) {
        json_object_del(rest, "backing");
        return true;
    }
    if (name && json_is_object(told) && json_object_size(told) == 1 &&
        json_object_get(told, "driver")) {
        driver = json_take_string(told, "driver", error);
        if (!driver) {
            return false;
        }
        format = driver;
        json_object_del(rest, "backing");
        told = NULL;
    }
    if (told) {
        node->backing = node_co_open_child(node, rest, "backing", true, flags, error);
    } else if (name) {
        node->backing = node_co_open_reference(node, name, format, flags, "backing file", error);
    } else {
        return true;
    }
    return node->backing != NULL;
}

/* ---- open and close ---- */

static void set_geometry(struct qcow2_image *image)
{
    image->cluster_bits = image->header.cluster_bits;
    image->cluster_size = INT64_C(1) << image->cluster_bits;
    image->l2_bits = image->cluster_bits - 3;
    image->refblock_bits = image->cluster_bits + 3 - image->header.refcount_order;
    image->node->size = image->header.size;
}

static void image_done(struct qcow2_image *image)
{
    qcow2_cache_free(image->l2);
    qcow2_cache_free(image->refblocks);
    qcow2_refcounts_done(image);
    while (image->codec_count) {
        codec_ctx_free(image->codecs[--image->codec_count]);
    }
    g_free(image->l1);
    g_free(image->corrupt_reason);
    bitmap_free(image->l1_dirty);
    bitmap_free(image->l1_unlinked);
    if (image->snapshots) {
        g_array_unref(image->snapshots);
    }
    json_decref(image->bitmap_list);
    qcow2_header_clear(&image->header);
    *image = (struct qcow2_image){0};
}

static bool co_open_parts(struct blk_node *node, json_t *rest, GError **error)
{
    struct qcow2_image *image = qcow2_image(node);
    bool write = node->flags & NODE_RDWR;
    image->node = node;
    const struct qcow2_options *options = node->options;
    if (!qcow2_protect_parse(options->overlap_check, &image->protect, error) ||
        !co_read_header(node, &image->header, error) || !check_lazy(image, error)) {
        return false;
    }
    set_geometry(image);
    if (!(node->flags & NODE_REPAIR) && !qcow2_co_describe_load(image, error)) {
        return false;
    }
    if (node->flags & NODE_NO_IO) {
        return make_caches(image, error) && co_open_backing(node, rest, error);
    }
    if (node->flags & NODE_REPAIR) {
        node->size = 0;
        return check_readable(&image->header, node->flags, error) &&
               co_open_backing(node, rest, error);
    }
    if (!check_readable(&image->header, node->flags, error) ||
        (write && !co_begin_writing(image, error)) || !make_caches(image, error) ||
        !co_load_l1(image, error) || (write && !qcow2_co_refcounts_open(image, error))) {
        return false;
    }
    if (write) {
        qcow2_protect_apply(image);
    }
    return co_open_backing(node, rest, error);
}

/* An open image begins to be written: what a repair has changed is read anew. */
static bool co_become_writable(struct qcow2_image *image, GError **error)
{
    bool dirty = image->header.incompatible & QCOW2_INCOMPAT_DIRTY;
    if (!co_begin_writing(image, error)) {
        return false;
    }
    if (dirty) {
        g_clear_pointer(&image->l1, g_free);
        if (!co_load_l1(image, error) || !qcow2_caches_reset(image, error)) {
            return false;
        }
    }
    bool ok = image->freed ? qcow2_co_refcounts_reload(image, error)
                           : qcow2_co_refcounts_open(image, error);
    if (ok) {
        qcow2_protect_apply(image);
    }
    return ok;
}

bool qcow2_co_reopen(struct blk_node *node, uint32_t flags, GError **error)
{
    struct qcow2_image *image = qcow2_image(node);
    if (!((flags ^ node->flags) & NODE_RDWR) || (flags & NODE_REPAIR)) {
        return true;
    }
    if (flags & NODE_RDWR) {
        bool done = co_become_writable(image, error);
        if (!done) {
            g_prefix_error(error, "'%s': ", node_filename(node));
        }
        return done;
    }
    int ret = qcow2_co_commit_all(image);
    image->writable = false;
    return !ret ||
           error_set_errno(error, -ret, "could not write the tables of '%s'", node_filename(node));
}

bool qcow2_co_open(struct blk_node *node, json_t *rest, GError **error)
{
    if (!co_open_parts(node, rest, error)) {
        g_prefix_error(error, "'%s': ", node_filename(node->file));
        image_done(qcow2_image(node));
        return false;
    }
    return true;
}

bool qcow2_co_close(struct blk_node *node, GError **error)
{
    struct qcow2_image *image = qcow2_image(node);
    int ret = image->writable ? qcow2_co_commit_all(image) : 0;
    g_autofree char *reason = g_steal_pointer(&image->corrupt_reason);
    image_done(image);
    if (reason) {
        return error_set(error, EIO,
                         "'%s' was marked corrupt and takes no more writes, because of %s: it "
                         "overlaps metadata or contradicts it; 'check -r all' repairs that",
                         node_filename(node), reason);
    }
    return !ret ||
           error_set_errno(error, -ret, "could not write the tables of '%s'", node_filename(node));
}

void qcow2_limits(struct blk_node *node, struct blk_limits *limits)
{
    struct qcow2_image *image = qcow2_image(node);
    int64_t table_covers = INT64_C(1) << (image->cluster_bits + image->l2_bits);
    *limits = (struct blk_limits){
        .request_align = 1,
        .memory_align = 1,
        .max_transfer = max_i64(MAX_TRANSFER, image->cluster_size),
        .max_zero = min_i64(table_covers, INT64_C(1) << 40) * 16,
        .max_discard = min_i64(table_covers, INT64_C(1) << 40) * 16,
        .zero_align = image->cluster_size,
        .discard_align = image->cluster_size,
        .opt_transfer = image->cluster_size,
    };
}
