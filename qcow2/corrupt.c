/*
 * The corrupt bit is written and flushed before anything else may happen: who
 * opens the image next is told, even after a crash. Version 2 has no such bit;
 * there only this opening stops writing.
 */
#include "qcow2/corrupt.h"

#include <errno.h>
#include <inttypes.h>

int qcow2_check_writable(const struct qcow2_image *image)
{
    return image->writable ? image->broken : -EPERM;
}

int qcow2_co_corrupt(struct qcow2_image *image, const char *what, int64_t where)
{
    TRACE(qcow2_corrupt, "%s: %s 0x%" PRIx64 " is corrupt", node_filename(image->node), what,
          where);
    if (!image->writable || image->broken) {
        return -EIO;
    }
    image->broken = -EIO;
    image->corrupt_reason = g_strdup_printf("%s 0x%" PRIx64, what, (uint64_t)where);
    if (image->header.version >= 3) {
        uint8_t field[8];
        image->header.incompatible |= QCOW2_INCOMPAT_CORRUPT;
        store_be64(field, image->header.incompatible);
        if (!node_co_pwrite(image->node->file, QCOW2_AT_INCOMPATIBLE, sizeof(field), field)) {
            node_co_flush(image->node->file);
        }
    }
    return -EIO;
}
