/* Entries of the snapshot table: what decodes is encoded and decoded to the same again, in the
 * length that was announced. */
#include "tests/fuzz/fuzz.h"

#include <glib.h>
#include <string.h>

#include "qcow2/snaptable.h"

static void check_again(const struct qcow2_snapshot *s)
{
    int64_t length = qcow2_snapshot_encoded_length(s);
    g_assert(length >= 64 && length <= QCOW2_SNAPSHOT_MAX_ENTRY && length % 8 == 0);
    g_autofree uint8_t *buf = g_malloc((gsize)length);
    struct qcow2_snapshot again;
    qcow2_snapshot_encode(s, buf);
    g_assert_cmpint(qcow2_snapshot_decode(buf, length, &again, NULL), ==, length);
    g_assert_cmpstr(again.id, ==, s->id);
    g_assert_cmpstr(again.name, ==, s->name);
    g_assert(again.l1_offset == s->l1_offset && again.l1_entries == s->l1_entries &&
             again.vm_state_size == s->vm_state_size && again.vm_clock_ns == s->vm_clock_ns &&
             again.icount == s->icount && again.extra_length == s->extra_length);
    g_assert(!s->extra_length || !memcmp(again.extra, s->extra, s->extra_length));
    qcow2_snapshot_clear(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (int64_t at = 0, n; at < (int64_t)size; at += n) {
        struct qcow2_snapshot s;
        n = qcow2_snapshot_decode(data + at, (int64_t)size - at, &s, NULL);
        if (n <= 0)
            break;
        g_assert(s.size >= -1 && s.vm_state_size >= 0);
        if (s.size < 0)
            s.size = 0;
        qcow2_snapshot_check_l1(&s, 16, NULL);
        check_again(&s);
        qcow2_snapshot_clear(&s);
    }
    return 0;
}
