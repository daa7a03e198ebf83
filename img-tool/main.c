/*
 * cairn-img: options before the command, the choice of the command, and the
 * one place where an error is printed. This file owns the program's only
 * mutable state: the name it was called by and the file that a fatal signal
 * must remove.
 */
#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cli.h"
#include "base/error.h"
#include "base/opts.h"
#include "base/trace.h"
#include "base/words.h"
#include "img-tool/help.h"
#include "img-tool/tool.h"

#define COMMAND(name) extern const struct cli_command name##_command;
#include "img-tool/command-list.h"
#undef COMMAND

#define COMMAND(name) &name##_command,
const struct cli_command *const tool_commands[] = {
#include "img-tool/command-list.h"
    NULL};
#undef COMMAND

static const char *program = "cairn-img";
static char doomed_path[4096]; /* removed by a fatal signal; written with signals blocked */

const char *tool_program(void)
{
    return program;
}

bool tool_is_compat(void)
{
    return !strcmp(program, "qemu-img");
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
static void catch_fatal_signals(void)
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

/* Prints an error once; bad command lines also get the way to the help. */
static void print_error(const GError *error, const char *command, bool bad_line)
{
    fprintf(stderr, "%s: %s\n", program, error->message);
    if (bad_line) {
        fprintf(stderr, "Try '%s%s%s --help' for more information\n", program, command ? " " : "",
                command ? command : "");
    }
}

/* ---- commands ---- */

static const struct cli_command *find_command(const char *name)
{
    for (int i = 0; tool_commands[i]; i++) {
        if (!strcmp(tool_commands[i]->name, name)) {
            return tool_commands[i];
        }
    }
    return NULL;
}

static int refuse_command(const char *name)
{
    const char *names[G_N_ELEMENTS(tool_commands)] = {NULL};
    for (int i = 0; tool_commands[i]; i++) {
        names[i] = tool_commands[i]->name;
    }
    g_autofree char *hint = words_hint(names, name);
    fprintf(stderr, "%s: Command not found: %s%s\nTry '%s --help' for more information\n", program,
            name, hint, program);
    return EXIT_FAILURE;
}

static int print_command_help(const struct cli_command *command)
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

static int run_command(int argc, char **argv)
{
    const struct cli_command *command = find_command(argv[0]);
    if (!command) {
        return refuse_command(argv[0]);
    }
    void *args = g_malloc0(command->args_size);
    g_auto(GStrv) names = NULL;
    g_autoptr(GError) error = NULL;
    int status = EXIT_FAILURE;
    enum cli_outcome outcome = cli_parse(command, argc, argv, args, &names, &error);
    if (outcome == CLI_HELP) {
        status = print_command_help(command);
    } else if (outcome == CLI_RUN) {
        status = command->run(command, args, names, &error);
        status = finish_output(status, &error);
    }
    if (error) {
        print_error(error, command->name, outcome == CLI_ERROR);
    }
    cli_clear(command, args);
    g_free(args);
    return status;
}

/* ---- options before the command ---- */

/* "[enable=]PATTERN[,file=FILE]". */
static bool enable_trace(const char *text, GError **error)
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

/* The value of option `letter` (or NULL) or `name` at argv[*i], or NULL when that is another
 * option. */
static const char *option_value(char **argv, int argc, int *i, const char *letter, const char *name)
{
    const char *word = argv[*i];
    size_t len = strlen(name);
    if ((letter && !strcmp(word, letter)) || !strcmp(word, name)) {
        return *i + 1 < argc ? argv[++*i] : "";
    }
    if (!strncmp(word, name, len) && word[len] == '=') {
        return word + len + 1;
    }
    return letter && !strncmp(word, letter, 2) && word[2] ? word + 2 : NULL;
}

/* Options that print something and end the program; false when argv[*i] is none of them. */
static bool run_printer(int argc, char **argv, int *i, int *ret_status, GError **error)
{
    static const struct {
        const char *name;
        bool (*print)(const char *value, GError **error);
    } printers[] = {{"--dump-man", help_print_man},
                    {"--completion", help_print_completion},
                    {"--examples", help_print_examples}};
    bool done = false, found = false;
    if (!strcmp(argv[*i], "-h") || !strcmp(argv[*i], "--help")) {
        found = true;
        done = help_print(error);
    } else if (!strcmp(argv[*i], "-V") || !strcmp(argv[*i], "--version")) {
        found = true;
        done = help_print_version(error);
    }
    for (size_t k = 0; k < G_N_ELEMENTS(printers) && !found; k++) {
        const char *value = option_value(argv, argc, i, NULL, printers[k].name);
        found = value != NULL;
        done = found && printers[k].print(value, error);
    }
    *ret_status = done ? EXIT_SUCCESS : EXIT_FAILURE;
    return found;
}

/* Options before the command. Returns the command's index, or -1 with *ret_status when all is
 * done. */
static int parse_leading(int argc, char **argv, int *ret_status, GError **error)
{
    int i = 1;
    *ret_status = EXIT_FAILURE;
    for (; i < argc && argv[i][0] == '-'; i++) {
        if (run_printer(argc, argv, &i, ret_status, error)) {
            return -1;
        }
        const char *value = option_value(argv, argc, &i, "-T", "--trace");
        if (!value) {
            error_set(error, EINVAL, "unknown option '%s' before the command", argv[i]);
            return -1;
        }
        if (!enable_trace(value, error)) {
            return -1;
        }
    }
    if (i == argc) {
        error_set(error, EINVAL, "no command given");
        return -1;
    }
    return i;
}

/* The last part of argv[0]; libtool's wrappers put "lt-" before it. */
static const char *called_by(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    return g_str_has_prefix(name, "lt-") ? name + 3 : name;
}

int main(int argc, char **argv)
{
    if (argc > 0 && argv[0][0]) {
        program = called_by(argv[0]);
    }
    catch_fatal_signals();
    int status;
    g_autoptr(GError) error = NULL;
    int first = parse_leading(argc, argv, &status, &error);
    if (error) {
        print_error(error, NULL, true);
    }
    return first < 0 ? status : run_command(argc - first, argv + first);
}
