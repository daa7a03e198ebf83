/*
 * cairn-img resize: another size for the guest's disk, absolute or relative.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/size.h"
#include "img-tool/image.h"
#include "img-tool/tool.h"

struct resize_args {
    struct image_args image;
    bool shrink, quiet;
    int preallocation;
};

static const char *const preallocation_words[] = {"off", "metadata", "falloc", "full", NULL};

static const struct cli_option resize_options[] = {
    IMAGE_ROW_FORMAT(struct resize_args, "f", "format",
                     "format of the image; it is probed otherwise"),
    IMAGE_ROW_OPTS(struct resize_args),
    {NULL, NULL,
     FIELD(struct resize_args, shrink, "shrink", NULL,
           "allow the disk to become smaller; what lies behind the new end is lost"),
     NULL},
    {NULL, "MODE",
     FIELD_ENUM(struct resize_args, preallocation, "preallocation", "off", preallocation_words,
                "what to allocate of the new space"),
     NULL},
    {"q", NULL, FIELD(struct resize_args, quiet, "quiet", NULL, "print errors only"), NULL},
    IMAGE_ROW_OBJECT(struct resize_args),
    IMAGE_ROWS_TRUST(struct resize_args),
    {0}};

/* The size that `text` ("10G", "+1G", "-512M") asks for, when it is `now`. */
static bool parse_size(const char *text, int64_t now, int64_t *ret_size, GError **error)
{
    int sign = *text == '+' ? 1 : *text == '-' ? -1 : 0;
    int64_t size = 0;
    if (!size_parse(text + (sign != 0), "size", &size, error)) {
        return false;
    }
    if (sign > 0 && size > INT64_MAX - now) {
        return error_set(error, EFBIG, "the new size is too large");
    }
    *ret_size = sign > 0 ? now + size : sign < 0 ? now - size : size;
    return *ret_size > 0 || error_set(error, EINVAL, "New image size must be positive");
}

static bool check_size(const struct resize_args *args, int64_t now, int64_t size, GError **error)
{
    if (size <= now && args->preallocation) {
        return error_set(error, EINVAL, "Preallocation can only be used for growing images");
    }
    if (size < now && !args->shrink) {
        fprintf(stderr,
                "%s: warning: Shrinking an image will delete all data beyond the shrunken "
                "image's end. Before performing such an operation, make sure there is no "
                "important data there.\n",
                tool_program());
        return error_set(error, EINVAL, "Use the --shrink option to perform a shrink operation.");
    }
    return true;
}

static bool resize(struct blk_node *node, const struct resize_args *args, const char *text,
                   GError **error)
{
    int64_t size;
    if (!parse_size(text, node_size(node), &size, error) ||
        !check_size(args, node_size(node), size, error) ||
        !node_resize(node, size, preallocation_words[args->preallocation], error)) {
        return false;
    }
    return node_flush(node) == 0 ||
           error_set(error, EIO, "'%s': the new size may not be on the disk", node_filename(node));
}

static int resize_run(const struct cli_command *command, void *data, char **names, GError **error)
{
    const struct resize_args *args = data;
    struct session session = {0};
    char *images[] = {names[0], NULL};
    struct blk_node *node =
        image_confine(&args->image, images, true, error) &&
                session_start(&session, &args->image, error)
            ? image_open(&session, &args->image, names[0], args->image.format, NODE_RDWR, error)
            : NULL;
    if (node) {
        image_warn_probed(node, names[0]);
    }
    bool done =
        node && image_check_guess(node, names[0], error) && resize(node, args, names[1], error);
    done = image_close(&node, error) && done;
    session_end(&session);
    if (done && !args->quiet) {
        tool_printf("Image resized.\n");
    }
    return done ? EXIT_SUCCESS : EXIT_FAILURE;
}

static const char *const resize_notes[] = {
    "SIZE is in bytes or has a suffix k, M, G, T, P or E; with + or - in front it is added to or "
    "taken off the present size.",
    "The guest has to adapt its partitions and file systems: after growing, or before shrinking.",
    "Modes of --preallocation: metadata (qcow2 only) allocates clusters in the tables, falloc "
    "reserves their space, full writes zeroes.",
    NULL};

static const struct cli_example resize_examples[] = {
    {"Make a disk 10 GiB larger", "cairn-img resize disk.qcow2 +10G",
     "cairn-img create -q -f qcow2 disk.qcow2 1G"},
    {"Cut a disk to 5 GiB", "cairn-img resize --shrink disk.qcow2 5G",
     "cairn-img create -q -f qcow2 disk.qcow2 10G"},
    {"Grow a raw disk and reserve the space",
     "cairn-img resize -f raw --preallocation=falloc disk.raw 2M", "truncate -s 1M disk.raw"},
    {0}};

const struct cli_command resize_command = {
    .name = "resize",
    .summary = "change the size of a disk",
    .positional = "FILE [+|-]SIZE",
    .min_positional = 2,
    .max_positional = 2,
    .options = resize_options,
    .args_size = sizeof(struct resize_args),
    .notes = resize_notes,
    .examples = resize_examples,
    .run = resize_run,
};
