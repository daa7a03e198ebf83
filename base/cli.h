/*
 * Command lines from tables: a subcommand is a struct of arguments and a table
 * of options over it. Parsing, --help, manual pages and shell completion all
 * walk that table.
 */
#ifndef CAIRN_BASE_CLI_H
#define CAIRN_BASE_CLI_H

#include <glib.h>
#include <stdbool.h>

#include "base/field.h"

struct cli_option {
    const char *letters; /* one-letter spellings, the first is the one shown; NULL: none */
    const char *metavar; /* name of the argument in help; NULL: a flag (bool member) */
    struct field field;  /* field.name is the long spelling, without dashes; without help the row is
                            another spelling: accepted, and not shown */
    const char
        *bare; /* the value when none is given: it is optional then, as in --name=value only */
};

struct cli_example {
    const char *text;    /* what it does, one line */
    const char *command; /* a command line that a test runs in an empty folder after `setup` */
    const char *setup;   /* shell commands that prepare it, or NULL */
};

struct cli_command {
    const char *name;       /* "": the program itself, which has no commands */
    const char *summary;    /* one line, lower case, no full stop */
    const char *positional; /* as in a synopsis: "[-o OPTIONS] FILE [SIZE]" without the options:
                               "FILE [SIZE]" */
    int min_positional, max_positional; /* max < 0: no limit */
    const struct cli_option *options;   /* ends with {0}; -h/--help needs no entry */
    size_t args_size;                   /* sizeof the struct that the fields describe */
    const char *const *notes; /* paragraphs for the manual, NULL-terminated, may be NULL */
    const struct cli_example *examples; /* ends with {0}, may be NULL */
    /* Runs the command; returns the exit status. On an error it sets *error and returns the status
     * to exit with. */
    int (*run)(const struct cli_command *command, void *args, char **positional, GError **error);
};

/* What cli_parse() found. */
enum cli_outcome { CLI_RUN, CLI_HELP, CLI_ERROR };

/* Parses argv[1..argc-1] into `args` (args_size zero bytes on entry; fields get their defaults
 * first). Options and positionals (negative numbers, too) may be mixed in any order, the last of
 * equal options wins, "--" ends options, and the unique beginning of a long option stands for it.
 * *ret_positional is a NULL-terminated array to free with g_strfreev(). */
enum cli_outcome cli_parse(const struct cli_command *command, int argc, char **argv, void *args,
                           char ***ret_positional, GError **error);

/* Frees what the arguments own. */
void cli_clear(const struct cli_command *command, void *args);

/* One usage line: "PROGRAM NAME [-q] [-f FMT | --format=FMT] ... POSITIONAL". */
void cli_print_usage(const char *program, const struct cli_command *command, GString *out);

/* The text of `PROGRAM NAME --help`. */
void cli_print_help(const char *program, const struct cli_command *command, GString *out);

/* A man(7) page PROGRAM-NAME(1), or PROGRAM(1), which is left without the section SEE ALSO. */
void cli_print_man(const char *program, const char *version, const struct cli_command *command,
                   GString *out);

/* The page PROGRAM(1): `notes` and the NULL-terminated list of commands. */
void cli_print_man_index(const char *program, const char *version, const char *summary,
                         const char *const *notes, const struct cli_command *const *commands,
                         GString *out);

/* A completion script for `shell` ("bash", "zsh" or "fish") over the NULL-terminated list of
 * commands. */
bool cli_print_completion(const char *program, const struct cli_command *const *commands,
                          const char *shell, GString *out, GError **error);

/* The same for a program without commands. */
bool cli_print_own_completion(const char *program, const struct cli_command *command,
                              const char *shell, GString *out, GError **error);

#endif
