/*
 * Checking counts from scratch who refers to each cluster, and compares that with
 * what the image says of itself:
 *
 *     walk       header, L1, L2, snapshots, bitmaps, refcount table and blocks -> refs
 *     compare    stored refcounts: too high is a leak, too low a corruption
 *     copied     flags of the active entries against those refcounts
 *
 * Memory is one byte a cluster plus a batch of tables; what is read is bounded by
 * what tables of an image of this size can have, so that tables which overlap or
 * refer to each other end in an error instead of a long walk.
 */
#include "qcow2/check.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>

#include "qcow2/commit.h"

enum { SLACK_MEMORY = 64 * 1024 * 1024 };
#define SLACK_TABLES (2 * GiB)
#define MAX_CLUSTERS (INT64_C(1) << 46)

void check_say(struct check *c, const char *format, ...)
{
    va_list args;
    if (!c->out->message || ++c->lines > CHECK_MAX_LINES) {
        return;
    }
    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    c->out->message(text, c->out->user);
    if (c->lines == CHECK_MAX_LINES) {
        c->out->message("... there are more; they are counted and not shown", c->out->user);
    }
}

int check_co_read(struct check *c, int64_t offset, int64_t length, void *buf)
{
    int64_t inside = max_i64(0, min_i64(length, c->file_size - offset));
    memset((uint8_t *)buf + inside, 0, (size_t)(length - inside));
    c->budget -= inside;
    if (c->budget < 0) {
        return -EFBIG;
    }
    return inside ? node_co_pread(c->image->node->file, offset, inside, buf) : 0;
}

int check_count(struct check *c, int64_t offset, int64_t length, uint32_t weight, int marks)
{
    enum { TOO_FAR = 61 };
    bool far = (offset | length) >> TOO_FAR;
    int64_t first = offset >> c->image->cluster_bits;
    int64_t last = far ? INT64_MAX : (offset + length - 1) >> c->image->cluster_bits;
    if (far || offset + length >= c->file_size + c->image->cluster_size) {
        check_say(c,
                  "ERROR: counting reference for region exceeding the end of the file by one "
                  "cluster or more: offset 0x%" PRIx64 " size 0x%" PRIx64,
                  (uint64_t)offset, (uint64_t)length);
        c->out->corruptions++;
        last = min_i64(last, refs_clusters(c->refs) - 1);
    }
    for (int64_t i = first; i <= last; i++) {
        if (!refs_add(c->refs, i, weight, marks)) {
            return -EFBIG;
        }
    }
    return 0;
}

/* ---- a check ---- */

static void check_done(struct check *c)
{
    refs_free(c->refs);
    g_free(c->buf);
    g_free(c->blocks);
    g_array_unref(c->l1);
    g_array_unref(c->tables);
    g_array_unref(c->odd);
    g_array_unref(c->freed);
}

/* Bytes that the file occupies, for limits. */
static int64_t co_file_weight(struct blk_node *file)
{
    struct blk_info info;
    if (!node_co_info(file, &info, NULL)) {
        return node_size(file);
    }
    int64_t bytes = info.actual_size >= 0 ? info.actual_size : node_size(file);
    node_info_clear(&info);
    return min_i64(bytes, INT64_MAX / 8);
}

static int co_check_init(struct check *c, struct qcow2_image *image, uint32_t fix,
                         struct blk_check *out)
{
    struct blk_node *file = image->node->file;
    int64_t weight = co_file_weight(file), size = node_size(file);
    *c = (struct check){
        .image = image,
        .out = out,
        .fix = fix,
        .file_size = size,
        .clusters = div_up(size, image->cluster_size),
        .budget = SLACK_TABLES + 4 * weight,
        .buf = g_try_malloc(CHECK_BATCH),
        .l1 = g_array_new(false, false, sizeof(struct check_l1)),
        .tables = g_array_new(false, false, sizeof(uint64_t)),
        .odd = g_array_new(false, false, sizeof(int64_t)),
        .freed = g_array_new(false, false, sizeof(struct check_run)),
    };
    int64_t more = fix & CHECK_FIX_ERRORS ? check_rebuild_room(c) : 1;
    if (c->clusters < MAX_CLUSTERS) {
        c->refs = refs_new(c->clusters + more, SLACK_MEMORY + weight);
    }
    return c->refs && c->buf ? 0 : -ENOMEM;
}

/* ---- repairing ---- */

/* A new structure makes right all that was wrong with refcounts since `before`. */
static int co_rebuild(struct check *c, const struct blk_check *before)
{
    struct blk_check *out = c->out;
    int ret = check_co_rebuild(c);
    if (!ret) {
        out->corruptions_fixed += out->corruptions - before->corruptions;
        out->leaks_fixed += out->leaks - before->leaks;
        out->corruptions = before->corruptions;
        out->leaks = before->leaks;
        out->check_errors = before->check_errors;
    }
    return ret;
}

/* Mends refcounts that are known to be wrong. The list of them was told; it is told again as they
 * are mended. */
static int co_mend_refcounts(struct check *c, const struct blk_check *walked,
                             const struct blk_check *before)
{
    if (c->blind) {
        check_say(c, "ERROR not everything that refers to clusters could be read: refcounts are "
                     "left as they are");
        return 0;
    }
    if (c->rebuild && !(c->fix & CHECK_FIX_ERRORS)) {
        return -EUCLEAN;
    }
    if (c->rebuild) {
        int ret = co_rebuild(c, walked);
        return ret == -ERANGE ? 0 : ret;
    }
    if (c->out->corruptions == before->corruptions && c->out->leaks == before->leaks) {
        return 0;
    }
    c->out->corruptions = before->corruptions;
    c->out->leaks = before->leaks;
    return check_co_compare(c, c->fix, true);
}

/* The image is right: neither dirty nor corrupt. */
static int co_mark_clean(struct check *c)
{
    struct qcow2_header *h = &c->image->header;
    uint64_t bits = QCOW2_INCOMPAT_DIRTY | QCOW2_INCOMPAT_CORRUPT;
    if (c->out->corruptions || c->out->check_errors || !(h->incompatible & bits)) {
        return 0;
    }
    h->incompatible &= ~bits;
    return qcow2_co_write_header(c->image);
}

/* Gives what got free back to the file, as far as that is possible. */
static void co_discard_freed(struct check *c)
{
    for (guint i = 0; i < c->freed->len; i++) {
        const struct check_run *run = &g_array_index(c->freed, struct check_run, i);
        node_co_discard(c->image->node->file, run->first << c->image->cluster_bits,
                        run->count << c->image->cluster_bits);
    }
}

/* Refcounts are on the disk before flags rely on them, and both before the image is called clean.
 */
static int co_mend(struct check *c, const struct blk_check *walked, const struct blk_check *before)
{
    struct blk_node *file = c->image->node->file;
    int ret = co_mend_refcounts(c, walked, before);
    ret = ret ? ret : node_co_flush(file);
    bool right = !c->out->corruptions && !c->out->leaks && !c->out->check_errors;
    bool mend = !c->blind && (right || c->fix & CHECK_FIX_ERRORS);
    ret = ret ? ret : check_co_copied(c, mend);
    ret = ret ? ret : node_co_flush(file);
    if (!ret) {
        co_discard_freed(c);
    }
    return ret ? ret : co_mark_clean(c);
}

static int co_check_pass(struct check *c)
{
    c->out->total_clusters = div_up(c->image->header.size, c->image->cluster_size);
    int ret = check_co_walk_maps(c);
    struct blk_check walked = *c->out;
    ret = ret ? ret : check_co_walk_refcounts(c);
    struct blk_check before = *c->out;
    ret = ret ? ret : check_co_compare(c, 0, !c->fix);
    if (!ret) {
        ret = c->fix ? co_mend(c, &walked, &before) : check_co_copied(c, false);
    }
    return ret;
}

static bool fail(const struct qcow2_image *image, int ret, GError **error)
{
    const char *name = node_filename(image->node);
    if (ret == -EFBIG) {
        return error_set(error, EFBIG,
                         "'%s': the tables overlap or are scattered so much that they cannot be "
                         "checked",
                         name);
    }
    if (ret == -EUCLEAN) {
        return error_set(error, EUCLEAN,
                         "'%s': the refcount structures need to be rebuilt ('check -r all'); "
                         "nothing was changed",
                         name);
    }
    return error_set_errno(error, -ret, "could not check '%s'", name);
}

static int co_run(struct qcow2_image *image, uint32_t fix, struct blk_check *out)
{
    struct check c;
    int ret = co_check_init(&c, image, fix, out);
    ret = ret ? ret : co_check_pass(&c);
    check_done(&c);
    return ret;
}

static bool co_check(struct blk_node *node, uint32_t fix, struct blk_check *check, GError **error)
{
    struct qcow2_image *image = qcow2_image(node);
    const uint32_t needs = NODE_REPAIR | NODE_RDWR;
    if (fix && (node->flags & needs) != needs) {
        return error_set(error, EINVAL, "'%s' is not open for a repair", node_filename(node));
    }
    int ret = image->writable ? qcow2_co_commit_all(image) : 0;
    ret = ret ? ret : co_run(image, fix, check);
    return !ret || fail(image, ret, error);
}

bool qcow2_co_repair_dirty(struct qcow2_image *image, GError **error)
{
    struct blk_check check = {0};
    int ret = co_run(image, CHECK_FIX_LEAKS | CHECK_FIX_ERRORS, &check);
    if (ret) {
        return fail(image, ret, error);
    }
    return !check.check_errors ||
           error_set(error, EIO,
                     "the image was not closed (dirty bit), and its refcounts cannot be repaired; "
                     "see what 'check -r all' says");
}

const struct check_ops qcow2_check_ops = {.co_check = co_check};
