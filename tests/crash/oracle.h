/*
 * What must hold after a power cut. The image opens; two checkers that share no
 * code find no corruption; sectors, size and snapshots are what the history
 * allows; it stands further use; after `check -r leaks` nothing leaks and
 * everything reads as before; and qemu-img, asked about a sample, agrees.
 */
#ifndef CAIRN_TESTS_CRASH_ORACLE_H
#define CAIRN_TESTS_CRASH_ORACLE_H

#include "tests/crash/workload.h"

struct oracle;

struct oracle *oracle_new(void);

/* Examines the state that the disks are in now. */
void oracle_verify(struct oracle *oracle, struct workload *w);

/* Asks qemu-img what it has not been asked yet; prints the counts as tallies. */
void oracle_finish(struct oracle *oracle);

#endif
