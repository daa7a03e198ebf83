/*
 * cairn-img's shared parts: the graph of a run, what main() knows about it,
 * and small helpers that every command uses.
 */
#ifndef CAIRN_IMG_TOOL_H
#define CAIRN_IMG_TOOL_H

#include <glib.h>
#include <jansson.h>
#include <stdbool.h>

#include "libblock/libblock.h"

struct cli_command;

/* The name that the program was called by; "qemu-img" for the compatibility links. */
const char *tool_program(void);

/* True under the name qemu-img. */
bool tool_is_compat(void);

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
