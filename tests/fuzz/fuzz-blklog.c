/* Logs of a blklog node: every record lies within the log, and replaying fails
 * or succeeds. */
#include "tests/fuzz/fuzz.h"

#include <glib.h>

#include "libblock/drivers/blklog.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(GBytes) log = g_bytes_new(data, size);
    const uint8_t *bytes = g_bytes_get_data(log, NULL);
    struct blklog_record record;
    for (size_t pos = 0, last = 0; blklog_next(log, &pos, &record); last = pos) {
        g_assert_cmpuint(pos, >, last);
        g_assert_cmpuint(pos, <=, size);
        if (record.data)
            g_assert_true(record.data >= bytes && record.data_length >= 0 &&
                          record.data + record.data_length <= bytes + size);
    }
    return 0;
}
