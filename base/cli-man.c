/*
 * Manual pages in mdoc(7) from command tables.
 */
#include "base/cli.h"

#include <string.h>

#include "base/cli-text.h"
#include "base/mdoc.h"

#define MAN_DATE "November 22, 2026"

static void print_head(const char *page, const char *version, const char *summary, GString *out)
{
    g_autofree char *title = g_ascii_strup(page, -1);
    g_string_append_printf(out, ".Dd " MAN_DATE "\n.Dt %s 1\n.Os \"%s\"\n.Sh NAME\n.Nm %s\n.Nd ",
                           title, version, page);
    mdoc_append_text(out, summary);
}

static void print_option_words(const struct cli_option *option, bool with_letter, bool with_name,
                               GString *out)
{
    g_autofree char *metavar = cli_option_metavar(option);
    if (with_letter) {
        g_string_append_printf(out, " Fl %c", option->letters[0]);
    }
    if (with_letter && with_name) {
        g_string_append(out, " ,");
    }
    if (with_name) {
        g_autofree char *name = g_strdup_printf("-%s", option->field.name);
        g_string_append(out, " Fl ");
        mdoc_append_word(out, name);
    }
    if (metavar && option->bare && !with_name) {
        g_string_append_c(out, '\n');
        return;
    }
    if (metavar) {
        g_string_append(out, option->bare ? " Ns Op = Ns Ar " : " Ar ");
        mdoc_append_word(out, metavar);
    }
    g_string_append_c(out, '\n');
}

/* "FILE [SIZE]" as .Ar and .Op lines. */
static void print_positional(const char *positional, GString *out)
{
    g_auto(GStrv) words = g_strsplit(positional ? positional : "", " ", -1);
    for (int i = 0; words[i] && *words[i]; i++) {
        size_t len = strlen(words[i]);
        bool optional = words[i][0] == '[' && words[i][len - 1] == ']';
        g_autofree char *name = g_strndup(words[i] + optional, len - 2 * (size_t)optional);
        g_string_append(out, optional ? ".Op Ar " : ".Ar ");
        mdoc_append_word(out, name);
        g_string_append_c(out, '\n');
    }
}

static void print_synopsis(const char *program, const struct cli_command *command, GString *out)
{
    g_string_append_printf(out, ".Sh SYNOPSIS\n.Nm %s%s%s\n", program, *command->name ? " Cm " : "",
                           command->name);
    for (const struct cli_option *o = command->options; o->field.name; o++) {
        if (cli_option_is_shown(o)) {
            g_string_append(out, ".Op");
            print_option_words(o, o->letters != NULL, o->letters == NULL, out);
        }
    }
    print_positional(command->positional, out);
}

static void print_notes(const char *const *notes, GString *out)
{
    for (int i = 0; notes && notes[i]; i++) {
        g_string_append(out, i ? ".Pp\n" : "");
        mdoc_append_text(out, notes[i]);
    }
}

static void print_options(const struct cli_command *command, GString *out)
{
    g_string_append(out, ".Sh OPTIONS\n.Bl -tag -width Ds\n");
    for (const struct cli_option *o = command->options; o->field.name; o++) {
        if (!cli_option_is_shown(o)) {
            continue;
        }
        g_string_append(out, ".It");
        print_option_words(o, o->letters != NULL, true, out);
        mdoc_append_sentence(out, o->field.help);
        if (o->field.dflt && o->metavar) {
            g_string_append(out, "The default is\n.Ql ");
            mdoc_append_word(out, o->field.dflt);
            g_string_append(out, " .\n");
        }
    }
    g_string_append(out, ".It Fl h , Fl \"\\&\\-help\"\nShow a summary of the options.\n.El\n");
}

static void print_examples(const struct cli_example *examples, GString *out)
{
    if (!examples) {
        return;
    }
    g_string_append(out, ".Sh EXAMPLES\n");
    for (const struct cli_example *e = examples; e->command; e++) {
        g_autofree char *text = g_strdup_printf("%s:", e->text);
        g_string_append(out, e == examples ? "" : ".Pp\n");
        mdoc_append_text(out, text);
        g_string_append(out, ".Bd -literal -offset indent\n");
        mdoc_append_line(out, e->command);
        g_string_append(out, ".Ed\n");
    }
}

void cli_print_man(const char *program, const char *version, const struct cli_command *command,
                   GString *out)
{
    bool own = !*command->name;
    g_autofree char *page = g_strdup_printf("%s%s%s", program, own ? "" : "-", command->name);
    print_head(page, version, command->summary, out);
    print_synopsis(program, command, out);
    g_autofree char *summary = g_strdup_printf("%s", command->summary);
    g_string_append(out, ".Sh DESCRIPTION\n");
    mdoc_append_sentence(out, summary);
    if (command->notes && command->notes[0]) {
        g_string_append(out, ".Pp\n");
    }
    print_notes(command->notes, out);
    print_options(command, out);
    print_examples(command->examples, out);
    if (!own) {
        g_string_append_printf(out, ".Sh SEE ALSO\n.Xr %s 1\n", program);
    }
}

void cli_print_man_index(const char *program, const char *version, const char *summary,
                         const char *const *notes, const struct cli_command *const *commands,
                         GString *out)
{
    print_head(program, version, summary, out);
    g_string_append_printf(out, ".Sh SYNOPSIS\n.Nm\n.Ar command\n.Op Ar options\n.Nm\n.Ar command\n"
                                ".Fl \"\\&\\-help\"\n.Sh DESCRIPTION\n");
    print_notes(notes, out);
    g_string_append(out, ".Pp\nThe commands are:\n.Bl -tag -width Ds\n");
    for (int i = 0; commands[i]; i++) {
        g_string_append_printf(out, ".It Cm %s\n", commands[i]->name);
        mdoc_append_sentence(out, commands[i]->summary);
        g_string_append_printf(out, "See\n.Xr %s-%s 1 .\n", program, commands[i]->name);
    }
    g_string_append(out, ".El\n.Sh SEE ALSO\n");
    for (int i = 0; commands[i]; i++) {
        g_string_append_printf(out, ".Xr %s-%s 1%s\n", program, commands[i]->name,
                               commands[i + 1] ? " ," : "");
    }
}
