/*
 * Changing an image as a whole. What is asked for is checked first, together; then
 * one change follows the other, each of which leaves a sound image, old or new,
 * wherever it is cut off: version up, width of refcounts, lazy refcounts, size,
 * version down.
 */
#include "qcow2/amend.h"

#include <errno.h>

#include "qcow2/commit.h"
#include "qcow2/empty.h"
#include "qcow2/measure.h"
#include "qcow2/refwidth.h"
#include "qcow2/resize.h"
#include "qcow2/rewrite.h"
#include "qcow2/version.h"

struct amend_options {
    char *backing_file, *backing_format, *data_file;
    char *keyslot, *new_secret, *old_secret, *state, *iter_time;
    int compat;
    uint32_t refcount_bits;
    int64_t size;
    bool lazy_refcounts, data_file_raw;
};

static const char *const compat_names[] = {"0.10", "1.1", "v2", "v3", NULL};

/* clang-format off */
#define AMEND_STR(member, name, help) FIELD(struct amend_options, member, name, NULL, help)
static const struct field amend_fields[] = {
    AMEND_STR(backing_file, "backing_file", "file name of a base image (with --force; see rebase)"),
    AMEND_STR(backing_format, "backing_fmt", "image format of the base image (with --force)"),
    FIELD_ENUM(struct amend_options, compat, "compat", NULL, compat_names,
               "compatibility level: v2 (0.10) or v3 (1.1)"),
    AMEND_STR(data_file, "data_file", "file name of an external data file"),
    FIELD(struct amend_options, data_file_raw, "data_file_raw", NULL,
          "the external data file must stay valid as a raw image"),
    AMEND_STR(iter_time, "encrypt.iter-time", "milliseconds to spend in PBKDF"),
    AMEND_STR(keyslot, "encrypt.keyslot", "a keyslot to change"),
    AMEND_STR(new_secret, "encrypt.new-secret", "the new secret of these keyslots"),
    AMEND_STR(old_secret, "encrypt.old-secret", "change the keyslots that have this secret"),
    AMEND_STR(state, "encrypt.state", "the new state of these keyslots: active or inactive"),
    FIELD(struct amend_options, lazy_refcounts, "lazy_refcounts", NULL,
          "postpone refcount updates"),
    FIELD(struct amend_options, refcount_bits, "refcount_bits", NULL,
          "bits of a refcount: a power of two up to 64"),
    FIELD_SIZE(struct amend_options, size, "size", NULL, "size of the guest's disk"),
    {0}};
/* clang-format on */

/* What the image is to become. */
struct goal {
    int version, order;
    bool lazy;
    int64_t size; /* -1: as it is */
    bool renames; /* the backing file */
    const char *backing_file, *backing_format;
};

/* Brings everything to the disk, so that the header is all that is left to change. */
static bool co_settle(struct qcow2_image *image, GError **error)
{
    int ret = qcow2_co_write_begin(image);
    ret = ret ? ret : qcow2_co_commit_all(image);
    ret = ret ? ret : node_co_flush(image->node->file);
    return !ret ||
           error_set_errno(error, -ret, "could not write to '%s'", node_filename(image->node));
}

static bool co_set_backing(struct blk_node *node, const char *name, const char *format,
                           GError **error)
{
    struct qcow2_image *image = qcow2_image(node);
    if (!co_settle(image, error)) {
        return false;
    }
    struct qcow2_header header = qcow2_header_copy(&image->header);
    g_free(header.backing_file);
    g_free(header.backing_format);
    header.backing_file = name && *name ? g_strdup(name) : NULL;
    header.backing_format = header.backing_file && format && *format ? g_strdup(format) : NULL;
    if (!qcow2_co_rewrite_header(image, &header, error)) {
        qcow2_header_clear(&header);
        return false;
    }
    return true;
}

/* ---- what is asked for ---- */

static bool is_given(json_t *options, const char *name)
{
    return json_object_get(options, name) != NULL;
}

static bool check_unbuilt(const struct amend_options *o, GError **error)
{
    if (o->data_file) {
        return error_set(error, ENOTSUP,
                         "data-file can only be set for images that use an external data file");
    }
    if (o->data_file_raw) {
        return error_set(error, ENOTSUP, "data-file-raw cannot be set on existing images");
    }
    if (o->keyslot || o->new_secret || o->old_secret || o->state || o->iter_time) {
        return error_set(error, ENOTSUP, "encrypt.* cannot be changed: the image is not encrypted");
    }
    return true;
}

/* A new name changes what the guest sees, unless both files hold the same. */
static bool check_backing(const struct qcow2_header *h, const struct goal *goal, bool force,
                          GError **error)
{
    bool same = !g_strcmp0(h->backing_file, goal->backing_file) &&
                !g_strcmp0(h->backing_format, goal->backing_format);
    if (!goal->renames || same) {
        return true;
    }
    if (!force) {
        return error_set(error, ENOTSUP,
                         "Cannot amend the backing file\nYou can use 'qemu-img rebase' instead.");
    }
    return !goal->backing_file || goal->backing_format ||
           error_set(error, EINVAL, "a backing file needs backing_fmt");
}

static bool co_check_goal(struct qcow2_image *image, const struct goal *goal, GError **error)
{
    if (goal->version < 3 && goal->order != 4 && image->header.version < 3) {
        return error_set(error, EINVAL,
                         "Refcount widths other than 16 bits require compatibility level 1.1 or "
                         "above (use compat=1.1 or greater)");
    }
    if (goal->version < 3 && goal->lazy) {
        return error_set(error, EINVAL,
                         "Lazy refcounts only supported with compatibility level 1.1 and above "
                         "(use compat=1.1 or greater)");
    }
    return goal->version > 2 || image->header.version < 3 ||
           qcow2_co_check_downgrade(image, goal->order, error);
}

static bool set_goal(const struct qcow2_image *image, const struct amend_options *o,
                     json_t *options, struct goal *goal, GError **error)
{
    const struct qcow2_header *h = &image->header;
    *goal = (struct goal){
        .version = is_given(options, "compat") ? (o->compat % 2 ? 3 : 2) : h->version,
        .order = h->refcount_order,
        .size = is_given(options, "size") ? align_up(min_i64(o->size, INT64_MAX - 512), 512) : -1,
        .renames = is_given(options, "backing_file") || is_given(options, "backing_fmt"),
        .backing_file = h->backing_file,
        .backing_format = h->backing_format,
    };
    bool was_lazy = goal->version > 2 && (h->compatible & QCOW2_COMPAT_LAZY);
    goal->lazy = is_given(options, "lazy_refcounts") ? o->lazy_refcounts : was_lazy;
    if (is_given(options, "backing_file")) {
        goal->backing_file = *o->backing_file ? o->backing_file : NULL;
        goal->backing_format = NULL;
    }
    if (is_given(options, "backing_fmt")) {
        goal->backing_format = *o->backing_format ? o->backing_format : NULL;
    }
    if (!is_given(options, "refcount_bits")) {
        return true;
    }
    if (!is_pow2(o->refcount_bits) || o->refcount_bits > 64) {
        return error_set(error, EINVAL,
                         "Refcount width must be a power of two and may not exceed 64 bits");
    }
    goal->order = __builtin_ctz(o->refcount_bits);
    return true;
}

/* ---- doing it ---- */

static bool co_set_lazy(struct qcow2_image *image, bool lazy, GError **error)
{
    uint64_t old = image->header.compatible;
    uint64_t wanted = lazy ? old | QCOW2_COMPAT_LAZY : old & ~QCOW2_COMPAT_LAZY;
    if (wanted == old) {
        return true;
    }
    image->header.compatible = wanted;
    image->broken = qcow2_co_write_header(image);
    return !image->broken || error_set_errno(error, -image->broken, "could not write to '%s'",
                                             node_filename(image->node));
}

static bool co_reach(struct blk_node *node, const struct goal *goal, struct job *job,
                     GError **error)
{
    struct qcow2_image *image = qcow2_image(node);
    const struct qcow2_header *h = &image->header;
    bool renames = g_strcmp0(h->backing_file, goal->backing_file) ||
                   g_strcmp0(h->backing_format, goal->backing_format);
    return (goal->version <= h->version ||
            qcow2_co_set_version(image, goal->version, job, error)) &&
           (goal->order == h->refcount_order ||
            qcow2_co_set_refwidth(image, goal->order, job, error)) &&
           (h->version < 3 || co_set_lazy(image, goal->lazy, error)) &&
           (goal->size < 0 || goal->size == node->size ||
            (qcow2_co_resize(node, goal->size, "off", error) && co_settle(image, error))) &&
           (goal->version >= h->version ||
            qcow2_co_set_version(image, goal->version, job, error)) &&
           (!renames || co_set_backing(node, goal->backing_file, goal->backing_format, error));
}

static bool co_amend(struct blk_node *node, json_t *options, bool force, struct job *job,
                     GError **error)
{
    struct qcow2_image *image = qcow2_image(node);
    struct amend_options o = {0};
    struct goal goal;
    json_t *rest = json_deep_copy(options);
    bool done = fields_take_json(amend_fields, &o, rest, NULL, error) &&
                json_reject_rest(rest, "qcow2", error) && check_unbuilt(&o, error) &&
                set_goal(image, &o, options, &goal, error) &&
                check_backing(&image->header, &goal, force, error) && co_settle(image, error) &&
                co_check_goal(image, &goal, error);
    g_autofree char *name = done ? g_strdup(goal.backing_file) : NULL;
    g_autofree char *format = done ? g_strdup(goal.backing_format) : NULL;
    goal.backing_file = name;
    goal.backing_format = format;
    done = done && co_reach(node, &goal, job, error);
    json_decref(rest);
    fields_clear(amend_fields, &o);
    return done;
}

const struct amend_ops qcow2_amend_ops = {
    .options = amend_fields,
    .co_amend = co_amend,
    .co_set_backing = co_set_backing,
    .co_empty = qcow2_co_empty,
    .co_measure = qcow2_co_measure,
};
