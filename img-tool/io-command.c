/*
 * Lines to commands: words are separated by blanks, there is no quoting. The
 * commands `help` and `quit` are here as well.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "img-tool/io.h"
#include "img-tool/tool.h"

#define IO_COMMAND(name) extern const struct io_command io_##name##_command;
#include "img-tool/io-command-list.h"
#undef IO_COMMAND

#define IO_COMMAND(name) &io_##name##_command,
const struct io_command *const io_commands[] = {
#include "img-tool/io-command-list.h"
    NULL};
#undef IO_COMMAND

const struct io_command *io_find(const char *name)
{
    for (int i = 0; io_commands[i]; i++) {
        const struct io_command *c = io_commands[i];
        if (!strcmp(c->name, name) || !g_strcmp0(c->alias, name)) {
            return c;
        }
    }
    return NULL;
}

/* ---- running ---- */

static bool check_count(const struct io_command *c, int count)
{
    if (count >= c->min_args && (c->max_args < 0 || count <= c->max_args)) {
        return true;
    }
    fprintf(stderr, "bad argument count %d to %s, expected ", count, c->name);
    if (c->max_args < 0) {
        fprintf(stderr, "at least %d arguments\n", c->min_args);
    } else if (c->min_args == c->max_args) {
        fprintf(stderr, "%d arguments\n", c->min_args);
    } else {
        fprintf(stderr, "between %d and %d arguments\n", c->min_args, c->max_args);
    }
    return false;
}

static int run_words(struct io *io, int argc, char **argv)
{
    const struct io_command *c = io_find(argv[0]);
    if (!c) {
        fprintf(stderr, "command \"%s\" not found\n", argv[0]);
        return -1;
    }
    if (!io->node && !(c->flags & IO_GLOBAL)) {
        fprintf(stderr, "no file open, try 'help open'\n");
        return -1;
    }
    if (!check_count(c, argc - 1)) {
        return -1;
    }
    if ((c->flags & IO_WRITES) && !node_is_writable(io->node)) {
        io_complain("Block node is read-only");
        return -1;
    }
    optind = 0;
    return c->run(io, c, argc, argv);
}

int io_run(struct io *io, const char *line)
{
    g_auto(GStrv) pieces = g_strsplit(line, " ", -1);
    g_autoptr(GPtrArray) words = g_ptr_array_new();
    for (int i = 0; pieces[i]; i++) {
        if (*pieces[i]) {
            g_ptr_array_add(words, pieces[i]);
        }
    }
    g_ptr_array_add(words, NULL);
    int ret = words->len > 1 ? run_words(io, (int)words->len - 1, (char **)words->pdata) : 0;
    fflush(stdout);
    loop_turn(io->session.loop, false);
    return ret;
}

int io_option(const struct io_command *command, int argc, char **argv)
{
    char letters[64] = "";
    size_t n = 0;
    for (const struct io_option *o = command->options; o && o->letter; o++) {
        letters[n++] = o->letter;
        letters[n] = ':';
        n += o->metavar != NULL;
    }
    letters[n] = 0;
    fflush(stdout);
    return getopt(argc, argv, letters);
}

static void print_usage(const struct io_command *c)
{
    tool_printf("%s %s%s-- %s\n", c->name, c->synopsis ? c->synopsis : "", c->synopsis ? " " : "",
                c->summary);
}

int io_misused(const struct io_command *command)
{
    print_usage(command);
    return -1;
}

/* ---- help and quit ---- */

static void print_help(const struct io_command *c)
{
    print_usage(c);
    if (!c->options && !c->about) {
        return;
    }
    if (c->about) {
        tool_printf("\n %s\n", c->about);
    }
    for (const struct io_option *o = c->options; o && o->letter; o++) {
        tool_printf("%s -%c, -- %s\n", o == c->options ? "\n" : "", o->letter, o->help);
    }
    tool_printf("\n");
}

static int run_help(struct io *io, const struct io_command *command, int argc, char **argv)
{
    if (argc == 1) {
        for (int i = 0; io_commands[i]; i++) {
            print_usage(io_commands[i]);
        }
        tool_printf("\nUse 'help commandname' for extended help.\n");
        return 0;
    }
    const struct io_command *found = io_find(argv[1]);
    if (!found) {
        tool_printf("command %s not found\n", argv[1]);
        return -1;
    }
    print_help(found);
    return 0;
}

static int run_quit(struct io *io, const struct io_command *command, int argc, char **argv)
{
    io->quit = true;
    return 0;
}

const struct io_command io_help_command = {
    .name = "help",
    .alias = "?",
    .synopsis = "[command]",
    .summary = "help for one or all commands",
    .max_args = 1,
    .flags = IO_GLOBAL,
    .run = run_help,
};

const struct io_command io_quit_command = {
    .name = "quit",
    .alias = "q",
    .summary = "exit the program",
    .flags = IO_GLOBAL,
    .run = run_quit,
};
