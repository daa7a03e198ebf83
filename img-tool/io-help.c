/*
 * What cairn-io says about itself: its options from their table, its commands
 * from theirs.
 */
#include "img-tool/io-help.h"

#include <string.h>

#include "base/mdoc.h"
#include "img-tool/io.h"
#include "img-tool/tool.h"

bool io_print_version(GError **error)
{
    g_autofree char *text = tool_version();
    return tool_print(text, error);
}

static void print_command(const struct io_command *c, GString *out)
{
    g_string_append_printf(out, ".It Cm %s", c->name);
    if (c->synopsis && *c->synopsis) {
        g_string_append(out, " No ");
        mdoc_append_word(out, c->synopsis);
    }
    g_string_append_c(out, '\n');
    mdoc_append_sentence(out, c->summary);
    if (c->about) {
        mdoc_append_text(out, c->about);
    }
    if (!c->options) {
        return;
    }
    g_string_append(out, ".Bl -tag -width Ds -compact\n");
    for (const struct io_option *o = c->options; o->letter; o++) {
        g_string_append_printf(out, ".It Fl %c", o->letter);
        if (o->metavar) {
            g_string_append_printf(out, " Ar %s", o->metavar);
        }
        g_string_append_c(out, '\n');
        mdoc_append_sentence(out, o->help);
    }
    g_string_append(out, ".El\n");
}

static void print_man(const struct cli_command *program, GString *out)
{
    cli_print_man("cairn-io", PACKAGE_NAME " " PACKAGE_VERSION, program, out);
    g_string_append(out, ".Sh COMMANDS\n.Bl -tag -width Ds\n");
    for (int i = 0; io_commands[i]; i++) {
        print_command(io_commands[i], out);
    }
    g_string_append(out, ".El\n.Sh SEE ALSO\n.Xr cairn-img 1\n");
}

static void print_examples(const struct cli_command *program, GString *out)
{
    for (const struct cli_example *e = program->examples; e->command; e++) {
        g_string_append_printf(out, "%s\t%s\n", e->setup ? e->setup : ":", e->command);
    }
}

bool io_print_self(const struct cli_command *program, bool man, const char *shell, GError **error)
{
    g_autoptr(GString) out = g_string_new(NULL);
    if (man) {
        print_man(program, out);
    } else if (!shell) {
        print_examples(program, out);
    } else if (!cli_print_own_completion("cairn-io", program, shell, out, error)) {
        return false;
    }
    return tool_print(out->str, error);
}
