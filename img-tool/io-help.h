/*
 * What cairn-io says about itself.
 */
#ifndef CAIRN_IMG_IO_HELP_H
#define CAIRN_IMG_IO_HELP_H

#include "base/cli.h"

bool io_print_version(GError **error);

/* The manual page, or the completion of `shell`, or (NULL) the examples for a test: lines of
 * set-up, tab, command. */
bool io_print_self(const struct cli_command *program, bool man, const char *shell, GError **error);

#endif
