/*
 * Changing an image as a whole. Every change ends in one rewrite of the header
 * (rewrite.c), before which all tables are on the disk.
 */
#include "qcow2/amend.h"

#include <errno.h>

#include "qcow2/commit.h"
#include "qcow2/empty.h"
#include "qcow2/measure.h"
#include "qcow2/rewrite.h"

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

static const char *const names[] = {NULL};

const struct amend_ops qcow2_amend_ops = {
    .names = names,
    .co_set_backing = co_set_backing,
    .co_empty = qcow2_co_empty,
    .co_measure = qcow2_co_measure,
};
