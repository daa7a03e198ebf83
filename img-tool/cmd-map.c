/*
 * cairn-img map: which ranges of an image hold data, and where. Extents are
 * printed as they come, in batches, so an image of any size needs the same
 * memory.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/size.h"
#include "img-tool/image.h"
#include "img-tool/tool.h"

#define BATCH 4096 /* extents a call */

enum { OUTPUT_HUMAN, OUTPUT_JSON };
static const char *const output_names[] = {"human", "json", NULL};

struct map_args {
    struct image_args image;
    int64_t start;
    char *length;
    int output;
};

static const struct cli_option map_options[] = {
    IMAGE_ROW_FORMAT(struct map_args, "f", "format", "format of the image; it is probed otherwise"),
    IMAGE_ROW_OPTS(struct map_args),
    {"s", "SIZE", FIELD_SIZE(struct map_args, start, "start-offset", "0", "where to start"), NULL},
    {"l", "SIZE",
     FIELD(struct map_args, length, "max-length", NULL, "how much to look at; all otherwise"),
     NULL},
    {NULL, "WORD",
     FIELD_ENUM(struct map_args, output, "output", "human", output_names, "what to print"), NULL},
    IMAGE_ROW_SHARE(struct map_args),
    IMAGE_ROW_OBJECT(struct map_args),
    IMAGE_ROWS_TRUST(struct map_args),
    {0}};

/* What is printed next: an extent that may still grow, and how many were printed before it. */
struct map_printer {
    struct blk_extent pending;
    int64_t printed;
    bool is_json;
};

static const char *bool_word(bool value)
{
    return value ? "true" : "false";
}

static void print_json_extent(struct map_printer *printer, const struct blk_extent *e)
{
    tool_printf("%s{ \"start\": %" PRId64 ", \"length\": %" PRId64
                ", \"depth\": %d, \"present\": %s, "
                "\"zero\": %s, \"data\": %s, \"compressed\": %s",
                printer->printed ? ",\n" : "[", e->offset, e->length, e->depth,
                bool_word(e->flags & EXTENT_ALLOCATED), bool_word(e->flags & EXTENT_ZERO),
                bool_word(e->flags & EXTENT_DATA), bool_word(e->flags & EXTENT_COMPRESSED));
    if (e->flags & EXTENT_OFFSET && !(e->flags & EXTENT_COMPRESSED)) {
        tool_printf(", \"offset\": %" PRId64, e->leaf_offset);
    }
    tool_printf("}");
    printer->printed++;
}

static bool print_human_extent(struct map_printer *printer, const struct blk_extent *e,
                               GError **error)
{
    if (!(e->flags & EXTENT_DATA) || e->flags & EXTENT_ZERO) {
        return true;
    }
    if (!(e->flags & EXTENT_OFFSET) || e->flags & EXTENT_COMPRESSED) {
        return error_set(error, ENOTSUP,
                         "File contains external, encrypted or compressed clusters; they have no "
                         "place to show: use --output=json");
    }
    tool_printf("%#-16" PRIx64 "%#-16" PRIx64 "%#-16" PRIx64 "%s\n", e->offset, e->length,
                e->leaf_offset, node_filename(e->leaf));
    printer->printed++;
    return true;
}

static bool print_extent(struct map_printer *printer, const struct blk_extent *extent,
                         GError **error)
{
    if (printer->is_json) {
        print_json_extent(printer, extent);
        return true;
    }
    return print_human_extent(printer, extent, error);
}

/* True when `b` continues `a` in every way that is printed. */
static bool continues(const struct blk_extent *a, const struct blk_extent *b)
{
    bool has_offset = a->flags & EXTENT_OFFSET && !(a->flags & EXTENT_COMPRESSED);
    return a->length && a->flags == b->flags && a->depth == b->depth &&
           a->offset + a->length == b->offset &&
           (!has_offset || (a->leaf == b->leaf && a->leaf_offset + a->length == b->leaf_offset));
}

static bool add_extent(struct map_printer *printer, const struct blk_extent *extent, GError **error)
{
    if (continues(&printer->pending, extent)) {
        printer->pending.length += extent->length;
        return true;
    }
    if (printer->pending.length && !print_extent(printer, &printer->pending, error)) {
        return false;
    }
    printer->pending = *extent;
    return true;
}

/* Maps [start, end) and prints it. */
static bool print_map(struct blk_node *node, int64_t start, int64_t end, bool is_json,
                      GError **error)
{
    bool preallocated = node_is_preallocated(node);
    uint32_t flags = MAP_CHAIN | MAP_LEAF | (preallocated ? MAP_HOLES : MAP_PLAIN_HOLES);
    struct map_printer printer = {.is_json = is_json, .pending.offset = start};
    struct extent_list list = {.limit = BATCH};
    bool done = true;
    while (done && start < end) {
        extents_clear(&list);
        int ret = node_map(node, start, end - start, flags, &list);
        if (ret || !list.count) {
            done = error_set_errno(error, ret ? -ret : EIO, "could not map '%s' at offset %" PRId64,
                                   node_filename(node), start);
        }
        for (int i = 0; done && i < list.count; i++) {
            if (list.items[i].flags & EXTENT_HOLE) {
                list.items[i].flags |= EXTENT_DATA;
            }
            done = add_extent(&printer, &list.items[i], error);
            start = list.items[i].offset + list.items[i].length;
        }
    }
    if (done && (printer.pending.length || is_json)) {
        done = print_extent(&printer, &printer.pending, error);
    }
    extents_done(&list);
    return done;
}

static bool show_map(struct session *session, const struct map_args *args, const char *name,
                     int64_t max_length, GError **error)
{
    struct blk_node *node = image_open(session, &args->image, name, args->image.format, 0, error);
    if (!node) {
        return false;
    }
    bool is_json = args->output == OUTPUT_JSON;
    int64_t end = node_size(node);
    if (end > args->start && end - args->start > max_length) {
        end = args->start + max_length;
    }
    if (!is_json) {
        tool_printf("%-16s%-16s%-16s%s\n", "Offset", "Length", "Mapped to", "File");
    }
    bool done = print_map(node, args->start, end, is_json, error);
    tool_printf(done && is_json ? "]\n" : "");
    return image_close(&node, error) && done;
}

static int map_run(const struct cli_command *command, void *data, char **names, GError **error)
{
    const struct map_args *args = data;
    struct session session = {0};
    int64_t max_length = INT64_MAX;
    if (args->length && !size_parse(args->length, "option '--max-length'", &max_length, error)) {
        return EXIT_FAILURE;
    }
    bool done = image_confine(&args->image, names, false, error) &&
                session_start(&session, &args->image, error) &&
                show_map(&session, args, names[0], max_length, error);
    session_end(&session);
    return done ? EXIT_SUCCESS : EXIT_FAILURE;
}

static const char *const map_notes[] = {
    "The text shows ranges that hold data, the file and the place in it where they are, in "
    "hexadecimal.",
    "With --output=json there is one object for each range, also those without data. depth is the "
    "number of images below the named one in which the range was found, present says that one of "
    "them holds it, zero that it reads as zeroes, data that a file was given space for it, and "
    "offset, where there is one, is the place in that file.",
    NULL};

static const struct cli_example map_examples[] = {
    {"Show where the data of an image is", "cairn-img map disk.raw",
     "head -c 64k /dev/urandom > disk.raw && truncate -s 1M disk.raw"},
    {"Show every range of the first MiB, for a program",
     "cairn-img map --output=json --max-length=1M disk.qcow2",
     "cairn-img create -q -f qcow2 disk.qcow2 1G"},
    {0}};

const struct cli_command map_command = {
    .name = "map",
    .summary = "show which ranges of an image hold data",
    .positional = "FILE",
    .min_positional = 1,
    .max_positional = 1,
    .options = map_options,
    .args_size = sizeof(struct map_args),
    .notes = map_notes,
    .examples = map_examples,
    .run = map_run,
};
