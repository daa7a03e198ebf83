/*
 * Sizes as people write them: a number with an optional suffix b, k, M, G, T,
 * P or E (powers of 1024), fractions allowed with a suffix.
 */
#ifndef CAIRN_BASE_SIZE_H
#define CAIRN_BASE_SIZE_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/* Parses `text` whole into bytes, 0..INT64_MAX. `what` names it in the message. */
bool size_parse(const char *text, const char *what, int64_t *ret_bytes, GError **error);

/* "512 MiB", "1.5 GiB", "0 B": three significant digits, as `info` prints them. Free with g_free().
 */
char *size_format(int64_t bytes);

#endif
