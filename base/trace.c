/*
 * Trace points. The enabled patterns are the process's one list, set up by
 * main() before threads start and only read afterwards; each point remembers
 * the answer of its first look-up.
 */
#include "base/trace.h"

#include <stdarg.h>
#include <stdio.h>

enum trace_state { TRACE_UNKNOWN, TRACE_OFF, TRACE_ON };

static GPtrArray *trace_patterns; /* of GPatternSpec *; NULL: nothing was enabled */

void trace_enable(const char *pattern)
{
    if (!trace_patterns) {
        trace_patterns = g_ptr_array_new();
    }
    g_ptr_array_add(trace_patterns, g_pattern_spec_new(pattern));
}

bool trace_lookup(struct trace_point *point)
{
    int state = TRACE_OFF;
    for (guint i = 0; trace_patterns && i < trace_patterns->len; i++) {
        if (g_pattern_spec_match_string(trace_patterns->pdata[i], point->name)) {
            state = TRACE_ON;
        }
    }
    __atomic_store_n(&point->state, state, __ATOMIC_RELAXED);
    return state == TRACE_ON;
}

void trace_print(const struct trace_point *point, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    g_autofree char *text = g_strdup_vprintf(format, ap);
    va_end(ap);
    fprintf(stderr, "%s %s\n", point->name, text);
}
