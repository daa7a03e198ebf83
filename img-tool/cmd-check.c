/*
 * cairn-img check: are the tables of an image right, and if not, mend them. What
 * is found is told on standard error as it is found; the sum of it goes to
 * standard output, and into the exit status. After a repair the image is checked
 * again, and that second look is what counts.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "img-tool/confine.h"
#include "img-tool/image.h"
#include "img-tool/tool.h"

enum { EXIT_CLEAN = 0, EXIT_CORRUPT = 2, EXIT_LEAKS = 3, EXIT_NO_CHECK = 63 };
enum { OUTPUT_HUMAN, OUTPUT_JSON };
static const char *const output_names[] = {"human", "json", NULL};

struct check_args {
    struct image_args image;
    char *repair;
    bool quiet;
    int output;
};

static const struct cli_option check_options[] = {
    IMAGE_ROW_FORMAT(struct check_args, "f", "format",
                     "format of the image; it is probed otherwise"),
    IMAGE_ROW_OPTS(struct check_args),
    IMAGE_ROW_CACHE(struct check_args, "T", "cache"),
    {"r", "WORD",
     FIELD(struct check_args, repair, "repair", NULL,
           "mend the image: leaks (free what nothing refers to) or all (errors, too)"),
     NULL},
    IMAGE_ROW_SHARE(struct check_args),
    {NULL, "WORD",
     FIELD_ENUM(struct check_args, output, "output", "human", output_names, "what to print"), NULL},
    {"q", NULL, FIELD(struct check_args, quiet, "quiet", NULL, "print findings and errors only"),
     NULL},
    IMAGE_ROW_OBJECT(struct check_args),
    IMAGE_ROWS_TRUST(struct check_args),
    {0}};

/* ---- what was found ---- */

static void tell(const char *text, void *user)
{
    (void)user;
    fprintf(stderr, "%s\n", text);
}

static void set_count(json_t *dict, const char *key, int64_t value)
{
    if (value) {
        json_object_set_new(dict, key, json_integer(value));
    }
}

/* `check` as one object, with the keys of QMP's ImageCheck. */
static void print_json(const struct blk_check *check, const char *filename, const char *format)
{
    json_t *dict = json_object();
    json_t *name = json_string(filename);
    set_count(dict, "image-end-offset", check->image_end_offset);
    set_count(dict, "compressed-clusters", check->compressed_clusters);
    set_count(dict, "total-clusters", check->total_clusters);
    set_count(dict, "corruptions", check->corruptions);
    set_count(dict, "corruptions-fixed", check->corruptions_fixed);
    json_object_set_new(dict, "check-errors", json_integer(check->check_errors));
    set_count(dict, "leaks", check->leaks);
    set_count(dict, "leaks-fixed", check->leaks_fixed);
    set_count(dict, "allocated-clusters", check->allocated_clusters);
    json_object_set_new(dict, "filename", name ? name : json_string("(not valid UTF-8)"));
    json_object_set_new(dict, "format", json_string(format));
    set_count(dict, "fragmented-clusters", check->fragmented_clusters);
    tool_print_json(dict);
    json_decref(dict);
}

static void print_text(const struct blk_check *check)
{
    if (!check->corruptions && !check->leaks && !check->check_errors) {
        tool_printf("No errors were found on the image.\n");
    }
    if (check->corruptions) {
        tool_printf("\n%" PRId64 " errors were found on the image.\n"
                    "Data may be corrupted, or further writes to the image may corrupt it.\n",
                    check->corruptions);
    }
    if (check->leaks) {
        tool_printf("\n%" PRId64 " leaked clusters were found on the image.\n"
                    "This means waste of disk space, but no harm to data.\n",
                    check->leaks);
    }
    if (check->check_errors) {
        tool_printf("\n%" PRId64 " internal errors have occurred during the check.\n",
                    check->check_errors);
    }
    if (check->total_clusters && check->allocated_clusters) {
        double allocated = (double)check->allocated_clusters;
        tool_printf("%" PRId64 "/%" PRId64
                    " = %0.2f%% allocated, %0.2f%% fragmented, %0.2f%% compressed clusters\n",
                    check->allocated_clusters, check->total_clusters,
                    allocated * 100.0 / (double)check->total_clusters,
                    (double)check->fragmented_clusters * 100.0 / allocated,
                    (double)check->compressed_clusters * 100.0 / allocated);
    }
    if (check->image_end_offset) {
        tool_printf("Image end offset: %" PRId64 "\n", check->image_end_offset);
    }
}

static int status_of(const struct blk_check *check)
{
    if (check->check_errors) {
        return EXIT_FAILURE;
    }
    return check->corruptions ? EXIT_CORRUPT : check->leaks ? EXIT_LEAKS : EXIT_CLEAN;
}

/* ---- running ---- */

/* Says what was mended, and looks at the image again. */
static bool check_again(struct blk_node *node, bool say, struct blk_check *check, GError **error)
{
    int64_t leaks = check->leaks_fixed, corruptions = check->corruptions_fixed;
    if (say) {
        tool_printf("The following inconsistencies were found and repaired:\n\n"
                    "    %" PRId64 " leaked clusters\n    %" PRId64 " corruptions\n\n"
                    "Double checking the fixed image now...\n",
                    leaks, corruptions);
    }
    *check = (struct blk_check){.message = check->message};
    bool ok = node_check(node, 0, check, error);
    check->leaks_fixed = leaks;
    check->corruptions_fixed = corruptions;
    return ok;
}

static int check_node(struct blk_node *node, const char *name, const struct check_args *args,
                      uint32_t fix, GError **error)
{
    bool human = args->output == OUTPUT_HUMAN;
    struct blk_check check = {.message = tell};
    GError *failure = NULL;
    bool ok = node_check(node, fix, &check, &failure);
    if (ok && (check.leaks_fixed || check.corruptions_fixed)) {
        ok = check_again(node, human && !args->quiet, &check, &failure);
    }
    if (!ok) {
        bool unable = error_errno(failure) == ENOTSUP;
        g_propagate_error(error, failure);
        return unable ? EXIT_NO_CHECK : EXIT_FAILURE;
    }
    if (!human) {
        print_json(&check, name, node_driver_name(node));
    } else if (!args->quiet) {
        print_text(&check);
    }
    if (check.check_errors) {
        error_set(error, EIO, "Check failed: parts of '%s' could not be examined", name);
    }
    return status_of(&check);
}

static int check_name(struct session *session, const struct check_args *args, const char *name,
                      uint32_t fix, GError **error)
{
    uint32_t flags = NODE_REPAIR | NODE_NO_BACKING | (fix ? NODE_RDWR : 0);
    struct blk_node *node =
        image_open(session, &args->image, name, args->image.format, flags, error);
    if (!node) {
        return EXIT_FAILURE;
    }
    confine_allow_work(node_size(node_file(node) ? node_file(node) : node) / 1024); /* its tables */
    int status = check_node(node, name, args, fix, error);
    return image_close(&node, error) ? status : EXIT_FAILURE;
}

/* What -r asks for. */
static bool parse_repair(const char *word, uint32_t *ret_fix, GError **error)
{
    if (!word) {
        *ret_fix = 0;
    } else if (!strcmp(word, "leaks")) {
        *ret_fix = CHECK_FIX_LEAKS;
    } else if (!strcmp(word, "all")) {
        *ret_fix = CHECK_FIX_LEAKS | CHECK_FIX_ERRORS;
    } else {
        return error_set(error, EINVAL, "--repair (-r) expects 'leaks' or 'all', not '%s'", word);
    }
    return true;
}

static int check_run(const struct cli_command *command, void *data, char **names, GError **error)
{
    const struct check_args *args = data;
    struct session session = {0};
    uint32_t fix = 0;
    int status = EXIT_FAILURE;
    if (!parse_repair(args->repair, &fix, error)) {
        return EXIT_FAILURE;
    }
    if (fix && args->image.force_share) {
        error_set(error, EINVAL,
                  "--repair and --force-share are mutually exclusive: force-share=on can only be "
                  "used with read-only images");
        return EXIT_FAILURE;
    }
    if (image_confine(&args->image, names, fix != 0, error) &&
        session_start(&session, &args->image, error)) {
        status = check_name(&session, args, names[0], fix, error);
    }
    session_end(&session);
    return status;
}

static const char *const check_notes[] = {
    "Leaks are clusters that the image counts as used and nothing refers to: space is wasted, data "
    "is safe. Errors are everything that does or may harm data.",
    "With -r the image is mended and then checked again; what remains is what the exit status "
    "tells. "
    "What data an error has lost already, no repair can bring back: make a copy before.",
    "The exit status is 0 for a clean image, 1 if it could not be checked, 2 if there are errors, "
    "3 if there are leaks only, and 63 if the format has nothing to check.",
    NULL};

static const struct cli_example check_examples[] = {
    {"Check an image", "cairn-img check disk.qcow2", "cairn-img create -q -f qcow2 disk.qcow2 1G"},
    {"Give a program the numbers", "cairn-img check --output=json disk.qcow2",
     "cairn-img create -q -f qcow2 disk.qcow2 1G"},
    {"Free space that a crash has left unused", "cairn-img check -r leaks disk.qcow2",
     "cairn-img create -q -f qcow2 disk.qcow2 1G"},
    {0}};

const struct cli_command check_command = {
    .name = "check",
    .summary = "check the tables of an image, and repair them",
    .positional = "FILE",
    .min_positional = 1,
    .max_positional = 1,
    .options = check_options,
    .args_size = sizeof(struct check_args),
    .notes = check_notes,
    .examples = check_examples,
    .run = check_run,
};
