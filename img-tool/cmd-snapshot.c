/*
 * cairn-img snapshot: list, create, apply and delete the snapshots inside an
 * image. Backing files are not opened: none of this reads guest data.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "img-tool/image.h"
#include "img-tool/info-text.h"
#include "img-tool/tool.h"

struct snapshot_args {
    struct image_args image;
    bool list, quiet;
    char *create, *apply, *delete;
};

static const struct cli_option snapshot_options[] = {
    IMAGE_ROW_FORMAT(struct snapshot_args, "f", "format",
                     "format of the image; it is probed otherwise"),
    IMAGE_ROW_OPTS(struct snapshot_args),
    {"l", NULL,
     FIELD(struct snapshot_args, list, "list", NULL,
           "list the snapshots (what is done by default)"),
     NULL},
    {"c", "SNAPSHOT",
     FIELD(struct snapshot_args, create, "create", NULL,
           "keep what the disk holds under this name"),
     NULL},
    {"a", "SNAPSHOT",
     FIELD(struct snapshot_args, apply, "apply", NULL,
           "put the disk back to this snapshot; what it holds now is lost"),
     NULL},
    {"d", "SNAPSHOT", FIELD(struct snapshot_args, delete, "delete", NULL, "delete this snapshot"),
     NULL},
    IMAGE_ROW_SHARE(struct snapshot_args),
    {"q", NULL, FIELD(struct snapshot_args, quiet, "quiet", NULL, "print errors only"), NULL},
    IMAGE_ROW_OBJECT(struct snapshot_args),
    IMAGE_ROWS_TRUST(struct snapshot_args),
    {0}};

static bool list_snapshots(struct blk_node *node, GError **error)
{
    struct blk_info info = {0};
    if (!node_info(node, &info, error)) {
        return false;
    }
    g_autoptr(GString) out = g_string_new(NULL);
    info_print_snapshots(info.snapshots, 0, out);
    node_info_clear(&info);
    return tool_print(out->str, error);
}

static bool create_snapshot(struct blk_node *node, const char *name, GError **error)
{
    struct blk_snapshot snapshot = {.name = (char *)name, .date_ns = g_get_real_time() * 1000};
    return node_snapshot_create(node, &snapshot, error);
}

static bool act(struct blk_node *node, const struct snapshot_args *args, GError **error)
{
    bool done;
    if (args->create) {
        done = create_snapshot(node, args->create, error);
    } else if (args->apply) {
        done = node_snapshot_do(node, SNAPSHOT_APPLY, args->apply, error);
    } else if (args->delete) {
        done = node_snapshot_do(node, SNAPSHOT_DELETE, args->delete, error);
    } else {
        return list_snapshots(node, error);
    }
    if (!done) {
        g_prefix_error(error, "Could not %s snapshot '%s': ",
                       args->create  ? "create"
                       : args->apply ? "apply"
                                     : "delete",
                       args->create  ? args->create
                       : args->apply ? args->apply
                                     : args->delete);
    }
    return done;
}

static int snapshot_run(const struct cli_command *command, void *data, char **names, GError **error)
{
    const struct snapshot_args *args = data;
    struct session session = {0};
    int actions = args->list + !!args->create + !!args->apply + !!args->delete;
    bool lists = actions == args->list;
    if (actions > 1) {
        error_set(error, EINVAL, "Cannot mix '-l', '-a', '-c', '-d'");
        return EXIT_FAILURE;
    }
    uint32_t flags = NODE_NO_BACKING | (lists ? NODE_NO_IO : NODE_RDWR);
    struct blk_node *node =
        image_confine(&args->image, names, !lists, error) &&
                session_start(&session, &args->image, error)
            ? image_open(&session, &args->image, names[0], args->image.format, flags, error)
            : NULL;
    if (node && !lists) {
        image_warn_probed(node, names[0]);
    }
    bool done =
        node && (lists || image_check_guess(node, names[0], error)) && act(node, args, error);
    done = image_close(&node, error) && done;
    session_end(&session);
    return done ? EXIT_SUCCESS : EXIT_FAILURE;
}

static const char *const snapshot_notes[] = {
    "A snapshot is named by its id or its tag; the id goes first, but for -d the tag. Each change "
    "is made as a whole: "
    "after a power cut the image is as it was before or as it is after.",
    "Applying a snapshot also gives the disk the size that it had then.", NULL};

static const struct cli_example snapshot_examples[] = {
    {"Keep what a disk holds", "cairn-img snapshot -c before-upgrade disk.qcow2",
     "cairn-img create -q -f qcow2 disk.qcow2 1G"},
    {"List the snapshots", "cairn-img snapshot disk.qcow2",
     "cairn-img create -q -f qcow2 disk.qcow2 1G"},
    {"Go back to a snapshot", "cairn-img snapshot -a before-upgrade disk.qcow2",
     "cairn-img create -q -f qcow2 disk.qcow2 1G && "
     "cairn-img snapshot -c before-upgrade disk.qcow2"},
    {0}};

const struct cli_command snapshot_command = {
    .name = "snapshot",
    .summary = "list, create, apply and delete snapshots inside an image",
    .positional = "FILE",
    .min_positional = 1,
    .max_positional = 1,
    .options = snapshot_options,
    .args_size = sizeof(struct snapshot_args),
    .notes = snapshot_notes,
    .examples = snapshot_examples,
    .run = snapshot_run,
};
