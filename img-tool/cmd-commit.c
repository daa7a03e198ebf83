/*
 * cairn-img commit: what an overlay holds goes into its backing file, or into
 * one further down the chain.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "img-tool/image.h"
#include "img-tool/progress.h"
#include "img-tool/tool.h"

struct commit_options {
    struct image_args image;
    char *base;
    int64_t rate;
    int progress;
    bool drop, quiet;
};

static const struct cli_option commit_options[] = {
    IMAGE_ROW_FORMAT(struct commit_options, "f", "format",
                     "format of FILE; it is probed otherwise"),
    IMAGE_ROW_OPTS(struct commit_options),
    IMAGE_ROW_CACHE(struct commit_options, "t", "cache"),
    {"d", NULL,
     FIELD(struct commit_options, drop, "drop", NULL,
           "leave FILE as it is: it will be deleted anyway"),
     NULL},
    {"b", "BASE",
     FIELD(struct commit_options, base, "base", NULL,
           "the image of the chain to commit into; implies -d"),
     NULL},
    {"r", "SIZE",
     FIELD_SIZE(struct commit_options, rate, "rate-limit", NULL, "bytes a second at most"), NULL},
    PROGRESS_ROW(struct commit_options),
    {"q", NULL, FIELD(struct commit_options, quiet, "quiet", NULL, "print errors only"), NULL},
    IMAGE_ROW_OBJECT(struct commit_options),
    IMAGE_ROWS_TRUST(struct commit_options),
    {0}};

/* Whether the backing file of `node` is the one that people call `name`. */
static bool is_backing_called(struct blk_node *node, const char *name)
{
    struct blk_info info;
    const char *path = node_filename(node_backing(node));
    if (!strcmp(path, name) || image_is_same_file(path, name)) {
        return true;
    }
    if (!node_info(node, &info, NULL)) {
        return false;
    }
    bool found = !g_strcmp0(info.backing_filename, name);
    node_info_clear(&info);
    return found;
}

static struct blk_node *find_base(struct blk_node *top, const char *top_name, const char *name,
                                  GError **error)
{
    if (!node_backing(top)) {
        error_set(error, EINVAL, "Image does not have a backing file");
        return NULL;
    }
    for (struct blk_node *node = top; node_backing(node); node = node_backing(node)) {
        if (!name || is_backing_called(node, name)) {
            return node_backing(node);
        }
    }
    error_set(error, ENOENT, "Did not find '%s' in the backing chain of '%s'", name, top_name);
    return NULL;
}

static bool run_job(struct session *session, const struct commit_options *options,
                    const struct commit_args *args, GError **error)
{
    struct job *job = commit_job_new(args);
    job_set_speed(job, options->rate);
    return progress_run_whole(job, session->graph, options->progress, options->quiet, "commit",
                              error);
}

static bool commit_image(struct session *session, const struct commit_options *options,
                         const char *name, GError **error)
{
    bool keep = options->drop || options->base;
    struct blk_node *top =
        image_open(session, &options->image, name, options->image.format, NODE_RDWR, error);
    if (!top) {
        return false;
    }
    struct commit_args args = {.top = top, .keep = keep};
    args.base = find_base(top, name, options->base, error);
    bool done = args.base && image_check_guess(top, name, error) &&
                image_check_guess(args.base, node_filename(args.base), error) &&
                run_job(session, options, &args, error);
    return image_close(&top, error) && done;
}

static int commit_run(const struct cli_command *command, void *data, char **names, GError **error)
{
    const struct commit_options *options = data;
    struct session session = {0};
    bool done = image_confine(&options->image, names, true, error) &&
                session_start(&session, &options->image, error) &&
                commit_image(&session, options, names[0], error);
    session_end(&session);
    if (done && !options->quiet) {
        tool_printf("Image committed.\n");
    }
    return done ? EXIT_SUCCESS : EXIT_FAILURE;
}

static const char *const commit_notes[] = {
    "What FILE holds is written to its backing file, which grows if it is smaller, and FILE is "
    "emptied when all of it is on the disk. Until then FILE reads as before, whatever happens; "
    "after a failure the command can be given again.",
    "With -b BASE everything above BASE goes into it. FILE is left alone then, and the images "
    "between it and BASE are of no use any more: what they show has changed below them.",
    NULL};

static const struct cli_example commit_examples[] = {
    {"Write an overlay's changes into its backing file", "cairn-img commit -f qcow2 overlay.qcow2",
     "cairn-img create -q -f qcow2 base.qcow2 1M && "
     "cairn-img create -q -f qcow2 -b base.qcow2 -B qcow2 overlay.qcow2"},
    {"The same for a chain of overlays that are deleted afterwards",
     "cairn-img commit -b base.qcow2 top.qcow2",
     "cairn-img create -q -f qcow2 base.qcow2 1M && "
     "cairn-img create -q -f qcow2 -b base.qcow2 -B qcow2 middle.qcow2 && "
     "cairn-img create -q -f qcow2 -b middle.qcow2 -B qcow2 top.qcow2"},
    {0}};

const struct cli_command commit_command = {
    .name = "commit",
    .summary = "write an overlay's changes into its backing file",
    .positional = "FILE",
    .min_positional = 1,
    .max_positional = 1,
    .options = commit_options,
    .args_size = sizeof(struct commit_options),
    .notes = commit_notes,
    .examples = commit_examples,
    .run = commit_run,
};
