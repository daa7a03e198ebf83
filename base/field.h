/*
 * Field tables: one description of a struct's members that serves options,
 * properties, QMP arguments and results, saved state, help and manuals.
 *
 * A table is a const array of struct field that ends with {0}. The kind comes
 * from the member's C type, so table and struct cannot drift apart:
 *
 *     struct opts { bool fast; int64_t size; char *name; int mode; };
 *     static const struct field opts_fields[] = {
 *         FIELD(struct opts, fast, "fast", "off", "skip the slow part"),
 *         FIELD_SIZE(struct opts, size, "size", "0", "bytes"),
 *         FIELD(struct opts, name, "name", NULL, "what to call it"),
 *         FIELD_ENUM(struct opts, mode, "mode", "auto", mode_names, "how"),
 *         {0}};
 *
 * Strings, string vectors and JSON values in the struct are owned by it;
 * fields_clear() frees them.
 */
#ifndef CAIRN_BASE_FIELD_H
#define CAIRN_BASE_FIELD_H

#include <glib.h>
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum field_kind {
    FIELD_KIND_NONE,
    FIELD_KIND_BOOL, /* bool: on/off, yes/no, true/false, y/n */
    FIELD_KIND_INT,  /* int */
    FIELD_KIND_I64,  /* int64_t */
    FIELD_KIND_U32,  /* uint32_t */
    FIELD_KIND_U64,  /* uint64_t */
    FIELD_KIND_STR,  /* char *, owned */
    FIELD_KIND_STRV, /* GPtrArray *, NULL when empty; every occurrence appends a string */
    FIELD_KIND_JSON, /* json_t *, owned reference, any value */
    FIELD_KIND_SIZE, /* int64_t >= 0 with size suffixes */
    FIELD_KIND_ENUM, /* int: index into `names` */
};

struct field {
    const char *name; /* as users spell it */
    enum field_kind kind;
    size_t offset;
    const char *dflt;         /* text of the default, parsed like input; NULL: zero, or no value */
    const char *help;         /* one line, lower case, no full stop */
    const char *since;        /* release that brought it; NULL: the first */
    const char *const *names; /* FIELD_KIND_ENUM: the words, NULL-terminated */
};

/* clang-format off */
#define FIELD_KIND_OF(type, member) _Generic(((type *)0)->member,                                  \
        bool: FIELD_KIND_BOOL, int: FIELD_KIND_INT, int64_t: FIELD_KIND_I64,                       \
        uint32_t: FIELD_KIND_U32, uint64_t: FIELD_KIND_U64, char *: FIELD_KIND_STR,                \
        GPtrArray *: FIELD_KIND_STRV, json_t *: FIELD_KIND_JSON)
#define FIELD_CHECKED(type, member, ctype, kind) _Generic(((type *)0)->member, ctype: kind)
/* clang-format on */

#define FIELD(type, member, name, dflt, help)                                                      \
    {                                                                                              \
        name, FIELD_KIND_OF(type, member), offsetof(type, member), dflt, help, NULL, NULL          \
    }
#define FIELD_SIZE(type, member, name, dflt, help)                                                 \
    {                                                                                              \
        name, FIELD_CHECKED(type, member, int64_t, FIELD_KIND_SIZE), offsetof(type, member), dflt, \
            help, NULL, NULL                                                                       \
    }
#define FIELD_ENUM(type, member, name, dflt, names, help)                                          \
    {                                                                                              \
        name, FIELD_CHECKED(type, member, int, FIELD_KIND_ENUM), offsetof(type, member), dflt,     \
            help, NULL, names                                                                      \
    }

/* The entry called `name`, or NULL. */
const struct field *field_find(const struct field *fields, const char *name);

/* Sets every member to its default. The struct is zero or was cleared before. */
void fields_init(const struct field *fields, void *obj);

/* Frees what members own and zeroes them. */
void fields_clear(const struct field *fields, void *obj);

/* Sets one member from text (STRV appends; others: the last one wins). `what` names the
 * object in messages ("driver 'qcow2'"); NULL: no object. */
bool field_set_text(const struct field *field, void *obj, const char *text, const char *what,
                    GError **error);

/* Sets one member from a JSON value. Text is accepted for every kind, since key=value input
 * arrives as strings. */
bool field_set_json(const struct field *field, void *obj, json_t *value, const char *what,
                    GError **error);

/* Sets the members that `dict` names, and takes those keys out of `dict`. Keys of no field stay:
 * the caller hands them on or calls json_reject_rest(). */
bool fields_take_json(const struct field *fields, void *obj, json_t *dict, const char *what,
                      GError **error);

/* A new JSON object with every member; absent strings and JSON values are left out. */
json_t *fields_to_json(const struct field *fields, const void *obj);

/* What help puts between angle brackets: "size", "on|off", "deflate|zstd". Free with g_free(). */
char *field_kind_text(const struct field *field);

/* Appends lines "  name=<kind>  - help (default: x)" for `-o help` and the like, in table order. */
void fields_print_help(const struct field *fields, GString *out);

/* Appends mdoc(7) list items, one a field. */
void fields_print_man(const struct field *fields, GString *out);

#endif
