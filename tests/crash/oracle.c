#include "tests/crash/oracle.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/base.h"
#include "base/bytes.h"
#include "libblock/libblock.h"
#include "tests/crash/peer.h"
#include "tests/tools/qcow2-ref.h"
#include "tests/tools/ram.h"
#include "tests/tools/tally.h"

struct oracle {
    struct peer *peer;
    int64_t states, used, repaired;
};

struct oracle *oracle_new(void)
{
    struct oracle *oracle = g_new0(struct oracle, 1);
    oracle->peer = peer_new();
    return oracle;
}

static bool is_dirty(void)
{
    const uint8_t *bytes = ram_disks[TOP].bytes->data;
    return load_be32(bytes + 4) >= 3 && (load_be64(bytes + 72) & 1);
}

/* By the checker that shares no code with qcow2/. */
static void verify_refs(struct workload *w, int disk, const char *when, bool no_leaks)
{
    const GByteArray *bytes = ram_disks[disk].bytes;
    struct qcow2_ref ref = qcow2_ref_check(bytes->data, bytes->len);
    if (ref.corruptions || (no_leaks && ref.leaks))
        workload_fail(w, "%s: %" PRId64 " corruptions, %" PRId64 " leaks: %s", when,
                      ref.corruptions, ref.leaks, ref.first);
}

static void verify_sector(struct workload *w, const struct history *history, int64_t sector,
                          const uint8_t *bytes)
{
    uint64_t stamp = 0;
    bool whole = stamp_read(bytes, &stamp);
    int64_t cut = cuts_at(w->cuts);
    if (whole && history_allows(history, sector, stamp, cut))
        return;
    g_autofree char *words = history_describe(history, sector, cut);
    workload_fail(w, "guest sector %" PRId64 " reads as %#" PRIx64 "%s, but: %s", sector, stamp,
                  whole ? "" : " and is torn", words);
}

static uint8_t *read_all(struct workload *w, struct blk_node *node)
{
    uint8_t *bytes = g_malloc((gsize)node_size(node) + 1);
    int r = node_read(node, 0, node_size(node), bytes);
    if (r < 0)
        workload_fail(w, "read: %s", g_strerror(-r));
    return bytes;
}

/* What the node reads as, which the history allows; to be freed. */
static uint8_t *verify_contents(struct workload *w, const struct history *history,
                                struct blk_node *node)
{
    int64_t size = node_size(node), cut = cuts_at(w->cuts);
    bool raw = g_str_equal(node_driver_name(node), "raw");
    if (!(raw ? history_allows_length : history_allows_size)(history, size, cut))
        workload_fail(w, "%s has %" PRId64 " bytes", node_filename(node), size);
    uint8_t *bytes = read_all(w, node);
    for (int64_t i = 0; i < size / SECTOR; i++)
        verify_sector(w, history, i, bytes + i * SECTOR);
    return bytes;
}

/* What was not committed into a backing file has not changed it. */
static void verify_bases(struct workload *w)
{
    for (int i = 0; i < BASES; i++) {
        struct base *base = &w->bases[i];
        struct blk_node *node = workload_open_base(w, base);
        g_free(verify_contents(w, base->history, node));
        workload_close(w, node);
        if (g_str_equal(base->format, "qcow2"))
            verify_refs(w, base->disk, "backing file", false);
    }
}

/* ---- snapshots ---- */

static const struct history_snapshot *find_snapshot(const struct workload *w, const char *name)
{
    int count;
    const struct history_snapshot *all = history_snapshots(w->history, &count);
    for (int i = 0; i < count; i++)
        if (g_str_equal(all[i].name, name) && history_snapshot_may_be(&all[i], cuts_at(w->cuts)))
            return &all[i];
    return NULL;
}

static void verify_snapshot(struct workload *w, struct blk_node *node,
                            const struct history_snapshot *snapshot)
{
    GError *error = NULL;
    if (!node_snapshot_do(node, SNAPSHOT_LOAD, snapshot->name, &error))
        workload_fail(w, "snapshot %s: %s", snapshot->name, error->message);
    if (node_size(node) != snapshot->size)
        workload_fail(w, "snapshot %s has %" PRId64 " bytes, not %" PRId64, snapshot->name,
                      node_size(node), snapshot->size);
    g_autofree uint8_t *bytes = read_all(w, node);
    for (int64_t i = 0; i < snapshot->size / SECTOR; i++) {
        uint64_t stamp = 0;
        if (!stamp_read(bytes + i * SECTOR, &stamp) || stamp != snapshot->stamps[i])
            workload_fail(w, "snapshot %s: sector %" PRId64 " reads as %#" PRIx64 ", not %#" PRIx64,
                          snapshot->name, i, stamp, snapshot->stamps[i]);
    }
}

/* Those that must be there are; those that are there are whole. */
static void verify_snapshots(struct workload *w, struct blk_node *node)
{
    int count, must = 0;
    const struct history_snapshot *all = history_snapshots(w->history, &count);
    GError *error = NULL;
    if (!count)
        return;
    GArray *list = node_snapshot_list(node, &error);
    if (!list)
        workload_fail(w, "list of snapshots: %s", error->message);
    for (int i = 0; i < count; i++)
        must += history_snapshot_must_be(&all[i], cuts_at(w->cuts));
    for (guint i = 0; i < list->len; i++) {
        const char *name = g_array_index(list, struct blk_snapshot, i).name;
        const struct history_snapshot *snapshot = find_snapshot(w, name);
        if (!snapshot)
            workload_fail(w, "there is a snapshot '%s'", name);
        verify_snapshot(w, node, snapshot);
        must -= history_snapshot_must_be(snapshot, cuts_at(w->cuts));
    }
    if (must)
        workload_fail(w, "%d snapshots are missing", must);
    g_array_unref(list);
}

/* ---- further use ---- */

/* A write that changes nothing, anywhere; then everything is as it was. */
static void verify_use(struct workload *w)
{
    static const uint8_t zeroes[SECTOR];
    struct blk_node *node = workload_open(w, TOP, NODE_RDWR);
    int64_t offset = rng_below(&w->rng, node_size(node) / SECTOR) * SECTOR;
    uint8_t keep[SECTOR];
    g_assert_cmpint(node_read(node, offset, SECTOR, keep), ==, 0);
    g_assert_cmpint(node_write(node, offset, SECTOR, zeroes, 0), ==, 0);
    g_assert_cmpint(node_write(node, offset, SECTOR, keep, 0), ==, 0);
    g_free(verify_contents(w, w->history, node));
    workload_close(w, node);
    verify_refs(w, TOP, "after further use", false);
    node = workload_open(w, TOP, 0);
    verify_snapshots(w, node);
    workload_close(w, node);
}

/* After `check -r leaks` (all, where refcounts were lazy) nothing leaks, and the rest stays. */
static bool verify_repair(struct workload *w, bool dirty, const uint8_t *before)
{
    struct blk_check check = {0};
    GError *error = NULL;
    struct blk_node *node = workload_open(w, TOP, NODE_RDWR | NODE_REPAIR);
    uint32_t fix = CHECK_FIX_LEAKS | (dirty ? CHECK_FIX_ERRORS : 0);
    bool ok = node_check(node, fix, &check, &error);
    if (!ok && !g_error_matches(error, CAIRN_ERROR, ENOTSUP))
        workload_fail(w, "check: %s", error->message);
    g_clear_error(&error);
    if (check.corruptions || check.check_errors || check.leaks ||
        (check.corruptions_fixed && !dirty))
        workload_fail(
            w, "check: %" PRId64 " corruptions, %" PRId64 " of them mended, %" PRId64 " leaks left",
            check.corruptions, check.corruptions_fixed, check.leaks);
    workload_close(w, node);
    if (!ok)
        return false;
    verify_refs(w, TOP, "after check -r", true);
    node = workload_open(w, TOP, 0);
    g_autofree uint8_t *after = read_all(w, node);
    if (memcmp(before, after, (size_t)node_size(node)) != 0)
        workload_fail(w, "check -r leaks changed what the guest reads");
    verify_snapshots(w, node);
    workload_close(w, node);
    return true;
}

void oracle_verify(struct oracle *oracle, struct workload *w)
{
    int64_t dice = rng_below(&w->rng, 1200);
    bool dirty = is_dirty();
    oracle->states++;
    verify_refs(w, TOP, "after the cut", false);
    struct blk_node *node = workload_open(w, TOP, 0);
    int64_t size = node_size(node);
    g_autofree uint8_t *bytes = verify_contents(w, w->history, node);
    verify_snapshots(w, node);
    workload_close(w, node);
    if (dice < 12)
        peer_add(oracle->peer, w->seed, dirty, bytes, size);
    if (cuts_changed(w->cuts, FIRST_BASE, FIRST_BASE + BASES))
        verify_bases(w);
    if (dice % 8 == 0) {
        verify_use(w);
        oracle->used++;
    } else if (dice % 8 == 1) {
        oracle->repaired += verify_repair(w, dirty, bytes);
    }
}

void oracle_finish(struct oracle *oracle)
{
    peer_ask(oracle->peer);
    tally_print("states", oracle->states);
    tally_print("used-further", oracle->used);
    tally_print("repaired", oracle->repaired);
    tally_print("asked-qemu-img", peer_count(oracle->peer));
    peer_free(oracle->peer);
    g_free(oracle);
}
