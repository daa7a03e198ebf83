/*
 * key=value lists. One pass; a value runs to the next single comma.
 */
#include "base/opts.h"

#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/json.h"

#define TEXT_MAX (1024 * 1024)

/* The value at *p, with ",," read as ","; *p moves to the comma that ends it, or to the end. */
static char *value_next(const char **p)
{
    GString *value = g_string_new(NULL);
    for (; **p && ((*p)[0] != ',' || (*p)[1] == ','); (*p)++) {
        *p += (*p)[0] == ',';
        g_string_append_c(value, **p);
    }
    return g_string_free(value, FALSE);
}

/* One element at *p into `dict`; `implied_key` is for a word without '='. */
static bool element_next(const char **p, const char *implied_key, json_t *dict, GError **error)
{
    size_t key_len = strcspn(*p, "=,");
    bool is_word = (*p)[key_len] != '=';
    g_autofree char *key = is_word && implied_key ? g_strdup(implied_key) : g_strndup(*p, key_len);
    if (!*key) {
        return error_set(error, EINVAL, "option list '%s' has a value without a name", *p);
    }
    *p += is_word && implied_key ? 0 : key_len + !is_word;
    g_autofree char *value = is_word && !implied_key ? g_strdup("on") : value_next(p);
    if (json_object_set_new(dict, key, json_string(value))) {
        return error_set(error, EILSEQ, "option '%s' is not valid UTF-8", key);
    }
    return true;
}

json_t *opts_parse(const char *text, const char *implied_key, GError **error)
{
    if (strlen(text) > TEXT_MAX) {
        error_set(error, E2BIG, "option list is longer than %d bytes", TEXT_MAX);
        return NULL;
    }
    json_t *dict = json_object();
    const char *p = text;
    while (*p) {
        if (!element_next(&p, p == text ? implied_key : NULL, dict, error)) {
            json_decref(dict);
            return NULL;
        }
        p += *p == ',';
    }
    return dict;
}

json_t *opts_parse_tree(const char *text, const char *implied_key, GError **error)
{
    json_t *flat = opts_parse(text, implied_key, error);
    return flat ? json_unflatten(flat, error) : NULL;
}
