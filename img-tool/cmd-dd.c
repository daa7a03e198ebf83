/*
 * cairn-img dd: a part of an image into a new image, with operands as dd(1) has
 * them. The part is a raw slice of the source, and a convert job copies it.
 * Where qemu-img counts `count` from the beginning of the input, ours counts it
 * from what `skip` leaves, as dd(1) does.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/size.h"
#include "img-tool/confine.h"
#include "img-tool/image.h"
#include "img-tool/output.h"
#include "img-tool/tool.h"

#define BLOCK_DEFAULT 512
#define BLOCK_MAX INT64_C(2147483647)
#define SPARSE_SIZE 4096

struct dd_options {
    struct image_args image;
    char *target_format;
};

static const struct cli_option dd_options[] = {
    IMAGE_ROW_FORMAT(struct dd_options, "f", "format",
                     "format of the input; it is probed otherwise"),
    IMAGE_ROW_OPTS(struct dd_options),
    {"O", "FMT",
     FIELD(struct dd_options, target_format, "output-format", "raw", "format of the output"), NULL},
    IMAGE_ROW_SHARE(struct dd_options),
    IMAGE_ROW_OBJECT(struct dd_options),
    IMAGE_ROWS_TRUST(struct dd_options),
    {0}};

/* The operands. */
struct part {
    const char *input, *output; /* NULL: not given */
    int64_t block, count, skip; /* bytes, blocks, blocks; count -1: all */
};

/* ---- operands ---- */

static bool parse_number(const char *name, const char *value, int64_t min, int64_t max,
                         int64_t *ret_number, GError **error)
{
    g_autoptr(GError) bad = NULL;
    bool negative = value[0] == '-' && g_ascii_isdigit(value[1]);
    int64_t number = -1;
    if (!negative && !size_parse(value, name, &number, &bad) && bad->code != ERANGE) {
        return error_set(error, EINVAL, "Invalid %s specified: '%s'", name, value);
    }
    if (bad || number < min || number > max) {
        return error_set(error, EINVAL,
                         "Invalid %s specified. Must be between %" PRId64 " and %" PRId64 ".", name,
                         min, max);
    }
    *ret_number = number;
    return true;
}

static bool parse_operand(const char *word, struct part *part, GError **error)
{
    const char *equals = strchr(word, '=');
    size_t length = equals ? (size_t)(equals - word) : strlen(word);
    g_autofree char *name = g_strndup(word, length);
    const char *value = equals ? equals + 1 : "";
    if (equals && !strcmp(name, "if")) {
        part->input = value;
    } else if (equals && !strcmp(name, "of")) {
        part->output = value;
    } else if (equals && !strcmp(name, "bs")) {
        return parse_number(name, value, 1, BLOCK_MAX, &part->block, error);
    } else if (equals && !strcmp(name, "count")) {
        return parse_number(name, value, 0, INT64_MAX, &part->count, error);
    } else if (equals && !strcmp(name, "skip")) {
        return parse_number(name, value, 0, INT64_MAX, &part->skip, error);
    } else {
        return error_set(error, EINVAL,
                         "unrecognized operand %s; there is if=, of=, bs=, count=, skip=", name);
    }
    return true;
}

static bool parse_operands(char **words, struct part *ret_part, GError **error)
{
    struct part part = {.block = BLOCK_DEFAULT, .count = -1};
    for (; *words; words++) {
        if (!parse_operand(*words, &part, error)) {
            return false;
        }
    }
    if (!part.input || !part.output) {
        return error_set(error, EINVAL, "Must specify both input and output files");
    }
    *ret_part = part;
    return true;
}

/* Which bytes of a source of `size` bytes the operands mean. */
static void settle_range(const struct part *part, int64_t size, int64_t *ret_offset,
                         int64_t *ret_length)
{
    int64_t offset, length;
    if (__builtin_mul_overflow(part->skip, part->block, &offset) || offset > size) {
        offset = size;
    }
    if (part->count < 0 || __builtin_mul_overflow(part->count, part->block, &length)) {
        length = INT64_MAX;
    }
    *ret_offset = offset;
    *ret_length = min_i64(length, size - offset);
}

/* ---- copying ---- */

static bool copy(struct session *session, struct blk_node *slice, struct blk_node *target,
                 bool fresh, GError **error)
{
    confine_allow_work(node_size(slice));
    struct convert_args args = {.sources = &slice,
                                .source_count = 1,
                                .target = target,
                                .target_is_fresh = fresh,
                                .sparse_size = SPARSE_SIZE};
    struct job *job = convert_job_new(&args);
    bool done = job_run(job, session->graph, NULL, NULL, error);
    job_free(job);
    return done;
}

/* Makes the output image and fills it from `slice`, which is NULL when there is nothing to copy. */
static bool fill(struct session *session, struct output *output, const char *format,
                 struct blk_node *slice, GError **error)
{
    const char *path = output_path(output);
    int64_t size = slice ? node_size(slice) : 0;
    if (!image_create(session->graph, path, format, size, NULL, 0, NULL, error)) {
        return image_name_error(path, error);
    }
    if (!slice) {
        return true;
    }
    uint32_t flags = NODE_RDWR | (output_is_in_place(output) ? 0 : NODE_NO_LOCK);
    struct blk_node *target = node_open(session->graph, path, format, NULL, flags, error);
    bool fresh = output_is_file(output) || strcmp(format, "raw");
    bool done = target && copy(session, slice, target, fresh, error);
    return image_close(&target, error) && done;
}

static bool write_output(struct session *session, const struct part *part, const char *format,
                         struct blk_node *slice, GError **error)
{
    struct output *output = output_begin(session->graph, part->output, false, error);
    bool done =
        output && fill(session, output, format, slice, error) && output_commit(output, true, error);
    output_free(output, error);
    return done;
}

static bool copy_part(struct session *session, const struct part *part, const char *format,
                      struct blk_node *source, GError **error)
{
    int64_t offset, length;
    settle_range(part, node_size(source), &offset, &length);
    if (offset == node_size(source) && part->skip) {
        fprintf(stderr, "%s: %s: cannot skip to specified offset\n", tool_program(), part->input);
    }
    struct blk_node *slice = NULL;
    if (length) {
        json_t *options =
            json_pack("{s:I, s:I}", "offset", (json_int_t)offset, "size", (json_int_t)length);
        slice = node_open_over(source, "raw", options, 0, error);
        json_decref(options);
    }
    bool done = (slice || !length) && write_output(session, part, format, slice, error);
    return image_close(&slice, error) && done;
}

static bool dd_names(struct session *session, const struct dd_options *options,
                     const struct part *part, GError **error)
{
    if (!image_find_creator(session, options->target_format, error)) {
        return false;
    }
    struct blk_node *source = image_open(session, &options->image, part->input,
                                         options->image.format, NODE_UNSHARED, error);
    bool done = source && !output_is_source(part->output, source, error) &&
                copy_part(session, part, options->target_format, source, error);
    image_close(&source, NULL);
    return done;
}

static int dd_run(const struct cli_command *command, void *data, char **words, GError **error)
{
    const struct dd_options *options = data;
    struct session session = {0};
    struct part part = {0};
    bool done = false;
    if (parse_operands(words, &part, error)) {
        char *const names[] = {(char *)part.input, (char *)part.output, NULL};
        done = image_confine(&options->image, names, true, error) &&
               session_start(&session, &options->image, error) &&
               dd_names(&session, options, &part, error);
    }
    session_end(&session);
    return done ? EXIT_SUCCESS : EXIT_FAILURE;
}

static const char *const dd_notes[] = {
    "Operands are if=FILE and of=FILE, which must be given; bs=SIZE, the size of a block (512); "
    "count=N, how many blocks to copy, all if it is not said; and skip=N, how many blocks of the "
    "input to leave out first. As with dd, count does not include the blocks that were skipped.",
    "The output is made anew and appears when it is complete. It is as long as the part that is "
    "copied; formats that count in sectors round that up.",
    NULL};

static const struct cli_example dd_examples[] = {
    {"Copy the second mebibyte of an image",
     "cairn-img dd if=disk.qcow2 of=part.raw bs=1M skip=1 count=1",
     "cairn-img create -q -f qcow2 disk.qcow2 10M"},
    {"Keep the first sector of a disk", "cairn-img dd -f raw if=disk.raw of=mbr.raw count=1",
     "truncate -s 1M disk.raw"},
    {0}};

const struct cli_command dd_command = {
    .name = "dd",
    .summary = "copy a part of an image into a new one",
    .positional = "if=FILE of=FILE [bs=SIZE] [count=N] [skip=N]",
    .min_positional = 0,
    .max_positional = -1,
    .options = dd_options,
    .args_size = sizeof(struct dd_options),
    .notes = dd_notes,
    .examples = dd_examples,
    .run = dd_run,
};
