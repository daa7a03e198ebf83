/*
 * Control-path errors. See error.h.
 */
#include "base/error.h"

#include <errno.h>
#include <string.h>

#undef error_set
#undef error_set_errno

GQuark cairn_error_quark(void)
{
    return g_quark_from_static_string("cairn-error");
}

static bool set(GError **error, int err, const char *format, va_list ap, bool with_text)
{
    if (error && !*error) {
        g_autofree char *text = g_strdup_vprintf(format, ap);
        g_autofree char *full = with_text ? g_strconcat(text, ": ", g_strerror(err), NULL) : NULL;
        *error = g_error_new_literal(CAIRN_ERROR, err, full ? full : text);
    }
    return false;
}

bool error_set(GError **error, int err, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    set(error, err, format, ap, false);
    va_end(ap);
    return false;
}

bool error_set_errno(GError **error, int err, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    set(error, err, format, ap, true);
    va_end(ap);
    return false;
}

int error_errno(const GError *error)
{
    return error && error->domain == CAIRN_ERROR && error->code > 0 ? error->code : EIO;
}
