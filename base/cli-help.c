/*
 * --help: usage lines and the list of options.
 */
#include "base/cli.h"

#include <string.h>

#include "base/cli-text.h"

#define LINE_COLUMNS 79
#define HELP_COLUMN 29

char *cli_option_metavar(const struct cli_option *option)
{
    if (!option->metavar) {
        return NULL;
    }
    return option->field.kind == FIELD_KIND_ENUM ? field_kind_text(&option->field)
                                                 : g_strdup(option->metavar);
}

char *cli_option_short(const struct cli_option *option)
{
    g_autofree char *metavar = option->bare ? NULL : cli_option_metavar(option);
    const char *space = metavar ? " " : "", *value = metavar ? metavar : "";
    return option->letters ? g_strdup_printf("-%c%s%s", option->letters[0], space, value)
                           : g_strdup_printf("--%s%s%s", option->field.name, space, value);
}

/* The words of a usage line after the program's name; the caller frees the array. */
static GPtrArray *usage_words(const struct cli_command *command)
{
    GPtrArray *words = g_ptr_array_new_with_free_func(g_free);
    for (const struct cli_option *o = command->options; o->field.name; o++) {
        if (cli_option_is_shown(o)) {
            g_autofree char *text = cli_option_short(o);
            g_ptr_array_add(words, g_strdup_printf("[%s]", text));
        }
    }
    if (command->positional && *command->positional) {
        g_ptr_array_add(words, g_strdup(command->positional));
    }
    return words;
}

void cli_print_usage(const char *program, const struct cli_command *command, GString *out)
{
    g_autoptr(GPtrArray) words = usage_words(command);
    g_string_append_printf(out, "%s%s%s", program, *command->name ? " " : "", command->name);
    for (guint i = 0; i < words->len; i++) {
        g_string_append_printf(out, " %s", (char *)words->pdata[i]);
    }
    g_string_append_c(out, '\n');
}

/* Appends words to the line that ends at `column`, breaking lines before LINE_COLUMNS. */
static void print_filled(char **words, size_t column, int indent, GString *out)
{
    for (int i = 0; words[i]; i++) {
        size_t len = strlen(words[i]);
        if (column + 1 + len > LINE_COLUMNS) {
            g_string_append_printf(out, "\n%*s", indent - 1, "");
            column = (size_t)indent - 1;
        }
        g_string_append_printf(out, " %s", words[i]);
        column += 1 + len;
    }
    g_string_append_c(out, '\n');
}

static void print_wrapped_usage(const char *program, const struct cli_command *command,
                                GString *out)
{
    g_autoptr(GPtrArray) words = usage_words(command);
    g_ptr_array_add(words, NULL);
    gsize start = out->len;
    g_string_append_printf(out, "  %s%s%s", program, *command->name ? " " : "", command->name);
    print_filled((char **)words->pdata, out->len - start, 8, out);
}

static void print_option(const struct cli_option *option, GString *out)
{
    g_autofree char *metavar = cli_option_metavar(option);
    gsize start = out->len;
    if (option->letters) {
        g_string_append_printf(out, "  -%c, ", option->letters[0]);
    } else {
        g_string_append(out, "      ");
    }
    g_string_append_printf(out,
                           option->bare ? "--%s[=%s]"
                           : metavar    ? "--%s %s"
                                        : "--%s",
                           option->field.name, metavar);
    const char *dflt = metavar ? option->field.dflt : NULL;
    g_autofree char *help =
        g_strdup_printf("%s%s%s%s", option->field.help, dflt ? " (default: " : "", dflt ? dflt : "",
                        dflt ? ")" : "");
    g_auto(GStrv) words = g_strsplit(help, " ", -1);
    gsize width = out->len - start;
    if (width >= HELP_COLUMN) {
        g_string_append_printf(out, "\n%*s", HELP_COLUMN - 1, "");
    } else {
        g_string_append_printf(out, "%*s", HELP_COLUMN - 1 - (int)width, "");
    }
    print_filled(words, HELP_COLUMN - 1, HELP_COLUMN, out);
}

void cli_print_help(const char *program, const struct cli_command *command, GString *out)
{
    g_string_append(out, "Usage:\n");
    print_wrapped_usage(program, command, out);
    g_string_append_printf(out, "\n%c%s.\n\nOptions:\n", g_ascii_toupper(command->summary[0]),
                           command->summary + 1);
    for (const struct cli_option *o = command->options; o->field.name; o++) {
        if (cli_option_is_shown(o)) {
            print_option(o, out);
        }
    }
    g_string_append(out, "  -h, --help                 show this help\n");
    if (command->examples) {
        g_string_append(out, "\nExamples:\n");
    }
    for (const struct cli_example *e = command->examples; e && e->command; e++) {
        g_string_append_printf(out, "  %s:\n    %s\n", e->text, e->command);
    }
}
