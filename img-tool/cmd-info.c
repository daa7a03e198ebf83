/*
 * cairn-img info: what an image says about itself. The JSON value is built
 * first; the text for people is printed from it, so both always agree.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "img-tool/image.h"
#include "img-tool/info-text.h"
#include "img-tool/tool.h"

#define OPT_MEMORY_ALIGN 4096 /* what our own buffers have */

enum { OUTPUT_HUMAN, OUTPUT_JSON };
static const char *const output_names[] = {"human", "json", NULL};

struct info_args {
    struct image_args image;
    bool backing_chain, limits;
    int output;
};

static const struct cli_option info_options[] = {
    IMAGE_ROW_FORMAT(struct info_args, "f", "format",
                     "format of the image; it is probed otherwise"),
    IMAGE_ROW_OPTS(struct info_args),
    {NULL, NULL,
     FIELD(struct info_args, backing_chain, "backing-chain", NULL,
           "show the backing files, too, top image first"),
     NULL},
    IMAGE_ROW_CACHE(struct info_args, "t", "cache"),
    IMAGE_ROW_SHARE(struct info_args),
    {NULL, NULL,
     FIELD(struct info_args, limits, "limits", NULL, "show alignments and sizes of requests"),
     NULL},
    {NULL, "WORD",
     FIELD_ENUM(struct info_args, output, "output", "human", output_names, "what to print"), NULL},
    IMAGE_ROW_OBJECT(struct info_args),
    IMAGE_ROWS_TRUST(struct info_args),
    {0}};

static void set_string(json_t *dict, const char *key, const char *value)
{
    if (value) {
        json_t *text = json_string(value);
        json_object_set_new(dict, key, text ? text : json_string("(not valid UTF-8)"));
    }
}

static void set_limit(json_t *dict, const char *key, int64_t value)
{
    if (value) {
        json_object_set_new(dict, key, json_integer(value));
    }
}

static json_t *limits_to_json(const struct blk_limits *limits)
{
    json_t *dict = json_object();
    set_limit(dict, "write-zeroes-alignment", limits->zero_align > 1 ? limits->zero_align : 0);
    set_limit(dict, "request-alignment", limits->request_align);
    set_limit(dict, "min-mem-alignment", limits->memory_align);
    set_limit(dict, "discard-alignment", limits->discard_align > 1 ? limits->discard_align : 0);
    set_limit(dict, "opt-mem-alignment", MAX(limits->memory_align, OPT_MEMORY_ALIGN));
    set_limit(dict, "max-iov", IOV_MAX);
    set_limit(dict, "max-transfer", limits->max_transfer);
    set_limit(dict, "max-discard", limits->max_discard);
    set_limit(dict, "max-write-zeroes", limits->max_zero);
    set_limit(dict, "opt-transfer", limits->opt_transfer);
    return dict;
}

static json_t *node_to_json(struct blk_node *node, bool with_limits, GError **error);

/* The array of children: the file below a format. */
static json_t *children_to_json(struct blk_node *node, bool with_limits, GError **error)
{
    json_t *children = json_array();
    struct blk_node *file = node_file(node);
    json_t *info = file ? node_to_json(file, with_limits, error) : NULL;
    if (file && !info) {
        json_decref(children);
        return NULL;
    }
    if (file) {
        json_t *child = json_object();
        json_object_set_new(child, "name", json_string("file"));
        json_object_set_new(child, "info", info);
        json_array_append_new(children, child);
    }
    return children;
}

/* The members that come from the driver. */
static void fill_from_info(json_t *dict, const struct blk_node *node, const struct blk_info *info)
{
    set_string(dict, "backing-filename-format", info->backing_format);
    json_object_set_new(dict, "virtual-size", json_integer(info->virtual_size));
    set_string(dict, "filename", node_filename(node));
    set_limit(dict, "cluster-size", info->cluster_size);
    set_string(dict, "format", node_driver_name(node));
    if (info->actual_size >= 0) {
        json_object_set_new(dict, "actual-size", json_integer(info->actual_size));
    }
    if (info->encrypted) {
        json_object_set_new(dict, "encrypted", json_true());
    }
    if (info->compressed) {
        json_object_set_new(dict, "compressed", json_true());
    }
    if (info->snapshots) {
        json_object_set(dict, "snapshots", info->snapshots);
    }
    if (info->specific) {
        json_object_set(dict, "format-specific", info->specific);
    }
    set_string(dict, "full-backing-filename", info->full_backing_filename);
    set_string(dict, "backing-filename", info->backing_filename);
    json_object_set_new(dict, "dirty-flag", json_boolean(info->dirty));
}

static json_t *node_to_json(struct blk_node *node, bool with_limits, GError **error)
{
    struct blk_info info = {0};
    json_t *children = children_to_json(node, with_limits, error);
    if (!children || !node_info(node, &info, error)) {
        json_decref(children);
        return NULL;
    }
    json_t *dict = json_object();
    if (with_limits) {
        json_object_set_new(dict, "limits", limits_to_json(node_limits(node)));
    }
    json_object_set_new(dict, "children", children);
    fill_from_info(dict, node, &info);
    node_info_clear(&info);
    return dict;
}

/* An array of the image and, with --backing-chain, of every image below it. */
static json_t *chain_to_json(struct blk_node *top, const struct info_args *args, GError **error)
{
    json_t *chain = json_array();
    for (struct blk_node *node = top; node;
         node = args->backing_chain ? node_backing(node) : NULL) {
        json_t *one = node_to_json(node, args->limits, error);
        if (!one) {
            json_decref(chain);
            return NULL;
        }
        json_array_append_new(chain, one);
    }
    return chain;
}

static void print_chain(const json_t *chain, const struct info_args *args)
{
    if (args->output == OUTPUT_JSON) {
        tool_print_json(args->backing_chain ? chain : json_array_get(chain, 0));
        return;
    }
    g_autoptr(GString) out = g_string_new(NULL);
    for (size_t i = 0; i < json_array_size(chain); i++) {
        g_string_append(out, i ? "\n" : "");
        info_print_text(json_array_get(chain, i), out);
    }
    tool_printf("%s", out->str);
}

static bool show_info(struct session *session, const struct info_args *args, const char *name,
                      GError **error)
{
    uint32_t flags = NODE_NO_IO | (args->backing_chain ? 0 : NODE_NO_BACKING);
    struct blk_node *node =
        image_open(session, &args->image, name, args->image.format, flags, error);
    if (!node) {
        return false;
    }
    json_t *chain = chain_to_json(node, args, error);
    bool done = image_close(&node, error) && chain;
    if (done) {
        print_chain(chain, args);
    }
    json_decref(chain);
    return done;
}

static int info_run(const struct cli_command *command, void *data, char **names, GError **error)
{
    const struct info_args *args = data;
    struct session session = {0};
    bool done = image_confine(&args->image, names, false, error) &&
                session_start(&session, &args->image, error) &&
                show_info(&session, args, names[0], error);
    session_end(&session);
    return done ? EXIT_SUCCESS : EXIT_FAILURE;
}

static const char *const info_notes[] = {
    "Backing files are named, but opened only with --backing-chain.",
    "With --output=json the answer is one object, or with --backing-chain an array of them. Sizes "
    "are in bytes.",
    NULL};

static const struct cli_example info_examples[] = {
    {"Show format, sizes and backing file", "cairn-img info disk.qcow2",
     "cairn-img create -q -f qcow2 disk.qcow2 1G"},
    {"Show an image and all it is based on, for a program",
     "cairn-img info --backing-chain --output=json overlay.qcow2",
     "cairn-img create -q -f qcow2 base.qcow2 1G && "
     "cairn-img create -q -f qcow2 -b base.qcow2 -B qcow2 overlay.qcow2"},
    {0}};

const struct cli_command info_command = {
    .name = "info",
    .summary = "show what an image is",
    .positional = "FILE",
    .min_positional = 1,
    .max_positional = 1,
    .options = info_options,
    .args_size = sizeof(struct info_args),
    .notes = info_notes,
    .examples = info_examples,
    .run = info_run,
};
