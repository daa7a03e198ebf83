/*
 * key=value lists as on command lines: "a=b,c.d=e,flag". A doubled comma
 * stands for one comma in a value.
 */
#ifndef CAIRN_BASE_OPTS_H
#define CAIRN_BASE_OPTS_H

#include <glib.h>
#include <jansson.h>
#include <stdbool.h>

/* Parses `text` into a flat JSON object of strings, the last of equal keys winning. A word without
 * '=' is {word: "on"}, except the first one when `implied_key` is not NULL: then it is
 * {implied_key: word}. */
json_t *opts_parse(const char *text, const char *implied_key, GError **error);

/* opts_parse() and json_unflatten(). */
json_t *opts_parse_tree(const char *text, const char *implied_key, GError **error);

#endif
