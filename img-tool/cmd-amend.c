/*
 * cairn-img amend: other options of the format for an image that exists.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "img-tool/image.h"
#include "img-tool/progress.h"
#include "img-tool/tool.h"

struct amend_args {
    struct image_args image;
    GPtrArray *options;
    int progress;
    bool force, quiet;
};

static const struct cli_option amend_options[] = {
    {"o", "OPTIONS",
     FIELD(struct amend_args, options, "options", NULL,
           "what to change (key=value,...); -o help lists what can be"),
     NULL},
    IMAGE_ROW_FORMAT(struct amend_args, "f", "format", "format of FILE; it is probed otherwise"),
    IMAGE_ROW_OPTS(struct amend_args),
    IMAGE_ROW_CACHE(struct amend_args, "t", "cache"),
    {NULL, NULL,
     FIELD(struct amend_args, force, "force", NULL,
           "allow what may change the contents, as another backing file does"),
     NULL},
    PROGRESS_ROW(struct amend_args),
    {"q", NULL, FIELD(struct amend_args, quiet, "quiet", NULL, "print errors only"), NULL},
    IMAGE_ROW_OBJECT(struct amend_args),
    IMAGE_ROWS_TRUST(struct amend_args),
    {0}};

static bool print_help(const struct blk_driver *driver, GError **error)
{
    const struct field *fields = driver_amend_options(driver);
    if (!fields) {
        return error_set(error, ENOTSUP, "Format driver '%s' does not support option amendment",
                         driver_name(driver));
    }
    g_autoptr(GString) out = g_string_new(NULL);
    g_string_append_printf(out, "Amend options for '%s':\n", driver_name(driver));
    fields_print_help(fields, out);
    return tool_print(out->str, error);
}

static bool run_job(struct session *session, const struct amend_args *args, struct blk_node *node,
                    json_t *options, GError **error)
{
    struct job *job = amend_job_new(node, options, args->force);
    return progress_run_whole(job, session->graph, args->progress, args->quiet, "amend", error);
}

static bool amend_image(struct session *session, const struct amend_args *args, const char *name,
                        json_t *options, bool help, GError **error)
{
    uint32_t flags = help ? 0 : NODE_RDWR;
    struct blk_node *node =
        image_open(session, &args->image, name, args->image.format, flags, error);
    if (!node) {
        return false;
    }
    bool done =
        help ? print_help(graph_find_driver(session->graph, node_driver_name(node)), error)
             : image_check_guess(node, name, error) && run_job(session, args, node, options, error);
    done = image_close(&node, error) && done;
    return done || image_name_error(name, error);
}

/* With a format, help needs no image. */
static bool amend_named(struct session *session, const struct amend_args *args, const char *name,
                        GError **error)
{
    const char *format = args->image.format;
    bool help = false, done = false;
    json_t *options = image_merge_options(args->options, &help, error);
    const struct blk_driver *driver = format ? graph_find_driver(session->graph, format) : NULL;
    if (options && !args->options) {
        error_set(error, EINVAL, "Must specify options (-o)");
    } else if (options && !json_object_size(options)) {
        error_set(error, EINVAL, "Invalid option list: -o wants key=value,...");
    } else if (options && help && driver) {
        done = print_help(driver, error);
    } else if (options && !name) {
        error_set(error, EINVAL, "Expecting one image file name");
    } else if (options) {
        done = amend_image(session, args, name, options, help, error);
    }
    json_decref(options);
    return done;
}

static int amend_run(const struct cli_command *command, void *data, char **names, GError **error)
{
    const struct amend_args *args = data;
    struct session session = {0};
    bool done = image_confine(&args->image, names, true, error) &&
                session_start(&session, &args->image, error) &&
                amend_named(&session, args, names[0], error);
    session_end(&session);
    return done ? EXIT_SUCCESS : EXIT_FAILURE;
}

static const char *const amend_notes[] = {
    "For qcow2 the version (compat), lazy_refcounts, the width of refcounts (refcount_bits) and "
    "the "
    "size of the disk can be changed. Everything is checked before anything is written, and a "
    "change that is cut off leaves the image as it was or as it was to become.",
    "Going back to compat=0.10 makes zero clusters holes, or, over a backing file, clusters of "
    "zero "
    "bytes; it is refused where that version cannot say what the image holds.",
    "The backing file is changed with rebase; here it takes --force, as the contents change.",
    NULL};

static const struct cli_example amend_examples[] = {
    {"Make an image readable for old programs", "cairn-img amend -o compat=0.10 disk.qcow2",
     "cairn-img create -q -f qcow2 disk.qcow2 1M"},
    {"Wider refcounts, for many snapshots",
     "cairn-img amend -f qcow2 -o refcount_bits=64 disk.qcow2",
     "cairn-img create -q -f qcow2 disk.qcow2 1M"},
    {"List what can be changed", "cairn-img amend -f qcow2 -o help", NULL},
    {0}};

const struct cli_command amend_command = {
    .name = "amend",
    .summary = "change options of an image's format",
    .positional = "FILE",
    .min_positional = 0,
    .max_positional = 1,
    .options = amend_options,
    .args_size = sizeof(struct amend_args),
    .notes = amend_notes,
    .examples = amend_examples,
    .run = amend_run,
};
