/*
 * Text for mdoc(7) pages: escaping, and sentences from the one-line helps of
 * tables.
 */
#ifndef CAIRN_BASE_MDOC_H
#define CAIRN_BASE_MDOC_H

#include <glib.h>

/* Appends `text` as one macro argument. */
void mdoc_append_word(GString *out, const char *text);

/* Appends a paragraph's text as lines that no macro is read from, each sentence on its own line. */
void mdoc_append_text(GString *out, const char *text);

/* Appends `text` as one literal line. */
void mdoc_append_line(GString *out, const char *text);

/* Appends "some help" as the line "Some help." and nothing for an empty text. */
void mdoc_append_sentence(GString *out, const char *text);

#endif
