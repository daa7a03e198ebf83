#include "tests/crash/history.h"

#include <glib.h>
#include <inttypes.h>
#include <string.h>

struct entry {
    uint64_t stamp;
    int64_t begin, end;
    bool fua;
};

struct flush {
    int64_t begin, end;
};

struct history {
    int64_t sectors;
    uint64_t *base;
    GArray **entries; /* struct entry, by sector, oldest first */
    GArray *flushes;  /* struct flush, oldest first */
};

struct history *history_new(int64_t sectors, const uint64_t *base)
{
    struct history *history = g_new0(struct history, 1);
    history->sectors = sectors;
    history->base = g_memdup2(base, (gsize)sectors * sizeof(*base));
    history->entries = g_new0(GArray *, (gsize)sectors);
    for (int64_t i = 0; i < sectors; i++)
        history->entries[i] = g_array_new(FALSE, FALSE, sizeof(struct entry));
    history->flushes = g_array_new(FALSE, FALSE, sizeof(struct flush));
    return history;
}

void history_free(struct history *history)
{
    for (int64_t i = 0; i < history->sectors; i++)
        g_array_unref(history->entries[i]);
    g_array_unref(history->flushes);
    g_free(history->entries);
    g_free(history->base);
    g_free(history);
}

void history_write(struct history *history, int64_t sector, uint64_t stamp, int64_t begin,
                   int64_t end, bool fua)
{
    struct entry entry = {stamp, begin, end, fua};
    g_array_append_val(history->entries[sector], entry);
}

void history_flush(struct history *history, int64_t begin, int64_t end)
{
    struct flush flush = {begin, end};
    g_array_append_val(history->flushes, flush);
}

/* What returned before this position is durable at the cut. */
static int64_t durable_before(const struct history *history, int64_t cut)
{
    int64_t position = -1;
    for (guint i = 0; i < history->flushes->len; i++) {
        struct flush flush = g_array_index(history->flushes, struct flush, i);
        if (flush.end <= cut)
            position = flush.begin;
    }
    return position;
}

/* From the newest operation that can have begun down to the durable one, which hides older ones. */
bool history_allows(const struct history *history, int64_t sector, uint64_t stamp, int64_t cut)
{
    const GArray *entries = history->entries[sector];
    int64_t durable = durable_before(history, cut);
    for (int64_t i = (int64_t)entries->len - 1; i >= 0; i--) {
        struct entry entry = g_array_index(entries, struct entry, i);
        bool discarded = entry.stamp == STAMP_DISCARDED;
        if (entry.begin >= cut)
            continue;
        if (entry.stamp == stamp || (discarded && (!stamp || stamp == history->base[sector])))
            return true;
        if (!discarded && (entry.end <= durable || (entry.fua && entry.end <= cut)))
            return false;
    }
    return stamp == history->base[sector];
}

char *history_describe(const struct history *history, int64_t sector, int64_t cut)
{
    const GArray *entries = history->entries[sector];
    GString *text = g_string_new(NULL);
    g_string_printf(text, "at first %#" PRIx64 ", durable before %" PRId64 ":",
                    history->base[sector], durable_before(history, cut));
    for (guint i = 0; i < entries->len; i++) {
        struct entry entry = g_array_index(entries, struct entry, i);
        g_string_append_printf(text, " %#" PRIx64 "%s in [%" PRId64 ", %" PRId64 ")", entry.stamp,
                               entry.fua ? " with FUA" : "", entry.begin, entry.end);
    }
    return g_string_free(text, FALSE);
}

bool stamp_read(const uint8_t *bytes, uint64_t *ret_stamp)
{
    if (memcmp(bytes, bytes + sizeof(uint64_t), SECTOR - sizeof(uint64_t)) != 0)
        return false;
    memcpy(ret_stamp, bytes, sizeof(*ret_stamp));
    return true;
}

void stamp_fill(uint8_t *bytes, uint64_t stamp)
{
    for (int i = 0; i < SECTOR; i += (int)sizeof(stamp))
        memcpy(bytes + i, &stamp, sizeof(stamp));
}
