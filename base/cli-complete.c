/*
 * Completion scripts for bash, zsh and fish from command tables: the commands,
 * their options, the words of enumerations, and file names.
 */
#include "base/cli.h"

#include <errno.h>
#include <string.h>

#include "base/cli-text.h"
#include "base/error.h"

/* `program` as part of a shell function's name. */
static char *function_name(const char *program)
{
    return g_strcanon(g_strdup(program), "abcdefghijklmnopqrstuvwxyz0123456789", '_');
}

static bool is_word_list(const struct cli_option *option)
{
    return option->metavar && option->field.kind == FIELD_KIND_ENUM;
}

/* Appends `text` with a backslash before each character of `special`, and quotes closed around '.
 */
static void append_escaped(GString *out, const char *text, const char *special)
{
    for (const char *p = text; *p; p++) {
        if (*p == '\'') {
            g_string_append(out, "'\\''");
            continue;
        }
        if (strchr(special, *p)) {
            g_string_append_c(out, '\\');
        }
        g_string_append_c(out, *p);
    }
}

/* ---- bash ---- */

static void bash_values(const struct cli_command *command, GString *out)
{
    for (const struct cli_option *o = command->options; o->field.name; o++) {
        if (cli_option_is_shown(o) && is_word_list(o)) {
            g_autofree char *words = g_strjoinv(" ", (char **)o->field.names);
            g_string_append_printf(out, "    %s:--%s", command->name, o->field.name);
            if (o->letters) {
                g_string_append_printf(out, "|%s:-%c", command->name, o->letters[0]);
            }
            g_string_append_printf(out, ") words='%s' ;;\n", words);
        }
    }
}

static void bash_options(const struct cli_command *command, GString *out)
{
    g_string_append_printf(out, "        %s) words='", command->name);
    for (const struct cli_option *o = command->options; o->field.name; o++) {
        if (cli_option_is_shown(o)) {
            g_string_append_printf(out, "--%s ", o->field.name);
        }
    }
    g_string_append(out, "--help' ;;\n");
}

static void print_bash(const char *program, const struct cli_command *const *commands, GString *out)
{
    g_autofree char *name = function_name(program);
    g_string_append_printf(out,
                           "# bash completion of %s\n_%s()\n{\n"
                           "    local cur=${COMP_WORDS[COMP_CWORD]} words=\n"
                           "    local prev=${COMP_WORDS[COMP_CWORD - 1]}\n"
                           "    [[ $cur == = ]] && cur=\n"
                           "    [[ $prev == = ]] && prev=${COMP_WORDS[COMP_CWORD - 2]}\n"
                           "    COMPREPLY=()\n"
                           "    case ${COMP_WORDS[1]}:$prev in\n",
                           program, name);
    for (int i = 0; commands[i]; i++) {
        bash_values(commands[i], out);
    }
    g_string_append(out, "    esac\n    if ((COMP_CWORD == 1)); then\n        words='");
    for (int i = 0; commands[i]; i++) {
        g_string_append_printf(out, "%s ", commands[i]->name);
    }
    g_string_append(out, "--help --version'\n    elif [[ -z $words && $cur == -* ]]; then\n"
                         "        case ${COMP_WORDS[1]} in\n");
    for (int i = 0; commands[i]; i++) {
        bash_options(commands[i], out);
    }
    g_string_append_printf(out,
                           "        esac\n    fi\n    local IFS=$'\\n'\n"
                           "    if [[ -n $words ]]; then\n"
                           "        COMPREPLY=($(compgen -W \"${words// /$'\\n'}\" -- \"$cur\"))\n"
                           "    else\n"
                           "        COMPREPLY=($(compgen -f -- \"$cur\"))\n"
                           "    fi\n}\ncomplete -o filenames -F _%s %s\n",
                           name, program);
}

/* ---- zsh ---- */

static void zsh_option(const struct cli_option *option, GString *out)
{
    const char *equals = option->bare ? "=-" : option->metavar ? "=" : "";
    g_string_append(out, "            ");
    if (option->letters) {
        g_string_append_printf(out, "'*'{-%c,--%s%s}", option->letters[0], option->field.name,
                               equals);
    } else {
        g_string_append_printf(out, "'*--%s%s'", option->field.name, equals);
    }
    g_string_append(out, "'[");
    append_escaped(out, option->field.help, "[]:\\");
    g_string_append(out, "]");
    if (is_word_list(option)) {
        g_autofree char *words = g_strjoinv(" ", (char **)option->field.names);
        g_string_append_printf(out, "%s:word:(%s)", option->bare ? ":" : "", words);
    } else if (option->metavar) {
        g_string_append_printf(out, ":%s:_files", option->metavar);
    }
    g_string_append(out, "' \\\n");
}

static void print_zsh(const char *program, const struct cli_command *const *commands, GString *out)
{
    g_autofree char *name = function_name(program);
    g_string_append_printf(out,
                           "#compdef %s\n_%s()\n{\n    local curcontext=$curcontext state\n"
                           "    local -a commands words_of\n    commands=(\n",
                           program, name);
    for (int i = 0; commands[i]; i++) {
        g_string_append_printf(out, "        '%s:", commands[i]->name);
        append_escaped(out, commands[i]->summary, ":\\");
        g_string_append(out, "'\n");
    }
    g_string_append(out, "    )\n    _arguments -C '1:command:->command' '*::argument:->options'\n"
                         "    case $state in\n"
                         "    command) _describe command commands ;;\n"
                         "    options)\n        case $words[1] in\n");
    for (int i = 0; commands[i]; i++) {
        g_string_append_printf(out, "        %s) _arguments -s \\\n", commands[i]->name);
        for (const struct cli_option *o = commands[i]->options; o->field.name; o++) {
            if (cli_option_is_shown(o)) {
                zsh_option(o, out);
            }
        }
        g_string_append(out, "            '*'{-h,--help}'[show help]' '*:file:_files' ;;\n");
    }
    g_string_append_printf(out, "        esac ;;\n    esac\n}\n_%s \"$@\"\n", name);
}

/* ---- fish ---- */

static void fish_option_words(const struct cli_option *option, GString *out)
{
    if (option->letters) {
        g_string_append_printf(out, " -s %c", option->letters[0]);
    }
    g_string_append_printf(out, " -l %s", option->field.name);
    if (is_word_list(option)) {
        g_autofree char *words = g_strjoinv(" ", (char **)option->field.names);
        g_string_append_printf(out, " %s -a '%s'", option->bare ? "-f" : "-x", words);
    } else if (option->metavar) {
        g_string_append(out, " -r");
    }
    g_string_append(out, " -d '");
    append_escaped(out, option->field.help, "\\");
    g_string_append(out, "'\n");
}

static void print_fish(const char *program, const struct cli_command *const *commands, GString *out)
{
    g_string_append_printf(out, "# fish completion of %s\n", program);
    for (int i = 0; commands[i]; i++) {
        const struct cli_command *command = commands[i];
        g_string_append_printf(out, "complete -c %s -n __fish_use_subcommand -f -a %s -d '",
                               program, command->name);
        append_escaped(out, command->summary, "\\");
        g_string_append(out, "'\n");
        for (const struct cli_option *o = command->options; o->field.name; o++) {
            if (cli_option_is_shown(o)) {
                g_string_append_printf(out, "complete -c %s -n '__fish_seen_subcommand_from %s'",
                                       program, command->name);
                fish_option_words(o, out);
            }
        }
    }
}

static bool refuse_shell(const char *shell, GError **error)
{
    return error_set(error, EINVAL, "no completion for shell '%s'; there is bash, zsh, fish",
                     shell);
}

/* ---- programs without commands ---- */

static void print_own_bash(const char *program, const struct cli_command *command, GString *out)
{
    g_autofree char *name = function_name(program);
    g_string_append_printf(out,
                           "# bash completion of %s\n_%s()\n{\n"
                           "    local cur=${COMP_WORDS[COMP_CWORD]} words=\n"
                           "    COMPREPLY=()\n    [[ $cur == -* ]] && words='",
                           program, name);
    for (const struct cli_option *o = command->options; o->field.name; o++) {
        if (cli_option_is_shown(o)) {
            g_string_append_printf(out, "--%s ", o->field.name);
        }
    }
    g_string_append_printf(out,
                           "--help'\n    if [[ -n $words ]]; then\n"
                           "        COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n    else\n"
                           "        local IFS=$'\\n'\n"
                           "        COMPREPLY=($(compgen -f -- \"$cur\"))\n"
                           "    fi\n}\ncomplete -o filenames -F _%s %s\n",
                           name, program);
}

static void print_own_zsh(const char *program, const struct cli_command *command, GString *out)
{
    g_string_append_printf(out, "#compdef %s\n_arguments -s \\\n", program);
    for (const struct cli_option *o = command->options; o->field.name; o++) {
        if (cli_option_is_shown(o)) {
            zsh_option(o, out);
        }
    }
    g_string_append(out, "            '*'{-h,--help}'[show help]' '*:file:_files'\n");
}

static void print_own_fish(const char *program, const struct cli_command *command, GString *out)
{
    g_string_append_printf(out, "# fish completion of %s\n", program);
    for (const struct cli_option *o = command->options; o->field.name; o++) {
        if (cli_option_is_shown(o)) {
            g_string_append_printf(out, "complete -c %s", program);
            fish_option_words(o, out);
        }
    }
}

bool cli_print_own_completion(const char *program, const struct cli_command *command,
                              const char *shell, GString *out, GError **error)
{
    if (!strcmp(shell, "bash")) {
        print_own_bash(program, command, out);
    } else if (!strcmp(shell, "zsh")) {
        print_own_zsh(program, command, out);
    } else if (!strcmp(shell, "fish")) {
        print_own_fish(program, command, out);
    } else {
        return refuse_shell(shell, error);
    }
    return true;
}

bool cli_print_completion(const char *program, const struct cli_command *const *commands,
                          const char *shell, GString *out, GError **error)
{
    if (!strcmp(shell, "bash")) {
        print_bash(program, commands, out);
    } else if (!strcmp(shell, "zsh")) {
        print_zsh(program, commands, out);
    } else if (!strcmp(shell, "fish")) {
        print_fish(program, commands, out);
    } else {
        return refuse_shell(shell, error);
    }
    return true;
}
