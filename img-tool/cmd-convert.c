/*
 * cairn-img convert: the contents of one or several images, one after the
 * other, into a new image of any format, or into an existing one (-n).
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/size.h"
#include "img-tool/image.h"
#include "img-tool/output.h"
#include "img-tool/progress.h"
#include "img-tool/tool.h"

#define SECTOR 512
#define SPARSE_DEFAULT 4096
#define SPARSE_MAX (16 * MiB)
#define PARALLEL_MAX 16

struct convert_options {
    struct image_args image;
    char *target_format, *target_cache, *backing, *backing_format, *sparse, *snapshot, *parallel;
    GPtrArray *options;
    int64_t rate;
    int progress;
    bool target_image_opts, no_create, target_is_zero, compress, copy_range, out_of_order, salvage;
    bool bitmaps, skip_broken_bitmaps, quiet;
};

#define ROW_FLAG(letters, member, name, help)                                                      \
    {                                                                                              \
        letters, NULL, FIELD(struct convert_options, member, name, NULL, help), NULL               \
    }
#define ROW_TEXT(letters, metavar, member, name, dflt, help)                                       \
    {                                                                                              \
        letters, metavar, FIELD(struct convert_options, member, name, dflt, help), NULL            \
    }

static const struct cli_option convert_options[] = {
    IMAGE_ROW_FORMAT(struct convert_options, "f", "source-format",
                     "format of the sources; it is probed otherwise"),
    IMAGE_ROW_OPTS(struct convert_options),
    IMAGE_ROW_CACHE(struct convert_options, "T", "source-cache"),
    ROW_TEXT("l", "SNAPSHOT", snapshot, "snapshot", NULL, "read this snapshot of the source"),
    ROW_FLAG(NULL, bitmaps, "bitmaps", "copy persistent bitmaps, too"),
    ROW_FLAG(NULL, skip_broken_bitmaps, "skip-broken-bitmaps", "leave out inconsistent bitmaps"),
    ROW_FLAG(NULL, salvage, "salvage", "write zeroes where a source cannot be read"),
    ROW_TEXT("O", "FMT", target_format, "target-format", NULL,
             "format of the target; raw otherwise"),
    ROW_FLAG(NULL, target_image_opts, "target-image-opts",
             "take the target as an option list; needs -n"),
    ROW_TEXT("o", "OPTIONS", options, "target-format-options", NULL,
             "options of the target's format (key=value,...); -o help lists them"),
    ROW_TEXT("t", "CACHE", target_cache, "target-cache", "unsafe", "cache mode of the target"),
    ROW_TEXT("bB", "FILE", backing, "backing", NULL,
             "make the target an overlay over FILE, and write what differs from it"),
    ROW_TEXT("F", "FMT", backing_format, "backing-format", NULL, "format of the backing file"),
    ROW_TEXT("S", "SIZE", sparse, "sparse-size", NULL,
             "zeroes that become a hole in the target, 4k if not said; 0 writes everything"),
    ROW_FLAG("n", no_create, "no-create", "write into an existing target"),
    ROW_FLAG(NULL, target_is_zero, "target-is-zero", "the existing target reads as zeroes"),
    ROW_FLAG("c", compress, "compress", "compress the target"),
    IMAGE_ROW_SHARE(struct convert_options),
    {"r", "SIZE",
     FIELD_SIZE(struct convert_options, rate, "rate-limit", NULL, "bytes a second at most"), NULL},
    ROW_TEXT("m", "NUM", parallel, "parallel", NULL,
             "threads, 1 to 16; as many as processors if not said"),
    ROW_FLAG("C", copy_range, "copy-range-offloading", "let the file system copy where it can"),
    ROW_FLAG("W", out_of_order, "oob-writes", "accepted; the order of writes never matters here"),
    PROGRESS_ROW(struct convert_options),
    ROW_FLAG("q", quiet, "quiet", "print errors only"),
    IMAGE_ROW_OBJECT(struct convert_options),
    IMAGE_ROWS_TRUST(struct convert_options),
    {0}};

/* One conversion. */
struct conversion {
    const struct convert_options *options;
    struct session *session;
    char **names; /* sources */
    int source_count;
    const char *target_name, *format;
    struct blk_node **sources;
    struct blk_node *target;
    json_t *create_options; /* flat, as image_create() takes them */
    struct convert_args job;
    int64_t size; /* of all sources together */
};

/* ---- what goes together ---- */

static const char *find_contradiction(const struct convert_options *o)
{
    const struct {
        bool wrong;
        const char *message;
    } rules[] = {
        {o->target_is_zero && !o->no_create, "--target-is-zero requires use of -n flag"},
        {o->target_image_opts && !o->no_create, "--target-image-opts requires use of -n flag"},
        {o->target_image_opts && o->target_format,
         "--target-image-opts and --target-format are mutually exclusive"},
        {o->no_create && o->options, "-o has no effect when skipping image creation"},
        {o->copy_range && o->compress, "Cannot enable copy offloading when -c is used"},
        {o->copy_range && o->sparse, "Cannot enable copy offloading when -S is used"},
        {o->skip_broken_bitmaps && !o->bitmaps, "Use of --skip-broken-bitmaps requires --bitmaps"},
        {o->bitmaps, "--bitmaps is not built yet; leave it out to copy the contents alone"},
        {o->backing && !o->backing_format && !o->no_create,
         "Use of backing file requires explicit backing format; say it with -F FMT"},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(rules); i++) {
        if (rules[i].wrong) {
            return rules[i].message;
        }
    }
    return NULL;
}

static bool parse_sparse(const struct convert_options *options, int64_t *ret_size, GError **error)
{
    *ret_size = SPARSE_DEFAULT;
    if (options->sparse && !size_parse(options->sparse, "option '-S'", ret_size, error)) {
        return false;
    }
    if (*ret_size % 512 || *ret_size > SPARSE_MAX) {
        return error_set(error, EINVAL,
                         "Invalid buffer size for sparse output specified. Valid sizes are "
                         "multiples of 512 up to %" PRId64 ". Select 0 to disable sparse detection "
                         "(fully allocates output).",
                         SPARSE_MAX);
    }
    return true;
}

static bool parse_parallel(const struct convert_options *options, int *ret_threads, GError **error)
{
    guint64 threads = 0;
    if (options->parallel &&
        !g_ascii_string_to_unsigned(options->parallel, 10, 1, PARALLEL_MAX, &threads, NULL)) {
        return error_set(error, EINVAL,
                         "Invalid number of coroutines specified: '%s'. Must be between 1 and %d.",
                         options->parallel, PARALLEL_MAX);
    }
    *ret_threads = (int)threads;
    return true;
}

/* ---- sources ---- */

static bool open_sources(struct conversion *conv, GError **error)
{
    const struct convert_options *options = conv->options;
    conv->sources = g_new0(struct blk_node *, (gsize)conv->source_count);
    for (int i = 0; i < conv->source_count; i++) {
        conv->sources[i] = image_open(conv->session, &options->image, conv->names[i],
                                      options->image.format, NODE_UNSHARED, error);
        if (!conv->sources[i] || (!options->target_image_opts &&
                                  output_is_source(conv->target_name, conv->sources[i], error))) {
            return false;
        }
        if (!image_load_snapshot(conv->sources[i], options->snapshot, error)) {
            return false;
        }
        int64_t start; /* each source begins on a sector of the target */
        if (__builtin_add_overflow(conv->size, SECTOR - 1, &start) ||
            __builtin_add_overflow(align_down(start, SECTOR), node_size(conv->sources[i]),
                                   &conv->size)) {
            return error_set(error, EFBIG, "the sources together are longer than 8 EiB");
        }
    }
    return true;
}

static void close_sources(struct conversion *conv)
{
    for (int i = 0; conv->sources && i < conv->source_count; i++) {
        image_close(&conv->sources[i], NULL);
    }
    g_free(conv->sources);
}

/* ---- the job ---- */

static void say_unreadable(int64_t offset, int64_t length, int error, void *user)
{
    fprintf(stderr,
            "%s: warning: error while reading offset %" PRId64 ": %s; %" PRId64
            " bytes are zero in the target\n",
            tool_program(), offset, g_strerror(error < 0 ? -error : error), length);
}

static bool run_job(struct conversion *conv, GError **error)
{
    const struct convert_options *options = conv->options;
    struct convert_args *args = &conv->job;
    args->sources = conv->sources;
    args->source_count = conv->source_count;
    args->target = conv->target;
    args->target_backing = options->backing ? node_backing(conv->target) : NULL;
    args->target_is_zero = options->target_is_zero;
    args->compress = options->compress;
    args->copy_offload = options->copy_range;
    args->salvage = options->salvage;
    args->unreadable = options->quiet ? NULL : say_unreadable;
    struct job *job = convert_job_new(args);
    job_set_speed(job, options->rate);
    return progress_run_whole(job, conv->session->graph, options->progress, options->quiet,
                              "convert", error);
}

/* ---- into a new image ---- */

/* Takes the options that steer compression out of the create options. */
static bool take_codec_options(struct conversion *conv, GError **error)
{
    struct codec_choice {
        int level, window;
    } choice = {0};
    static const char *const windows[] = {"32k", "4k", NULL};
    static const struct field fields[] = {
        FIELD(struct codec_choice, level, "compression_level", NULL, "1 fast to 12 small"),
        FIELD_ENUM(struct codec_choice, window, "window", "32k", windows, "reach of deflate"),
        {0}};
    bool given = json_object_get(conv->create_options, "compression_level") ||
                 json_object_get(conv->create_options, "window");
    if (!fields_take_json(fields, &choice, conv->create_options, NULL, error)) {
        return false;
    }
    if (given && !conv->options->compress) {
        return error_set(error, EINVAL, "compression_level and window need -c");
    }
    conv->job.compress_level = choice.level;
    conv->job.window_bits = choice.window ? 12 : 0;
    return true;
}

static bool add_backing(struct conversion *conv, GError **error)
{
    const struct convert_options *options = conv->options;
    json_object_del(conv->create_options, "size");
    if (json_object_get(conv->create_options, "backing_file") && !options->backing) {
        return error_set(error, EINVAL, "a backing file is given with -b FILE -F FMT, not with -o");
    }
    if (options->backing &&
        (json_object_set_new(conv->create_options, "backing_file", json_string(options->backing)) ||
         json_object_set_new(conv->create_options, "backing_fmt",
                             json_string(options->backing_format)))) {
        return error_set(error, EILSEQ, "the backing file's name is not valid UTF-8");
    }
    return true;
}

static bool fill_new(struct conversion *conv, struct output *output, uint32_t flags, GError **error)
{
    struct blk_graph *graph = conv->session->graph;
    const char *path = output_path(output);
    if (!image_create(graph, path, conv->format, conv->size, conv->create_options, 0, NULL,
                      error)) {
        return image_name_error(path, error);
    }
    flags |= NODE_RDWR | (output_is_in_place(output) ? 0 : NODE_NO_LOCK);
    conv->target = node_open(graph, path, conv->format, NULL, flags, error);
    conv->job.target_is_fresh = output_is_file(output) || strcmp(conv->format, "raw");
    bool done = conv->target && run_job(conv, error);
    return image_close(&conv->target, error) && done;
}

static bool convert_to_new(struct conversion *conv, uint32_t flags, GError **error)
{
    if (!take_codec_options(conv, error) || !add_backing(conv, error)) {
        return false;
    }
    struct output *output = output_begin(conv->session->graph, conv->target_name,
                                         conv->options->backing != NULL, error);
    if (!output) {
        return false;
    }
    bool done = fill_new(conv, output, flags, error) &&
                output_commit(output, !(flags & NODE_NO_FLUSH), error);
    output_free(output, error);
    return done;
}

/* ---- into an existing image ---- */

static bool convert_to_existing(struct conversion *conv, uint32_t flags, GError **error)
{
    bool as_options = conv->options->target_image_opts;
    conv->target =
        image_open_plain(conv->session, conv->target_name, as_options ? NULL : conv->format,
                         as_options, flags | NODE_RDWR | NODE_UNSHARED, error);
    if (!conv->target) {
        return false;
    }
    bool done = node_size(conv->target) >= conv->size
                    ? run_job(conv, error)
                    : error_set(error, ENOSPC,
                                "output file is smaller than input file: '%s' has %" PRId64
                                " bytes and %" PRId64 " are needed",
                                conv->target_name, node_size(conv->target), conv->size);
    return image_close(&conv->target, error) && done;
}

static bool convert_opened(struct conversion *conv, GError **error)
{
    uint32_t flags = 0;
    if (!image_cache_flags(conv->options->target_cache, &flags, error) ||
        !parse_sparse(conv->options, &conv->job.sparse_size, error) ||
        !parse_parallel(conv->options, &conv->job.threads, error)) {
        return false;
    }
    bool done = open_sources(conv, error) &&
                (conv->options->no_create ? convert_to_existing(conv, flags, error)
                                          : convert_to_new(conv, flags, error));
    close_sources(conv);
    return done;
}

static bool convert_names(struct conversion *conv, int count, GError **error)
{
    const struct convert_options *options = conv->options;
    const struct blk_driver *driver =
        options->no_create ? NULL : image_find_creator(conv->session, conv->format, error);
    if (!driver && !options->no_create) {
        return false;
    }
    bool help = false;
    conv->create_options = image_merge_options(options->options, &help, error);
    if (conv->create_options && help && driver) {
        image_print_create_help(driver);
        return true;
    }
    if (conv->create_options && count < 2) {
        error_set(error, EINVAL, "convert wants SOURCE... TARGET, and got %s",
                  count ? "one name" : "no name");
        return false;
    }
    return conv->create_options && convert_opened(conv, error);
}

static int convert_run(const struct cli_command *command, void *data, char **names, GError **error)
{
    const struct convert_options *options = data;
    int count = (int)g_strv_length(names);
    const char *wrong = find_contradiction(options);
    if (wrong) {
        error_set(error, EINVAL, "%s", wrong);
        return EXIT_FAILURE;
    }
    struct session session = {0};
    struct conversion conv = {
        .options = options,
        .session = &session,
        .names = names,
        .source_count = count - 1,
        .target_name = count ? names[count - 1] : NULL,
        .format = options->target_format ? options->target_format : "raw",
    };
    bool done = image_confine(&options->image, names, true, error) &&
                session_start(&session, &options->image, error) &&
                convert_names(&conv, count, error);
    json_decref(conv.create_options);
    session_end(&session);
    return done ? EXIT_SUCCESS : EXIT_FAILURE;
}

static const char *const convert_notes[] = {
    "Several sources become one target, one after the other. The target is written beside its "
    "final "
    "place and takes its name when it is complete; until then an existing file of that name keeps "
    "its contents, and it is on the disk before it is replaced.",
    "The cache mode unsafe, which is used unless -t says another, does not wait until a new file "
    "is "
    "on the disk; after a power cut it can be incomplete, as after cp. With every other mode the "
    "target is on the disk when the command ends.",
    "With -n the target must exist and is written in place: use it for devices and for names of "
    "other protocols.",
    "With -c, -o compression_type=zstd chooses zstd, -o compression_level=N trades time for space, "
    "and -o window=4k makes deflate streams for readers that need small windows. The bytes of the "
    "target do not depend on the number of threads.",
    "SIGUSR1 makes a running command print its progress once on standard error.",
    NULL};

static const struct cli_example convert_examples[] = {
    {"Convert and compress",
     "cairn-img convert -c -O qcow2 -o compression_type=zstd disk.raw disk.qcow2",
     "head -c 1M /dev/urandom > disk.raw"},
    {"Write what differs from a base as an overlay",
     "cairn-img convert -O qcow2 -b base.qcow2 -F qcow2 disk.raw overlay.qcow2",
     "truncate -s 1M disk.raw && cairn-img convert -O qcow2 disk.raw base.qcow2"},
    {"Follow the progress from a program", "cairn-img convert --progress=json disk.raw copy.raw",
     "truncate -s 1M disk.raw"},
    {0}};

const struct cli_command convert_command = {
    .name = "convert",
    .summary = "copy images into another format",
    .positional = "SOURCE... TARGET",
    .min_positional = 0,
    .max_positional = -1,
    .options = convert_options,
    .args_size = sizeof(struct convert_options),
    .notes = convert_notes,
    .examples = convert_examples,
    .run = convert_run,
};
