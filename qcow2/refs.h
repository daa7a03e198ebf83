/*
 * How often each cluster of a file is referred to, as check counts it: one byte a cluster, in
 * memory that is taken only where something is counted.
 */
#ifndef CAIRN_QCOW2_REFS_H
#define CAIRN_QCOW2_REFS_H

#include <stdbool.h>
#include <stdint.h>

/* Marks beside the count of a cluster; they mean what the caller wants. */
enum { REFS_MARK_A = 1 << 6, REFS_MARK_B = 1 << 7, REFS_MARKS = REFS_MARK_A | REFS_MARK_B };

struct refs;

/* All counts are 0. At most `memory` bytes will be touched. NULL when memory is short. */
struct refs *refs_new(int64_t clusters, int64_t memory);
void refs_free(struct refs *refs);

int64_t refs_clusters(const struct refs *refs);

/* Adds `more` (counts stop at 2^32 - 1) and sets marks. False when that takes more memory than
 * allowed. cluster < refs_clusters(). */
bool refs_add(struct refs *refs, int64_t cluster, uint32_t more, int marks);

/* The same for `count` clusters in a row. */
bool refs_add_run(struct refs *refs, int64_t cluster, int64_t count, uint32_t more, int marks);

uint32_t refs_get(const struct refs *refs, int64_t cluster);
int refs_marks(const struct refs *refs, int64_t cluster);
bool refs_set(struct refs *refs, int64_t cluster, uint32_t count); /* keeps the marks */
void refs_clear_marks(struct refs *refs, int64_t cluster);

/* The first cluster at or after `from` whose count or marks are not 0, or refs_clusters(). */
int64_t refs_next(const struct refs *refs, int64_t from);

/* The byte of each cluster: count (REFS_MANY: see refs_get()) and marks. For loops over all. */
enum { REFS_MANY = 63 };
const uint8_t *refs_bytes(const struct refs *refs);

#endif
