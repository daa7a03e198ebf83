/*
 * cairn-io's read, write, readv, writev, discard and flush.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "img-tool/io.h"
#include "img-tool/tool.h"

enum { SECTOR = 512, READ_FILL = 0xab, WRITE_FILL = 0xcd };

/* What the options of one command said. */
struct args {
    bool quiet, terse, verbose, state, packed, fua, no_fallback, unmap, zero;
    int pattern;        /* -1: none */
    const char *source; /* file to fill the buffer from */
    int64_t from, part; /* of the verification; part -1: to the end */
    bool from_given;
    int64_t offset, length;
};

static int64_t now_ns(void)
{
    return g_get_monotonic_time() * 1000;
}

/* Sets what option `letter` means; false when its value is wrong, which has been said. */
static bool set_option(struct args *a, int letter, bool writes)
{
    switch (letter) {
    case 'b': a->state = true; return true;
    case 'c': a->packed = true; return true;
    case 'C': a->terse = true; return true;
    case 'f': a->fua = true; return true;
    case 'n': a->no_fallback = true; return true;
    case 'q': a->quiet = true; return true;
    case 'u': a->unmap = true; return true;
    case 'v': a->verbose = true; return true;
    case 'z': a->zero = true; return true;
    case 'P': return io_pattern(optarg, &a->pattern);
    case 'l': return io_number(optarg, &a->part);
    case 's':
        a->source = optarg;
        a->from_given = true;
        return writes || io_number(optarg, &a->from);
    default: return true;
    }
}

static bool parse_options(const struct io_command *command, int argc, char **argv, bool writes,
                          struct args *ret_args)
{
    struct args a = {.pattern = -1, .part = -1};
    for (int letter; (letter = io_option(command, argc, argv)) != -1;) {
        if (letter == '?') {
            io_misused(command);
            return false;
        }
        if (!set_option(&a, letter, writes)) {
            return false;
        }
    }
    *ret_args = a;
    return true;
}

static bool check_aligned(const struct args *a)
{
    const struct {
        const char *name;
        int64_t value;
    } rows[] = {{"offset", a->offset}, {"count", a->length}};
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        if (rows[i].value % SECTOR) {
            tool_printf("%" PRId64 " is not a sector-aligned value for '%s'\n", rows[i].value,
                        rows[i].name);
            return false;
        }
    }
    return true;
}

static int report_failure(const char *what, int ret)
{
    tool_printf("%s failed: %s\n", what, g_strerror(-ret));
    return -1;
}

/* ---- read ---- */

/* Reads into one piece of memory with `iov` over it; then verifies, dumps and reports. */
static int read_and_tell(struct io *io, const struct args *a, const char *what,
                         const struct iovec *iov, const uint8_t *buf)
{
    struct io_request request = {
        io->node, a->state ? IO_STATE_READ : IO_READ, 0, a->offset, a->length, iov, 0};
    struct io_report report = {"read", now_ns(), a->offset, a->length, a->quiet, a->terse};
    int ret = io_perform(io, &request);
    if (ret) {
        return report_failure(what, ret);
    }
    int64_t part = a->part < 0 ? a->length - a->from : a->part;
    bool same = a->pattern < 0 || io_verify(buf + a->from, part, a->pattern, a->offset + a->from);
    if (a->quiet) {
        return same ? 0 : -1;
    }
    if (a->verbose) {
        io_dump(buf, a->length, a->offset);
    }
    io_report_print(&report);
    return same ? 0 : -1;
}

static bool check_part(const struct args *a)
{
    int64_t part = a->part < 0 ? a->length - a->from : a->part;
    if (part < 0 || a->from > a->length - part) {
        tool_printf("pattern verification range exceeds end of read data\n");
        return false;
    }
    return true;
}

static int run_read(struct io *io, const struct io_command *command, int argc, char **argv)
{
    struct args a;
    if (!parse_options(command, argc, argv, false, &a)) {
        return -1;
    }
    if (optind != argc - 2) {
        return io_misused(command);
    }
    if (!io_number(argv[optind], &a.offset) ||
        !io_length(argv[optind + 1], IO_LENGTH_MAX, "", &a.length)) {
        return -1;
    }
    if (a.pattern < 0 && (a.from_given || a.part >= 0)) {
        return io_misused(command);
    }
    if (!check_part(&a) || (a.state && !check_aligned(&a))) {
        return -1;
    }
    uint8_t *buf = io_buffer_new(io, a.length, READ_FILL);
    struct iovec iov = {buf, (size_t)a.length};
    int ret = buf ? read_and_tell(io, &a, "read", &iov, buf) : -1;
    io_buffer_free(io, buf);
    return ret;
}

static int run_readv(struct io *io, const struct io_command *command, int argc, char **argv)
{
    struct args a;
    struct io_vector vector;
    if (!parse_options(command, argc, argv, false, &a)) {
        return -1;
    }
    if (optind > argc - 2) {
        return io_misused(command);
    }
    if (!io_number(argv[optind], &a.offset) ||
        !io_vector_init(io, &vector, argv + optind + 1, READ_FILL)) {
        return -1;
    }
    a.length = vector.length;
    int ret = read_and_tell(io, &a, "readv", vector.iov, vector.buf);
    io_vector_done(io, &vector);
    return ret;
}

/* ---- write ---- */

/* Options that contradict each other; the message, or NULL. */
static const char *find_conflict(const struct args *a)
{
    if (a->state && a->zero) {
        return "-b and -z cannot be specified at the same time";
    }
    if (a->fua && (a->state || a->packed)) {
        return "-f and -b or -c cannot be specified at the same time";
    }
    if (a->no_fallback && !a->zero) {
        return "-n requires -z to be specified";
    }
    if (a->unmap && !a->zero) {
        return "-u requires -z to be specified";
    }
    return a->zero + (a->pattern >= 0) + (a->source != NULL) > 1
               ? "Only one of -z, -P, and -s can be specified at the same time"
               : NULL;
}

/* Fills `buf` with the file's contents over and over. */
static bool fill_from_file(uint8_t *buf, int64_t length, const char *name)
{
    FILE *file = fopen(name, "re");
    if (!file) {
        fprintf(stderr, "%s: %s\n", name, g_strerror(errno));
        return false;
    }
    size_t have = fread(buf, 1, (size_t)length, file);
    bool failed = ferror(file);
    fclose(file);
    if (failed || (!have && length)) {
        fprintf(stderr, failed ? "%s: read error\n" : "%s: file is empty\n", name);
        return false;
    }
    for (size_t at = have; at < (size_t)length; at++) {
        buf[at] = buf[at - have];
    }
    return true;
}

static uint32_t write_flags(const struct args *a)
{
    return (a->fua ? REQ_FUA : 0) | (a->unmap ? REQ_MAY_UNMAP : 0) |
           (a->no_fallback ? REQ_NO_FALLBACK : 0);
}

static enum io_kind write_kind(const struct args *a)
{
    if (a->zero) {
        return IO_ZERO;
    }
    return a->state ? IO_STATE_WRITE : a->packed ? IO_PACKED : IO_WRITE;
}

static int write_and_tell(struct io *io, const struct args *a, const char *what,
                          const struct iovec *iov)
{
    struct io_request request = {io->node, write_kind(a), write_flags(a), a->offset, a->length, iov,
                                 0};
    struct io_report report = {"wrote", now_ns(), a->offset, a->length, a->quiet, a->terse};
    int ret = io_perform(io, &request);
    if (ret) {
        return report_failure(what, ret);
    }
    io_report_print(&report);
    return 0;
}

static int run_write(struct io *io, const struct io_command *command, int argc, char **argv)
{
    struct args a;
    if (!parse_options(command, argc, argv, true, &a)) {
        return -1;
    }
    if (optind != argc - 2) {
        return io_misused(command);
    }
    const char *conflict = find_conflict(&a);
    if (conflict) {
        tool_printf("%s\n", conflict);
        return -1;
    }
    if (!io_number(argv[optind], &a.offset) ||
        !io_length(argv[optind + 1], a.no_fallback ? INT64_MAX : IO_LENGTH_MAX, " without -n",
                   &a.length) ||
        ((a.state || a.packed) && !check_aligned(&a))) {
        return -1;
    }
    uint8_t *buf =
        a.zero ? NULL : io_buffer_new(io, a.length, a.pattern < 0 ? WRITE_FILL : a.pattern);
    bool ready = a.zero || (buf && (!a.source || fill_from_file(buf, a.length, a.source)));
    struct iovec iov = {buf, (size_t)a.length};
    int ret = ready ? write_and_tell(io, &a, "write", &iov) : -1;
    io_buffer_free(io, buf);
    return ret;
}

static int run_writev(struct io *io, const struct io_command *command, int argc, char **argv)
{
    struct args a;
    struct io_vector vector;
    if (!parse_options(command, argc, argv, true, &a)) {
        return -1;
    }
    if (optind > argc - 2) {
        return io_misused(command);
    }
    if (!io_number(argv[optind], &a.offset) ||
        !io_vector_init(io, &vector, argv + optind + 1, a.pattern < 0 ? WRITE_FILL : a.pattern)) {
        return -1;
    }
    a.length = vector.length;
    int ret = write_and_tell(io, &a, "writev", vector.iov);
    io_vector_done(io, &vector);
    return ret;
}

/* ---- discard and flush ---- */

static int run_discard(struct io *io, const struct io_command *command, int argc, char **argv)
{
    struct args a;
    if (!parse_options(command, argc, argv, false, &a)) {
        return -1;
    }
    if (optind != argc - 2) {
        return io_misused(command);
    }
    if (!io_number(argv[optind], &a.offset) ||
        !io_length(argv[optind + 1], IO_LENGTH_MAX, "", &a.length)) {
        return -1;
    }
    struct io_request request = {io->node, IO_DISCARD, 0, a.offset, a.length, NULL, 0};
    struct io_report report = {"discard", now_ns(), a.offset, a.length, a.quiet, a.terse};
    int ret = io_perform(io, &request);
    if (ret) {
        return report_failure("discard", ret);
    }
    io_report_print(&report);
    return 0;
}

static int run_flush(struct io *io, const struct io_command *command, int argc, char **argv)
{
    struct io_request request = {.node = io->node, .kind = IO_FLUSH};
    int ret = io_perform(io, &request);
    return ret ? report_failure("flush", ret) : 0;
}

/* ---- tables ---- */

static const struct io_option read_options[] = {
    {'b', NULL, "read the area of the machine's state, not the disk"},
    {'C', NULL, "report numbers for programs"},
    {'l', "len", "how many bytes to verify (with -P)"},
    {'p', NULL, "accepted, and nothing"},
    {'P', "pattern", "verify that every byte is this one"},
    {'q', NULL, "report nothing"},
    {'r', NULL, "accepted: buffers need no registration"},
    {'s', "off", "where to begin verifying, in the data read (with -P)"},
    {'v', NULL, "print what was read"},
    {0}};

static const struct io_option readv_options[] = {
    {'C', NULL, "report numbers for programs"},
    {'P', "pattern", "verify that every byte is this one"},
    {'q', NULL, "report nothing"},
    {'r', NULL, "accepted: buffers need no registration"},
    {'v', NULL, "print what was read"},
    {0}};

static const struct io_option write_options[] = {
    {'b', NULL, "write the area of the machine's state, not the disk"},
    {'c', NULL, "write compressed"},
    {'C', NULL, "report numbers for programs"},
    {'f', NULL, "durable when it returns"},
    {'n', NULL, "with -z: fail rather than write zero bytes"},
    {'p', NULL, "accepted, and nothing"},
    {'P', "pattern", "the byte to write, instead of 0xcd"},
    {'q', NULL, "report nothing"},
    {'r', NULL, "accepted: buffers need no registration"},
    {'s', "source_file", "write this file's contents, over and over"},
    {'u', NULL, "with -z: the space may be given back"},
    {'z', NULL, "make the range read as zeroes"},
    {0}};

static const struct io_option writev_options[] = {
    {'C', NULL, "report numbers for programs"},
    {'f', NULL, "durable when it returns"},
    {'P', "pattern", "the byte to write, instead of 0xcd"},
    {'q', NULL, "report nothing"},
    {'r', NULL, "accepted: buffers need no registration"},
    {0}};

static const struct io_option discard_options[] = {
    {'C', NULL, "report numbers for programs"}, {'q', NULL, "report nothing"}, {0}};

const struct io_command io_read_command = {
    .name = "read",
    .alias = "r",
    .synopsis = "[-abCqrv] [-P pattern [-s off] [-l len]] off len",
    .summary = "reads a number of bytes at a specified offset",
    .about = "'read -v 512 1k' prints the kilobyte that begins at byte 512.",
    .options = read_options,
    .min_args = 2,
    .max_args = -1,
    .run = run_read,
};

const struct io_command io_readv_command = {
    .name = "readv",
    .synopsis = "[-Cqrv] [-P pattern] off len [len..]",
    .summary = "reads a number of bytes at a specified offset",
    .about = "As read, into one buffer for each length: 'readv -v 512 1k 1k'.",
    .options = readv_options,
    .min_args = 2,
    .max_args = -1,
    .run = run_readv,
};

const struct io_command io_write_command = {
    .name = "write",
    .alias = "w",
    .synopsis = "[-bcCfnqruz] [-P pattern | -s source_file] off len",
    .summary = "writes a number of bytes at a specified offset",
    .about = "'write -P 7 512 1k' writes a kilobyte of sevens from byte 512 on.",
    .options = write_options,
    .min_args = 2,
    .max_args = -1,
    .flags = IO_WRITES,
    .run = run_write,
};

const struct io_command io_writev_command = {
    .name = "writev",
    .synopsis = "[-Cfqr] [-P pattern] off len [len..]",
    .summary = "writes a number of bytes at a specified offset",
    .about = "As write, from one buffer for each length: 'writev 512 1k 1k'.",
    .options = writev_options,
    .min_args = 2,
    .max_args = -1,
    .flags = IO_WRITES,
    .run = run_writev,
};

const struct io_command io_discard_command = {
    .name = "discard",
    .alias = "d",
    .synopsis = "[-Cq] off len",
    .summary = "discards a number of bytes at a specified offset",
    .about = "'discard 512 1k' lets go of the kilobyte that begins at byte 512.",
    .options = discard_options,
    .min_args = 2,
    .max_args = -1,
    .flags = IO_WRITES,
    .run = run_discard,
};

const struct io_command io_flush_command = {
    .name = "flush",
    .alias = "f",
    .summary = "flush all in-core file state to disk",
    .run = run_flush,
};
