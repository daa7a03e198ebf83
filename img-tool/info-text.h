/*
 * The text for people of `info`, from its JSON value.
 */
#ifndef CAIRN_IMG_INFO_TEXT_H
#define CAIRN_IMG_INFO_TEXT_H

#include <glib.h>
#include <jansson.h>

/* Appends the text of one image. */
void info_print_text(const json_t *info, GString *out);

#endif
