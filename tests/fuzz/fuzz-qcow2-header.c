/* The first cluster of a qcow2 image: what decodes and is encoded decodes to the same. */
#include "tests/fuzz/fuzz.h"

#include <glib.h>

#include "qcow2/header.h"

static void reencode(const struct qcow2_header *header)
{
    gsize cluster = (gsize)1 << header->cluster_bits;
    g_autofree uint8_t *again = g_malloc0(cluster);
    g_autoptr(GError) error = NULL;
    struct qcow2_header second;
    if (!qcow2_header_encode(header, again, &error))
        return;
    g_assert(qcow2_header_decode(again, cluster, &second, NULL));
    g_assert(second.size == header->size && second.l1_offset == header->l1_offset);
    g_assert(g_strcmp0(second.backing_file, header->backing_file) == 0);
    g_assert(second.extension_count == header->extension_count);
    qcow2_header_clear(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct qcow2_header header;
    g_autoptr(GError) error = NULL;
    if (qcow2_header_probe(data, size, NULL) > 0 &&
        qcow2_header_decode(data, size, &header, &error)) {
        reencode(&header);
        qcow2_header_clear(&header);
    }
    return 0;
}
