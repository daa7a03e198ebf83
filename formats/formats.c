/*
 * The list of drivers, made from driver-list.h.
 */
#include "formats/formats.h"

#include <stddef.h>

#include "formats/raw.h"
#include "libblock/driver.h"
#include "qcow2/qcow2.h"

#define DRIVER(symbol) &symbol,
const struct blk_driver *const formats_drivers[] = {
#include "formats/driver-list.h"
    NULL,
};
#undef DRIVER
