/*
 * The arithmetic of throttle groups. See throttle-group.h.
 */
#include "libblock/filters/throttle-group.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/base.h"

#define NS_PER_S 1000000000.0
#define IDLE_PER_S 10.0 /* a bucket without a burst holds the rate divided by this */

static const int64_t value_max = INT64_C(1000000000000000);

/* clang-format off */
#define LIMIT(unit, side, name, what)                                                              \
    FIELD_SIZE(struct throttle_limits, unit[side].rate, name, "0", what " a second"),              \
    FIELD_SIZE(struct throttle_limits, unit[side].max, name "-max", "0",                           \
               what " a second in a burst"),                                                       \
    FIELD_SIZE(struct throttle_limits, unit[side].max_length, name "-max-length", "1",             \
               "seconds that a burst may last")

const struct field throttle_limit_fields[] = {
    LIMIT(bps, THROTTLE_TOTAL, "bps-total", "bytes"),
    LIMIT(bps, THROTTLE_READ, "bps-read", "bytes read"),
    LIMIT(bps, THROTTLE_WRITE, "bps-write", "bytes written"),
    LIMIT(iops, THROTTLE_TOTAL, "iops-total", "requests"),
    LIMIT(iops, THROTTLE_READ, "iops-read", "reads"),
    LIMIT(iops, THROTTLE_WRITE, "iops-write", "writes"),
    FIELD_SIZE(struct throttle_limits, iops_size, "iops-size", "0",
               "longer requests count as several of this size"),
    {0}};
/* clang-format on */

/* ---- limits ---- */

static bool check_limit(const struct throttle_limit *l, const char *unit, GError **error)
{
    if (l->rate > value_max || l->max > value_max || l->max_length > value_max) {
        return error_set(error, ERANGE, "%s limits must not exceed %" PRId64, unit, value_max);
    }
    if (l->max && !l->rate) {
        return error_set(error, EINVAL, "%s_max requires the corresponding %s limit", unit, unit);
    }
    if (l->max && l->max < l->rate) {
        return error_set(error, EINVAL,
                         "%s_max %" PRId64 " cannot be lower than the limit %" PRId64, unit, l->max,
                         l->rate);
    }
    if (!l->max_length) {
        return error_set(error, EINVAL, "the burst length of %s cannot be 0", unit);
    }
    if (l->max_length > 1 && !l->max) {
        return error_set(error, EINVAL, "a burst length of %s is set without a burst rate", unit);
    }
    return l->max_length <= value_max / max_i64(l->max, 1) ||
           error_set(error, ERANGE, "the burst length of %s is too high for its burst rate", unit);
}

static bool check_unit(const struct throttle_limit *sides, const char *unit, GError **error)
{
    if (sides[THROTTLE_TOTAL].rate && (sides[THROTTLE_READ].rate || sides[THROTTLE_WRITE].rate)) {
        return error_set(error, EINVAL,
                         "%s total and %s read or write limits cannot be used together", unit,
                         unit);
    }
    for (int i = 0; i < THROTTLE_SIDES; i++) {
        if (!check_limit(&sides[i], unit, error)) {
            return false;
        }
    }
    return true;
}

static bool check_limits(const struct throttle_limits *l, GError **error)
{
    bool counted = false;
    for (int i = 0; i < THROTTLE_SIDES; i++) {
        counted |= l->iops[i].rate > 0;
    }
    if (l->iops_size && !counted) {
        return error_set(error, EINVAL, "iops-size needs an iops limit");
    }
    return check_unit(l->bps, "bps", error) && check_unit(l->iops, "iops", error);
}

static bool take_tree(json_t *options, struct throttle_limits *limits, bool *any, GError **error)
{
    json_t *tree = json_take(options, "limits");
    bool ok = !tree || (json_is_object(tree) &&
                        fields_take_json(throttle_limit_fields, limits, tree, "limits", error) &&
                        json_reject_rest(tree, "limits", error));
    *any |= tree != NULL;
    json_decref(tree);
    return ok ||
           (error && *error ? false : error_set(error, EINVAL, "'limits' is no set of options"));
}

static bool take_words(json_t *options, struct throttle_limits *limits, bool *any, GError **error)
{
    for (const struct field *f = throttle_limit_fields; f->name; f++) {
        g_autofree char *key = g_strconcat("x-", f->name, NULL);
        json_t *value = json_take(options, key);
        bool ok = !value || field_set_json(f, limits, value, NULL, error);
        *any |= value != NULL;
        json_decref(value);
        if (!ok) {
            return false;
        }
    }
    return true;
}

bool throttle_limits_take(json_t *options, struct throttle_limits *ret_limits, bool *ret_any,
                          GError **error)
{
    struct throttle_limits limits = {0};
    bool any = false;
    fields_init(throttle_limit_fields, &limits);
    if (!take_tree(options, &limits, &any, error) || !take_words(options, &limits, &any, error) ||
        !check_limits(&limits, error)) {
        return false;
    }
    *ret_limits = limits;
    *ret_any = any;
    return true;
}

/* ---- groups ---- */

struct throttle_group *throttle_group_new(const char *name, const struct throttle_limits *limits)
{
    struct throttle_group *group = g_new0(struct throttle_group, 1);
    group->name = g_strdup(name);
    group->limits = *limits;
    group->refs = 1;
    return group;
}

struct throttle_group *throttle_group_ref(struct throttle_group *group)
{
    group->refs++;
    return group;
}

void throttle_group_unref(void *data)
{
    struct throttle_group *group = data;
    if (group && !--group->refs) {
        g_free(group->name);
        g_free(group);
    }
}

/* ---- buckets ---- */

static double drain(double level, double amount)
{
    return level > amount ? level - amount : 0;
}

static void bucket_leak(struct throttle_bucket *bucket, const struct throttle_limit *limit,
                        double seconds)
{
    bucket->level = drain(bucket->level, (double)limit->rate * seconds);
    bucket->burst_level = drain(bucket->burst_level, (double)limit->max * seconds);
}

/* Seconds until a bucket has room. */
static double bucket_wait(const struct throttle_bucket *bucket, const struct throttle_limit *limit)
{
    double rate = (double)limit->rate, max = (double)limit->max;
    if (!limit->rate) {
        return 0;
    }
    double size = limit->max ? max * (double)limit->max_length : rate / IDLE_PER_S;
    double wait = (bucket->level - size) / rate;
    if (limit->max_length > 1) {
        double burst = (bucket->burst_level - max / IDLE_PER_S) / max;
        wait = burst > wait ? burst : wait;
    }
    return wait > 0 ? wait : 0;
}

static double side_wait(const struct throttle_group *g, int side)
{
    double bytes = bucket_wait(&g->bps[side], &g->limits.bps[side]);
    double requests = bucket_wait(&g->iops[side], &g->limits.iops[side]);
    return bytes > requests ? bytes : requests;
}

int64_t throttle_group_wait(struct throttle_group *g, bool write, int64_t now_ns)
{
    int64_t passed = g->seen_ns ? max_i64(0, now_ns - g->seen_ns) : 0;
    for (int i = 0; i < THROTTLE_SIDES; i++) {
        bucket_leak(&g->bps[i], &g->limits.bps[i], (double)passed / NS_PER_S);
        bucket_leak(&g->iops[i], &g->limits.iops[i], (double)passed / NS_PER_S);
    }
    g->seen_ns = max_i64(g->seen_ns, now_ns);
    double total = side_wait(g, THROTTLE_TOTAL);
    double own = side_wait(g, write ? THROTTLE_WRITE : THROTTLE_READ);
    double wait = (total > own ? total : own) * NS_PER_S;
    return wait > 0 ? (int64_t)MIN(wait, 1e15) + 1 : 0;
}

static void pour(struct throttle_bucket *bucket, double amount)
{
    bucket->level += amount;
    bucket->burst_level += amount;
}

void throttle_group_count(struct throttle_group *g, bool write, int64_t bytes)
{
    int side = write ? THROTTLE_WRITE : THROTTLE_READ;
    int64_t unit = g->limits.iops_size;
    double requests = unit && bytes > unit ? (double)bytes / (double)unit : 1;
    pour(&g->bps[THROTTLE_TOTAL], (double)bytes);
    pour(&g->bps[side], (double)bytes);
    pour(&g->iops[THROTTLE_TOTAL], requests);
    pour(&g->iops[side], requests);
}
