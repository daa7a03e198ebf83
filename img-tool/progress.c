/*
 * Showing how far a job is. The job's ticks drive everything, so no other
 * thread or timer exists for it; SIGUSR1 arrives through a descriptor that the
 * ticks read.
 */
#include "img-tool/progress.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/size.h"
#include "img-tool/confine.h"
#include "libblock/libblock.h"

#define BAR_COLUMNS 30

const char *const progress_names[] = {"none", "percent", "auto", "bar", "json", NULL};

static int64_t now_ns(void)
{
    return g_get_monotonic_time() * 1000;
}

static double percent_of(struct job_progress at)
{
    return at.total > 0 ? MIN(100.0, 100.0 * (double)at.done / (double)at.total) : 0;
}

/* Bytes a second since the start, and the seconds that the rest will take (-1: unknown). */
static double rate_of(const struct progress *progress, struct job_progress at, double *ret_eta)
{
    double seconds = (double)(now_ns() - progress->start_ns) / 1e9;
    double rate = seconds > 0 ? (double)at.done / seconds : 0;
    *ret_eta = rate > 0 ? (double)MAX(0, at.total - at.done) / rate : -1;
    return rate;
}

static void show_percent(struct progress *progress, double percent)
{
    if (percent < progress->shown + 1 && percent < 100 && progress->shown >= 0) {
        return;
    }
    progress->shown = percent;
    printf("    (%3.2f/100%%)\r", percent);
}

static void show_bar(struct progress *progress, struct job_progress at)
{
    char bar[BAR_COLUMNS + 1];
    double eta, percent = percent_of(at);
    g_autofree char *rate = size_format((int64_t)rate_of(progress, at, &eta));
    for (int i = 0; i < BAR_COLUMNS; i++) {
        bar[i] = percent * BAR_COLUMNS >= (i + 1) * 100.0 ? '=' : ' ';
    }
    bar[BAR_COLUMNS] = 0;
    printf("\r%s [%s] %5.1f%%  %8s/s", progress->phase, bar, percent, rate);
    if (eta >= 0 && eta < 100 * 3600) {
        printf("  %d:%02d left ", (int)eta / 60, (int)eta % 60);
    }
}

static void show_json(struct progress *progress, struct job_progress at)
{
    double eta, rate = rate_of(progress, at, &eta);
    printf("{\"phase\": \"%s\", \"done\": %" PRId64 ", \"total\": %" PRId64
           ", \"percent\": %.2f, \"rate\": %.0f, \"eta\": ",
           progress->phase, at.done, at.total, percent_of(at), rate);
    printf(eta >= 0 ? "%.1f}\n" : "null}\n", eta);
}

static void show(struct progress *progress, struct job_progress at)
{
    switch (progress->mode) {
    case PROGRESS_PERCENT: show_percent(progress, percent_of(at)); break;
    case PROGRESS_BAR: show_bar(progress, at); break;
    case PROGRESS_JSON: show_json(progress, at); break;
    default: return;
    }
    fflush(stdout);
}

/* Answers SIGUSR1 the way qemu-img does: one line on standard error, unless progress is shown. */
static void answer_signal(struct progress *progress, struct job_progress at)
{
    struct signalfd_siginfo info;
    bool asked = false;
    while (progress->signal_fd >= 0 && read(progress->signal_fd, &info, sizeof(info)) > 0) {
        asked = true;
    }
    if (asked && progress->mode == PROGRESS_NONE) {
        fprintf(stderr, "    (%3.2f/100%%)\n", percent_of(at));
    }
}

static void tick(struct job *job, void *user)
{
    struct progress *progress = user;
    progress->last = job_progress(job);
    if (progress->last.total > progress->granted) {
        confine_allow_work(progress->last.total - progress->granted);
        progress->granted = progress->last.total;
    }
    answer_signal(progress, progress->last);
    show(progress, progress->last);
}

void progress_start(struct progress *progress, int mode, bool quiet, const char *phase)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    if (mode == PROGRESS_AUTO) {
        mode = isatty(STDOUT_FILENO) ? PROGRESS_BAR : PROGRESS_NONE;
    }
    *progress = (struct progress){
        .mode = quiet ? PROGRESS_NONE : (enum progress_mode)mode,
        .phase = phase,
        .start_ns = now_ns(),
        .shown = -1,
        .signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC),
    };
    if (progress->mode == PROGRESS_PERCENT) {
        show(progress, (struct job_progress){0, 100});
    }
}

bool progress_run(struct progress *progress, struct job *job, struct blk_graph *graph,
                  GError **error)
{
    return job_run(job, graph, tick, progress, error);
}

void progress_complete(struct progress *progress, bool all)
{
    struct job_progress at = progress->last;
    if (all) {
        at.done = at.total = MAX(at.total, 1);
        show(progress, at);
    }
    if (progress->mode == PROGRESS_BAR) {
        printf("\n");
        progress->mode = PROGRESS_NONE;
    }
}

void progress_end(struct progress *progress)
{
    if (progress->mode == PROGRESS_PERCENT || progress->mode == PROGRESS_BAR) {
        printf("\n");
    }
    if (progress->signal_fd >= 0) {
        close(progress->signal_fd);
    }
}

bool progress_run_whole(struct job *job, struct blk_graph *graph, int mode, bool quiet,
                        const char *phase, GError **error)
{
    struct progress progress;
    progress_start(&progress, mode, quiet, phase);
    bool done = progress_run(&progress, job, graph, error);
    if (done) {
        progress_complete(&progress, true);
    }
    progress_end(&progress);
    job_free(job);
    return done;
}
