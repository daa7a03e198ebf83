/*
 * cairn-img rebase: another backing file for an overlay, which goes on reading
 * the same; or only another name for the one it has.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "img-tool/image.h"
#include "img-tool/output.h"
#include "img-tool/progress.h"
#include "img-tool/tool.h"

struct rebase_options {
    struct image_args image;
    char *backing, *backing_format, *backing_cache;
    int progress;
    bool backing_unsafe, compress, quiet;
};

static const struct cli_option rebase_options[] = {
    IMAGE_ROW_FORMAT(struct rebase_options, "f", "format",
                     "format of FILE; it is probed otherwise"),
    IMAGE_ROW_OPTS(struct rebase_options),
    IMAGE_ROW_CACHE(struct rebase_options, "t", "cache"),
    {"b", "BACKING",
     FIELD(struct rebase_options, backing, "backing", NULL,
           "the new backing file; an empty name: none"),
     NULL},
    {"BF", "FMT",
     FIELD(struct rebase_options, backing_format, "backing-format", NULL,
           "format of the new backing file"),
     NULL},
    {"T", "CACHE",
     FIELD(struct rebase_options, backing_cache, "backing-cache", "writeback",
           "cache mode of the new backing file"),
     NULL},
    {"u", NULL,
     FIELD(struct rebase_options, backing_unsafe, "backing-unsafe", NULL,
           "change the name only, and open neither backing file"),
     NULL},
    {"c", NULL,
     FIELD(struct rebase_options, compress, "compress", NULL,
           "compress the clusters that are copied into FILE"),
     NULL},
    IMAGE_ROW_SHARE(struct rebase_options),
    PROGRESS_ROW(struct rebase_options),
    {"q", NULL, FIELD(struct rebase_options, quiet, "quiet", NULL, "print errors only"), NULL},
    IMAGE_ROW_OBJECT(struct rebase_options),
    IMAGE_ROWS_TRUST(struct rebase_options),
    {0}};

static bool has_backing(const struct rebase_options *options)
{
    return options->backing && *options->backing;
}

static bool run_job(struct session *session, const struct rebase_options *options,
                    const struct rebase_args *args, GError **error)
{
    struct job *job = rebase_job_new(args);
    return progress_run_whole(job, session->graph, options->progress, options->quiet, "rebase",
                              error);
}

/* The new backing file, named relative to the overlay. It must not be, or read, the overlay. */
static struct blk_node *open_backing(struct session *session, const struct rebase_options *options,
                                     struct blk_node *overlay, GError **error)
{
    uint32_t flags = options->image.force_share ? NODE_FORCE_SHARE : 0;
    if (!image_cache_flags(options->backing_cache, &flags, error)) {
        return NULL;
    }
    g_autofree char *path = name_resolve(node_filename(overlay), options->backing);
    if (image_is_same_file(path, node_filename(overlay))) {
        error_set(error, EINVAL, "'%s' cannot be its own backing file", options->backing);
        return NULL;
    }
    struct blk_node *node =
        node_open(session->graph, path, options->backing_format, NULL, flags, error);
    if (!node) {
        g_prefix_error(error, "Could not open new backing file '%s': ", options->backing);
        return NULL;
    }
    return node;
}

static bool merge(struct session *session, const struct rebase_options *options,
                  struct blk_node *overlay, GError **error)
{
    struct rebase_args args = {.overlay = overlay,
                               .name = has_backing(options) ? options->backing : NULL,
                               .format = options->backing_format,
                               .compress = options->compress};
    if (has_backing(options)) {
        args.backing = open_backing(session, options, overlay, error);
        if (!args.backing) {
            return false;
        }
    }
    bool done = run_job(session, options, &args, error);
    return image_close(&args.backing, error) && done;
}

static bool rename_only(const struct rebase_options *options, struct blk_node *overlay,
                        GError **error)
{
    const char *name = has_backing(options) ? options->backing : NULL;
    struct progress progress;
    progress_start(&progress, options->progress, options->quiet, "rebase");
    bool done = node_set_backing(overlay, name, options->backing_format, error);
    if (done) {
        progress_complete(&progress, true);
    } else {
        g_prefix_error(error, "Could not change the backing file to '%s': ", name ? name : "");
    }
    progress_end(&progress);
    return done;
}

static bool rebase_image(struct session *session, const struct rebase_options *options,
                         const char *name, GError **error)
{
    struct image_args image = options->image;
    uint32_t flags = NODE_RDWR | (options->backing_unsafe ? NODE_NO_BACKING : 0);
    image.force_share = false;
    struct blk_node *overlay = image_open(session, &image, name, image.format, flags, error);
    if (!overlay) {
        return false;
    }
    bool done = image_check_guess(overlay, name, error) &&
                (options->backing_unsafe ? rename_only(options, overlay, error)
                                         : merge(session, options, overlay, error));
    return image_close(&overlay, error) && done;
}

static bool check_options(struct session *session, const struct rebase_options *options,
                          GError **error)
{
    const char *format = options->backing_format;
    if (!options->backing && !options->backing_unsafe) {
        return error_set(error, EINVAL, "Must specify backing file (-b) or use unsafe mode (-u)");
    }
    if (format && !graph_find_driver(session->graph, format)) {
        return error_set(error, EINVAL, "Invalid format name: '%s'", format);
    }
    return !has_backing(options) || format ||
           error_set(error, EINVAL,
                     "Could not change the backing file to '%s': backing format must be "
                     "specified; say it with -B FMT",
                     options->backing);
}

static int rebase_run(const struct cli_command *command, void *data, char **names, GError **error)
{
    const struct rebase_options *options = data;
    struct session session = {0};
    bool done = image_confine(&options->image, names, true, error) &&
                session_start(&session, &options->image, error) &&
                check_options(&session, options, error) &&
                rebase_image(&session, options, names[0], error);
    session_end(&session);
    return done ? EXIT_SUCCESS : EXIT_FAILURE;
}

static const char *const rebase_notes[] = {
    "FILE goes on reading the same: what its old and its new backing file hold differently is "
    "copied into it first, and the name is changed when all of that is on the disk. An empty name "
    "makes FILE independent of any backing file.",
    "With -u nothing is compared or copied. That is right where the backing file was moved or "
    "renamed, or is known to hold the same; otherwise the contents of FILE change, and they become "
    "useless.",
    "The new name is stored as it is given; a relative one is relative to the folder of FILE. "
    "Snapshots inside FILE stand on the same backing file, and are not looked at.",
    NULL};

static const struct cli_example rebase_examples[] = {
    {"Make an overlay independent of its backing file",
     "cairn-img rebase -f qcow2 -b '' overlay.qcow2",
     "cairn-img create -q -f qcow2 base.qcow2 1M && "
     "cairn-img create -q -f qcow2 -b base.qcow2 -B qcow2 overlay.qcow2"},
    {"Take out the image in the middle of a chain",
     "cairn-img rebase -b base.qcow2 -B qcow2 top.qcow2",
     "cairn-img create -q -f qcow2 base.qcow2 1M && "
     "cairn-img create -q -f qcow2 -b base.qcow2 -B qcow2 middle.qcow2 && "
     "cairn-img create -q -f qcow2 -b middle.qcow2 -B qcow2 top.qcow2"},
    {"Tell an overlay that its backing file has been renamed",
     "cairn-img rebase -u -b new-name.qcow2 -B qcow2 overlay.qcow2",
     "cairn-img create -q -f qcow2 base.qcow2 1M && "
     "cairn-img create -q -f qcow2 -b base.qcow2 -B qcow2 overlay.qcow2 && "
     "mv base.qcow2 new-name.qcow2"},
    {0}};

const struct cli_command rebase_command = {
    .name = "rebase",
    .summary = "give an overlay another backing file",
    .positional = "FILE",
    .min_positional = 1,
    .max_positional = 1,
    .options = rebase_options,
    .args_size = sizeof(struct rebase_options),
    .notes = rebase_notes,
    .examples = rebase_examples,
    .run = rebase_run,
};
