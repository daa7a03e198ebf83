/*
 * cairn-io: its own options, and the lines that are run: those of -c, or those
 * of standard input. While it waits for a line, asynchronous requests go on. The
 * exit status is 1 when any line failed.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cli.h"
#include "base/error.h"
#include "base/loop.h"
#include "base/opts.h"
#include "img-tool/io-help.h"
#include "img-tool/io.h"
#include "img-tool/tool.h"

struct io_args {
    struct image_args image;
    GPtrArray *commands, *traces;
    bool read_only, snapshot, no_cache, copy_on_read, misalign, native, version, man, examples;
    char *aio, *discard, *completion;
};

static const struct cli_option io_options[] = {
    {"c", "CMD",
     FIELD(struct io_args, commands, "cmd", NULL, "run this command, and no standard input"), NULL},
    IMAGE_ROW_FORMAT(struct io_args, "f", "format", "format of the image; it is probed otherwise"),
    IMAGE_ROW_OPTS(struct io_args),
    IMAGE_ROW_OBJECT(struct io_args),
    {"r", NULL, FIELD(struct io_args, read_only, "read-only", NULL, "open the image read-only"),
     NULL},
    {"s", NULL,
     FIELD(struct io_args, snapshot, "snapshot", NULL, "write to a temporary image over it"), NULL},
    {"n", NULL, FIELD(struct io_args, no_cache, "nocache", NULL, "the same as -t none"), NULL},
    {"C", NULL,
     FIELD(struct io_args, copy_on_read, "copy-on-read", NULL,
           "copy what is read from backing files into the image"),
     NULL},
    {"m", NULL, FIELD(struct io_args, misalign, "misalign", NULL, "use buffers at odd addresses"),
     NULL},
    {"k", NULL, FIELD(struct io_args, native, "native-aio", NULL, "the same as -i native"), NULL},
    {"i", "AIO",
     FIELD(struct io_args, aio, "aio", NULL, "how files are accessed: threads, native, io_uring"),
     NULL},
    {"t", "CACHE",
     FIELD(struct io_args, image.cache, "cache", NULL,
           "cache mode: none, writeback, writethrough, directsync, unsafe"),
     NULL},
    {"d", "MODE",
     FIELD(struct io_args, discard, "discard", NULL, "what discards do: ignore, unmap"), NULL},
    IMAGE_ROW_SHARE(struct io_args),
    IMAGE_ROWS_TRUST(struct io_args),
    {"T", "PATTERN",
     FIELD(struct io_args, traces, "trace", NULL, "print the trace points that match"), NULL},
    {"V", NULL, FIELD(struct io_args, version, "version", NULL, "show the version"), NULL},
    {NULL, NULL, FIELD(struct io_args, man, "dump-man", NULL, NULL), NULL},
    {NULL, NULL, FIELD(struct io_args, examples, "examples", NULL, NULL), NULL},
    {NULL, "SHELL", FIELD(struct io_args, completion, "completion", NULL, NULL), NULL},
    {0}};

/* ---- lines from standard input ---- */

struct input {
    GString *pending; /* read and not run yet */
    bool prompt, ended;
};

static void wait_co_input(void *arg)
{
    loop_co_poll(STDIN_FILENO, POLLIN);
}

/* Reads more, while asynchronous requests go on. */
static void input_read(struct input *input, struct io *io)
{
    char buf[4096];
    loop_call(io->session.loop, wait_co_input, NULL);
    ssize_t n = read(STDIN_FILENO, buf, sizeof(buf));
    input->ended = !n || (n < 0 && errno != EINTR);
    if (n > 0) {
        g_string_append_len(input->pending, buf, n);
    }
}

/* The next line, to be freed; NULL at the end. */
static char *input_line(struct input *input, struct io *io)
{
    const char *end;
    if (input->prompt) {
        tool_printf("%s> ", tool_program());
        fflush(stdout);
    }
    while (!(end = strchr(input->pending->str, '\n')) && !input->ended) {
        input_read(input, io);
    }
    if (!end && !input->pending->len) {
        return NULL;
    }
    gsize length = end ? (gsize)(end - input->pending->str) : input->pending->len;
    char *line = g_strndup(input->pending->str, length);
    g_string_erase(input->pending, 0, (gssize)MIN(length + 1, input->pending->len));
    return line;
}

/* qemu-io prompts wherever its input comes from, and test suites filter that out. */
static int run_input(struct io *io)
{
    struct input input = {g_string_new(NULL), tool_is_compat() || isatty(STDIN_FILENO), false};
    int status = EXIT_SUCCESS;
    char *line;
    while (!io->quit && (line = input_line(&input, io))) {
        status = io_run(io, line) ? EXIT_FAILURE : status;
        g_free(line);
    }
    g_string_free(input.pending, true);
    return status;
}

static int run_lines(struct io *io, const struct io_args *args)
{
    int status = EXIT_SUCCESS;
    if (!args->commands) {
        return run_input(io);
    }
    for (guint i = 0; i < args->commands->len && !io->quit; i++) {
        status = io_run(io, args->commands->pdata[i]) ? EXIT_FAILURE : status;
    }
    return status;
}

/* ---- the program ---- */

static void on_report(enum report_kind kind, const char *text, void *user)
{
    if (kind == REPORT_NOTE) {
        tool_printf("%s\n", text);
    } else {
        fflush(stdout);
        fprintf(stderr, "%s\n", text);
    }
}

/* What the command line says of the image. */
static bool settle_image(struct io *io, const struct io_args *args, const char *name,
                         GError **error)
{
    struct io_image *image = &io->image;
    *image = (struct io_image){.name = args->image.image_opts ? NULL : g_strdup(name),
                               .format = g_strdup(args->image.format),
                               .read_only = args->read_only,
                               .snapshot = args->snapshot,
                               .copy_on_read = args->copy_on_read,
                               .force_share = args->image.force_share,
                               .cache = g_strdup(args->no_cache ? "none" : args->image.cache),
                               .aio = g_strdup(args->native ? "native" : args->aio),
                               .discard = g_strdup(args->discard)};
    io->misalign = args->misalign;
    image->options = args->image.image_opts && name ? opts_parse(name, NULL, error) : NULL;
    return !args->image.image_opts || !name || image->options;
}

static int run_session(struct io *io, const struct io_args *args, const char *name, GError **error)
{
    char *const names[] = {(char *)name, NULL};
    if (args->image.image_opts && args->image.format) {
        error_set(error, EINVAL, "--image-opts and -f are mutually exclusive");
        return EXIT_FAILURE;
    }
    if (!image_confine(&args->image, names, !args->read_only, error) ||
        !session_start(&io->session, &args->image, error) || !settle_image(io, args, name, error)) {
        return EXIT_FAILURE;
    }
    graph_set_report(io->session.graph, on_report, NULL);
    int status = !name || io_open(io) ? run_lines(io, args) : EXIT_FAILURE;
    return io_close(io) ? status : EXIT_FAILURE;
}

static int io_main_run(const struct cli_command *command, void *data, char **names, GError **error)
{
    const struct io_args *args = data;
    for (guint i = 0; args->traces && i < args->traces->len; i++) {
        if (!tool_enable_trace(args->traces->pdata[i], error)) {
            return EXIT_FAILURE;
        }
    }
    if (args->version) {
        return io_print_version(error) ? EXIT_SUCCESS : EXIT_FAILURE;
    }
    if (args->man || args->examples || args->completion) {
        return io_print_self(command, args->man, args->completion, error) ? EXIT_SUCCESS
                                                                          : EXIT_FAILURE;
    }
    struct io io = {0};
    int status = run_session(&io, args, names[0], error);
    session_end(&io.session);
    io_image_clear(&io.image);
    return status;
}

static const char *const io_notes[] = {
    "Opens FILE and runs commands on it, each of which reads, writes or examines a part of it. "
    "They come from -c, which may be given several times, or from standard input, one a line. "
    "Words are separated by blanks; numbers may have the suffixes k, M, G, T, P and E, and may be "
    "hexadecimal with 0x.",
    "Commands and their output are those of qemu-io, so that test suites written for it run.",
    "The exit status is 0 when every command succeeded, else 1.", NULL};

static const struct cli_example io_examples[] = {
    {"Write a pattern, and see that it is there",
     "cairn-io -c 'write -P 7 0 64k' -c 'read -P 7 0 64k' disk.qcow2",
     "cairn-img create -q -f qcow2 disk.qcow2 1M"},
    {"Show which ranges an image holds itself", "cairn-io -r -c map disk.qcow2",
     "cairn-img create -q -f qcow2 disk.qcow2 1M"},
    {"Try what a full disk does to a write",
     "cairn-io -c 'write 0 64k' blkdebug:full.conf:disk.qcow2 || true",
     "cairn-img create -q -f qcow2 disk.qcow2 1M && printf '[inject-error]\\nevent = "
     "\"write_aio\"\\nerrno = \"28\"\\n' >full.conf"},
    {0}};

static const struct cli_command io_program = {
    .name = "",
    .summary = "run single requests on a disk image",
    .positional = "[FILE]",
    .max_positional = 1,
    .options = io_options,
    .args_size = sizeof(struct io_args),
    .notes = io_notes,
    .examples = io_examples,
    .run = io_main_run,
};

int main(int argc, char **argv)
{
    tool_init(argc > 0 ? argv[0] : "", "cairn-io", "qemu-io");
    return tool_run(&io_program, argc, argv);
}
