/*
 * Every cluster that holds metadata is in image->meta, and nothing of the guest's
 * ever goes there. Asking costs next to nothing, so by default all kinds are
 * protected; the user can take that back, as a whole with a mode or kind by kind:
 *
 *     none
 *     constant   main-header active-l1 refcount-table snapshot-table bitmap-directory
 *     cached     these, and active-l2 refcount-block inactive-l1
 *     all        these, and inactive-l2
 *
 * Tables that are made later are protected in any case.
 */
#include "qcow2/protect.h"

#include <errno.h>

#include "qcow2/snapshots.h"

enum kind {
    MAIN_HEADER,
    ACTIVE_L1,
    ACTIVE_L2,
    REFCOUNT_TABLE,
    REFCOUNT_BLOCK,
    SNAPSHOT_TABLE,
    INACTIVE_L1,
    INACTIVE_L2,
    BITMAP_DIRECTORY,
    KINDS,
};

static const char *const kind_names[] = {
    "main-header",    "active-l1",   "active-l2",   "refcount-table",   "refcount-block",
    "snapshot-table", "inactive-l1", "inactive-l2", "bitmap-directory",
};

enum {
    NONE = 0,
    CONSTANT = 1 << MAIN_HEADER | 1 << ACTIVE_L1 | 1 << REFCOUNT_TABLE | 1 << SNAPSHOT_TABLE |
               1 << BITMAP_DIRECTORY,
    CACHED = CONSTANT | 1 << ACTIVE_L2 | 1 << REFCOUNT_BLOCK | 1 << INACTIVE_L1,
    ALL = CACHED | 1 << INACTIVE_L2,
};

static bool parse_mode(json_t *value, uint32_t *ret_kinds, GError **error)
{
    static const struct {
        const char *name;
        uint32_t kinds;
    } modes[] = {{"none", NONE}, {"constant", CONSTANT}, {"cached", CACHED}, {"all", ALL}};
    const char *word = json_string_value(value);
    for (size_t i = 0; word && i < G_N_ELEMENTS(modes); i++) {
        if (!strcmp(word, modes[i].name)) {
            *ret_kinds = modes[i].kinds;
            return true;
        }
    }
    return error_set(error, EINVAL,
                     "Unsupported value '%s' for qcow2 option 'overlap-check'. Allowed are any of "
                     "the following: none, constant, cached, all",
                     word ? word : "?");
}

static bool parse_switch(json_t *value, const char *name, bool *ret_on, GError **error)
{
    const char *word = json_string_value(value);
    *ret_on = json_is_true(value) || !g_strcmp0(word, "on");
    return *ret_on || json_is_false(value) || !g_strcmp0(word, "off") ||
           error_set(error, EINVAL, "Parameter 'overlap-check.%s' expects 'on' or 'off'", name);
}

static bool parse_member(const char *name, json_t *value, uint32_t *kinds, GError **error)
{
    for (int i = 0; i < KINDS; i++) {
        bool on;
        if (!strcmp(name, kind_names[i])) {
            if (!parse_switch(value, name, &on, error)) {
                return false;
            }
            *kinds = on ? *kinds | UINT32_C(1) << i : *kinds & ~(UINT32_C(1) << i);
            return true;
        }
    }
    return !strcmp(name, "template") ||
           error_set(error, EINVAL, "driver 'qcow2' does not know the option 'overlap-check.%s'",
                     name);
}

bool qcow2_protect_parse(json_t *told, uint32_t *ret_kinds, GError **error)
{
    *ret_kinds = ALL;
    if (!told) {
        return true;
    }
    if (!json_is_object(told)) {
        return parse_mode(told, ret_kinds, error);
    }
    const char *name;
    json_t *value = json_object_get(told, "template");
    if (value && !parse_mode(value, ret_kinds, error)) {
        return false;
    }
    json_object_foreach(told, name, value)
    {
        if (!parse_member(name, value, ret_kinds, error)) {
            return false;
        }
    }
    return true;
}

/* ---- taking back ---- */

static void forget(struct qcow2_image *image, int64_t offset, int64_t bytes)
{
    metaset_remove(image->meta, offset >> image->cluster_bits, div_up(bytes, image->cluster_size));
}

static void forget_l2(struct qcow2_image *image)
{
    for (int64_t i = 0; i < image->header.l1_entries; i++) {
        struct qcow2_entry l1 = qcow2_l1_decode(image->l1[i], image->cluster_bits);
        if (l1.kind == QCOW2_NORMAL) {
            forget(image, l1.host_off, image->cluster_size);
        }
    }
}

static void forget_inactive_l1(struct qcow2_image *image)
{
    for (guint i = 0; image->snapshots && i < image->snapshots->len; i++) {
        const struct qcow2_snapshot *snapshot = qcow2_snapshot_at(image, (int)i);
        forget(image, snapshot->l1_offset, (int64_t)snapshot->l1_entries * 8);
    }
}

static void forget_blocks(struct qcow2_image *image)
{
    for (int64_t i = 0; i < image->reftable_entries; i++) {
        if (image->reftable[i]) {
            forget(image, (int64_t)image->reftable[i], image->cluster_size);
        }
    }
}

void qcow2_protect_apply(struct qcow2_image *image)
{
    uint32_t kinds = image->protect;
    const struct qcow2_header *h = &image->header;
    if (!(kinds & 1 << MAIN_HEADER)) {
        forget(image, 0, image->cluster_size);
    }
    if (!(kinds & 1 << ACTIVE_L1)) {
        forget(image, h->l1_offset, (int64_t)h->l1_entries * 8);
    }
    if (!(kinds & 1 << ACTIVE_L2)) {
        forget_l2(image);
    }
    if (!(kinds & 1 << REFCOUNT_TABLE)) {
        forget(image, h->reftable_offset, (int64_t)h->reftable_clusters << image->cluster_bits);
    }
    if (!(kinds & 1 << REFCOUNT_BLOCK)) {
        forget_blocks(image);
    }
    if (!(kinds & 1 << SNAPSHOT_TABLE) && h->snapshots) {
        forget(image, h->snapshots_offset, image->snaptable_bytes);
    }
    if (!(kinds & 1 << INACTIVE_L1)) {
        forget_inactive_l1(image);
    }
    if (!(kinds & 1 << INACTIVE_L2)) {
        metaset_free(image->shared_l2);
        image->shared_l2 = metaset_new();
    }
}
