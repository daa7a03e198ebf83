/*
 * Trace points: TRACE(qcow2_alloc, "guest %" PRId64, offset) prints a line to
 * standard error when enabled by name, and costs one predicted branch when not.
 */
#ifndef CAIRN_BASE_TRACE_H
#define CAIRN_BASE_TRACE_H

#include <glib.h>
#include <stdbool.h>

/* Enables the points whose name matches the glob `pattern` ("qcow2_*"); from main() before threads
 * start. */
void trace_enable(const char *pattern);

struct trace_point {
    const char *name;
    int state; /* 0 not yet looked up, 1 off, 2 on */
};

bool trace_lookup(struct trace_point *point);
void trace_print(const struct trace_point *point, const char *format, ...) G_GNUC_PRINTF(2, 3);

static inline bool trace_is_on(struct trace_point *point)
{
    int state = __atomic_load_n(&point->state, __ATOMIC_RELAXED);
    return G_UNLIKELY(state != 1) && (state == 2 || trace_lookup(point));
}

#define TRACE(name, ...)                                                                           \
    do {                                                                                           \
        static struct trace_point trace_point_ = {#name, 0};                                       \
        if (trace_is_on(&trace_point_)) {                                                          \
            trace_print(&trace_point_, __VA_ARGS__);                                               \
        }                                                                                          \
    } while (0)

#endif
