/*
 * cairn-img: options before the command, and the choice of the command.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cli.h"
#include "base/error.h"
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
    fprintf(stderr, "%s: Command not found: %s%s\nTry '%s --help' for more information\n",
            tool_program(), name, hint, tool_program());
    return EXIT_FAILURE;
}

static int run_command(int argc, char **argv)
{
    const struct cli_command *command = find_command(argv[0]);
    return command ? tool_run(command, argc, argv) : refuse_command(argv[0]);
}

/* ---- options before the command ---- */

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
        if (!tool_enable_trace(value, error)) {
            return -1;
        }
    }
    if (i == argc) {
        error_set(error, EINVAL, "no command given");
        return -1;
    }
    return i;
}

int main(int argc, char **argv)
{
    tool_init(argc > 0 ? argv[0] : "", "cairn-img", "qemu-img");
    tool_catch_signals();
    int status;
    g_autoptr(GError) error = NULL;
    int first = parse_leading(argc, argv, &status, &error);
    if (error) {
        tool_print_error(error, NULL, true);
    }
    return first < 0 ? status : run_command(argc - first, argv + first);
}
