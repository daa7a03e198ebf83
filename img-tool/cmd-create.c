/*
 * cairn-img create: a new, empty image, or an overlay over a backing file.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/size.h"
#include "img-tool/image.h"
#include "img-tool/output.h"
#include "img-tool/tool.h"

struct create_args {
    struct image_args image;
    char *format, *backing, *backing_format;
    GPtrArray *options;
    bool backing_unsafe, quiet;
};

static const struct cli_option create_options[] = {
    {"f", "FMT", FIELD(struct create_args, format, "format", "raw", "format of the new image"),
     NULL},
    {"o", "OPTIONS",
     FIELD(struct create_args, options, "options", NULL,
           "options of the format (key=value,...); -o help lists them"),
     NULL},
    {"b", "FILE",
     FIELD(struct create_args, backing, "backing", NULL,
           "make an overlay: what it does not hold is read from FILE"),
     NULL},
    {"BF", "FMT",
     FIELD(struct create_args, backing_format, "backing-format", NULL,
           "format of the backing file"),
     NULL},
    {"u", NULL,
     FIELD(struct create_args, backing_unsafe, "backing-unsafe", NULL,
           "do not open the backing file; SIZE is needed then"),
     NULL},
    {"q", NULL, FIELD(struct create_args, quiet, "quiet", NULL, "print errors only"), NULL},
    IMAGE_ROW_OBJECT(struct create_args),
    IMAGE_ROWS_TRUST(struct create_args),
    {0}};

static bool set_option(json_t *options, const char *key, const char *value, GError **error)
{
    return !value || !json_object_set_new(options, key, json_string(value)) ||
           error_set(error, EILSEQ, "option '%s': the name is not valid UTF-8", key);
}

/* Adds -b and -B to the format's options and checks that they go together. */
static bool add_backing(const struct create_args *args, const char *name, json_t *options,
                        GError **error)
{
    if (!set_option(options, "backing_file", args->backing, error) ||
        !set_option(options, "backing_fmt", args->backing_format, error)) {
        return false;
    }
    const char *file = json_string_value(json_object_get(options, "backing_file"));
    const char *format = json_string_value(json_object_get(options, "backing_fmt"));
    if (file && !*file) {
        return error_set(error, EINVAL, "%s: Expected backing file name, got empty string", name);
    }
    if (file && !format) {
        return error_set(error, EINVAL,
                         "%s: Backing file specified without backing format; say it with -B FMT",
                         name);
    }
    return true;
}

/* The size from the command line or from -o size=; -1 when there is neither. */
static bool find_size(const char *name, const char *text, json_t *options, int64_t *ret_size,
                      GError **error)
{
    const char *option = json_string_value(json_object_get(options, "size"));
    if (text && option) {
        return error_set(error, EINVAL, "%s: The image size must be specified only once", name);
    }
    *ret_size = -1;
    if ((text || option) &&
        !size_parse(text ? text : option, "Invalid image size", ret_size, error)) {
        return false;
    }
    json_object_del(options, "size");
    if (*ret_size < 0 && !json_object_get(options, "backing_file")) {
        return error_set(error, EINVAL, "%s: Image creation needs a size parameter", name);
    }
    return true;
}

/* A value as it would be typed, with its commas doubled. */
static char *typed_value(const json_t *value)
{
    if (json_is_boolean(value)) {
        return g_strdup(json_is_true(value) ? "on" : "off");
    }
    if (json_is_integer(value)) {
        return g_strdup_printf("%" JSON_INTEGER_FORMAT, json_integer_value(value));
    }
    g_auto(GStrv) parts =
        g_strsplit(json_string_value(value) ? json_string_value(value) : "", ",", -1);
    return g_strjoinv(",,", parts);
}

static void print_option(const char *key, const json_t *value)
{
    g_autofree char *text = typed_value(value);
    tool_printf(" %s=%s", key, text);
}

/* "Formatting ...": the options that matter to everybody, and those that were given. */
static void print_formatting(const char *name, const char *format, json_t *given, json_t *effective)
{
    static const struct {
        const char *key;
        bool always;
    } order[] = {{"cluster_size", true},     {"extended_l2", true},    {"preallocation", false},
                 {"compression_type", true}, {"size", true},           {"compat", false},
                 {"backing_file", false},    {"backing_fmt", false},   {"data_file", false},
                 {"data_file_raw", false},   {"lazy_refcounts", true}, {"refcount_bits", true}};
    tool_printf("Formatting '%s', fmt=%s", name, format);
    if (!json_object_get(effective, "cluster_size")) { /* raw: the size comes first */
        print_option("size", json_object_get(effective, "size"));
        json_object_del(effective, "size");
    }
    for (size_t i = 0; i < G_N_ELEMENTS(order); i++) {
        json_t *value = json_object_get(effective, order[i].key);
        if (value && (order[i].always || json_object_get(given, order[i].key))) {
            print_option(order[i].key, value);
            json_object_del(effective, order[i].key);
        }
    }
    const char *key;
    json_t *value;
    json_object_foreach(effective, key, value)
    {
        if (json_object_get(given, key)) {
            print_option(key, value);
        }
    }
    tool_printf("\n");
}

/* Creates the image at `output` and gives it its name. */
static bool create_at(struct session *session, const struct create_args *args, const char *name,
                      struct output *output, int64_t size, json_t *options, GError **error)
{
    json_t *effective = NULL;
    bool done = image_create(session->graph, output_path(output), args->format, size, options,
                             args->backing_unsafe ? NODE_NO_BACKING : 0, &effective, error) &&
                output_commit(output, true, error);
    if (done && !args->quiet) {
        print_formatting(name, args->format, options, effective);
    }
    json_decref(effective);
    return done;
}

static bool create_image(struct session *session, const struct create_args *args, char **names,
                         json_t *options, GError **error)
{
    int64_t size;
    if (!add_backing(args, names[0], options, error) ||
        !find_size(names[0], names[1], options, &size, error)) {
        return false;
    }
    bool needs_name = json_object_get(options, "backing_file") != NULL;
    struct output *output = output_begin(session->graph, names[0], needs_name, error);
    if (!output) {
        return false;
    }
    bool done = create_at(session, args, names[0], output, size, options, error);
    output_free(output, error);
    return done || image_name_error(names[0], error);
}

static bool create_with(struct session *session, const struct create_args *args, char **names,
                        GError **error)
{
    const struct blk_driver *driver = image_find_creator(session, args->format, error);
    bool help = false;
    json_t *options = driver ? image_merge_options(args->options, &help, error) : NULL;
    bool done = false;
    if (options && help) {
        image_print_create_help(driver);
        done = true;
    } else if (options && !names[0]) {
        error_set(error, EINVAL, "create wants FILE [SIZE], and got no name");
    } else if (options) {
        done = create_image(session, args, names, options, error);
    }
    json_decref(options);
    return done;
}

static int create_run(const struct cli_command *command, void *data, char **names, GError **error)
{
    const struct create_args *args = data;
    struct session session = {0};
    bool done =
        session_start(&session, &args->image, error) && create_with(&session, args, names, error);
    session_end(&session);
    return done ? EXIT_SUCCESS : EXIT_FAILURE;
}

static const char *const create_notes[] = {
    "An existing file is replaced without a question, unless another process uses it as an image.",
    "An overlay (-b) starts with the contents of its backing file. The format of the backing file "
    "must be said, because guessing it would let a guest that can write to a raw backing file "
    "choose "
    "it. A relative name is relative to the folder of the new image.",
    NULL};

static const struct cli_example create_examples[] = {
    {"Make an empty disk", "cairn-img create -f qcow2 disk.qcow2 10G", NULL},
    {"Make an overlay that keeps its backing file unchanged",
     "cairn-img create -f qcow2 -b base.qcow2 -B qcow2 overlay.qcow2",
     "cairn-img create -q -f qcow2 base.qcow2 1G"},
    {"List what can be chosen for a format", "cairn-img create -f qcow2 -o help", NULL},
    {0}};

const struct cli_command create_command = {
    .name = "create",
    .summary = "create a new image",
    .positional = "FILE [SIZE]",
    .min_positional = 0,
    .max_positional = 2,
    .options = create_options,
    .args_size = sizeof(struct create_args),
    .notes = create_notes,
    .examples = create_examples,
    .run = create_run,
};
