/*
 * The text for people of `info`, from its JSON value.
 */
#ifndef CAIRN_IMG_INFO_TEXT_H
#define CAIRN_IMG_INFO_TEXT_H

#include <glib.h>
#include <jansson.h>

/* Appends the text of one image. */
void info_print_text(const json_t *info, GString *out);

/* Appends the format's own part of it, {"type": ..., "data": ...}; NULL: nothing. */
void info_print_specific(const json_t *specific, GString *out);

/* Appends the table of snapshots (an array or NULL); nothing when there are none. */
void info_print_snapshots(const json_t *snapshots, int indent, GString *out);

#endif
