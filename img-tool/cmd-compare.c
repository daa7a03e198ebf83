/*
 * cairn-img compare: do two images hold the same contents? The exit status
 * tells what went wrong as well: 1 they differ, 2 one cannot be opened, 3 the
 * allocation cannot be read, 4 the contents cannot be read.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "img-tool/image.h"
#include "img-tool/progress.h"
#include "img-tool/tool.h"

enum { EXIT_SAME, EXIT_DIFFERENT, EXIT_OPEN, EXIT_MAP, EXIT_READ };

#define REPORT_ALIGN 512 /* offsets of differences are told in sectors, as qemu-img does */

struct compare_options {
    struct image_args image;
    char *format_b;
    bool strict, quiet;
    int progress;
};

static const struct cli_option compare_options[] = {
    IMAGE_ROW_FORMAT(struct compare_options, "f", "a-format",
                     "format of the first image; it is probed otherwise"),
    {"F", "FMT",
     FIELD(struct compare_options, format_b, "b-format", NULL,
           "format of the second image; it is probed otherwise"),
     NULL},
    IMAGE_ROW_OPTS(struct compare_options),
    {"s", NULL,
     FIELD(struct compare_options, strict, "strict", NULL,
           "sizes and allocation must be equal, too"),
     NULL},
    IMAGE_ROW_CACHE(struct compare_options, "T", "cache"),
    IMAGE_ROW_SHARE(struct compare_options),
    PROGRESS_ROW(struct compare_options),
    {"q", NULL, FIELD(struct compare_options, quiet, "quiet", NULL, "print errors only"), NULL},
    IMAGE_ROW_OBJECT(struct compare_options),
    IMAGE_ROWS_TRUST(struct compare_options),
    {0}};

/* Says what the job found; returns the exit status. Different sizes matter only where the contents
 * are equal as far as the shorter one goes. */
static int report(const struct compare_result *result, bool same_size, bool quiet)
{
    int64_t offset = align_down(result->offset, REPORT_ALIGN);
    int status = result->verdict == COMPARE_EQUAL ? EXIT_SAME : EXIT_DIFFERENT;
    if (quiet) {
        return status;
    }
    if (!same_size && (result->verdict == COMPARE_EQUAL || result->verdict == COMPARE_TAIL)) {
        tool_printf("Warning: Image size mismatch!\n");
    }
    switch (result->verdict) {
    case COMPARE_EQUAL: tool_printf("Images are identical.\n"); break;
    case COMPARE_ALLOCATION:
        tool_printf("Strict mode: Offset %" PRId64 " block status mismatch!\n", offset);
        break;
    case COMPARE_CONTENT:
    case COMPARE_TAIL: tool_printf("Content mismatch at offset %" PRId64 "!\n", offset); break;
    }
    return status;
}

/* Compares two open images; returns the exit status. */
static int compare_nodes(struct session *session, const struct compare_options *options,
                         struct blk_node *a, struct blk_node *b, GError **error)
{
    bool same_size = node_size(a) == node_size(b);
    if (options->strict && !same_size) {
        tool_printf("%s", options->quiet ? "" : "Strict mode: Image size mismatch!\n");
        return EXIT_DIFFERENT;
    }
    struct compare_args args = {.a = a, .b = b, .strict = options->strict};
    struct compare_result result = {0};
    struct job *job = compare_job_new(&args, &result);
    struct progress progress;
    progress_start(&progress, options->progress, options->quiet, "compare");
    int status = EXIT_READ;
    if (!progress_run(&progress, job, session->graph, error)) {
        status = result.map_failed ? EXIT_MAP : EXIT_READ;
    } else {
        progress_complete(&progress, result.verdict == COMPARE_EQUAL);
        status = report(&result, same_size, options->quiet);
    }
    progress_end(&progress);
    job_free(job);
    return status;
}

static int compare_names(struct session *session, const struct compare_options *options,
                         char **names, GError **error)
{
    int status = EXIT_OPEN;
    struct blk_node *a =
        image_open(session, &options->image, names[0], options->image.format, 0, error);
    struct blk_node *b =
        a ? image_open(session, &options->image, names[1], options->format_b, 0, error) : NULL;
    if (b) {
        status = compare_nodes(session, options, a, b, error);
    }
    image_close(&b, NULL);
    image_close(&a, NULL);
    return status;
}

static int compare_run(const struct cli_command *command, void *data, char **names, GError **error)
{
    const struct compare_options *options = data;
    struct session session = {0};
    int status = EXIT_OPEN;
    if (options->image.image_opts && options->format_b) {
        error_set(error, EINVAL, "--image-opts and --b-format are mutually exclusive");
    } else if (image_confine(&options->image, names, false, error) &&
               session_start(&session, &options->image, error)) {
        status = compare_names(&session, options, names, error);
    }
    session_end(&session);
    return status;
}

static const char *const compare_notes[] = {
    "Images of different sizes are equal if what the longer one has more reads as zeroes.",
    "The exit status is 0 if they are equal, 1 if they differ or the command line is wrong, 2 if "
    "an "
    "image cannot be opened, 3 if its allocation cannot be found out, and 4 if it cannot be read.",
    NULL};

static const struct cli_example compare_examples[] = {
    {"Compare two images of any format", "cairn-img compare disk.raw disk.qcow2",
     "truncate -s 1M disk.raw && cairn-img convert -O qcow2 disk.raw disk.qcow2"},
    {"Ask by exit status only", "cairn-img compare -q disk.raw copy.raw",
     "truncate -s 1M disk.raw copy.raw"},
    {0}};

const struct cli_command compare_command = {
    .name = "compare",
    .summary = "compare the contents of two images",
    .positional = "FILE1 FILE2",
    .min_positional = 2,
    .max_positional = 2,
    .options = compare_options,
    .args_size = sizeof(struct compare_options),
    .notes = compare_notes,
    .examples = compare_examples,
    .run = compare_run,
};
