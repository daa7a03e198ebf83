/*
 * measure REPEAT COMMAND...: runs a command REPEAT times with its output thrown away and prints
 * the mean wall seconds, the mean CPU seconds, the peak resident KiB and the last bad exit status.
 * A program of its own because a shell's timing misses the memory and is too coarse for a command
 * of a millisecond.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct totals {
    double wall, cpu;
    long peak_kib;
    int status;
};

static double now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

static double seconds(struct timeval tv)
{
    return (double)tv.tv_sec + (double)tv.tv_usec * 1e-6;
}

static void run_once(char **command, int null, struct totals *totals)
{
    struct rusage usage;
    int status;
    double start = now();
    pid_t pid = vfork();
    if (pid == 0) {
        dup2(null, STDOUT_FILENO);
        execvp(command[0], command);
        _exit(127);
    }
    if (pid < 0 || wait4(pid, &status, 0, &usage) < 0) {
        perror("measure");
        exit(1);
    }
    totals->wall += now() - start;
    totals->cpu += seconds(usage.ru_utime) + seconds(usage.ru_stime);
    totals->peak_kib = usage.ru_maxrss > totals->peak_kib ? usage.ru_maxrss : totals->peak_kib;
    if (status) {
        totals->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
}

int main(int argc, char **argv)
{
    int repeat = argc > 2 ? atoi(argv[1]) : 0;
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    struct totals totals = {0};
    if (repeat < 1 || null < 0) {
        fprintf(stderr, "usage: measure REPEAT COMMAND...\n");
        return 1;
    }
    for (int i = 0; i < repeat; i++) {
        run_once(argv + 2, null, &totals);
    }
    printf("%.6f %.6f %ld %d\n", totals.wall / repeat, totals.cpu / repeat, totals.peak_kib,
           totals.status);
    return 0;
}
