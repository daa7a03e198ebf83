/*
 * What cairn-img says about itself: --help, --version, manual pages and
 * completion scripts.
 */
#ifndef CAIRN_IMG_HELP_H
#define CAIRN_IMG_HELP_H

#include <glib.h>
#include <stdbool.h>

/* All of these print on standard output; false and *error when that fails. */
bool help_print(GError **error);
bool help_print_version(GError **error);

/* The manual page of `command`, or cairn-img(1) when it is "". */
bool help_print_man(const char *command, GError **error);

/* The examples of `command` for the tests: "SETUP TAB COMMAND" lines. */
bool help_print_examples(const char *command, GError **error);

/* A completion script for `shell`. */
bool help_print_completion(const char *shell, GError **error);

#endif
