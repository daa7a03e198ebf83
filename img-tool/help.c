/*
 * What cairn-img says about itself, all of it from the tables of commands and
 * drivers.
 */
#include "img-tool/help.h"

#include <errno.h>
#include <string.h>

#include "base/cli.h"
#include "base/error.h"
#include "formats/formats.h"
#include "img-tool/tool.h"

#define LINE_COLUMNS 77

/* The names of all drivers, wrapped. */
static void print_formats(GString *out)
{
    g_string_append(out, "\nSupported formats:\n\n");
    size_t column = 0;
    for (int i = 0; formats_drivers[i]; i++) {
        const char *name = driver_name(formats_drivers[i]);
        if (column + strlen(name) + 1 > LINE_COLUMNS) {
            g_string_append_c(out, '\n');
            column = 0;
        }
        g_string_append_printf(out, "%s%s", column ? " " : "  ", name);
        column += strlen(name) + (column ? 1 : 2);
    }
    g_string_append_c(out, '\n');
}

bool help_print_version(GError **error)
{
    g_autofree char *text = tool_version();
    return tool_print(text, error);
}

bool help_print(GError **error)
{
    const char *program = tool_program();
    g_autofree char *version = tool_version();
    g_autoptr(GString) out = g_string_new(version);
    g_string_append_printf(out,
                           "Create, inspect, convert and compare disk images.\n\n"
                           "Usage: %s [-T PATTERN] COMMAND [OPTIONS]\n"
                           "       %s COMMAND --help\n\n"
                           "Options before the command:\n"
                           "  -h, --help           show this help\n"
                           "  -V, --version        show the version\n"
                           "  -T, --trace PATTERN  print the trace points that match PATTERN\n\n"
                           "Commands:\n\n",
                           program, program);
    for (int i = 0; tool_commands[i]; i++) {
        g_string_append_printf(out, "  %-9s %s\n", tool_commands[i]->name,
                               tool_commands[i]->summary);
    }
    g_string_append(out, "\nUsage of each:\n\n");
    for (int i = 0; tool_commands[i]; i++) {
        g_string_append(out, "  ");
        cli_print_usage(program, tool_commands[i], out);
    }
    print_formats(out);
    return tool_print(out->str, error);
}

static const char *const index_notes[] = {
    "Works on disk images of virtual machines: it creates, inspects, converts and compares them. "
    "Options may stand before or after the names of files, and the last of equal options wins.",
    "Sizes are bytes, or a number with one of the suffixes k, M, G, T, P and E, which are powers "
    "of 1024; b says bytes.",
    "An image is named by a path, by a JSON object as in json:{\"driver\": \"qcow2\", ...}, or, "
    "with --image-opts, by a list of options as in driver=qcow2,file.filename=disk.qcow2.",
    "Files that an image names inside itself, such as its backing file, are followed only if they "
    "are plain local paths; --allow-ref=all follows every name, and --untrusted none.",
    "A command that makes an image writes it beside its final place and renames it when it is "
    "complete, so that a failed or interrupted command leaves nothing half-made behind. Devices "
    "are written in place, and so is a file in a folder where no file can be made. A symbolic link "
    "is kept and the file it points to is replaced. Of a file with several hard links only the "
    "given name gets the new contents.",
    "Under the name qemu-img it follows the rules of that program for names inside images, unless "
    "the environment has CAIRN_UNTRUSTED=1.",
    "The exit status is 0 on success and 1 on failure. compare also has 2, 3 and 4. A command "
    "stopped by SIGINT exits with 130, by SIGTERM with 143.",
    NULL};

static const struct cli_command *find(const char *name)
{
    for (int i = 0; tool_commands[i]; i++) {
        if (!strcmp(tool_commands[i]->name, name)) {
            return tool_commands[i];
        }
    }
    return NULL;
}

bool help_print_man(const char *command, GError **error)
{
    static const char version[] = PACKAGE_NAME " " PACKAGE_VERSION;
    g_autoptr(GString) out = g_string_new(NULL);
    const struct cli_command *found = find(command);
    if (found) {
        cli_print_man("cairn-img", version, found, out);
    } else if (!*command) {
        cli_print_man_index("cairn-img", version,
                            "create, inspect, convert and compare disk images", index_notes,
                            tool_commands, out);
    } else {
        return error_set(error, EINVAL, "there is no command '%s'", command);
    }
    return tool_print(out->str, error);
}

bool help_print_examples(const char *command, GError **error)
{
    const struct cli_command *found = find(command);
    if (!found) {
        return error_set(error, EINVAL, "there is no command '%s'", command);
    }
    g_autoptr(GString) out = g_string_new(NULL);
    for (const struct cli_example *e = found->examples; e && e->command; e++) {
        g_string_append_printf(out, "%s\t%s\n", e->setup ? e->setup : ":", e->command);
    }
    return tool_print(out->str, error);
}

bool help_print_completion(const char *shell, GError **error)
{
    g_autoptr(GString) out = g_string_new(NULL);
    return cli_print_completion("cairn-img", tool_commands, shell, out, error) &&
           tool_print(out->str, error);
}
