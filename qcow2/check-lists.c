/*
 * What hangs on the header beside the active disk: the snapshot table, which
 * names the L1 tables of the snapshots, and the persistent bitmaps.
 *
 *     snapshot table   | entry | entry | ...      entry -> L1 table
 *     directory        | entry | entry | ...      entry -> bitmap table -> clusters of bits
 *
 * Both lists are read an entry at a time. Where one cannot be understood, what
 * follows is unknown, and so is what it refers to: the image is `blind`.
 */
#include "qcow2/check.h"

#include <errno.h>
#include <inttypes.h>

#include "qcow2/snaptable.h"

enum {
    SNAPSHOT_FIXED = 40,
    SNAPSHOT_EXTRA = 16,                  /* bytes that version 3 wants */
    MAX_LIST = QCOW2_MAX_SNAPTABLE_BYTES, /* of a bitmap directory, too */
    BITMAP_FIXED = 24,
};

#define BITMAP_RESERVED UINT64_C(0xff000000000001fe)

/* Notes that the rest of a list is unknown. */
static void lose(struct check *c)
{
    c->out->check_errors++;
    c->blind = true;
}

/* ---- snapshots ---- */

/* "ID (NAME)" of the entry at `offset`, for messages. */
static char *co_snapshot_title(struct check *c, int64_t offset, const uint8_t *fixed)
{
    char id[64] = "", name[256] = "";
    int64_t at = offset + SNAPSHOT_FIXED + load_be32(fixed + 36);
    uint16_t id_len = load_be16(fixed + 12), name_len = load_be16(fixed + 14);
    if (check_co_read(c, at, MIN(id_len, sizeof(id) - 1), id) ||
        check_co_read(c, at + id_len, MIN(name_len, sizeof(name) - 1), name)) {
        return g_strdup("?");
    }
    g_autofree char *title = g_strdup_printf("%s (%s)", id, name);
    return g_utf8_make_valid(title, -1);
}

/* Adds the L1 table of a snapshot, when it can be one. */
static void co_add_l1(struct check *c, int64_t offset, const uint8_t *fixed)
{
    uint64_t l1_offset = load_be64(fixed);
    uint32_t entries = load_be32(fixed + 8);
    bool too_large = entries > QCOW2_MAX_L1_BYTES / 8;
    if (!too_large && is_aligned((int64_t)l1_offset, c->image->cluster_size) &&
        l1_offset <= QCOW2_OFFSET_MASK && (l1_offset || !entries)) {
        struct check_l1 l1 = {(int64_t)l1_offset, entries, false};
        g_array_append_val(c->l1, l1);
        return;
    }
    g_autofree char *title = co_snapshot_title(c, offset, fixed);
    if (too_large) {
        check_say(c,
                  "ERROR snapshot %s l1_size=0x%x: L1 table is too large; snapshot table entry "
                  "corrupted",
                  title, entries);
    } else {
        check_say(c,
                  "ERROR snapshot %s l1_offset=0x%" PRIx64
                  ": L1 table is not cluster aligned; snapshot table entry corrupted",
                  title, l1_offset);
    }
    c->out->corruptions++;
    c->blind = true;
}

/* Takes the entry at *offset and moves on to the next; false when that is not possible. *ret_end is
 * where the entry ends, without padding. */
static bool co_take_snapshot(struct check *c, uint32_t number, int64_t *offset, int64_t *ret_end)
{
    uint8_t fixed[SNAPSHOT_FIXED];
    int ret = check_co_read(c, *offset, SNAPSHOT_FIXED, fixed);
    uint32_t extra = ret ? 0 : load_be32(fixed + 36);
    if (ret) {
        check_say(c, "ERROR could not read snapshot table entry %u: %s", number, g_strerror(-ret));
        lose(c);
        return false;
    }
    if (extra > QCOW2_SNAPSHOT_MAX_EXTRA) {
        check_say(c,
                  "ERROR failed to read the snapshot table: Too much extra metadata in snapshot "
                  "table entry %u",
                  number);
        lose(c);
        return false;
    }
    if (extra < SNAPSHOT_EXTRA && c->image->header.version >= 3) {
        check_say(c, "ERROR snapshot table entry %u is incomplete", number);
        c->out->corruptions++;
    }
    co_add_l1(c, *offset, fixed);
    int64_t size = SNAPSHOT_FIXED + (int64_t)extra + load_be16(fixed + 12) + load_be16(fixed + 14);
    *ret_end = *offset + size;
    *offset += align_up(size, 8);
    return true;
}

int check_co_walk_snapshots(struct check *c)
{
    const struct qcow2_header *h = &c->image->header;
    int64_t next = h->snapshots_offset, end = next, before = c->out->corruptions;
    for (uint32_t i = 0; i < h->snapshots; i++) {
        if (next - h->snapshots_offset > MAX_LIST || !co_take_snapshot(c, i, &next, &end)) {
            break;
        }
    }
    c->snapshots_length = next - h->snapshots_offset;
    if (h->snapshots && end > c->file_size) {
        c->blind = true;
        if (c->out->corruptions == before && end < c->file_size + c->image->cluster_size) {
            check_say(c, "ERROR the snapshot table is cut off by the end of the file");
            c->out->corruptions++;
        }
    }
    return c->budget < 0 ? -EFBIG : 0;
}

/* ---- bitmaps ---- */

static int co_walk_bitmap_table(struct check *c, int64_t offset, int64_t entries)
{
    int64_t end = min_i64(offset + entries * 8, c->file_size);
    for (int64_t at = offset, n; at < end; at += n) {
        n = min_i64(end - at, CHECK_BATCH);
        int ret = check_co_read(c, at, n, c->buf);
        if (ret) {
            lose(c);
            return ret == -EFBIG ? ret : 0;
        }
        for (int64_t i = 0; i + 8 <= n && !ret; i += 8) {
            uint64_t raw = load_be64(c->buf + i);
            int64_t target = qcow2_entry_offset(raw);
            if ((raw & BITMAP_RESERVED) || !is_aligned(target, c->image->cluster_size)) {
                check_say(c, "ERROR bitmap table entry %" PRIx64 " is corrupt", raw);
                c->out->corruptions++;
            } else if (target) {
                ret = check_count(c, target, c->image->cluster_size, 1, 0);
            }
        }
        if (ret) {
            return ret;
        }
    }
    return check_count(c, offset, entries * 8, 1, 0);
}

/* Walks the bitmap of the directory entry at *offset and moves on to the next. */
static int co_take_bitmap(struct check *c, uint32_t number, int64_t *offset)
{
    uint8_t fixed[BITMAP_FIXED];
    int ret = check_co_read(c, *offset, BITMAP_FIXED, fixed);
    if (ret) {
        check_say(c, "ERROR could not read bitmap directory entry %u: %s", number,
                  g_strerror(-ret));
        lose(c);
        return ret;
    }
    uint64_t table = load_be64(fixed);
    uint32_t entries = load_be32(fixed + 8);
    int64_t size = BITMAP_FIXED + (int64_t)load_be32(fixed + 20) + load_be16(fixed + 18);
    *offset += align_up(size, 8);
    if (table > QCOW2_OFFSET_MASK || !is_aligned((int64_t)table, c->image->cluster_size) ||
        (!table && entries)) {
        check_say(c, "ERROR bitmap %u: table offset 0x%" PRIx64 " is not valid", number, table);
        c->out->corruptions++;
        c->blind = true;
        return 0;
    }
    return entries ? co_walk_bitmap_table(c, (int64_t)table, entries) : 0;
}

int check_co_walk_bitmaps(struct check *c)
{
    const struct qcow2_header *h = &c->image->header;
    if (!h->has_bitmaps || !(h->autoclear & QCOW2_AUTOCLEAR_BITMAPS)) {
        return 0;
    }
    int64_t offset = h->bitmaps_offset, end = offset + min_i64(h->bitmaps_length, MAX_LIST);
    for (uint32_t i = 0; i < h->bitmaps; i++) {
        int ret = offset + BITMAP_FIXED <= end ? co_take_bitmap(c, i, &offset) : -ERANGE;
        if (ret == -EFBIG) {
            return ret;
        }
        if (ret || offset > end) {
            check_say(c, "ERROR the bitmap directory ends within entry %u", i);
            c->out->corruptions++;
            c->blind = true;
            break;
        }
    }
    return check_count(c, h->bitmaps_offset, end - h->bitmaps_offset, 1, 0);
}
