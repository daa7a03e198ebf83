/*
 * Showing how far a job is: qemu-img's percentages, a bar with rate and time
 * left, or one JSON object a line. SIGUSR1 asks for one line at any time.
 */
#ifndef CAIRN_IMG_PROGRESS_H
#define CAIRN_IMG_PROGRESS_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "libblock/job.h"

struct blk_graph;

enum progress_mode {
    PROGRESS_NONE,
    PROGRESS_PERCENT, /* "    (12.34/100%)\r" on standard output */
    PROGRESS_AUTO,    /* a bar on a terminal, nothing elsewhere */
    PROGRESS_BAR,
    PROGRESS_JSON,
};

extern const char *const progress_names[];

/* A table row for the int member `progress` of struct type. */
#define PROGRESS_ROW(type)                                                                         \
    {                                                                                              \
        "p", "WORD",                                                                               \
            FIELD_ENUM(type, progress, "progress", NULL, progress_names,                           \
                       "show progress: percent (also for -p alone), auto, bar, json, none"),       \
            "percent"                                                                              \
    }

struct progress {
    enum progress_mode mode;
    const char *phase; /* "convert" */
    int64_t start_ns;
    struct job_progress last; /* as of the last tick */
    int64_t granted;          /* bytes of work that confine_allow_work() knows of */
    double shown;             /* the percentage last shown */
    int signal_fd;            /* readable when SIGUSR1 came; -1: none */
};

/* Makes SIGUSR1 harmless; call it before the first long step. */
void progress_start(struct progress *progress, int mode, bool quiet, const char *phase);

/* Runs `job` to its end, showing progress. */
bool progress_run(struct progress *progress, struct job *job, struct blk_graph *graph,
                  GError **error);

/* All of it for a job that runs to its end or fails; frees the job. */
bool progress_run_whole(struct job *job, struct blk_graph *graph, int mode, bool quiet,
                        const char *phase, GError **error);

/* Shows the end of a job that ran to it: all of the work, or, when it could stop early, how far it
 * came. */
void progress_complete(struct progress *progress, bool all);

/* Ends the line of the display and frees what progress_start() took. */
void progress_end(struct progress *progress);

#endif
