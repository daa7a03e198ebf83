/*
 * Changes of an image as a whole, one at a time: snapshots, sizes, formats,
 * backing files, repair. What the format refuses is left out.
 */
#ifndef CAIRN_TESTS_CRASH_CHANGES_H
#define CAIRN_TESTS_CRASH_CHANGES_H

#include "tests/crash/workload.h"

/* Does one, chosen by w->rng, and notes it in the history. */
void changes_do_one(struct workload *w);

/* Prints how many of each were done so far, as tallies. */
void changes_print(void);

#endif
