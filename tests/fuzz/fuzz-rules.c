/* Files of rules for blkdebug. */
#include "tests/fuzz/fuzz.h"

#include <glib.h>

#include "libblock/event.h"
#include "libblock/filters/blkdebug-rules.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *text = g_strndup((const char *)data, size);
    g_autoptr(GPtrArray) rules = g_ptr_array_new_with_free_func(rule_free);
    g_autoptr(GError) error = NULL;
    g_assert(rules_parse_config(text, "rules", rules, &error) == !error);
    for (guint i = 0; i < rules->len; i++) {
        const struct rule *rule = rules->pdata[i];
        g_assert(rule->event >= 0 && rule->event < BLK_EVENT_COUNT);
        g_assert(rule->offset >= -1 && rule->state >= 0 && rule->error >= 0);
    }
    return 0;
}
