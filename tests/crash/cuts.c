#include "tests/crash/cuts.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { SECTOR = 512, MAX_SUBSET = 6, RANDOM_PER_FLUSH = 4 };

enum mode { ALL, ALL_BUT_ONE, ONE_ALONE, SUBSET, RANDOM };
static const char *const mode_names[] = {"all before it", "all before it but", "of the last only",
                                         "of the last the subset", "a random part, seed"};

/* One state to be made. */
struct state {
    int64_t cut;
    enum mode mode;
    uint64_t arg; /* ALL_BUT_ONE, ONE_ALONE: an operation; SUBSET: a mask; RANDOM: a seed */
};

struct cuts {
    GArray *log;                    /* struct ram_op */
    int64_t *safe_at;               /* by operation: the flush that made it durable; or the end */
    GByteArray *durable[RAM_DISKS]; /* what is safe at the present cut; NULL: no such disk */
    GBytes *saved[RAM_DISKS];
    int64_t applied; /* operations before this one were looked at for `durable` */
    GArray *waiting; /* of those, the indices of the ones not yet durable */
    GArray *states;  /* struct state, in order of their cuts */
    guint next;
    int64_t low[RAM_DISKS]; /* the smallest size of the disk in this state */
    GArray *touched;        /* struct ram_op without data: what this state changed */
};

static const struct ram_op *op_at(const struct cuts *cuts, int64_t i)
{
    return &g_array_index(cuts->log, struct ram_op, i);
}

static bool changes(const struct ram_op *op)
{
    return op->kind == RAM_WRITE || op->kind == RAM_ZERO || op->kind == RAM_RESIZE;
}

/* ---- recording ---- */

static const struct ram_disk *record_all(void)
{
    const struct ram_disk *first = NULL;
    for (int i = 0; i < RAM_DISKS; i++) {
        if (!ram_disks[i].bytes)
            continue;
        if (first)
            ram_record_with(&ram_disks[i], first);
        else
            ram_record(&ram_disks[i]);
        first = first ? first : &ram_disks[i];
    }
    return first;
}

struct cuts *cuts_record(void)
{
    struct cuts *cuts = g_new0(struct cuts, 1);
    for (int i = 0; i < RAM_DISKS; i++) {
        const GByteArray *bytes = ram_disks[i].bytes;
        if (!bytes)
            continue;
        cuts->durable[i] = g_byte_array_sized_new(bytes->len);
        g_byte_array_append(cuts->durable[i], bytes->data, bytes->len);
    }
    cuts->log = g_array_ref(record_all()->log);
    return cuts;
}

int64_t cuts_position(const struct cuts *cuts)
{
    return cuts->log->len;
}

bool cuts_changed(const struct cuts *cuts, int first, int end)
{
    for (int64_t i = 0; i < cuts->log->len; i++)
        if (changes(op_at(cuts, i)) && op_at(cuts, i)->disk >= first && op_at(cuts, i)->disk < end)
            return true;
    return false;
}

void cuts_print_log(const struct cuts *cuts)
{
    static const char *const names[] = {"write",        "zero",       "resize",
                                        "flush begins", "flush ends", "mark"};
    for (guint i = 0; i < cuts->log->len; i++) {
        const struct ram_op *op = op_at(cuts, i);
        fprintf(stderr, "%u: disk %d %s %#" PRIx64 " +%#" PRIx64 "\n", i, op->disk, names[op->kind],
                op->offset, op->length);
    }
}

/* ---- choosing ---- */

static void add(struct cuts *cuts, int64_t cut, enum mode mode, uint64_t arg)
{
    struct state state = {cut, mode, arg};
    g_array_append_val(cuts->states, state);
}

/* Finds for each operation the flush of its disk that made it durable. */
static void find_safe(struct cuts *cuts)
{
    int64_t len = cuts->log->len, from[RAM_DISKS] = {0};
    cuts->safe_at = g_new(int64_t, (gsize)len + 1);
    for (int64_t i = 0; i < len; i++)
        cuts->safe_at[i] = len;
    for (int64_t end = 0; end < len; end++) {
        const struct ram_op *flush = op_at(cuts, end);
        if (flush->kind != RAM_FLUSH_END)
            continue;
        for (int64_t i = from[flush->disk]; i < flush->offset; i++)
            if (op_at(cuts, i)->disk == flush->disk && cuts->safe_at[i] == len)
                cuts->safe_at[i] = end;
        from[flush->disk] = MAX(from[flush->disk], flush->offset);
    }
}

/* How many changes are pending at the cut; *ret_first is the first of them, or the cut. */
static int count_pending(const struct cuts *cuts, int64_t cut, int64_t from, int64_t *ret_first)
{
    int count = 0;
    *ret_first = cut;
    for (int64_t i = cut - 1; i >= from; i--) {
        if (changes(op_at(cuts, i)) && cuts->safe_at[i] >= cut) {
            count++;
            *ret_first = i;
        }
    }
    return count;
}

/* The states just before the flush at `end` completes, or at the end of the log. */
static void add_epoch(struct cuts *cuts, int64_t end, int64_t *from, struct rng *rng)
{
    int64_t first;
    int count = count_pending(cuts, end, *from, &first);
    bool news = false;
    for (int64_t i = first; i < end; i++) {
        if (!changes(op_at(cuts, i)) || cuts->safe_at[i] != end)
            continue;
        news = true;
        if (count > MAX_SUBSET) {
            add(cuts, end, ALL_BUT_ONE, (uint64_t)i);
            add(cuts, end, ONE_ALONE, (uint64_t)i);
        }
    }
    for (uint64_t mask = 0; news && count <= MAX_SUBSET && mask + 1 < UINT64_C(1) << count; mask++)
        add(cuts, end, SUBSET, mask);
    for (int n = news && count > 1 ? RANDOM_PER_FLUSH + count / 8 : 0; n > 0; n--)
        add(cuts, rng_between(rng, first + 1, end), RANDOM, rng_next(rng));
    *from = first;
}

static int compare_states(const void *a, const void *b)
{
    const struct state *x = a, *y = b;
    return (x->cut > y->cut) - (x->cut < y->cut);
}

/* Keeps `limit` of the states, by chance. */
static void thin_out(GArray *states, int64_t limit, struct rng *rng)
{
    guint kept = 0;
    for (guint i = 0; i < states->len; i++) {
        int64_t left = (int64_t)states->len - i, want = limit - kept;
        if (rng_below(rng, left) < want)
            g_array_index(states, struct state, kept++) = g_array_index(states, struct state, i);
    }
    g_array_set_size(states, kept);
}

void cuts_choose(struct cuts *cuts, int64_t limit, uint64_t seed)
{
    struct rng rng = {seed};
    int64_t len = cuts->log->len, from = 0;
    cuts->states = g_array_new(FALSE, FALSE, sizeof(struct state));
    cuts->waiting = g_array_new(FALSE, FALSE, sizeof(int64_t));
    cuts->touched = g_array_new(FALSE, FALSE, sizeof(struct ram_op));
    find_safe(cuts);
    for (int64_t i = 0; i <= len; i++) {
        if (i == len || op_at(cuts, i)->kind == RAM_FLUSH_END)
            add_epoch(cuts, i, &from, &rng);
        if (i < len && changes(op_at(cuts, i)))
            add(cuts, i + 1, ALL, 0);
    }
    g_array_sort(cuts->states, compare_states);
    thin_out(cuts->states, limit, &rng);
    for (int i = 0; i < RAM_DISKS; i++) {
        ram_forget_log(&ram_disks[i]);
        ram_disks[i].shake = NULL;
        if (cuts->durable[i])
            ram_set(&ram_disks[i], cuts->durable[i]->data, cuts->durable[i]->len);
    }
}

/* ---- making ---- */

static void touch(struct cuts *cuts, const struct ram_op *op)
{
    struct ram_op range = *op;
    range.data = NULL;
    g_array_append_val(cuts->touched, range);
    if (op->kind == RAM_RESIZE)
        cuts->low[op->disk] = MIN(cuts->low[op->disk], op->length);
}

/* Notes what the examination of the last state has changed. */
static void touch_logged(struct cuts *cuts)
{
    for (int i = 0; i < RAM_DISKS; i++) {
        const GArray *log = ram_disks[i].log;
        for (guint k = 0; log && k < log->len; k++) {
            const struct ram_op *op = &g_array_index(log, struct ram_op, k);
            if (op->disk == i && changes(op))
                touch(cuts, op);
        }
    }
}

/* Copies [offset, +length) of `from` to `to`, as far as both go. */
static void copy_back(GByteArray *to, const GByteArray *from, int64_t offset, int64_t length)
{
    int64_t end = MIN((int64_t)from->len, offset + length);
    if (offset < end)
        memcpy(to->data + offset, from->data + offset, (size_t)(end - offset));
}

/* Makes the disks what is durable again. */
static void restore(struct cuts *cuts)
{
    touch_logged(cuts);
    for (int i = 0; i < RAM_DISKS; i++) {
        const GByteArray *durable = cuts->durable[i];
        GByteArray *bytes = ram_disks[i].bytes;
        if (!durable)
            continue;
        int64_t low = MIN(cuts->low[i], (int64_t)bytes->len);
        g_byte_array_set_size(bytes, durable->len);
        copy_back(bytes, durable, low, INT64_MAX / 2);
        cuts->low[i] = durable->len;
    }
    for (guint k = 0; k < cuts->touched->len; k++) {
        const struct ram_op *op = &g_array_index(cuts->touched, struct ram_op, k);
        if (op->kind != RAM_RESIZE)
            copy_back(ram_disks[op->disk].bytes, cuts->durable[op->disk], op->offset, op->length);
    }
    g_array_set_size(cuts->touched, 0);
}

/* Brings `durable`, and the disks with it, up to what is safe at the cut. */
static void advance(struct cuts *cuts, int64_t cut)
{
    guint kept = 0;
    for (; cuts->applied < cut; cuts->applied++)
        if (changes(op_at(cuts, cuts->applied)))
            g_array_append_val(cuts->waiting, cuts->applied);
    for (guint k = 0; k < cuts->waiting->len; k++) {
        int64_t i = g_array_index(cuts->waiting, int64_t, k);
        const struct ram_op *op = op_at(cuts, i);
        if (cuts->safe_at[i] >= cut) {
            g_array_index(cuts->waiting, int64_t, kept++) = i;
            continue;
        }
        ram_replay(cuts->durable[op->disk], op, -1);
        ram_replay(ram_disks[op->disk].bytes, op, -1);
    }
    g_array_set_size(cuts->waiting, kept);
    for (int i = 0; i < RAM_DISKS; i++)
        cuts->low[i] = cuts->durable[i] ? cuts->durable[i]->len : 0;
}

static void apply(struct cuts *cuts, const struct ram_op *op)
{
    touch(cuts, op);
    ram_replay(ram_disks[op->disk].bytes, op, -1);
}

/* A part of a write or zero: `length` bytes from `from` on. */
static void apply_part(struct cuts *cuts, const struct ram_op *op, int64_t from, int64_t length)
{
    struct ram_op part = *op;
    part.offset += from;
    part.length = MIN(length, op->length - from);
    part.data = op->data ? op->data + from : NULL;
    if (part.length > 0)
        apply(cuts, &part);
}

/* The front, the back, or any sectors of a write; the file may have grown all the same. */
static void apply_torn(struct cuts *cuts, const struct ram_op *op, struct rng *rng)
{
    enum { MOST = 64 };
    int64_t sectors = (op->length + SECTOR - 1) / SECTOR, edge = rng_below(rng, sectors + 1);
    int64_t end = op->offset + op->length;
    struct ram_op grow = {RAM_RESIZE, op->disk, 0, end, NULL};
    if (end > ram_disks[op->disk].bytes->len && rng_percent(rng, 50))
        apply(cuts, &grow);
    switch (rng_below(rng, sectors > MOST ? 2 : 3)) {
    case 0: apply_part(cuts, op, 0, edge * SECTOR); break;
    case 1: apply_part(cuts, op, edge * SECTOR, op->length); break;
    default:
        for (int64_t i = 0; i < sectors; i++)
            if (rng_percent(rng, 50))
                apply_part(cuts, op, i * SECTOR, SECTOR);
    }
}

static void apply_random(struct cuts *cuts, const struct ram_op *op, struct rng *rng)
{
    if (rng_percent(rng, 40))
        return;
    if (op->kind != RAM_RESIZE && rng_percent(rng, 35))
        apply_torn(cuts, op, rng);
    else
        apply(cuts, op);
}

bool cuts_next(struct cuts *cuts)
{
    const struct ram_disk *any;
    restore(cuts);
    if (cuts->next == cuts->states->len)
        return false;
    const struct state *state = &g_array_index(cuts->states, struct state, cuts->next++);
    struct rng rng = {state->arg};
    advance(cuts, state->cut);
    for (guint k = 0; k < cuts->waiting->len; k++) {
        int64_t i = g_array_index(cuts->waiting, int64_t, k);
        const struct ram_op *op = op_at(cuts, i);
        if (state->mode == RANDOM)
            apply_random(cuts, op, &rng);
        else if (state->mode == ALL || (state->mode == ALL_BUT_ONE && (uint64_t)i != state->arg) ||
                 (state->mode == ONE_ALONE && (uint64_t)i == state->arg) ||
                 (state->mode == SUBSET && (state->arg >> k & 1)))
            apply(cuts, op);
    }
    any = record_all();
    g_assert_nonnull(any);
    return true;
}

int64_t cuts_at(const struct cuts *cuts)
{
    return g_array_index(cuts->states, struct state, cuts->next - 1).cut;
}

char *cuts_describe(const struct cuts *cuts)
{
    if (!cuts->next)
        return g_strdup("while it runs");
    const struct state *state = &g_array_index(cuts->states, struct state, cuts->next - 1);
    return g_strdup_printf("cut before operation %" PRId64 ", %s %" PRIu64, state->cut,
                           mode_names[state->mode], state->arg);
}

/* ---- end ---- */

void cuts_save(struct cuts *cuts)
{
    for (int i = 0; i < RAM_DISKS; i++) {
        const GByteArray *bytes = ram_disks[i].bytes;
        if (cuts->durable[i])
            cuts->saved[i] = g_bytes_new(bytes->data, bytes->len);
    }
}

bool cuts_return(struct cuts *cuts)
{
    bool any = false;
    for (int i = 0; i < RAM_DISKS; i++) {
        ram_forget_log(&ram_disks[i]);
        if (!cuts->saved[i])
            continue;
        gsize size;
        const void *bytes = g_bytes_get_data(cuts->saved[i], &size);
        ram_set(&ram_disks[i], bytes, (int64_t)size);
        any = true;
    }
    return any;
}

void cuts_free(struct cuts *cuts)
{
    for (int i = 0; i < RAM_DISKS; i++) {
        g_clear_pointer(&cuts->durable[i], g_byte_array_unref);
        g_clear_pointer(&cuts->saved[i], g_bytes_unref);
    }
    g_array_unref(cuts->log);
    g_clear_pointer(&cuts->states, g_array_unref);
    g_clear_pointer(&cuts->waiting, g_array_unref);
    g_clear_pointer(&cuts->touched, g_array_unref);
    g_free(cuts->safe_at);
    g_free(cuts);
}
