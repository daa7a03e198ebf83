/*
 * Throttle groups: limits that several nodes share. The arithmetic is pure and
 * takes the time as an argument; waiting is the filter's business (throttle.c).
 *
 * Each limit is a leaking bucket: requests pour in, `rate` a second leak out, and
 * who finds it too full waits. A bucket without `max` holds a tenth of a second's
 * worth. With `max`, a burst of that rate may last for `max_length` seconds; one
 * of more than a second has a second bucket that keeps it to `max`.
 */
#ifndef CAIRN_LIBBLOCK_THROTTLE_GROUP_H
#define CAIRN_LIBBLOCK_THROTTLE_GROUP_H

#include <glib.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/co-lock.h"
#include "base/field.h"

enum throttle_side { THROTTLE_TOTAL, THROTTLE_READ, THROTTLE_WRITE, THROTTLE_SIDES };

struct throttle_limit {
    int64_t rate;       /* a second; 0: no limit */
    int64_t max;        /* a second, in a burst; 0: none */
    int64_t max_length; /* seconds of a burst */
};

struct throttle_limits {
    struct throttle_limit bps[THROTTLE_SIDES], iops[THROTTLE_SIDES];
    int64_t iops_size; /* bytes that count as one operation; 0: any number */
};

struct throttle_bucket {
    double level, burst_level;
};

struct throttle_group {
    char *name; /* NULL: of one node alone */
    int refs;
    struct throttle_limits limits;
    struct throttle_bucket bps[THROTTLE_SIDES], iops[THROTTLE_SIDES];
    int64_t seen_ns;          /* until when the buckets have leaked */
    struct co_mutex lines[2]; /* who waits, reads and writes apart: first come, first served */
};

/* "bps-total" ... "iops-size", members of struct throttle_limits. */
extern const struct field throttle_limit_fields[];

/* Takes "limits" (a tree of the fields) and "x-bps-total" and the like out of `options`. `ret_any`:
 * there were some. */
bool throttle_limits_take(json_t *options, struct throttle_limits *ret_limits, bool *ret_any,
                          GError **error);

struct throttle_group *throttle_group_new(const char *name, const struct throttle_limits *limits);
struct throttle_group *throttle_group_ref(struct throttle_group *group);
void throttle_group_unref(void *group);

/* Nanoseconds that a request must still wait; 0: it may go. Time never runs backwards. */
int64_t throttle_group_wait(struct throttle_group *group, bool write, int64_t now_ns);

/* Counts a request that goes now. */
void throttle_group_count(struct throttle_group *group, bool write, int64_t bytes);

#endif
