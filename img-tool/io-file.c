/*
 * cairn-io's open, close and reopen, and what concerns an image as a whole:
 * info, length, truncate.
 *
 * A snapshot is a qcow2 file without a name over the image, which therefore stays
 * as it is. Reopening closes the image and opens it anew; when that fails, the
 * image is opened as it was.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/json.h"
#include "base/opts.h"
#include "img-tool/info-text.h"
#include "img-tool/io.h"
#include "img-tool/tool.h"

void io_image_clear(struct io_image *image)
{
    g_free(image->name);
    g_free(image->format);
    g_free(image->cache);
    g_free(image->aio);
    g_free(image->discard);
    json_decref(image->options);
    *image = (struct io_image){0};
}

static void image_copy(struct io_image *to, const struct io_image *from)
{
    *to = *from;
    to->name = g_strdup(from->name);
    to->format = g_strdup(from->format);
    to->cache = g_strdup(from->cache);
    to->aio = g_strdup(from->aio);
    to->discard = g_strdup(from->discard);
    to->options = json_incref(from->options);
}

/* ---- words ---- */

static bool is_one_of(const char *word, const char *const *words)
{
    return !word || g_strv_contains(words, word);
}

/* Cache, aio and discard words to flags; false and a message when one is wrong. */
static bool parse_words(struct io *io, const struct io_image *image, uint32_t *flags)
{
    static const char *const aio_words[] = {"threads", "native", "io_uring", NULL};
    static const char *const discard_words[] = {"ignore", "off", "unmap", "on", NULL};
    uint32_t cache = 0;
    if (image->cache && !node_parse_cache(image->cache, &cache, NULL)) {
        io_complain("Invalid cache option: %s", image->cache);
        return false;
    }
    if (!is_one_of(image->aio, aio_words)) {
        io_complain("Invalid aio option: %s", image->aio);
        return false;
    }
    if (!is_one_of(image->discard, discard_words)) {
        io_complain("Invalid discard option: %s", image->discard);
        return false;
    }
    loop_use_ring(io->session.loop, g_strcmp0(image->aio, "threads") != 0);
    *flags =
        cache | (image->read_only ? 0 : NODE_RDWR) | (image->force_share ? NODE_FORCE_SHARE : 0);
    return true;
}

/* ---- opening ---- */

/* The options of an image as a tree, a new reference; NULL: none. */
static json_t *options_tree(const struct io_image *image, GError **error)
{
    return json_unflatten(image->options ? json_deep_copy(image->options) : json_object(), error);
}

/* What to open below a snapshot: a name, or a tree. */
static json_t *backing_tree(const struct io_image *image, json_t *options)
{
    if (!image->name) {
        return json_incref(options);
    }
    if (!image->format && !json_object_size(options)) {
        return json_string(image->name);
    }
    json_t *tree = json_deep_copy(options);
    if (image->format) {
        json_object_set_new(tree, "driver", json_string(image->format));
    }
    json_object_set_new(tree, "file", json_string(image->name));
    return tree;
}

/* A temporary image over the one that `below` names; its file has no name any more. */
static struct blk_node *open_snapshot(struct io *io, json_t *below, int64_t size, uint32_t flags,
                                      GError **error)
{
    g_autofree char *path = NULL;
    int fd = g_file_open_tmp("cairn-io-XXXXXX", &path, error);
    if (fd < 0) {
        return NULL;
    }
    close(fd);
    json_t *options = json_pack("{s:O}", "backing", below);
    struct blk_node *node = NULL;
    if (image_create(io->session.graph, path, "qcow2", size, NULL, 0, NULL, error)) {
        node = node_open(io->session.graph, path, "qcow2", options, flags | NODE_RDWR, error);
    }
    json_decref(options);
    unlink(path);
    return node;
}

static struct blk_node *open_with_snapshot(struct io *io, json_t *options, uint32_t flags,
                                           GError **error)
{
    const struct io_image *image = &io->image;
    uint32_t reading = flags & ~(uint32_t)NODE_RDWR;
    struct blk_node *below =
        node_open(io->session.graph, image->name, image->format, options, reading, error);
    if (!below) {
        return NULL;
    }
    int64_t size = node_size(below);
    node_close(below, NULL);
    json_t *tree = backing_tree(image, options);
    struct blk_node *node = open_snapshot(io, tree, size, flags, error);
    json_decref(tree);
    return node;
}

static struct blk_node *open_layers(struct io *io, uint32_t flags, GError **error)
{
    const struct io_image *image = &io->image;
    json_t *options = options_tree(image, error);
    if (!options) {
        return NULL;
    }
    if (image->aio && !strcmp(image->aio, "native") && !(flags & NODE_DIRECT)) {
        error_set(error, EINVAL,
                  "aio=native was specified, but it requires cache.direct=on, which was not "
                  "specified.");
        json_decref(options);
        return NULL;
    }
    struct blk_node *node = image->snapshot ? open_with_snapshot(io, options, flags, error)
                                            : node_open(io->session.graph, image->name,
                                                        image->format, options, flags, error);
    json_decref(options);
    if (node && image->copy_on_read) {
        struct blk_node *over = node_open_over(node, "copy-on-read", NULL, flags, error);
        node_close(node, NULL);
        node = over;
    }
    return node;
}

static void warn_of_probing(const struct io *io)
{
    if (node_was_probed(io->node) && node_is_writable(io->node) &&
        !strcmp(node_driver_name(io->node), "raw") && io->image.name) {
        fprintf(stderr,
                "WARNING: Image format was not specified for '%s' and probing guessed raw.\n"
                "         Automatically detecting the format is dangerous for raw images, write "
                "operations on block 0 will be restricted.\n"
                "         Specify the 'raw' format explicitly to remove the restrictions.\n",
                io->image.name);
    }
}

bool io_open(struct io *io)
{
    const struct io_image *image = &io->image;
    uint32_t flags = 0;
    g_autoptr(GError) error = NULL;
    if (!parse_words(io, image, &flags)) {
        return false;
    }
    if (image->copy_on_read && image->read_only) {
        error_set(&error, EINVAL, "Can't use copy-on-read on read-only device");
    } else {
        io->node = open_layers(io, flags, &error);
    }
    if (!io->node) {
        const char *name = image->name;
        if (g_str_has_prefix(error->message, "could not open") ||
            g_str_has_prefix(error->message, "unknown driver")) {
            error->message[0] = g_ascii_toupper(error->message[0]);
        }
        io_complain("can't open%s%s: %s", name ? " device " : "", name ? name : "", error->message);
        return false;
    }
    warn_of_probing(io);
    return true;
}

bool io_close(struct io *io)
{
    g_autoptr(GError) error = NULL;
    if (!io->node) {
        return true;
    }
    node_debug_remove_break(io->node, NULL, NULL);
    io_drain(io);
    if (!image_close(&io->node, &error)) {
        io_complain("%s", error->message);
        return false;
    }
    return true;
}

/* ---- open, close, reopen ---- */

/* Adds the options of one -o. */
static bool add_options(json_t **options, const char *text)
{
    g_autoptr(GError) error = NULL;
    json_t *more = opts_parse(text, NULL, &error);
    if (!more) {
        io_complain("%s", error->message);
        return false;
    }
    json_t *all = *options ? json_deep_copy(*options) : json_object();
    json_object_update(all, more);
    json_decref(more);
    json_decref(*options);
    *options = all;
    return true;
}

static void set_word(char **word, const char *value)
{
    g_free(*word);
    *word = g_strdup(value);
}

static bool set_open_option(struct io_image *image, int letter)
{
    switch (letter) {
    case 's': image->snapshot = true; break;
    case 'n': set_word(&image->cache, "none"); break;
    case 'C': image->copy_on_read = true; break;
    case 'r': image->read_only = true; break;
    case 'k': set_word(&image->aio, "native"); break;
    case 'U': image->force_share = true; break;
    case 't': set_word(&image->cache, optarg); break;
    case 'd': set_word(&image->discard, optarg); break;
    case 'i': set_word(&image->aio, optarg); break;
    case 'o': return add_options(&image->options, optarg);
    default: break;
    }
    return true;
}

/* Takes the name of the image out of argv; false when the command was misused. */
static bool parse_open(const struct io_command *command, int argc, char **argv,
                       struct io_image *image)
{
    for (int letter; (letter = io_option(command, argc, argv)) != -1;) {
        if (letter == '?') {
            io_misused(command);
            return false;
        }
        if (!set_open_option(image, letter)) {
            return false;
        }
    }
    if (argc - optind > 1 || (argc == optind && !image->options)) {
        io_misused(command);
        return false;
    }
    image->name = g_strdup(argv[optind]);
    return true;
}

static int run_open(struct io *io, const struct io_command *command, int argc, char **argv)
{
    struct io_image image = {0};
    bool ok = parse_open(command, argc, argv, &image);
    if (ok && io->node) {
        io_complain("file open already, try 'help close'");
        ok = false;
    }
    if (!ok) {
        io_image_clear(&image);
        return -1;
    }
    io_image_clear(&io->image);
    io->image = image;
    return io_open(io) ? 0 : -1;
}

static int run_close(struct io *io, const struct io_command *command, int argc, char **argv)
{
    return io_close(io) ? 0 : -1;
}

/* What `reopen` changes, over what is; false and a message when it cannot be. */
static bool parse_reopen(const struct io_command *command, int argc, char **argv,
                         struct io_image *image)
{
    bool told = false;
    for (int letter; (letter = io_option(command, argc, argv)) != -1;) {
        if (letter == '?') {
            io_misused(command);
            return false;
        }
        if ((letter == 'r' || letter == 'w') && told) {
            io_complain("Only one -r/-w option may be given");
            return false;
        }
        if (letter == 'r' || letter == 'w') {
            told = true;
            image->read_only = letter == 'r';
        } else if (letter == 'c') {
            set_word(&image->cache, optarg);
        } else if (!add_options(&image->options, optarg)) {
            return false;
        }
    }
    if (optind != argc) {
        io_misused(command);
        return false;
    }
    return true;
}

static int reopen_as(struct io *io, struct io_image *image)
{
    struct io_image before = io->image;
    bool closed = io_close(io);
    io->image = *image;
    if (io_open(io)) {
        io_image_clear(&before);
        return closed ? 0 : -1;
    }
    io_image_clear(&io->image);
    io->image = before;
    io_open(io);
    return -1;
}

static int run_reopen(struct io *io, const struct io_command *command, int argc, char **argv)
{
    struct io_image image;
    uint32_t flags;
    image_copy(&image, &io->image);
    if (!parse_reopen(command, argc, argv, &image) || !parse_words(io, &image, &flags)) {
        io_image_clear(&image);
        return -1;
    }
    if (image.snapshot) {
        io_complain("a snapshot cannot be reopened: what was written would be lost");
        io_image_clear(&image);
        return -1;
    }
    return reopen_as(io, &image);
}

/* ---- the image as a whole ---- */

static int run_length(struct io *io, const struct io_command *command, int argc, char **argv)
{
    g_autofree char *text = io_quantity((double)node_size(io->node));
    tool_printf("%s\n", text);
    return 0;
}

static int run_info(struct io *io, const struct io_command *command, int argc, char **argv)
{
    struct blk_info info;
    g_autoptr(GError) error = NULL;
    if (!node_info(io->node, &info, &error)) {
        io_complain("%s", error->message);
        return -1;
    }
    const char *format = node_driver_name(io->node);
    g_autofree char *cluster = io_quantity((double)info.cluster_size);
    g_autofree char *state = io_quantity((double)info.vm_state_offset);
    g_autoptr(GString) specific = g_string_new(NULL);
    info_print_specific(info.specific, specific);
    tool_printf("format name: %s\n", format);
    if (driver_is_protocol(graph_find_driver(io->session.graph, format))) {
        tool_printf("format name: %s\n", format);
    }
    tool_printf("cluster size: %s\nvm state offset: %s\n%s", cluster, state, specific->str);
    node_info_clear(&info);
    return 0;
}

static int run_truncate(struct io *io, const struct io_command *command, int argc, char **argv)
{
    static const char *const words[] = {"off", "metadata", "falloc", "full", NULL};
    const char *preallocation = "off";
    int64_t size;
    g_autoptr(GError) error = NULL;
    for (int letter; (letter = io_option(command, argc, argv)) != -1;) {
        if (letter == '?') {
            return io_misused(command);
        }
        preallocation = optarg;
        if (!is_one_of(preallocation, words)) {
            io_complain("Invalid preallocation mode '%s'", preallocation);
            return -1;
        }
    }
    if (optind + 1 != argc) {
        return io_misused(command);
    }
    if (!io_number(argv[optind], &size)) {
        return -1;
    }
    if (!node_resize(io->node, size, preallocation, &error)) {
        io_complain("%s", error->message);
        return -1;
    }
    return 0;
}

/* ---- tables ---- */

static const struct io_option open_options[] = {
    {'r', NULL, "open it read-only"},
    {'s', NULL, "write to a temporary image over it"},
    {'C', NULL, "copy what is read from backing files into it"},
    {'n', NULL, "as -t none"},
    {'k', NULL, "as -i native"},
    {'U', NULL, "read even while another process writes to it"},
    {'t', "cache", "cache mode: none, writeback, writethrough, directsync, unsafe"},
    {'d', "discard", "what discards do: ignore, unmap"},
    {'i', "aio", "how files are accessed: threads, native, io_uring"},
    {'o', "options", "options of the driver: key=value,..."},
    {0}};

static const struct io_option reopen_options[] = {
    {'r', NULL, "open it read-only"},
    {'w', NULL, "open it for writing"},
    {'c', "cache", "change the cache mode"},
    {'o', "options", "change options of the driver: key=value,..."},
    {0}};

static const struct io_option truncate_options[] = {
    {'m', "prealloc_mode", "reserve the new space: off, metadata, falloc, full"}, {0}};

const struct io_command io_open_command = {
    .name = "open",
    .alias = "o",
    .synopsis = "[-rsCnkU] [-t cache] [-d discard] [-o options] [path]",
    .summary = "open the file specified by path",
    .about = "'open -n -o driver=qcow2 disk.img' opens a qcow2 image past the page cache.",
    .options = open_options,
    .min_args = 1,
    .max_args = -1,
    .flags = IO_GLOBAL,
    .run = run_open,
};

const struct io_command io_close_command = {
    .name = "close",
    .alias = "c",
    .summary = "close the current open file",
    .run = run_close,
};

const struct io_command io_reopen_command = {
    .name = "reopen",
    .synopsis = "[(-r|-w)] [-c cache] [-o options]",
    .summary = "reopens an image with new options",
    .options = reopen_options,
    .max_args = -1,
    .run = run_reopen,
};

const struct io_command io_length_command = {
    .name = "length",
    .alias = "l",
    .summary = "gets the length of the current file",
    .run = run_length,
};

const struct io_command io_info_command = {
    .name = "info",
    .alias = "i",
    .summary = "prints information about the current file",
    .run = run_info,
};

const struct io_command io_truncate_command = {
    .name = "truncate",
    .alias = "t",
    .synopsis = "[-m prealloc_mode] off",
    .summary = "truncates the current file at the given offset",
    .options = truncate_options,
    .min_args = 1,
    .max_args = 3,
    .flags = IO_WRITES,
    .run = run_truncate,
};
