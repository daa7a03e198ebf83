/*
 * What cairn-img and cairn-io share: what main() knows about the run, running a
 * command line, and small helpers that every command uses.
 */
#ifndef CAIRN_IMG_TOOL_H
#define CAIRN_IMG_TOOL_H

#include <glib.h>
#include <jansson.h>
#include <stdbool.h>

#include "libblock/libblock.h"

struct cli_command;

/* First of all: `path` is argv[0] or "", `own` the program's name, `compat` that of the program it
 * stands in for. */
void tool_init(const char *path, const char *own, const char *compat);

/* Fatal signals end the program after tool_remove_on_signal()'s file is gone. */
void tool_catch_signals(void);

/* Parses and runs a command line, and prints its error. Returns the exit status. */
int tool_run(const struct cli_command *command, int argc, char **argv);

/* Prints an error once; bad command lines also get the way to the help. */
void tool_print_error(const GError *error, const char *command, bool bad_line);

/* "[enable=]PATTERN[,file=FILE]". */
bool tool_enable_trace(const char *text, GError **error);

/* The name that the program was called by; "qemu-img" for the compatibility links. */
const char *tool_program(void);

/* True under the name of the program that ours stands in for. */
bool tool_is_compat(void);

/* The line of --version, with its end; to be freed. */
char *tool_version(void);

/* From now on a signal that ends the program first removes `path`; NULL: nothing. */
void tool_remove_on_signal(const char *path);

/* Removes what a signal would remove, prints `text` as the error, and ends the program. For signal
 * handlers. */
G_NORETURN void tool_die(const char *text);

/* The commands, NULL-terminated, in alphabetical order. */
extern const struct cli_command *const tool_commands[];

/* Prints `text` on standard output as it is. False and *error when it cannot be written. */
bool tool_print(const char *text, GError **error);

/* As g_strdup_printf(), to standard output. */
void tool_printf(const char *format, ...) G_GNUC_PRINTF(1, 2);

/* Prints a JSON value the way qemu-img does: four blanks a level, in insertion order. */
void tool_print_json(const json_t *value);

#endif
