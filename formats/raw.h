/*
 * The raw format as a block driver.
 */
#ifndef CAIRN_FORMATS_RAW_H
#define CAIRN_FORMATS_RAW_H

struct blk_driver;

extern const struct blk_driver raw_driver;

#endif
