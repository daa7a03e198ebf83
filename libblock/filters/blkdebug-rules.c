/*
 * Rules of a blkdebug filter. A section of the file becomes an object, and
 * objects become rules by way of one field table for each kind, whichever way
 * they came. See blkdebug-rules.h.
 */
#include "libblock/filters/blkdebug-rules.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/base.h"
#include "libblock/event.h"

enum { RULES_MAX = 4096, SECTOR = 512 };

static const char *const iotype_words[] = {"read",  "write",        "write-zeroes", "discard",
                                           "flush", "block-status", "default",      NULL};

enum { IOTYPE_DEFAULT = 6 };

struct rule_text {
    char *event;
    int state, new_state, error, iotype;
    int64_t sector;
    bool once, immediately;
};

static const struct field inject_fields[] = {
    FIELD(struct rule_text, event, "event", NULL, "what must happen first"),
    FIELD(struct rule_text, state, "state", "0", "the state in which the rule holds; 0: all"),
    FIELD_ENUM(struct rule_text, iotype, "iotype", "default", iotype_words,
               "the kind of request that fails"),
    FIELD(struct rule_text, error, "errno", "5", "number of the error"),
    FIELD(struct rule_text, sector, "sector", "-1", "only requests over this sector; -1: all"),
    FIELD(struct rule_text, once, "once", "off", "the rule is gone after it"),
    FIELD(struct rule_text, immediately, "immediately", "off", "fail before anything else runs"),
    {0},
};

static const struct field state_fields[] = {
    FIELD(struct rule_text, event, "event", NULL, "what must happen first"),
    FIELD(struct rule_text, state, "state", "0", "the state in which the rule holds; 0: all"),
    FIELD(struct rule_text, new_state, "new_state", "0", "the state to go to"),
    {0},
};

struct rule *rule_new(enum rule_action action, int event)
{
    struct rule *rule = g_new0(struct rule, 1);
    rule->action = action;
    rule->event = event;
    rule->offset = -1;
    return rule;
}

void rule_free(void *data)
{
    struct rule *rule = data;
    g_free(rule->tag);
    g_free(rule);
}

static bool check_text(const struct rule_text *text, const char *what, GError **error)
{
    if (!text->event) {
        return error_set(error, EINVAL, "Missing event name for rule (%s)", what);
    }
    if (blk_event_find(text->event) < 0) {
        return error_set(error, EINVAL, "%s: there is no event '%s'", what, text->event);
    }
    if (text->error < 0 || text->error > 4095) {
        return error_set(error, EINVAL, "%s: errno %d is no number of an error", what, text->error);
    }
    if (text->sector < -1 || text->sector > INT64_MAX / SECTOR) {
        return error_set(error, EINVAL, "%s: sector %" PRId64 " is out of range", what,
                         text->sector);
    }
    return text->state >= 0 ||
           error_set(error, EINVAL, "%s: state %d is negative", what, text->state);
}

static struct rule *rule_of(const struct rule_text *text, enum rule_action action)
{
    struct rule *rule = rule_new(action, blk_event_find(text->event));
    rule->state = text->state;
    rule->new_state = text->new_state;
    rule->error = text->error;
    rule->offset = text->sector < 0 ? -1 : text->sector * SECTOR;
    rule->iotypes = text->iotype == IOTYPE_DEFAULT ? RULE_BLOCK_STATUS - 1 : 1u << text->iotype;
    rule->once = text->once;
    rule->immediately = text->immediately;
    return rule;
}

/* Adds the rule that `dict` describes, and empties `dict`. */
static bool add_rule(json_t *dict, enum rule_action action, const char *what, GPtrArray *rules,
                     GError **error)
{
    const struct field *fields = action == RULE_INJECT ? inject_fields : state_fields;
    struct rule_text text = {.sector = -1};
    if (!json_is_object(dict)) {
        return error_set(error, EINVAL, "%s is no set of options", what);
    }
    if (rules->len >= RULES_MAX) {
        return error_set(error, E2BIG, "more than %d rules for blkdebug", RULES_MAX);
    }
    fields_init(fields, &text);
    bool ok = fields_take_json(fields, &text, dict, what, error) &&
              json_reject_rest(dict, what, error) && check_text(&text, what, error);
    if (ok) {
        g_ptr_array_add(rules, rule_of(&text, action));
    }
    fields_clear(fields, &text);
    return ok;
}

/* ---- options ---- */

static bool take_list(json_t *options, const char *key, enum rule_action action, GPtrArray *rules,
                      GError **error)
{
    json_t *list = json_take(options, key), *item;
    const char *number;
    size_t i;
    bool ok = !list || json_is_array(list) || json_is_object(list) ||
              error_set(error, EINVAL, "option '%s' is no list of rules", key);
    g_autofree char *what = g_strdup_printf("[%s] section", key);
    json_array_foreach(list, i, item)
    {
        ok = ok && add_rule(item, action, what, rules, error);
    }
    json_object_foreach(list, number, item)
    {
        ok = ok && add_rule(item, action, what, rules, error);
    }
    json_decref(list);
    return ok;
}

bool rules_take_options(json_t *options, GPtrArray *rules, GError **error)
{
    return take_list(options, "inject-error", RULE_INJECT, rules, error) &&
           take_list(options, "set-state", RULE_SET_STATE, rules, error);
}

/* ---- file ---- */

/* "[inject-error]", or with a name in quotes that means nothing: [inject-error "first"]. */
static bool parse_section(const char *line, const char *where, enum rule_action *ret_action,
                          GError **error)
{
    const char *end = line + strcspn(line, " \t]");
    g_autofree char *word = g_strndup(line + 1, (gsize)(end - line - 1));
    bool inject = !strcmp(word, "inject-error");
    if (!strchr(end, ']')) {
        return error_set(error, EINVAL, "%s: a section's name ends with ']'", where);
    }
    if (!inject && strcmp(word, "set-state")) {
        return error_set(error, EINVAL,
                         "%s: there is no section '%s', only inject-error and set-state", where,
                         word);
    }
    *ret_action = inject ? RULE_INJECT : RULE_SET_STATE;
    return true;
}

/* KEY = "VALUE"; the quotes may be missing. */
static bool parse_pair(char *line, const char *where, json_t *dict, GError **error)
{
    char *equals = strchr(line, '=');
    if (!equals) {
        return error_set(error, EINVAL, "%s: expected key = \"value\"", where);
    }
    *equals = 0;
    const char *key = g_strstrip(line);
    char *value = g_strstrip(equals + 1);
    size_t len = strlen(value);
    if (value[0] == '"') {
        if (len < 2 || value[len - 1] != '"') {
            return error_set(error, EINVAL, "%s: the value of '%s' lacks a quote", where, key);
        }
        value[len - 1] = 0;
        value++;
    }
    json_t *text = json_string(value);
    return (*key && text && !json_object_set_new(dict, key, text)) ||
           error_set(error, EINVAL, "%s: '%s' is no valid option", where, key);
}

/* A section that is being read. */
struct section {
    json_t *dict; /* NULL: none yet */
    enum rule_action action;
    char *where;
};

static bool section_end(struct section *section, GPtrArray *rules, GError **error)
{
    bool ok =
        !section->dict || add_rule(section->dict, section->action, section->where, rules, error);
    json_decref(section->dict);
    g_free(section->where);
    *section = (struct section){0};
    return ok;
}

static bool parse_line(struct section *section, char *line, const char *where, GPtrArray *rules,
                       GError **error)
{
    if (!*line || *line == '#') {
        return true;
    }
    if (*line != '[') {
        return section->dict ? parse_pair(line, where, section->dict, error)
                             : error_set(error, EINVAL, "%s: expected a section first", where);
    }
    enum rule_action action = RULE_INJECT;
    if (!section_end(section, rules, error) || !parse_section(line, where, &action, error)) {
        return false;
    }
    *section = (struct section){json_object(), action, g_strdup(where)};
    return true;
}

bool rules_parse_config(const char *text, const char *name, GPtrArray *rules, GError **error)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    struct section section = {0};
    bool ok = true;
    for (int i = 0; ok && lines[i]; i++) {
        g_autofree char *where = g_strdup_printf("'%s' line %d", name, i + 1);
        ok = parse_line(&section, g_strstrip(lines[i]), where, rules, error);
    }
    return section_end(&section, rules, ok ? error : NULL) && ok;
}
