/*
 * Field tables as text: option lists for `-o help` and for manual pages.
 */
#include "base/field.h"

#include <string.h>

#include "base/mdoc.h"

#define NAME_COLUMNS 24 /* width of "name=<kind>" before the explanation starts */

char *field_kind_text(const struct field *field)
{
    switch (field->kind) {
    case FIELD_KIND_BOOL: return g_strdup("on|off");
    case FIELD_KIND_INT:
    case FIELD_KIND_I64:
    case FIELD_KIND_U32:
    case FIELD_KIND_U64: return g_strdup("num");
    case FIELD_KIND_STRV: return g_strdup("str,...");
    case FIELD_KIND_JSON: return g_strdup("json");
    case FIELD_KIND_SIZE: return g_strdup("size");
    case FIELD_KIND_ENUM: return g_strjoinv("|", (char **)field->names);
    default: return g_strdup("str");
    }
}

void fields_print_help(const struct field *fields, GString *out)
{
    for (const struct field *f = fields; f && f->name; f++) {
        g_autofree char *kind = field_kind_text(f);
        g_autofree char *left = g_strdup_printf("%s=<%s>", f->name, kind);
        g_string_append_printf(out, "  %-*s - %s", NAME_COLUMNS, left, f->help ? f->help : "");
        if (f->dflt) {
            g_string_append_printf(out, " (default: %s)", f->dflt);
        }
        g_string_append_c(out, '\n');
    }
}

void fields_print_man(const struct field *fields, GString *out)
{
    for (const struct field *f = fields; f && f->name; f++) {
        g_autofree char *kind = field_kind_text(f);
        g_string_append(out, ".It Cm ");
        mdoc_append_word(out, f->name);
        g_string_append(out, " Ns = Ns Ar ");
        mdoc_append_word(out, kind);
        g_string_append_c(out, '\n');
        mdoc_append_sentence(out, f->help ? f->help : "");
        if (f->dflt) {
            g_string_append(out, "The default is\n.Ql ");
            mdoc_append_word(out, f->dflt);
            g_string_append(out, " .\n");
        }
    }
}
