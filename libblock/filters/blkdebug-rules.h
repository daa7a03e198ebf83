/*
 * What a blkdebug filter is told to do, from a file or from options. Pure: text
 * in, rules out.
 *
 *     [inject-error]              [set-state]
 *     event = "l2_load"           event = "l2_load"
 *     errno = "28"                new_state = "2"
 *
 * Options are the same with dots: inject-error.0.event=l2_load.
 */
#ifndef CAIRN_LIBBLOCK_BLKDEBUG_RULES_H
#define CAIRN_LIBBLOCK_BLKDEBUG_RULES_H

#include <glib.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

enum rule_action { RULE_INJECT, RULE_SET_STATE, RULE_SUSPEND };

/* Kinds of requests that an error is for, as bits. */
enum rule_iotype {
    RULE_READ = 1 << 0,
    RULE_WRITE = 1 << 1,
    RULE_WRITE_ZEROES = 1 << 2,
    RULE_DISCARD = 1 << 3,
    RULE_FLUSH = 1 << 4,
    RULE_BLOCK_STATUS = 1 << 5,
};

struct rule {
    enum rule_action action;
    int event; /* enum blk_event */
    int state; /* the rule is for this state only; 0: every one */

    int error;      /* inject: positive errno; 0: succeed without doing it */
    int64_t offset; /* inject: only requests over this byte; -1: all */
    uint32_t iotypes;
    bool once, immediately;
    bool active; /* its event has happened: the next request that fits fails */

    int new_state; /* set-state */
    char *tag;     /* suspend */
};

struct rule *rule_new(enum rule_action action, int event);
void rule_free(void *rule);

/* Adds the rules of a file's `text` to `rules` (of struct rule *). */
bool rules_parse_config(const char *text, const char *name, GPtrArray *rules, GError **error);

/* Takes "inject-error" and "set-state", lists or objects with numbers for keys, out of `options`.
 */
bool rules_take_options(json_t *options, GPtrArray *rules, GError **error);

#endif
