/*
 * JSON on top of jansson: reading text from outside with limits, and the few
 * object helpers that option code needs.
 */
#ifndef CAIRN_BASE_JSON_H
#define CAIRN_BASE_JSON_H

#include <glib.h>
#include <jansson.h>
#include <stdbool.h>

/* Parses one JSON value that fills `text` (at most 1 MiB, 64 levels deep). Strings may be quoted
 * with ' as well, as QEMU's json: names allow. NULL and *error when it does not parse. */
json_t *json_parse_text(const char *text, const char *what, GError **error);

/* Objects flattened with dots become trees: {"file.filename": "x"} -> {"file": {"filename": "x"}}.
 * Steals `flat`; NULL and *error when two keys contradict each other. */
json_t *json_unflatten(json_t *flat, GError **error);

/* Removes `key` from `dict` and returns its value as a new reference, or NULL. */
json_t *json_take(json_t *dict, const char *key);

/* As json_take() for a string, a copy to free; NULL when absent. Anything else than a string is an
 * error and sets *error. */
char *json_take_string(json_t *dict, const char *key, GError **error);

/* False with *error "WHAT does not know the option 'KEY'" when `dict` still holds anything. */
bool json_reject_rest(json_t *dict, const char *what, GError **error);

#endif
