#include "tests/crash/history.h"

#include <glib.h>
#include <inttypes.h>
#include <string.h>

struct entry {
    uint64_t stamp;
    int64_t begin, end;
    uint32_t flags;
};

struct period {
    int64_t begin, end, size;
};

struct history {
    int64_t sectors;
    uint64_t *first;
    GArray **entries;  /* struct entry, by sector, oldest first; NULL: none */
    GArray *flushes;   /* struct period, oldest first */
    GArray *sizes;     /* the same */
    GArray *snapshots; /* struct history_snapshot */
};

static void snapshot_clear(void *arg)
{
    struct history_snapshot *snapshot = arg;
    g_free(snapshot->name);
    g_free(snapshot->stamps);
}

struct history *history_new(int64_t sectors, int64_t size, const uint64_t *stamps)
{
    struct history *history = g_new0(struct history, 1);
    history->sectors = sectors;
    history->first = g_memdup2(stamps, (gsize)sectors * sizeof(*stamps));
    history->entries = g_new0(GArray *, (gsize)sectors);
    history->flushes = g_array_new(FALSE, FALSE, sizeof(struct period));
    history->sizes = g_array_new(FALSE, FALSE, sizeof(struct period));
    history->snapshots = g_array_new(FALSE, FALSE, sizeof(struct history_snapshot));
    g_array_set_clear_func(history->snapshots, snapshot_clear);
    history_resize(history, size, -1, -1);
    return history;
}

void history_free(struct history *history)
{
    if (!history)
        return;
    for (int64_t i = 0; i < history->sectors; i++)
        g_clear_pointer(&history->entries[i], g_array_unref);
    g_array_unref(history->flushes);
    g_array_unref(history->sizes);
    g_array_unref(history->snapshots);
    g_free(history->entries);
    g_free(history->first);
    g_free(history);
}

/* ---- sectors ---- */

void history_write(struct history *history, int64_t sector, uint64_t stamp, int64_t begin,
                   int64_t end, uint32_t flags)
{
    struct entry entry = {stamp, begin, end, flags};
    g_assert_cmpint(sector, <, history->sectors);
    if (!history->entries[sector])
        history->entries[sector] = g_array_new(FALSE, FALSE, sizeof(struct entry));
    g_array_append_val(history->entries[sector], entry);
}

void history_flush(struct history *history, int64_t begin, int64_t end)
{
    struct period flush = {begin, end, 0};
    g_array_append_val(history->flushes, flush);
}

/* What returned before this position is durable at the cut. */
static int64_t durable_before(const struct history *history, int64_t cut)
{
    int64_t position = -1;
    for (guint i = 0; i < history->flushes->len; i++) {
        const struct period *flush = &g_array_index(history->flushes, struct period, i);
        if (flush->end <= cut)
            position = flush->begin;
    }
    return position;
}

/* From the newest operation that can have begun down to the durable one, which hides older ones. */
bool history_allows(const struct history *history, int64_t sector, uint64_t stamp, int64_t cut)
{
    const GArray *entries = history->entries[sector];
    if (!entries)
        return stamp == history->first[sector];
    int64_t durable = durable_before(history, cut);
    for (int64_t i = (int64_t)entries->len - 1; i >= 0; i--) {
        const struct entry *entry = &g_array_index(entries, struct entry, i);
        bool loose = entry->flags & HISTORY_LOOSE;
        if (entry->begin >= cut)
            continue;
        if (entry->stamp == stamp || (loose && !stamp))
            return true;
        if (!loose &&
            (entry->end <= durable || ((entry->flags & HISTORY_DURABLE) && entry->end <= cut)))
            return false;
    }
    return stamp == history->first[sector];
}

char *history_describe(const struct history *history, int64_t sector, int64_t cut)
{
    const GArray *entries = history->entries[sector];
    GString *text = g_string_new(NULL);
    g_string_printf(text, "at first %#" PRIx64 ", durable before %" PRId64 ":",
                    history->first[sector], durable_before(history, cut));
    for (guint i = 0; entries && i < entries->len; i++) {
        const struct entry *entry = &g_array_index(entries, struct entry, i);
        g_string_append_printf(text, " %s%#" PRIx64 "%s in [%" PRId64 ", %" PRId64 ")",
                               entry->flags & HISTORY_LOOSE ? "discarded, " : "", entry->stamp,
                               entry->flags & HISTORY_DURABLE ? " for good" : "", entry->begin,
                               entry->end);
    }
    return g_string_free(text, FALSE);
}

/* ---- sizes ---- */

void history_resize(struct history *history, int64_t size, int64_t begin, int64_t end)
{
    struct period period = {begin, end, size};
    g_array_append_val(history->sizes, period);
}

bool history_allows_size(const struct history *history, int64_t size, int64_t cut)
{
    for (int64_t i = (int64_t)history->sizes->len - 1; i >= 0; i--) {
        const struct period *period = &g_array_index(history->sizes, struct period, i);
        if (period->begin >= cut)
            continue;
        if (period->size == size)
            return true;
        if (period->end <= cut)
            return false;
    }
    return false;
}

bool history_allows_length(const struct history *history, int64_t size, int64_t cut)
{
    int64_t least = INT64_MAX, most = 0;
    for (guint i = 0; i < history->sizes->len; i++) {
        int64_t one = g_array_index(history->sizes, struct period, i).size;
        if (history_allows_size(history, one, cut)) {
            least = MIN(least, one);
            most = MAX(most, one);
        }
    }
    return least <= size && size <= most;
}

/* ---- snapshots ---- */

void history_snapshot_add(struct history *history, const char *name, int64_t size,
                          const uint64_t *stamps, int64_t begin, int64_t end)
{
    struct history_snapshot snapshot = {
        g_strdup(name), size, g_memdup2(stamps, (gsize)(size / SECTOR) * sizeof(*stamps)),
        begin,          end,  INT64_MAX,
        INT64_MAX};
    g_array_append_val(history->snapshots, snapshot);
}

void history_snapshot_delete(struct history *history, const char *name, int64_t begin, int64_t end)
{
    for (guint i = 0; i < history->snapshots->len; i++) {
        struct history_snapshot *snapshot =
            &g_array_index(history->snapshots, struct history_snapshot, i);
        if (g_str_equal(snapshot->name, name)) {
            snapshot->deleted_begin = begin;
            snapshot->deleted_end = end;
        }
    }
}

const struct history_snapshot *history_snapshots(const struct history *history, int *ret_count)
{
    *ret_count = (int)history->snapshots->len;
    return (const struct history_snapshot *)(void *)history->snapshots->data;
}

bool history_snapshot_may_be(const struct history_snapshot *snapshot, int64_t cut)
{
    return snapshot->made_begin < cut && cut < snapshot->deleted_end;
}

bool history_snapshot_must_be(const struct history_snapshot *snapshot, int64_t cut)
{
    return snapshot->made_end <= cut && cut <= snapshot->deleted_begin;
}

/* ---- stamps ---- */

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
