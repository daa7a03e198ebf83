/*
 * An entry of the snapshot table:
 *
 *     0 L1 offset (8) | L1 entries (4) | id length (2) | name length (2)
 *    16 date: seconds (4), ns (4) | VM clock in ns (8) | VM state bytes (4) | extra length (4)
 *    40 extra data | id | name | zeroes up to a multiple of 8
 *
 * with extra data: VM state bytes (8) | disk size (8) | instruction count (8) | unknown. What an
 * old writer left out is filled in when the entry is written again.
 */
#include "qcow2/snaptable.h"

#include <errno.h>
#include <inttypes.h>

#include "base/base.h"
#include "qcow2/header.h"

enum { FIXED = 40, KNOWN_EXTRA = 24, MAX_STRING = 65535 };

/* Fills in what the extra data says, `length` bytes of it. */
static bool decode_extra(const uint8_t *extra, uint32_t length, struct qcow2_snapshot *s,
                         GError **error)
{
    uint64_t vm_state = length >= 8 ? load_be64(extra) : (uint64_t)s->vm_state_size;
    uint64_t size = length >= 16 ? load_be64(extra + 8) : 0;
    if (vm_state > INT64_MAX || size > INT64_MAX) {
        return error_set(error, EINVAL,
                         "a snapshot's VM state of %" PRIu64 " bytes or disk of %" PRIu64
                         " bytes is too large",
                         vm_state, size);
    }
    s->vm_state_size = (int64_t)vm_state;
    s->size = length >= 16 ? (int64_t)size : -1;
    s->icount = length >= 24 ? load_be64(extra + 16) : UINT64_MAX;
    s->extra_length = length > KNOWN_EXTRA ? length - KNOWN_EXTRA : 0;
    return true;
}

int64_t qcow2_snapshot_decode(const uint8_t *buf, int64_t len, struct qcow2_snapshot *ret_snapshot,
                              GError **error)
{
    if (len < FIXED) {
        return 0;
    }
    uint32_t extra = load_be32(buf + 36);
    size_t id = load_be16(buf + 12), name = load_be16(buf + 14);
    if (extra > QCOW2_SNAPSHOT_MAX_EXTRA) {
        error_set(error, EINVAL, "a snapshot has %u bytes of extra data (at most %d)", extra,
                  QCOW2_SNAPSHOT_MAX_EXTRA);
        return -1;
    }
    int64_t length = FIXED + (int64_t)extra + (int64_t)id + (int64_t)name;
    if (length > len) {
        return 0;
    }
    struct qcow2_snapshot s = {
        .l1_offset = (int64_t)load_be64(buf),
        .l1_entries = load_be32(buf + 8),
        .date_sec = load_be32(buf + 16),
        .date_nsec = load_be32(buf + 20),
        .vm_clock_ns = load_be64(buf + 24),
        .vm_state_size = load_be32(buf + 32),
    };
    if (!decode_extra(buf + FIXED, extra, &s, error)) {
        return -1;
    }
    s.extra = s.extra_length ? g_memdup2(buf + FIXED + KNOWN_EXTRA, s.extra_length) : NULL;
    s.id = g_strndup((const char *)buf + FIXED + extra, id);
    s.name = g_strndup((const char *)buf + FIXED + extra + id, name);
    *ret_snapshot = s;
    return align_up(length, 8);
}

int64_t qcow2_snapshot_encoded_length(const struct qcow2_snapshot *s)
{
    size_t id = strlen(s->id), name = strlen(s->name);
    if (id > MAX_STRING || name > MAX_STRING) {
        return -1;
    }
    return align_up(FIXED + KNOWN_EXTRA + (int64_t)s->extra_length + (int64_t)(id + name), 8);
}

void qcow2_snapshot_encode(const struct qcow2_snapshot *s, uint8_t *buf)
{
    size_t id = strlen(s->id), name = strlen(s->name);
    memset(buf, 0, (size_t)qcow2_snapshot_encoded_length(s));
    store_be64(buf, (uint64_t)s->l1_offset);
    store_be32(buf + 8, s->l1_entries);
    store_be16(buf + 12, (uint16_t)id);
    store_be16(buf + 14, (uint16_t)name);
    store_be32(buf + 16, s->date_sec);
    store_be32(buf + 20, s->date_nsec);
    store_be64(buf + 24, s->vm_clock_ns);
    store_be32(buf + 32, s->vm_state_size <= UINT32_MAX ? (uint32_t)s->vm_state_size : 0);
    store_be32(buf + 36, KNOWN_EXTRA + s->extra_length);
    store_be64(buf + FIXED, (uint64_t)s->vm_state_size);
    store_be64(buf + FIXED + 8, (uint64_t)s->size);
    store_be64(buf + FIXED + 16, s->icount);
    uint8_t *at = buf + FIXED + KNOWN_EXTRA;
    if (s->extra_length) {
        memcpy(at, s->extra, s->extra_length);
    }
    memcpy(at + s->extra_length, s->id, id);
    memcpy(at + s->extra_length + id, s->name, name);
}

bool qcow2_snapshot_check_l1(const struct qcow2_snapshot *s, int cluster_bits, GError **error)
{
    bool far = (uint64_t)s->l1_offset >= UINT64_C(1) << 56;
    if (far || !is_aligned(s->l1_offset, INT64_C(1) << cluster_bits) ||
        (s->l1_entries && !s->l1_offset)) {
        return error_set(error, EINVAL,
                         "snapshot '%s' has its L1 table at 0x%" PRIx64 ", which is no cluster",
                         s->name, (uint64_t)s->l1_offset);
    }
    return s->l1_entries <= QCOW2_MAX_L1_BYTES / 8 ||
           error_set(error, EFBIG, "snapshot '%s' has an L1 table of %u entries (at most %d)",
                     s->name, s->l1_entries, QCOW2_MAX_L1_BYTES / 8);
}

void qcow2_snapshot_copy(const struct qcow2_snapshot *s, struct qcow2_snapshot *ret_copy)
{
    *ret_copy = *s;
    ret_copy->id = g_strdup(s->id);
    ret_copy->name = g_strdup(s->name);
    ret_copy->extra = s->extra_length ? g_memdup2(s->extra, s->extra_length) : NULL;
}

void qcow2_snapshot_clear(struct qcow2_snapshot *s)
{
    g_free(s->id);
    g_free(s->name);
    g_free(s->extra);
    *s = (struct qcow2_snapshot){0};
}

static void clear_item(gpointer item)
{
    qcow2_snapshot_clear(item);
}

GArray *qcow2_snapshots_new(void)
{
    GArray *list = g_array_new(false, true, sizeof(struct qcow2_snapshot));
    g_array_set_clear_func(list, clear_item);
    return list;
}
