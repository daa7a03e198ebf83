/*
 * Control-path errors: one GError domain whose codes are errno values.
 *
 * The setters return false so that a failing function can end with
 * `return error_set(error, EINVAL, "...")`. Messages are lower case, have no
 * full stop, and name the object, what was wrong and which value.
 */
#ifndef CAIRN_BASE_ERROR_H
#define CAIRN_BASE_ERROR_H

#include <glib.h>
#include <stdbool.h>

/* The one error domain; (GError).code is a positive errno value. */
#define CAIRN_ERROR (cairn_error_quark())
GQuark cairn_error_quark(void);

/* Sets *error (when error is not NULL) with code `err` (a positive errno). Always false. */
bool error_set(GError **error, int err, const char *format, ...) G_GNUC_PRINTF(3, 4);

/* As error_set(), and appends ": " and the text of `err`. Always false. */
bool error_set_errno(GError **error, int err, const char *format, ...) G_GNUC_PRINTF(3, 4);

#ifdef __clang_analyzer__ /* it cannot know that these always return false */
#define error_set(...) (error_set(__VA_ARGS__), false)
#define error_set_errno(...) (error_set_errno(__VA_ARGS__), false)
#endif

/* The positive errno an error stands for; EIO for errors of other domains and for NULL. */
int error_errno(const GError *error);

#endif
