/* Table entries: what decodes is encoded to the same bits; a compressed entry loses the COPIED
 * flag. */
#include "tests/fuzz/fuzz.h"

#include <glib.h>

#include "base/bytes.h"
#include "qcow2/entry.h"

static const uint64_t copied = UINT64_C(1) << 63;

static void check_entry(uint64_t raw, int cluster_bits, int version)
{
    struct qcow2_entry entry = qcow2_l2_decode(raw, cluster_bits, version);
    uint64_t kept = entry.kind == QCOW2_COMPRESSED ? raw & ~copied : raw;
    if (entry.kind != QCOW2_CORRUPT)
        g_assert_cmphex(qcow2_l2_encode(&entry, cluster_bits), ==, kept);
    entry = qcow2_l1_decode(raw, cluster_bits);
    if (entry.kind == QCOW2_NORMAL)
        g_assert_cmphex(qcow2_l1_encode(entry.host_off, entry.copied), ==, raw);
    g_assert(qcow2_reftable_decode(raw, cluster_bits) >= -1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int cluster_bits = 9 + (size ? data[0] % 13 : 0), version = size && data[0] & 0x80 ? 2 : 3;
    for (size_t i = 1; i + 8 <= size; i += 8)
        check_entry(load_be64(data + i), cluster_bits, version);
    int count = size > 9 ? (int)((size - 1) / 8) : 0;
    for (int i = 0; i < count;) {
        struct qcow2_entry first;
        int n = qcow2_l2_run(data + 1, i, count, cluster_bits, version, &first);
        g_assert(n >= 1 && n <= count - i);
        i += n;
    }
    return 0;
}
