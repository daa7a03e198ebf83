/*
 * cairn-io's asynchronous requests: a command starts one and returns; it reports
 * when it has ended, while other commands run or in aio_flush. How it ended is
 * not the command's exit status.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "img-tool/io.h"
#include "img-tool/tool.h"

enum { READ_FILL = 0xab, WRITE_FILL = 0xcd };

struct aio {
    struct io *io;
    struct io_request request;
    struct io_report report;
    struct io_vector vector;
    const char *failed; /* "readv failed" */
    bool verbose, unmap, zero, invalid;
    int pattern; /* -1: none */
};

static void aio_free(struct aio *aio)
{
    if (aio->vector.buf) {
        io_vector_done(aio->io, &aio->vector);
    }
    g_free(aio);
}

static void aio_tell(struct aio *aio)
{
    const struct io_request *r = &aio->request;
    if (r->result) {
        tool_printf("%s: %s\n", aio->failed, g_strerror(-r->result));
        return;
    }
    if (r->kind == IO_READ && aio->pattern >= 0) {
        io_verify(aio->vector.buf, r->length, aio->pattern, r->offset);
    }
    if (r->kind == IO_READ && aio->verbose && !aio->report.quiet) {
        io_dump(aio->vector.buf, r->length, r->offset);
    }
    io_report_print(&aio->report);
}

static void aio_co_run(void *arg)
{
    struct aio *aio = arg;
    io_co_perform(&aio->request);
    aio_tell(aio);
    fflush(stdout);
    aio->io->in_flight--;
    aio_free(aio);
}

static void aio_spawn(void *arg)
{
    struct aio *aio = arg;
    loop_spawn(aio->io->session.loop, aio_co_run, aio);
}

/* Starts the request, which frees `aio` when it has ended. */
static int aio_start(struct aio *aio, const char *done)
{
    aio->request.node = aio->io->node;
    aio->request.iov = aio->vector.iov;
    aio->report.done = done;
    aio->report.start_ns = g_get_monotonic_time() * 1000;
    aio->report.offset = aio->request.offset;
    aio->report.length = aio->request.length;
    aio->io->in_flight++;
    loop_post(aio->io->session.loop, aio_spawn, aio);
    return 0;
}

static bool set_option(struct aio *aio, int letter)
{
    switch (letter) {
    case 'C': aio->report.terse = true; break;
    case 'f': aio->request.flags |= REQ_FUA; break;
    case 'i': aio->invalid = true; break;
    case 'q': aio->report.quiet = true; break;
    case 'u': aio->unmap = true; break;
    case 'v': aio->verbose = true; break;
    case 'z': aio->zero = true; break;
    case 'P': return io_pattern(optarg, &aio->pattern);
    default: break;
    }
    return true;
}

/* A request with the options that the command was given; NULL, having said why. */
static struct aio *aio_parse(struct io *io, const struct io_command *command, int argc, char **argv)
{
    struct aio *aio = g_new0(struct aio, 1);
    aio->io = io;
    aio->pattern = -1;
    for (int letter; (letter = io_option(command, argc, argv)) != -1;) {
        if (letter == '?' || !set_option(aio, letter)) {
            if (letter == '?') {
                io_misused(command);
            }
            aio_free(aio);
            return NULL;
        }
    }
    if (optind > argc - 2) {
        io_misused(command);
        aio_free(aio);
        return NULL;
    }
    return aio;
}

static int give_up(struct aio *aio)
{
    aio_free(aio);
    return -1;
}

static int run_aio_read(struct io *io, const struct io_command *command, int argc, char **argv)
{
    struct aio *aio = aio_parse(io, command, argc, argv);
    if (!aio) {
        return -1;
    }
    if (aio->invalid) {
        tool_printf("injecting invalid read request\n");
        aio_free(aio);
        return 0;
    }
    if (!io_number(argv[optind], &aio->request.offset) ||
        !io_vector_init(io, &aio->vector, argv + optind + 1, READ_FILL)) {
        return give_up(aio);
    }
    aio->request.kind = IO_READ;
    aio->request.length = aio->vector.length;
    aio->failed = "readv failed";
    return aio_start(aio, "read");
}

/* True when the options of a write fit each other and its words. */
static bool check_write(const struct aio *aio, int words)
{
    if (aio->unmap && !aio->zero) {
        tool_printf("-u requires -z to be specified\n");
        return false;
    }
    if (aio->zero && words != 2) {
        tool_printf("-z supports only a single length parameter\n");
        return false;
    }
    return true;
}

static int run_aio_write(struct io *io, const struct io_command *command, int argc, char **argv)
{
    struct aio *aio = aio_parse(io, command, argc, argv);
    if (!aio) {
        return -1;
    }
    if (!check_write(aio, argc - optind)) {
        return give_up(aio);
    }
    if (aio->invalid) {
        tool_printf("injecting invalid write request\n");
        aio_free(aio);
        return 0;
    }
    struct io_request *r = &aio->request;
    r->kind = aio->zero ? IO_ZERO : IO_WRITE;
    r->flags |= aio->unmap ? REQ_MAY_UNMAP : 0;
    aio->failed = "aio_write failed";
    bool ok = io_number(argv[optind], &r->offset);
    if (ok && aio->zero) {
        ok = io_number(argv[optind + 1], &r->length);
    } else if (ok) {
        ok = io_vector_init(io, &aio->vector, argv + optind + 1,
                            aio->pattern < 0 ? WRITE_FILL : aio->pattern);
        r->length = aio->vector.length;
    }
    return ok ? aio_start(aio, "wrote") : give_up(aio);
}

static int run_aio_discard(struct io *io, const struct io_command *command, int argc, char **argv)
{
    struct aio *aio = aio_parse(io, command, argc, argv);
    if (!aio) {
        return -1;
    }
    aio->request.kind = IO_DISCARD;
    aio->failed = "aio_discard failed";
    if (argc - optind != 2 || !io_number(argv[optind], &aio->request.offset) ||
        !io_length(argv[optind + 1], IO_LENGTH_MAX, "", &aio->request.length)) {
        return give_up(aio);
    }
    return aio_start(aio, "discarded ");
}

static int run_aio_flush(struct io *io, const struct io_command *command, int argc, char **argv)
{
    io_drain(io);
    return 0;
}

static const struct io_option read_options[] = {
    {'C', NULL, "report numbers for programs"},
    {'i', NULL, "start nothing, and say so"},
    {'P', "pattern", "verify that every byte is this one"},
    {'q', NULL, "report nothing"},
    {'r', NULL, "accepted: buffers need no registration"},
    {'v', NULL, "print what was read"},
    {0}};

static const struct io_option write_options[] = {
    {'C', NULL, "report numbers for programs"},
    {'f', NULL, "durable when it ends"},
    {'i', NULL, "start nothing, and say so"},
    {'P', "pattern", "the byte to write, instead of 0xcd"},
    {'q', NULL, "report nothing"},
    {'r', NULL, "accepted: buffers need no registration"},
    {'u', NULL, "with -z: the space may be given back"},
    {'z', NULL, "make the range read as zeroes"},
    {0}};

static const struct io_option discard_options[] = {
    {'C', NULL, "report numbers for programs"}, {'q', NULL, "report nothing"}, {0}};

const struct io_command io_aio_read_command = {
    .name = "aio_read",
    .synopsis = "[-Ciqrv] [-P pattern] off len [len..]",
    .summary = "asynchronously reads a number of bytes",
    .about = "Succeeds as soon as the request has begun; aio_flush waits for its end.",
    .options = read_options,
    .min_args = 2,
    .max_args = -1,
    .run = run_aio_read,
};

const struct io_command io_aio_write_command = {
    .name = "aio_write",
    .synopsis = "[-Cfiqruz] [-P pattern] off len [len..]",
    .summary = "asynchronously writes a number of bytes",
    .about = "Succeeds as soon as the request has begun; aio_flush waits for its end.",
    .options = write_options,
    .min_args = 2,
    .max_args = -1,
    .flags = IO_WRITES,
    .run = run_aio_write,
};

const struct io_command io_aio_discard_command = {
    .name = "aio_discard",
    .synopsis = "[-Cq] off len",
    .summary = "asynchronously discards a number of bytes",
    .about = "Succeeds as soon as the request has begun; aio_flush waits for its end.",
    .options = discard_options,
    .min_args = 2,
    .max_args = -1,
    .flags = IO_WRITES,
    .run = run_aio_discard,
};

const struct io_command io_aio_flush_command = {
    .name = "aio_flush",
    .summary = "completes all outstanding aio requests",
    .run = run_aio_flush,
};
