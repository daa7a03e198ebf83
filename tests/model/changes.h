/*
 * Changes of a qcow2 image as a whole, each done to the image and to the model:
 * snapshots, sizes, formats, backing files, checks. What the format refuses
 * changes nothing.
 */
#ifndef CAIRN_TESTS_MODEL_CHANGES_H
#define CAIRN_TESTS_MODEL_CHANGES_H

#include "tests/model/world.h"

/* Does one, chosen by world->rng. */
void changes_do_one(struct world *world);

/* Each snapshot shows what the model says; the image is open read-only. */
void changes_verify_snapshots(struct world *world);

/* Prints how many of each were done so far, as tallies. */
void changes_print(void);

#endif
