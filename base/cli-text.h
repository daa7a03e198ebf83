/*
 * What the walkers over option tables share: how an option looks in text.
 */
#ifndef CAIRN_BASE_CLI_TEXT_H
#define CAIRN_BASE_CLI_TEXT_H

#include "base/cli.h"

/* True when help, manual and completion show the option. */
static inline bool cli_option_is_shown(const struct cli_option *option)
{
    return option->field.help != NULL;
}

/* "FMT", or the words of an enumeration as "human|json"; NULL for a flag. Free with g_free(). */
char *cli_option_metavar(const struct cli_option *option);

/* "-f FMT", or "--name VALUE" without a letter. Free with g_free(). */
char *cli_option_short(const struct cli_option *option);

#endif
