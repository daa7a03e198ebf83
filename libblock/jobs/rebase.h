/*
 * The rebase job: gives an overlay another backing file without changing what it reads as.
 */
#ifndef CAIRN_LIBBLOCK_REBASE_H
#define CAIRN_LIBBLOCK_REBASE_H

#include <stdbool.h>
#include <stdint.h>

#include "libblock/job.h"

struct blk_node;

struct rebase_args {
    struct blk_node *overlay; /* writable, with its old backing file, if any, open */
    struct blk_node *backing; /* the new one, open, or NULL: none */
    const char *name;         /* what the overlay is to call it; NULL: none */
    const char *format;       /* of the new backing file, as the overlay is to say; may be NULL */
    bool compress;            /* the clusters that are copied */
    int threads;              /* 0: one per processor */
};

/* The job; nodes and texts are borrowed for its life. The name is changed when all that the overlay
 * needs of its old backing file is on the disk; until then it reads the same with the old one. */
struct job *rebase_job_new(const struct rebase_args *args);

#endif
