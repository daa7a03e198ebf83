/*
 * Setting, reading and freeing the members that a field table describes. Text
 * and JSON input end in the same setters, so both accept the same values and
 * refuse the rest with the same words.
 */
#include "base/field.h"

#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "base/size.h"
#include "base/words.h"

/* The member of `obj` as an lvalue of its C type. */
#define MEMBER(type, field, obj) (*(type *)((char *)(obj) + (field)->offset))

const struct field *field_find(const struct field *fields, const char *name)
{
    for (const struct field *f = fields; f && f->name; f++) {
        if (!strcmp(f->name, name)) {
            return f;
        }
    }
    return NULL;
}

static void field_clear(const struct field *field, void *obj)
{
    switch (field->kind) {
    case FIELD_KIND_STR: g_clear_pointer(&MEMBER(char *, field, obj), g_free); break;
    case FIELD_KIND_STRV:
        g_clear_pointer(&MEMBER(GPtrArray *, field, obj), g_ptr_array_unref);
        break;
    case FIELD_KIND_JSON: g_clear_pointer(&MEMBER(json_t *, field, obj), json_decref); break;
    case FIELD_KIND_BOOL: MEMBER(bool, field, obj) = false; break;
    case FIELD_KIND_INT:
    case FIELD_KIND_ENUM: MEMBER(int, field, obj) = 0; break;
    case FIELD_KIND_U32: MEMBER(uint32_t, field, obj) = 0; break;
    case FIELD_KIND_I64:
    case FIELD_KIND_U64:
    case FIELD_KIND_SIZE: MEMBER(uint64_t, field, obj) = 0; break;
    case FIELD_KIND_NONE: break;
    }
}

void fields_clear(const struct field *fields, void *obj)
{
    for (const struct field *f = fields; f && f->name; f++) {
        field_clear(f, obj);
    }
}

void fields_init(const struct field *fields, void *obj)
{
    for (const struct field *f = fields; f && f->name; f++) {
        GError *error = NULL;
        if (f->dflt && !field_set_text(f, obj, f->dflt, "default", &error)) {
            g_error("field table: %s", error->message);
        }
    }
}

static void append_string(const struct field *field, void *obj, const char *text)
{
    GPtrArray **array = &MEMBER(GPtrArray *, field, obj);
    if (!*array) {
        *array = g_ptr_array_new_with_free_func(g_free);
    }
    g_ptr_array_add(*array, g_strdup(text));
}

/* "driver 'x': option 'name'", or "option 'name'" without an object. Free with g_free(). */
static char *option_label(const struct field *field, const char *what)
{
    return g_strdup_printf("%s%soption '%s'", what ? what : "", what ? ": " : "", field->name);
}

/* The one place that words what a field wants. Always false. */
static bool refuse(const struct field *field, const char *what, const char *wants, const char *got,
                   GError **error)
{
    g_autofree char *label = option_label(field, what);
    return error_set(error, EINVAL, "%s wants %s, not '%s'", label, wants, got);
}

static bool set_bool(const struct field *field, void *obj, const char *text, const char *what,
                     GError **error)
{
    static const char *const words[] = {"off", "on", "no", "yes", "false", "true", "n", "y"};
    for (size_t i = 0; i < G_N_ELEMENTS(words); i++) {
        if (!strcmp(text, words[i])) {
            MEMBER(bool, field, obj) = i % 2;
            return true;
        }
    }
    return refuse(field, what, "on or off", text, error);
}

/* Stores an integer given as sign and magnitude, if the member can hold it. */
static bool set_integer(const struct field *field, void *obj, bool negative, uint64_t magnitude)
{
    uint64_t limit = field->kind == FIELD_KIND_INT   ? INT_MAX
                     : field->kind == FIELD_KIND_U32 ? UINT32_MAX
                     : field->kind == FIELD_KIND_U64 ? UINT64_MAX
                                                     : INT64_MAX;
    bool is_signed = field->kind == FIELD_KIND_INT || field->kind == FIELD_KIND_I64;
    if (negative && magnitude ? !is_signed || magnitude - 1 > limit : magnitude > limit) {
        return false;
    }
    uint64_t value = negative ? -magnitude : magnitude;
    switch (field->kind) {
    case FIELD_KIND_INT: MEMBER(int, field, obj) = (int)(int64_t)value; break;
    case FIELD_KIND_U32: MEMBER(uint32_t, field, obj) = (uint32_t)value; break;
    default: MEMBER(uint64_t, field, obj) = value; break;
    }
    return true;
}

static const char *integer_wants(const struct field *field)
{
    switch (field->kind) {
    case FIELD_KIND_INT: return "a whole number of at most 31 bits";
    case FIELD_KIND_U32: return "a whole number of at most 32 bits, 0 or more";
    case FIELD_KIND_U64: return "a whole number, 0 or more";
    default: return "a whole number";
    }
}

static bool set_integer_text(const struct field *field, void *obj, const char *text,
                             const char *what, GError **error)
{
    bool negative = *text == '-';
    const char *digits = text + negative;
    bool is_hex = digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'X');
    digits += is_hex ? 2 : 0;
    size_t len = strspn(digits, is_hex ? "0123456789abcdefABCDEF" : "0123456789");
    errno = 0;
    uint64_t magnitude = g_ascii_strtoull(digits, NULL, is_hex ? 16 : 10);
    if (!len || digits[len] || errno || !set_integer(field, obj, negative, magnitude)) {
        return refuse(field, what, integer_wants(field), text, error);
    }
    return true;
}

static bool set_enum(const struct field *field, void *obj, const char *text, const char *what,
                     GError **error)
{
    for (int i = 0; field->names[i]; i++) {
        if (!strcmp(text, field->names[i])) {
            MEMBER(int, field, obj) = i;
            return true;
        }
    }
    g_autofree char *list = g_strjoinv(", ", (char **)field->names);
    g_autofree char *hint = words_hint(field->names, text);
    g_autofree char *label = option_label(field, what);
    return error_set(error, EINVAL, "%s wants one of %s, not '%s'%s", label, list, text, hint);
}

static bool set_size_text(const struct field *field, void *obj, const char *text, const char *what,
                          GError **error)
{
    g_autofree char *label = option_label(field, what);
    return size_parse(text, label, &MEMBER(int64_t, field, obj), error);
}

static bool set_json_text(const struct field *field, void *obj, const char *text, const char *what,
                          GError **error)
{
    json_t *value = json_string(text);
    if (!value) {
        return refuse(field, what, "UTF-8 text", text, error);
    }
    json_decref(MEMBER(json_t *, field, obj));
    MEMBER(json_t *, field, obj) = value;
    return true;
}

bool field_set_text(const struct field *field, void *obj, const char *text, const char *what,
                    GError **error)
{
    switch (field->kind) {
    case FIELD_KIND_BOOL: return set_bool(field, obj, text, what, error);
    case FIELD_KIND_INT:
    case FIELD_KIND_I64:
    case FIELD_KIND_U32:
    case FIELD_KIND_U64: return set_integer_text(field, obj, text, what, error);
    case FIELD_KIND_ENUM: return set_enum(field, obj, text, what, error);
    case FIELD_KIND_SIZE: return set_size_text(field, obj, text, what, error);
    case FIELD_KIND_STR:
        g_free(MEMBER(char *, field, obj));
        MEMBER(char *, field, obj) = g_strdup(text);
        return true;
    case FIELD_KIND_STRV: append_string(field, obj, text); return true;
    case FIELD_KIND_JSON: return set_json_text(field, obj, text, what, error);
    case FIELD_KIND_NONE: break;
    }
    g_assert_not_reached();
}

static bool set_strings_json(const struct field *field, void *obj, json_t *value, const char *what,
                             GError **error)
{
    size_t i;
    json_t *item;
    json_array_foreach(value, i, item)
    {
        if (!json_is_string(item)) {
            return refuse(field, what, "a list of strings", "something else", error);
        }
    }
    json_array_foreach(value, i, item)
    {
        append_string(field, obj, json_string_value(item));
    }
    return true;
}

static bool is_integer_kind(enum field_kind kind)
{
    return kind == FIELD_KIND_INT || kind == FIELD_KIND_I64 || kind == FIELD_KIND_U32 ||
           kind == FIELD_KIND_U64 || kind == FIELD_KIND_SIZE;
}

/* What a field of this kind wants, for a JSON value of the wrong type. */
static const char *json_wants(const struct field *field)
{
    switch (field->kind) {
    case FIELD_KIND_BOOL: return "true or false";
    case FIELD_KIND_STR:
    case FIELD_KIND_ENUM: return "a string";
    case FIELD_KIND_STRV: return "a list of strings";
    case FIELD_KIND_SIZE: return "a size, 0 or more";
    default: return integer_wants(field);
    }
}

bool field_set_json(const struct field *field, void *obj, json_t *value, const char *what,
                    GError **error)
{
    if (field->kind == FIELD_KIND_JSON) {
        json_decref(MEMBER(json_t *, field, obj));
        MEMBER(json_t *, field, obj) = json_incref(value);
        return true;
    }
    if (json_is_string(value)) {
        return field_set_text(field, obj, json_string_value(value), what, error);
    }
    if (json_is_boolean(value) && field->kind == FIELD_KIND_BOOL) {
        MEMBER(bool, field, obj) = json_is_true(value);
        return true;
    }
    if (json_is_integer(value) && is_integer_kind(field->kind)) {
        json_int_t number = json_integer_value(value);
        uint64_t magnitude = number < 0 ? -(uint64_t)number : (uint64_t)number;
        if (set_integer(field, obj, number < 0, magnitude)) {
            return true;
        }
    }
    if (json_is_array(value) && field->kind == FIELD_KIND_STRV) {
        return set_strings_json(field, obj, value, what, error);
    }
    g_autofree char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    return refuse(field, what, json_wants(field), text ? text : "?", error);
}

bool fields_take_json(const struct field *fields, void *obj, json_t *dict, const char *what,
                      GError **error)
{
    for (const struct field *f = fields; f && f->name; f++) {
        json_t *value = json_take(dict, f->name);
        bool set = !value || field_set_json(f, obj, value, what, error);
        json_decref(value);
        if (!set) {
            return false;
        }
    }
    return true;
}

static json_t *strings_to_json(const GPtrArray *strings)
{
    json_t *array = json_array();
    for (guint i = 0; strings && i < strings->len; i++) {
        json_array_append_new(array, json_string(strings->pdata[i]));
    }
    return array;
}

/* A new reference, or NULL when the member holds nothing. */
static json_t *field_to_json(const struct field *field, const void *obj)
{
    switch (field->kind) {
    case FIELD_KIND_BOOL: return json_boolean(MEMBER(const bool, field, obj));
    case FIELD_KIND_INT: return json_integer(MEMBER(const int, field, obj));
    case FIELD_KIND_U32: return json_integer(MEMBER(const uint32_t, field, obj));
    case FIELD_KIND_I64:
    case FIELD_KIND_U64:
    case FIELD_KIND_SIZE: return json_integer(MEMBER(const int64_t, field, obj));
    case FIELD_KIND_ENUM: return json_string(field->names[MEMBER(const int, field, obj)]);
    case FIELD_KIND_STRV: return strings_to_json(MEMBER(GPtrArray *const, field, obj));
    case FIELD_KIND_JSON: return json_incref(MEMBER(json_t *const, field, obj));
    case FIELD_KIND_STR: {
        const char *text = MEMBER(char *const, field, obj);
        return text ? json_string(text) : NULL;
    }
    case FIELD_KIND_NONE: break;
    }
    g_assert_not_reached();
}

json_t *fields_to_json(const struct field *fields, const void *obj)
{
    json_t *dict = json_object();
    for (const struct field *f = fields; f && f->name; f++) {
        json_t *value = field_to_json(f, obj);
        if (value) {
            json_object_set_new(dict, f->name, value);
        }
    }
    return dict;
}
