/*
 * The convert job: copies the contents of one or several nodes into a target.
 */
#ifndef CAIRN_LIBBLOCK_CONVERT_H
#define CAIRN_LIBBLOCK_CONVERT_H

#include <stdbool.h>
#include <stdint.h>

#include "libblock/job.h"

struct blk_node;

struct convert_args {
    struct blk_node **sources; /* concatenated */
    int source_count;
    struct blk_node *target;
    struct blk_node
        *target_backing;  /* -B: ranges equal to this chain stay unallocated; NULL: none */
    bool target_is_fresh; /* just created: reads as zero where nothing is written */
    bool target_is_zero;  /* an existing target known to be all zero */
    bool compress;
    int compress_level, window_bits; /* 0: default, see codec_options */
    int64_t sparse_size; /* runs of zeroes at least this long become holes; 0: write everything */
    int threads;         /* workers; 0: one per processor */
    bool copy_offload;   /* -C: copy_file_range where possible */
    bool salvage;        /* unreadable ranges become zeroes */
    /* salvage: called in the loop's thread for each unreadable range */
    void (*unreadable)(int64_t offset, int64_t length, int error, void *user);
    void *user;
};

/* The job; `args` is copied, the nodes are borrowed for the job's life. */
struct job *convert_job_new(const struct convert_args *args);

#endif
