/*
 * JSON from outside. jansson does the parsing; before it a single pass over the
 * text checks size and depth and turns the single-quoted strings that QEMU
 * accepts into ordinary ones.
 */
#include "base/json.h"

#include <errno.h>
#include <string.h>

#include "base/error.h"

#define TEXT_MAX (1024 * 1024)
#define DEPTH_MAX 64

/* Appends the string literal at `p` (its opening quote) to `out` with double quotes and returns
 * the first character past it; at the end of the text it stops there and jansson complains. */
static const char *copy_string(const char *p, GString *out)
{
    char quote = *p++;
    g_string_append_c(out, '"');
    while (*p && *p != quote) {
        if (p[0] == '\\' && p[1] == '\'') {
            p++;
        } else if (p[0] == '\\' && p[1]) {
            g_string_append_c(out, *p++);
        } else if (*p == '"') {
            g_string_append_c(out, '\\');
        }
        g_string_append_c(out, *p++);
    }
    if (*p) {
        g_string_append_c(out, '"');
        p++;
    }
    return p;
}

/* `text` with ordinary quotes only, or NULL when it nests too deeply. */
static GString *text_normalise(const char *text)
{
    GString *out = g_string_sized_new(strlen(text) + 16);
    int depth = 0;
    for (const char *p = text; *p;) {
        if (*p == '"' || *p == '\'') {
            p = copy_string(p, out);
            continue;
        }
        depth += (*p == '{' || *p == '[') - (*p == '}' || *p == ']');
        if (depth > DEPTH_MAX) {
            g_string_free(out, TRUE);
            return NULL;
        }
        g_string_append_c(out, *p++);
    }
    return out;
}

json_t *json_parse_text(const char *text, const char *what, GError **error)
{
    if (strlen(text) > TEXT_MAX) {
        error_set(error, E2BIG, "%s: JSON text is longer than %d bytes", what, TEXT_MAX);
        return NULL;
    }
    GString *plain = text_normalise(text);
    if (!plain) {
        error_set(error, EINVAL, "%s: JSON text nests deeper than %d levels", what, DEPTH_MAX);
        return NULL;
    }
    json_error_t where;
    json_t *value =
        json_loadb(plain->str, plain->len, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &where);
    if (!value) {
        error_set(error, EINVAL, "%s: bad JSON text at line %d, column %d: %s", what, where.line,
                  where.column, where.text);
    }
    g_string_free(plain, TRUE);
    return value;
}

json_t *json_take(json_t *dict, const char *key)
{
    json_t *value = json_incref(json_object_get(dict, key));
    json_object_del(dict, key);
    return value;
}

char *json_take_string(json_t *dict, const char *key, GError **error)
{
    json_t *value = json_take(dict, key);
    char *text = NULL;
    if (value && !json_is_string(value)) {
        error_set(error, EINVAL, "option '%s' wants a string", key);
    } else if (value) {
        text = g_strdup(json_string_value(value));
    }
    json_decref(value);
    return text;
}

bool json_reject_rest(json_t *dict, const char *what, GError **error)
{
    const char *key;
    json_t *value;
    json_object_foreach(dict, key, value)
    {
        return error_set(error, EINVAL, "%s does not know the option '%s'", what, key);
    }
    return true;
}
