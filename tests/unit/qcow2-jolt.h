/*
 * A filter below a format that makes its life hard: requests are suspended for
 * random turns, so that others overtake them, and the Nth of a kind can be told to
 * fail.
 */
#ifndef CAIRN_TESTS_QCOW2_JOLT_H
#define CAIRN_TESTS_QCOW2_JOLT_H

#include "libblock/driver.h"

enum jolt_kind { JOLT_READ, JOLT_WRITE, JOLT_FLUSH, JOLT_KINDS };

struct jolt {
    GRand *rand;                 /* NULL: nothing is suspended */
    int64_t count[JOLT_KINDS];   /* requests so far */
    int64_t hold_at[JOLT_KINDS]; /* which one waits until this is another number; 0: none */
    int64_t fail_at[JOLT_KINDS]; /* which one fails, from 1; 0: none */
    int fail_times;              /* how many in a row */
    int error;                   /* the -errno */
};

extern const struct blk_driver jolt_driver;

/* The state of an open jolt node. */
struct jolt *jolt_of(struct blk_node *node);

#endif
