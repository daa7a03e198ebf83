/*
 * blkdebug: a filter that fails or holds requests as its rules say. Nodes above
 * tell it what they are about to do (event.h). An event makes the inject rules
 * that name it active, and only those: each request that then fits an active
 * rule fails. Set-state rules move from state to state, so that the second or
 * third event of a kind can be the one that counts. A breakpoint holds whoever
 * raised its event until the program lets go.
 *
 * It also takes on the limits of a device that does not exist: alignment, and
 * the longest requests.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "libblock/driver.h"
#include "libblock/filters/blkdebug-rules.h"

enum { CONFIG_MAX = 1 << 20 };

struct debug_options {
    char *config;
    int64_t align, max_transfer, opt_write_zero, max_write_zero, opt_discard, max_discard;
};

struct debug_state {
    GPtrArray *rules; /* struct rule * */
    int state;
    GPtrArray *suspended; /* struct suspended * */
};

/* Someone who waits at a breakpoint; lives on its stack. */
struct suspended {
    char *tag;
    bool released;
    struct co_queue queue;
};

static const struct field debug_fields[] = {
    FIELD(struct debug_options, config, "config", NULL, "file of rules"),
    FIELD_SIZE(struct debug_options, align, "align", "0", "alignment of requests, bytes"),
    FIELD_SIZE(struct debug_options, max_transfer, "max-transfer", "0", "longest read or write"),
    FIELD_SIZE(struct debug_options, opt_write_zero, "opt-write-zero", "0",
               "alignment of zeroing; shorter ones are written"),
    FIELD_SIZE(struct debug_options, max_write_zero, "max-write-zero", "0", "longest zeroing"),
    FIELD_SIZE(struct debug_options, opt_discard, "opt-discard", "0", "alignment of discards"),
    FIELD_SIZE(struct debug_options, max_discard, "max-discard", "0", "longest discard"),
    {0},
};

/* ---- events ---- */

static void debug_co_suspend(struct blk_node *node, const char *tag)
{
    struct debug_state *s = node->state;
    struct suspended suspended = {.tag = g_strdup(tag)};
    g_ptr_array_add(s->suspended, &suspended);
    node_report(node, REPORT_NOTE, "blkdebug: Suspended request '%s'", tag);
    while (!suspended.released) {
        co_queue_co_wait(&suspended.queue);
    }
    node_report(node, REPORT_NOTE, "blkdebug: Resuming request '%s'", suspended.tag);
    g_free(suspended.tag);
}

static void deactivate_all(struct debug_state *s)
{
    for (guint i = 0; i < s->rules->len; i++) {
        ((struct rule *)s->rules->pdata[i])->active = false;
    }
}

/* Runs the rules of an event. Returns the tag of a breakpoint to wait at, to be freed, or NULL. */
static char *run_rules(struct debug_state *s, enum blk_event event)
{
    int next = s->state;
    bool injected = false;
    char *tag = NULL;
    for (guint i = 0; i < s->rules->len; i++) {
        struct rule *rule = s->rules->pdata[i];
        if (rule->event != (int)event || (rule->state && rule->state != s->state)) {
            continue;
        }
        if (rule->action == RULE_INJECT && !injected) {
            deactivate_all(s);
            injected = true;
        }
        rule->active = rule->action == RULE_INJECT;
        next = rule->action == RULE_SET_STATE ? rule->new_state : next;
        if (rule->action == RULE_SUSPEND && !tag) {
            tag = g_steal_pointer(&rule->tag);
            g_ptr_array_remove_index(s->rules, i--);
        }
    }
    s->state = next;
    return tag;
}

static void debug_co_event(struct blk_node *node, enum blk_event event)
{
    g_autofree char *tag = run_rules(node->state, event);
    if (tag) {
        debug_co_suspend(node, tag);
    }
}

/* ---- breakpoints ---- */

static bool debug_set_break(struct blk_node *node, enum blk_event event, const char *tag,
                            GError **error)
{
    struct debug_state *s = node->state;
    struct rule *rule = rule_new(RULE_SUSPEND, event);
    rule->tag = g_strdup(tag);
    g_ptr_array_add(s->rules, rule);
    return true;
}

/* Lets go of those who wait under `tag`: the first, or all. */
static bool release(struct debug_state *s, const char *tag, bool all)
{
    bool found = false;
    for (guint i = 0; i < s->suspended->len && (all || !found);) {
        struct suspended *suspended = s->suspended->pdata[i];
        if (tag && strcmp(suspended->tag, tag)) {
            i++;
            continue;
        }
        g_ptr_array_remove_index(s->suspended, i);
        suspended->released = found = true;
        co_queue_wake_all(&suspended->queue);
    }
    return found;
}

static bool debug_resume(struct blk_node *node, const char *tag, GError **error)
{
    return release(node->state, tag, false) ||
           error_set(error, ENOENT, "no request is suspended as '%s'", tag);
}

static bool debug_remove_break(struct blk_node *node, const char *tag, GError **error)
{
    struct debug_state *s = node->state;
    bool found = false;
    for (guint i = 0; i < s->rules->len;) {
        const struct rule *rule = s->rules->pdata[i];
        bool match = rule->action == RULE_SUSPEND && (!tag || !strcmp(rule->tag, tag));
        found |= match;
        if (match) {
            g_ptr_array_remove_index(s->rules, i);
        } else {
            i++;
        }
    }
    found |= release(s, tag, true);
    return found || !tag || error_set(error, ENOENT, "there is no breakpoint '%s'", tag);
}

static bool debug_is_suspended(struct blk_node *node, const char *tag)
{
    const struct debug_state *s = node->state;
    for (guint i = 0; i < s->suspended->len; i++) {
        if (!strcmp(((struct suspended *)s->suspended->pdata[i])->tag, tag)) {
            return true;
        }
    }
    return false;
}

/* ---- open and close ---- */

static bool is_possible(int64_t value, int64_t align)
{
    return value % align == 0 && value < INT32_MAX;
}

static bool check_limits(const struct debug_options *o, int64_t child_align, GError **error)
{
    int64_t align = max_i64(max_i64(o->align, child_align), 1);
    int64_t zero = max_i64(o->opt_write_zero, align);
    int64_t discard = max_i64(o->opt_discard, align);
    const struct {
        const char *name;
        int64_t value;
        bool ok;
    } checks[] = {
        {"align", o->align, !o->align || (is_pow2((uint64_t)o->align) && o->align < INT32_MAX)},
        {"max-transfer", o->max_transfer, is_possible(o->max_transfer, align)},
        {"opt-write-zero", o->opt_write_zero,
         is_possible(o->opt_write_zero, align) && is_pow2((uint64_t)zero)},
        {"max-write-zero", o->max_write_zero, is_possible(o->max_write_zero, zero)},
        {"opt-discard", o->opt_discard,
         is_possible(o->opt_discard, align) && is_pow2((uint64_t)discard)},
        {"max-discard", o->max_discard, is_possible(o->max_discard, discard)},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(checks); i++) {
        if (!checks[i].ok) {
            return error_set(error, EINVAL, "Cannot meet constraints with %s %" PRId64,
                             checks[i].name, checks[i].value);
        }
    }
    return true;
}

static bool read_config(struct debug_state *s, const char *name, GError **error)
{
    FILE *file = fopen(name, "re");
    if (!file) {
        return error_set_errno(error, errno, "could not open '%s'", name);
    }
    g_autofree char *text = g_malloc(CONFIG_MAX + 1);
    size_t length = fread(text, 1, CONFIG_MAX, file);
    bool whole = !ferror(file) && feof(file);
    fclose(file);
    text[length] = 0;
    if (!whole || strlen(text) != length) {
        return error_set(error, EINVAL, "'%s' is no file of rules: too long, or not text", name);
    }
    return rules_parse_config(text, name, s->rules, error);
}

/* What to share with whom: libblock has no such words, so they are checked and accepted. */
static bool take_permissions(json_t *rest, const char *key, GError **error)
{
    static const char *const words[] = {"consistent-read", "write", "write-unchanged", "resize",
                                        NULL};
    json_t *list = json_take(rest, key), *item;
    const char *number;
    size_t i;
    const char *wrong = NULL;
    json_array_foreach(list, i, item)
    {
        const char *word = json_string_value(item);
        wrong = word && g_strv_contains(words, word) ? wrong : key;
    }
    json_object_foreach(list, number, item)
    {
        const char *word = json_string_value(item);
        wrong = word && g_strv_contains(words, word) ? wrong : key;
    }
    wrong = list && !json_is_array(list) && !json_is_object(list) ? key : wrong;
    json_decref(list);
    return !wrong || error_set(error, EINVAL,
                               "option '%s' takes a list of consistent-read, write, "
                               "write-unchanged and resize",
                               key);
}

static void state_done(struct debug_state *s)
{
    g_ptr_array_unref(s->rules);
    g_ptr_array_unref(s->suspended);
}

static bool debug_co_open(struct blk_node *node, json_t *rest, GError **error)
{
    struct debug_state *s = node->state;
    const struct debug_options *o = node->options;
    *s = (struct debug_state){g_ptr_array_new_with_free_func(rule_free), 1, g_ptr_array_new()};
    if (!check_limits(o, node->file->limits.request_align, error) ||
        (o->config && *o->config && !read_config(s, o->config, error)) ||
        !rules_take_options(rest, s->rules, error) ||
        !take_permissions(rest, "take-child-perms", error) ||
        !take_permissions(rest, "unshare-child-perms", error)) {
        state_done(s);
        return false;
    }
    debug_co_event(node, BLK_EVENT_NONE);
    return true;
}

static bool debug_co_close(struct blk_node *node, GError **error)
{
    state_done(node->state);
    return true;
}

/* CONFIG:FILE, where CONFIG may be empty. */
static bool debug_parse_name(const char *rest, json_t *tree, GError **error)
{
    const char *colon = strchr(rest, ':');
    if (!colon) {
        return error_set(error, EINVAL, "'blkdebug:%s' is not blkdebug:CONFIG:FILE", rest);
    }
    if (colon > rest) {
        json_object_set_new(tree, "config", json_stringn(rest, (size_t)(colon - rest)));
    }
    json_object_set_new(tree, "image", json_string(colon + 1));
    return true;
}

static void debug_limits(struct blk_node *node, struct blk_limits *limits)
{
    const struct debug_options *o = node->options;
    limits->request_align = max_i64(limits->request_align, o->align);
    limits->max_transfer = o->max_transfer ? o->max_transfer : limits->max_transfer;
    limits->zero_align = o->opt_write_zero ? o->opt_write_zero : limits->zero_align;
    limits->max_zero = o->max_write_zero ? o->max_write_zero : limits->max_zero;
    limits->discard_align = o->opt_discard ? o->opt_discard : limits->discard_align;
    limits->max_discard = o->max_discard ? o->max_discard : limits->max_discard;
}

/* ---- requests ---- */

/* The active rule that a request fits, or NULL. */
static struct rule *find_rule(struct debug_state *s, uint32_t iotype, int64_t offset,
                              int64_t length)
{
    for (guint i = s->rules->len; i-- > 0;) {
        struct rule *rule = s->rules->pdata[i];
        bool here = rule->offset < 0 || (rule->offset >= offset && rule->offset - offset < length);
        if (rule->active && (rule->iotypes & iotype) && here) {
            return rule;
        }
    }
    return NULL;
}

/* True when a rule decides about this request: then *ret_result is its end. */
static bool debug_co_strike(struct blk_node *node, uint32_t iotype, int64_t offset, int64_t length,
                            int *ret_result)
{
    struct debug_state *s = node->state;
    struct rule *rule = find_rule(s, iotype, offset, length);
    if (!rule || !rule->error) {
        return false;
    }
    *ret_result = -rule->error;
    bool immediately = rule->immediately;
    if (rule->once) {
        g_ptr_array_remove(s->rules, rule);
    }
    if (!immediately) {
        loop_co_relax();
    }
    return true;
}

static int debug_co_read(struct blk_node *node, int64_t offset, int64_t length, struct span span)
{
    int ret;
    return debug_co_strike(node, RULE_READ, offset, length, &ret)
               ? ret
               : node_co_read(node->file, offset, length, span);
}

static int debug_co_write(struct blk_node *node, int64_t offset, int64_t length, struct span span,
                          uint32_t flags)
{
    int ret;
    return debug_co_strike(node, RULE_WRITE, offset, length, &ret)
               ? ret
               : node_co_write(node->file, offset, length, span, flags);
}

static int debug_co_write_packed(struct blk_node *node, int64_t offset, int64_t length,
                                 struct span span)
{
    int ret;
    return debug_co_strike(node, RULE_WRITE, offset, length, &ret)
               ? ret
               : node_co_write_compressed(node->file, offset, length, span);
}

static int debug_co_zero(struct blk_node *node, int64_t offset, int64_t length, uint32_t flags)
{
    int ret;
    return debug_co_strike(node, RULE_WRITE_ZEROES, offset, length, &ret)
               ? ret
               : node_co_zero(node->file, offset, length, flags);
}

static int debug_co_discard(struct blk_node *node, int64_t offset, int64_t length)
{
    int ret;
    return debug_co_strike(node, RULE_DISCARD, offset, length, &ret)
               ? ret
               : node_co_discard(node->file, offset, length);
}

static int debug_co_flush(struct blk_node *node)
{
    int ret;
    return debug_co_strike(node, RULE_FLUSH, 0, 0, &ret) ? ret : 0;
}

/* The child's map, without the ways past this filter. */
static int debug_co_map(struct blk_node *node, int64_t offset, int64_t length, uint32_t flags,
                        struct extent_list *list)
{
    int ret;
    if (debug_co_strike(node, RULE_BLOCK_STATUS, offset, length, &ret)) {
        return ret;
    }
    ret = node_co_map(node->file, offset, length, flags, list);
    for (int i = 0; i < list->count && (flags & MAP_LEAF); i++) {
        list->items[i].flags &= ~(uint32_t)(EXTENT_OFFSET | EXTENT_COMPRESSED);
    }
    return ret;
}

static const struct plan_ops debug_plan = {.co_write_packed = debug_co_write_packed};

static const struct debug_ops debug_ops = {
    .co_event = debug_co_event,
    .set_break = debug_set_break,
    .resume = debug_resume,
    .remove_break = debug_remove_break,
    .is_suspended = debug_is_suspended,
};

const struct blk_driver blkdebug_driver = {
    .name = "blkdebug",
    .description = "fails and holds requests as told, for tests",
    .flags = DRIVER_FILTER | DRIVER_FUA,
    .state_size = sizeof(struct debug_state),
    .options = debug_fields,
    .options_size = sizeof(struct debug_options),
    .file_key = "image",
    .parse_name = debug_parse_name,
    .co_open = debug_co_open,
    .co_close = debug_co_close,
    .limits = debug_limits,
    .co_read = debug_co_read,
    .co_write = debug_co_write,
    .co_zero = debug_co_zero,
    .co_discard = debug_co_discard,
    .co_flush = debug_co_flush,
    .co_map = debug_co_map,
    .plan = &debug_plan,
    .debug = &debug_ops,
};
