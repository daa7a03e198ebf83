/*
 * Parsing a command line over its option table, the GNU way: options and names
 * in any order, letters in clusters, unique beginnings of long options. A row
 * of the table without help is a second spelling: accepted, and not shown.
 */
#include "base/cli.h"

#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/words.h"

struct parser {
    const struct cli_command *command;
    void *args;
    char **argv;
    int argc, next;   /* next: index of the first word not yet looked at */
    GPtrArray *names; /* positionals, owned strings */
    bool wants_help;
};

static const struct cli_option *find_letter(const struct cli_command *command, char letter)
{
    for (const struct cli_option *o = command->options; o->field.name; o++) {
        if (o->letters && strchr(o->letters, letter)) {
            return o;
        }
    }
    return NULL;
}

/* True when `name` begins with the `len` bytes of `text`; *exact when it is all of it. */
static bool name_matches(const char *name, const char *text, size_t len, bool *exact)
{
    *exact = strlen(name) == len;
    return !strncmp(name, text, len);
}

static bool refuse_unknown(const struct cli_command *command, const char *text, size_t len,
                           GError **error)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    for (const struct cli_option *o = command->options; o->field.name; o++) {
        g_ptr_array_add(names, (char *)o->field.name);
    }
    g_ptr_array_add(names, NULL);
    g_autofree char *word = g_strndup(text, len);
    const char *near = words_nearest((const char *const *)names->pdata, word);
    return near
               ? error_set(error, EINVAL, "unknown option '--%s'; did you mean '--%s'?", word, near)
               : error_set(error, EINVAL, "unknown option '--%s'", word);
}

/* The option whose long name is text[0..len), or the only one that begins so. */
static const struct cli_option *find_long(const struct cli_command *command, const char *text,
                                          size_t len, GError **error)
{
    const struct cli_option *found = NULL;
    for (const struct cli_option *o = command->options; o->field.name; o++) {
        bool exact;
        if (!name_matches(o->field.name, text, len, &exact)) {
            continue;
        }
        if (exact) {
            return o;
        }
        if (found && found->field.offset != o->field.offset) {
            error_set(error, EINVAL, "option '--%.*s' is ambiguous: '--%s' or '--%s'", (int)len,
                      text, found->field.name, o->field.name);
            return NULL;
        }
        found = o;
    }
    if (!found) {
        refuse_unknown(command, text, len, error);
    }
    return found;
}

/* Sets the member of `option`; `spelled` is the option as typed, for messages. */
static bool set_option(struct parser *parser, const struct cli_option *option, const char *spelled,
                       const char *value, GError **error)
{
    struct field field = option->field;
    field.name = spelled;
    return field_set_text(&field, parser->args, value, NULL, error);
}

/* The value of an option that needs one: the rest of its word, or the next word. */
static const char *take_value(struct parser *parser, const char *spelled, const char *rest,
                              GError **error)
{
    if (rest) {
        return rest;
    }
    if (parser->next == parser->argc) {
        error_set(error, EINVAL, "option '%s' wants a value", spelled);
        return NULL;
    }
    return parser->argv[parser->next++];
}

static bool parse_long(struct parser *parser, const char *text, GError **error)
{
    size_t len = strcspn(text, "=");
    const char *value = text[len] ? text + len + 1 : NULL;
    if (!strncmp("help", text, len) && len == 4) {
        parser->wants_help = true;
        return true;
    }
    const struct cli_option *option = find_long(parser->command, text, len, error);
    if (!option) {
        return false;
    }
    g_autofree char *spelled = g_strconcat("--", option->field.name, NULL);
    if (!option->metavar) {
        return value ? error_set(error, EINVAL, "option '%s' takes no value, not even '%s'",
                                 spelled, value)
                     : set_option(parser, option, spelled, "on", error);
    }
    if (!value && option->bare) {
        return set_option(parser, option, spelled, option->bare, error);
    }
    value = take_value(parser, spelled, value, error);
    return value && set_option(parser, option, spelled, value, error);
}

/* A word of letters, "pqf" or "fqcow2": flags up to the first option that wants a value. */
static bool parse_letters(struct parser *parser, const char *text, GError **error)
{
    for (; *text && !parser->wants_help; text++) {
        char spelled[] = {'-', *text, 0};
        const struct cli_option *option = find_letter(parser->command, *text);
        if (!option && *text == 'h') {
            parser->wants_help = true;
        } else if (!option) {
            return error_set(error, EINVAL, "unknown option '%s'", spelled);
        } else if (option->metavar && option->bare) {
            if (!set_option(parser, option, spelled, option->bare, error)) {
                return false;
            }
        } else if (option->metavar) {
            const char *value = take_value(parser, spelled, text[1] ? text + 1 : NULL, error);
            return value && set_option(parser, option, spelled, value, error);
        } else if (!set_option(parser, option, spelled, "on", error)) {
            return false;
        }
    }
    return true;
}

static bool parse_words(struct parser *parser, GError **error)
{
    bool only_names = false;
    while (parser->next < parser->argc && !parser->wants_help) {
        const char *word = parser->argv[parser->next++];
        bool parsed = true;
        if (only_names || word[0] != '-' || !word[1] || g_ascii_isdigit(word[1])) {
            g_ptr_array_add(parser->names, g_strdup(word));
        } else if (!strcmp(word, "--")) {
            only_names = true;
        } else if (word[1] == '-') {
            parsed = parse_long(parser, word + 2, error);
        } else {
            parsed = parse_letters(parser, word + 1, error);
        }
        if (!parsed) {
            return false;
        }
    }
    return true;
}

static const char *subject(const struct cli_command *command)
{
    return *command->name ? command->name : "the program";
}

static bool check_names(const struct cli_command *command, const GPtrArray *names, GError **error)
{
    int count = (int)names->len;
    if (count < command->min_positional) {
        return error_set(error, EINVAL, "%s wants %s, and got %s", subject(command),
                         command->positional, count ? "fewer names" : "no name");
    }
    if (command->max_positional >= 0 && count > command->max_positional) {
        return error_set(error, EINVAL, "unexpected argument '%s'; %s wants %s",
                         (char *)names->pdata[command->max_positional], subject(command),
                         command->max_positional ? command->positional : "no names");
    }
    return true;
}

static void set_defaults(const struct cli_command *command, void *args)
{
    for (const struct cli_option *o = command->options; o->field.name; o++) {
        struct field one[] = {o->field, {0}};
        fields_init(one, args);
    }
}

void cli_clear(const struct cli_command *command, void *args)
{
    for (const struct cli_option *o = command->options; o->field.name; o++) {
        struct field one[] = {o->field, {0}};
        fields_clear(one, args);
    }
}

enum cli_outcome cli_parse(const struct cli_command *command, int argc, char **argv, void *args,
                           char ***ret_positional, GError **error)
{
    struct parser parser = {.command = command,
                            .args = args,
                            .argv = argv,
                            .argc = argc,
                            .next = 1,
                            .names = g_ptr_array_new_with_free_func(g_free)};
    set_defaults(command, args);
    bool parsed = parse_words(&parser, error);
    if (parser.wants_help || !parsed || !check_names(command, parser.names, error)) {
        g_ptr_array_unref(parser.names);
        return parser.wants_help ? CLI_HELP : CLI_ERROR;
    }
    g_ptr_array_add(parser.names, NULL);
    *ret_positional = (char **)g_ptr_array_free(parser.names, FALSE);
    return CLI_RUN;
}
