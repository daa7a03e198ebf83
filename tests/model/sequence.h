/*
 * One sequence: a world and some dozens of random operations on it, each
 * compared with the model at once, everything compared at the end.
 */
#ifndef CAIRN_TESTS_MODEL_SEQUENCE_H
#define CAIRN_TESTS_MODEL_SEQUENCE_H

#include "tests/model/world.h"

/* Runs the sequence of `seed`; aborts the test with a message when image and model differ. With
 * `sample` the image then goes through qemu-img check and compare, where qemu-img is there. */
void sequence_run(enum world_family family, uint64_t seed, const char *folder, bool sample);

/* The whole program: one GLib test case that runs 500 sequences from seed 1; 10,000 with
 * CAIRN_SUITE in the environment, as ./quickstart test sets it. The environment may say SEED and
 * COUNT, as check-long does; a failure prints how to repeat it. */
int sequence_main(int argc, char **argv, enum world_family family);

#endif
