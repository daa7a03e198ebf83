/*
 * The formats of the suite: one list of every block driver, handed to
 * graph_new() by each program.
 */
#ifndef CAIRN_FORMATS_H
#define CAIRN_FORMATS_H

struct blk_driver;

/* Every driver, NULL-terminated, in the order in which formats are probed. */
extern const struct blk_driver *const formats_drivers[];

#endif
