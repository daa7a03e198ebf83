/*
 * What cairn-img and cairn-io share. This file owns the only mutable state of a
 * program: the name it was called by, and the file that a fatal signal must
 * remove.
 */
#include "img-tool/tool.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cli.h"
#include "base/error.h"
#include "base/opts.h"
#include "base/trace.h"

#define COMPAT_VERSION "11.1.3" /* the QEMU whose command line and output ours follow */

static const char *program = "cairn-img";
static const char *compat_program = "qemu-img";
static char doomed_path[4096]; /* removed by a fatal signal; written with signals blocked */

const char *tool_program(void)
{
    return program;
}

bool tool_is_compat(void)
{
    return !strcmp(program, compat_program);
}

char *tool_version(void)
{
    return tool_is_compat() ? g_strdup_printf("%s version " COMPAT_VERSION " (cairn %s)\n",
                                              compat_program, PACKAGE_VERSION)
                            : g_strdup_printf("%s version %s\n", program, PACKAGE_VERSION);
}

/* ---- signals ---- */

static const int fatal_signals[] = {SIGINT, SIGTERM, SIGHUP};

static void on_fatal_signal(int number)
{
    if (doomed_path[0]) {
        unlink(doomed_path);
    }
    _exit(128 + number);
}

static void write_all(const char *text)
{
    size_t left = strlen(text);
    for (ssize_t n; left && (n = write(STDERR_FILENO, text, left)) > 0; left -= (size_t)n) {
        text += n;
    }
}

void tool_die(const char *text)
{
    if (doomed_path[0]) {
        unlink(doomed_path);
    }
    write_all(program);
    write_all(": ");
    write_all(text);
    _exit(EXIT_FAILURE);
}

void tool_remove_on_signal(const char *path)
{
    sigset_t set, before;
    sigemptyset(&set);
    for (size_t i = 0; i < G_N_ELEMENTS(fatal_signals); i++) {
        sigaddset(&set, fatal_signals[i]);
    }
    pthread_sigmask(SIG_BLOCK, &set, &before);
    g_strlcpy(doomed_path, path ? path : "", sizeof(doomed_path));
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* A signal that the caller had ignored, as nohup does, stays ignored. */
void tool_catch_signals(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(fatal_signals); i++) {
        struct sigaction action = {.sa_handler = on_fatal_signal}, before;
        sigaction(fatal_signals[i], NULL, &before);
        if (before.sa_handler != SIG_IGN) {
            sigaction(fatal_signals[i], &action, NULL);
        }
    }
}

/* ---- output ---- */

bool tool_print(const char *text, GError **error)
{
    if (fputs(text, stdout) == EOF || fflush(stdout)) {
        return error_set_errno(error, errno, "could not write to standard output");
    }
    return true;
}

void tool_printf(const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    vfprintf(stdout, format, ap);
    va_end(ap);
}

void tool_print_json(const json_t *value)
{
    json_dumpf(value, stdout, JSON_INDENT(4) | JSON_ENCODE_ANY);
    putchar('\n');
}

void tool_print_error(const GError *error, const char *command, bool bad_line)
{
    fprintf(stderr, "%s: %s\n", program, error->message);
    if (bad_line) {
        fprintf(stderr, "Try '%s%s%s --help' for more information\n", program, command ? " " : "",
                command ? command : "");
    }
}

/* ---- running ---- */

static int print_help(const struct cli_command *command)
{
    g_autoptr(GString) text = g_string_new(NULL);
    cli_print_help(program, command, text);
    return tool_print(text->str, NULL) ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* Flushes standard output and turns its failure into one of the command. */
static int finish_output(int status, GError **error)
{
    if ((fflush(stdout) || ferror(stdout)) && !*error) {
        error_set_errno(error, errno, "could not write to standard output");
        return status ? status : EXIT_FAILURE;
    }
    return status;
}

int tool_run(const struct cli_command *command, int argc, char **argv)
{
    void *args = g_malloc0(command->args_size);
    g_auto(GStrv) names = NULL;
    g_autoptr(GError) error = NULL;
    int status = EXIT_FAILURE;
    enum cli_outcome outcome = cli_parse(command, argc, argv, args, &names, &error);
    if (outcome == CLI_HELP) {
        status = print_help(command);
    } else if (outcome == CLI_RUN) {
        status = command->run(command, args, names, &error);
        status = finish_output(status, &error);
    }
    if (error) {
        const char *name = *command->name ? command->name : NULL;
        tool_print_error(error, name, outcome == CLI_ERROR);
    }
    cli_clear(command, args);
    g_free(args);
    return status;
}

bool tool_enable_trace(const char *text, GError **error)
{
    json_t *opts = opts_parse(text, "enable", error);
    if (!opts) {
        return false;
    }
    const char *pattern = json_string_value(json_object_get(opts, "enable"));
    const char *file = json_string_value(json_object_get(opts, "file"));
    bool opened = pattern && (!file || freopen(file, "w", stderr));
    if (!pattern) {
        error_set(error, EINVAL, "option '--trace' wants a pattern, not '%s'", text);
    } else if (!opened) {
        error_set_errno(error, errno, "could not open trace file '%s'", file);
    } else {
        trace_enable(pattern);
    }
    json_decref(opts);
    return opened;
}

/* The last part of argv[0]; libtool's wrappers put "lt-" before it. */
static const char *called_by(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    return g_str_has_prefix(name, "lt-") ? name + 3 : name;
}

void tool_init(const char *path, const char *own, const char *compat)
{
    json_set_alloc_funcs(g_malloc, g_free); /* no output that lacks a member for want of memory */
    program = path[0] ? called_by(path) : own;
    compat_program = compat;
}
