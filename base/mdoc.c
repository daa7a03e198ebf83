/*
 * Text for mdoc(7) pages. See mdoc.h.
 */
#include "base/mdoc.h"

#include <stdbool.h>
#include <string.h>

#define LINE_COLUMNS 72 /* escapes make lines a little longer */

/* Appends one character so that it prints as itself. */
static void append_char(GString *out, char c)
{
    switch (c) {
    case '\\': g_string_append(out, "\\e"); break;
    case '-': g_string_append(out, "\\-"); break;
    case '\'': g_string_append(out, "\\(aq"); break;
    case '`': g_string_append(out, "\\(ga"); break;
    case '~': g_string_append(out, "\\(ti"); break;
    case '^': g_string_append(out, "\\(ha"); break;
    default: g_string_append_c(out, c); break;
    }
}

static void append_plain(GString *out, const char *text, size_t len)
{
    if (len && (*text == '.' || *text == '\'')) {
        g_string_append(out, "\\&");
    }
    for (size_t i = 0; i < len; i++) {
        bool inside_word = text[i] == '-' && i && g_ascii_isalpha(text[i - 1]);
        if (inside_word && i + 1 < len && g_ascii_isalpha(text[i + 1])) {
            g_string_append_c(out, '-');
        } else {
            append_char(out, text[i]);
        }
    }
}

void mdoc_append_word(GString *out, const char *text)
{
    g_string_append(out, "\"\\&");
    for (const char *p = text; *p; p++) {
        if (*p == '"') {
            g_string_append(out, "\\(dq");
        } else {
            append_char(out, *p);
        }
    }
    g_string_append_c(out, '"');
}

/* Appends the words of text[0..len) in lines of at most LINE_COLUMNS. */
static void append_filled(GString *out, const char *text, size_t len)
{
    while (len > LINE_COLUMNS) {
        size_t cut = LINE_COLUMNS;
        while (cut && text[cut] != ' ') {
            cut--;
        }
        if (!cut) {
            break;
        }
        append_plain(out, text, cut);
        g_string_append_c(out, '\n');
        text += cut + 1;
        len -= cut + 1;
    }
    append_plain(out, text, len);
    g_string_append_c(out, '\n');
}

void mdoc_append_text(GString *out, const char *text)
{
    while (*text) {
        const char *stop = strstr(text, ". ");
        size_t len = stop ? (size_t)(stop - text) + 1 : strlen(text);
        append_filled(out, text, len);
        text += len + (stop != NULL);
    }
}

void mdoc_append_line(GString *out, const char *text)
{
    append_plain(out, text, strlen(text));
    g_string_append_c(out, '\n');
}

void mdoc_append_sentence(GString *out, const char *text)
{
    if (!*text) {
        return;
    }
    g_autofree char *full = g_strdup_printf("%c%s.", g_ascii_toupper(*text), text + 1);
    mdoc_append_text(out, full);
}
