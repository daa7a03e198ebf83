/*
 * cairn-img measure: how many bytes the file of a new image will take.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/size.h"
#include "img-tool/image.h"
#include "img-tool/tool.h"

enum { OUTPUT_HUMAN, OUTPUT_JSON };
static const char *const output_names[] = {"human", "json", NULL};

struct measure_args {
    struct image_args image;
    char *target_format, *snapshot, *size;
    GPtrArray *options;
    int output;
};

static const struct cli_option measure_options[] = {
    IMAGE_ROW_FORMAT(struct measure_args, "f", "format", "format of FILE; it is probed otherwise"),
    IMAGE_ROW_OPTS(struct measure_args),
    {"l", "SNAPSHOT",
     FIELD(struct measure_args, snapshot, "snapshot", NULL, "measure this snapshot of FILE"), NULL},
    {"O", "FMT",
     FIELD(struct measure_args, target_format, "target-format", "raw", "format of the new image"),
     NULL},
    {"o", "OPTIONS",
     FIELD(struct measure_args, options, "target-format-options", NULL,
           "options of the new image's format (key=value,...); -o help lists them"),
     NULL},
    {NULL, "WORD",
     FIELD_ENUM(struct measure_args, output, "output", "human", output_names, "what to print"),
     NULL},
    IMAGE_ROW_SHARE(struct measure_args),
    {"s", "SIZE",
     FIELD(struct measure_args, size, "size", NULL, "measure an empty disk of SIZE, without FILE"),
     NULL},
    IMAGE_ROW_OBJECT(struct measure_args),
    IMAGE_ROWS_TRUST(struct measure_args),
    {0}};

static void print_measure(const struct blk_measure *m, int output)
{
    if (output == OUTPUT_JSON) {
        json_t *dict = json_object();
        if (m->bitmaps >= 0) {
            json_object_set_new(dict, "bitmaps", json_integer(m->bitmaps));
        }
        json_object_set_new(dict, "required", json_integer(m->required));
        json_object_set_new(dict, "fully-allocated", json_integer(m->fully_allocated));
        tool_print_json(dict);
        json_decref(dict);
        return;
    }
    tool_printf("required size: %" PRId64 "\nfully allocated size: %" PRId64 "\n", m->required,
                m->fully_allocated);
    if (m->bitmaps >= 0) {
        tool_printf("bitmaps size: %" PRId64 "\n", m->bitmaps);
    }
}

static bool measure_with(struct session *session, const struct measure_args *args, const char *name,
                         json_t *options, GError **error)
{
    struct blk_node *source = NULL;
    struct blk_measure measure;
    int64_t size = 0;
    if (args->size && !size_parse(args->size, "Invalid image size", &size, error)) {
        return false;
    }
    if (name && !(source = image_open(session, &args->image, name, args->image.format, 0, error))) {
        return false;
    }
    bool done =
        (!source || image_load_snapshot(source, args->snapshot, error)) &&
        image_measure(session->graph, args->target_format, options, source, size, &measure, error);
    if (done) {
        print_measure(&measure, args->output);
    }
    return image_close(&source, error) && done;
}

static const char *find_contradiction(const struct measure_args *args, char **names)
{
    if (names[0] && args->size) {
        return "--size N cannot be used together with a filename.";
    }
    if (!names[0] && !args->size) {
        return "Either --size N or one filename must be specified.";
    }
    if (!names[0] && (args->image.image_opts || args->image.format || args->snapshot)) {
        return "--image-opts, -f, and -l require a filename argument.";
    }
    return NULL;
}

static bool measure_named(struct session *session, const struct measure_args *args, char **names,
                          GError **error)
{
    bool help = false;
    json_t *options = image_merge_options(args->options, &help, error);
    if (!options) {
        return false;
    }
    const char *wrong = find_contradiction(args, names);
    bool done = false;
    if (help) {
        const struct blk_driver *driver = image_find_creator(session, args->target_format, error);
        if (driver) {
            image_print_create_help(driver);
        }
        done = driver;
    } else if (wrong) {
        error_set(error, EINVAL, "%s", wrong);
    } else {
        done = measure_with(session, args, names[0], options, error);
    }
    json_decref(options);
    return done;
}

static int measure_run(const struct cli_command *command, void *data, char **names, GError **error)
{
    const struct measure_args *args = data;
    struct session session = {0};
    bool done = image_confine(&args->image, names, false, error) &&
                session_start(&session, &args->image, error) &&
                measure_named(&session, args, names, error);
    session_end(&session);
    return done ? EXIT_SUCCESS : EXIT_FAILURE;
}

static const char *const measure_notes[] = {
    "The required size is enough for an image that convert makes from FILE; the fully allocated "
    "size for one in which every cluster is in use. Both are what a block device must have to hold "
    "the image. Nothing is written, and FILE's data is not read, so zeroes that are stored count.",
    "The size of bitmaps is told where FILE could have any; it comes on top.", NULL};

static const struct cli_example measure_examples[] = {
    {"How large a volume must be to hold an image", "cairn-img measure -O qcow2 disk.raw",
     "head -c 64k /dev/urandom > disk.raw && truncate -s 1M disk.raw"},
    {"The same for an empty disk, for a program",
     "cairn-img measure --output=json -O qcow2 -o cluster_size=2M --size 1T", NULL},
    {0}};

const struct cli_command measure_command = {
    .name = "measure",
    .summary = "tell the file size that a new image needs",
    .positional = "[FILE]",
    .min_positional = 0,
    .max_positional = 1,
    .options = measure_options,
    .args_size = sizeof(struct measure_args),
    .notes = measure_notes,
    .examples = measure_examples,
    .run = measure_run,
};
