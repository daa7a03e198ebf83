/*
 * The driver table of qcow2.
 */
#include "qcow2/qcow2.h"

#include "qcow2/amend.h"
#include "qcow2/check.h"
#include "qcow2/commit.h"
#include "qcow2/create.h"
#include "qcow2/describe.h"
#include "qcow2/map.h"
#include "qcow2/open.h"
#include "qcow2/plan.h"
#include "qcow2/read.h"
#include "qcow2/resize.h"
#include "qcow2/snapshot.h"
#include "qcow2/write.h"
#include "qcow2/zero.h"

static int probe(const uint8_t *head, size_t len, const char *filename)
{
    uint32_t version = len >= 8 && !memcmp(head, "QFI\xfb", 4) ? load_be32(head + 4) : 0;
    return version >= 2 ? 100 : 0;
}

const struct blk_driver qcow2_driver = {
    .name = "qcow2",
    .description = "QEMU copy-on-write images, versions 2 and 3",
    .flags = DRIVER_FORMAT | DRIVER_BACKING,
    .state_size = sizeof(struct qcow2_image),
    .options = qcow2_option_fields,
    .options_size = sizeof(struct qcow2_options),
    .create_options = qcow2_create_fields,
    .create_options_size = sizeof(struct qcow2_create_options),
    .probe = probe,
    .co_open = qcow2_co_open,
    .co_close = qcow2_co_close,
    .co_reopen = qcow2_co_reopen,
    .limits = qcow2_limits,
    .co_read = qcow2_co_read,
    .co_write = qcow2_co_write,
    .co_zero = qcow2_co_zero,
    .co_discard = qcow2_co_discard,
    .co_flush = qcow2_co_flush,
    .co_map = qcow2_co_map,
    .co_resize = qcow2_co_resize,
    .info = qcow2_info,
    .co_create = qcow2_co_create,
    .plan = &qcow2_plan_ops,
    .amend = &qcow2_amend_ops,
    .check = &qcow2_check_ops,
    .snapshot = &qcow2_snapshot_ops,
};
