/*
 * cairn-io's commands for tests of failure: breakpoints in a blkdebug filter,
 * and ways to wait and to die.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/loop.h"
#include "img-tool/io.h"
#include "img-tool/tool.h"

static int tell_failure(const char *what, const char *tag, GError *error)
{
    tool_printf("%s%s: %s\n", what, tag, g_strerror(error_errno(error)));
    g_error_free(error);
    return -1;
}

static int run_break(struct io *io, const struct io_command *command, int argc, char **argv)
{
    GError *error = NULL;
    return node_debug_break(io->node, argv[1], argv[2], &error)
               ? 0
               : tell_failure("Could not set breakpoint", "", error);
}

static int run_resume(struct io *io, const struct io_command *command, int argc, char **argv)
{
    GError *error = NULL;
    return node_debug_resume(io->node, argv[1], &error)
               ? 0
               : tell_failure("Could not resume request", "", error);
}

static int run_remove_break(struct io *io, const struct io_command *command, int argc, char **argv)
{
    GError *error = NULL;
    return node_debug_remove_break(io->node, argv[1], &error)
               ? 0
               : tell_failure("Could not remove breakpoint ", argv[1], error);
}

static int run_wait_break(struct io *io, const struct io_command *command, int argc, char **argv)
{
    while (!node_debug_is_suspended(io->node, argv[1])) {
        if (!io->in_flight) {
            tool_printf("no request is on its way to breakpoint %s\n", argv[1]);
            return -1;
        }
        loop_turn(io->session.loop, true);
    }
    return 0;
}

static void sleep_co_run(void *arg)
{
    loop_co_sleep(*(int64_t *)arg);
}

static int run_sleep(struct io *io, const struct io_command *command, int argc, char **argv)
{
    char *end;
    errno = 0;
    long ms = strtol(argv[1], &end, 0);
    if (end == argv[1] || *end || errno || ms < 0) {
        tool_printf("%s is not a valid number\n", argv[1]);
        return -1;
    }
    int64_t ns = (int64_t)ms * 1000000;
    loop_call(io->session.loop, sleep_co_run, &ns);
    return 0;
}

static int run_sigraise(struct io *io, const struct io_command *command, int argc, char **argv)
{
    int64_t number;
    if (!io_number(argv[1], &number)) {
        return -1;
    }
    if (number > SIGRTMAX) {
        tool_printf("signal argument '%s' is too large to be a valid signal number\n", argv[1]);
        return -1;
    }
    fflush(stdout);
    raise((int)number);
    return 0;
}

static int run_abort(struct io *io, const struct io_command *command, int argc, char **argv)
{
    abort();
}

const struct io_command io_break_command = {
    .name = "break",
    .synopsis = "event tag",
    .summary = "sets a breakpoint on event and tags the stopped request as tag",
    .about = "Needs a blkdebug filter in the image, as blkdebug::disk.qcow2 has.",
    .min_args = 2,
    .max_args = 2,
    .run = run_break,
};

const struct io_command io_resume_command = {
    .name = "resume",
    .synopsis = "tag",
    .summary = "resumes the request tagged as tag",
    .min_args = 1,
    .max_args = 1,
    .run = run_resume,
};

const struct io_command io_remove_break_command = {
    .name = "remove_break",
    .synopsis = "tag",
    .summary = "remove a breakpoint by tag",
    .min_args = 1,
    .max_args = 1,
    .run = run_remove_break,
};

const struct io_command io_wait_break_command = {
    .name = "wait_break",
    .synopsis = "tag",
    .summary = "waits for the suspension of a request",
    .min_args = 1,
    .max_args = 1,
    .run = run_wait_break,
};

const struct io_command io_sleep_command = {
    .name = "sleep",
    .summary = "waits for the given value in milliseconds",
    .min_args = 1,
    .max_args = 1,
    .flags = IO_GLOBAL,
    .run = run_sleep,
};

const struct io_command io_sigraise_command = {
    .name = "sigraise",
    .synopsis = "signal",
    .summary = "raises a signal",
    .about = "'sigraise 15' ends the program as kill(1) would.",
    .min_args = 1,
    .max_args = 1,
    .flags = IO_GLOBAL,
    .run = run_sigraise,
};

const struct io_command io_abort_command = {
    .name = "abort",
    .summary = "simulate a program crash using abort(3)",
    .flags = IO_GLOBAL,
    .run = run_abort,
};
