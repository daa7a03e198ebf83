/*
 * A seeded workload on a qcow2 image (ram:0), over a backing file (ram:2, ram:3) or
 * alone. In rounds: first one guest or several at once write, write compressed,
 * zero, discard and flush; then, when they rest, the image as a whole is changed.
 * The histories know afterwards what the image, and its backing file where the
 * workload writes to it, may hold at each moment.
 */
#ifndef CAIRN_TESTS_CRASH_WORKLOAD_H
#define CAIRN_TESTS_CRASH_WORKLOAD_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "tests/crash/cuts.h"
#include "tests/crash/history.h"
#include "tests/tools/rng.h"

enum { TOP = 0, FIRST_BASE = 2, BASES = 2 }; /* the disks */

struct setup {
    int cluster_bits;
    bool changes; /* of the image as a whole, between the rounds */
    int workers;  /* guests at once, each on a stretch of its own */
    int share;    /* of all states, in percent */
    bool wide;    /* refcounts so wide, and a disk so large, that the refcount table grows */
};

/* A disk that may be the backing file, now or after a rebase. */
struct base {
    int disk;
    const char *format;
    int64_t size;
    uint64_t *stamps; /* what it reads as now; 0 past its end */
    struct history *history;
};

struct workload {
    const struct setup *setup;
    uint64_t seed;
    struct rng rng;
    struct loop *loop;
    const struct blk_driver **drivers;
    struct blk_graph *graph;
    struct blk_node *node; /* the image, while the workload runs */
    struct cuts *cuts;     /* of this generation */
    bool v2, lazy;         /* as it was created */
    struct base bases[BASES];
    struct base *backing;  /* NULL: none */
    int64_t size, cluster; /* bytes */
    int64_t sectors;       /* the most that the image ever has */
    uint64_t *nothing;     /* zeroes */
    struct history *history;
    uint64_t next_stamp;
    int generation; /* 0: a new image; else one that a cut has left behind */
    int names;      /* of snapshots */
};

void workload_init(struct workload *w, const struct setup *setup, uint64_t seed);
void workload_done(struct workload *w);

/* Creates the image and runs the workload; w->cuts holds all that happened. */
void workload_run(struct workload *w);

/* Goes on with the image as a cut has left it. */
void workload_run_again(struct workload *w);

/* What each sector of the backing file reads as now. */
const uint64_t *workload_beneath(const struct workload *w);

/* Opens the image of `disk` as qcow2, with caches of any size. */
struct blk_node *workload_open(struct workload *w, int disk, uint32_t flags);
void workload_close(struct workload *w, struct blk_node *node);

/* What the node reads as; aborts the test when a sector is torn. To be freed. */
uint64_t *workload_read(struct workload *w, struct blk_node *node);

struct blk_node *workload_open_base(struct workload *w, const struct base *base);

/* Closes the image and opens it again. */
void workload_reopen(struct workload *w);

/* Ends the test: what failed, and how to repeat it. */
G_GNUC_PRINTF(2, 3) G_GNUC_NORETURN void workload_fail(struct workload *w, const char *format, ...);

#endif
