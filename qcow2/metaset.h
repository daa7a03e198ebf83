/*
 * Which host clusters hold metadata: a sparse set of cluster numbers. Data is
 * never written there, and no cluster serves two tables.
 */
#ifndef CAIRN_QCOW2_METASET_H
#define CAIRN_QCOW2_METASET_H

#include <stdbool.h>
#include <stdint.h>

struct metaset;

struct metaset *metaset_new(void);
void metaset_free(struct metaset *set);

/* Adds clusters [first, first + count): 0, -EEXIST when one of them is in already, or -ENOMEM when
 * the set would take more memory than any sane image needs. */
int metaset_add(struct metaset *set, int64_t first, int64_t count);

void metaset_remove(struct metaset *set, int64_t first, int64_t count);

/* True when one of [first, first + count) is in. */
bool metaset_test(const struct metaset *set, int64_t first, int64_t count);

/* Calls `take` for each run of clusters that are in, in ascending order. */
void metaset_each_run(const struct metaset *set,
                      void (*take)(int64_t first, int64_t count, void *arg), void *arg);

#endif
