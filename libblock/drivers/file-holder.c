/*
 * Finding the process behind a lock. The kernel does not say who owns an open
 * file description, but /proc/PID/fdinfo/FD lists the locks of each one that we
 * may look at, with the inode they are on. This only runs to word an error.
 */
#include "libblock/drivers/file-holder.h"

#include <glib.h>
#include <stdbool.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct wanted {
    unsigned long inode;
    int64_t byte;
    int own_fd;
};

/* "lock:\t1: OFDLCK ADVISORY READ -1 fe:01:1234 101 101" (or "FLOCK"/"POSIX", which are not it). */
static bool line_matches(const char *line, const struct wanted *wanted)
{
    char kind[16], end[24];
    unsigned long inode;
    int64_t start;
    if (sscanf(line, "lock: %*s %15s %*s %*s %*d %*x:%*x:%lu %" SCNd64 " %23s", kind, &inode,
               &start, end) != 4) {
        return false;
    }
    int64_t last = strcmp(end, "EOF") ? g_ascii_strtoll(end, NULL, 10) : INT64_MAX;
    return inode == wanted->inode && start <= wanted->byte && wanted->byte <= last;
}

static bool fdinfo_matches(const char *path, const struct wanted *wanted)
{
    g_autofree char *text = NULL;
    if (!g_file_get_contents(path, &text, NULL, NULL)) {
        return false;
    }
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++) {
        if (line_matches(*line, wanted)) {
            return true;
        }
    }
    return false;
}

static bool process_holds(const char *pid, const struct wanted *wanted)
{
    g_autofree char *folder = g_strdup_printf("/proc/%s/fdinfo", pid);
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    bool self = atoi(pid) == getpid();
    const char *fd;
    while (dir && (fd = g_dir_read_name(dir))) {
        g_autofree char *path = g_strconcat(folder, "/", fd, NULL);
        if (!(self && atoi(fd) == wanted->own_fd) && fdinfo_matches(path, wanted)) {
            return true;
        }
    }
    return false;
}

static char *describe(const char *pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%s/comm", pid);
    g_autofree char *name = NULL;
    g_file_get_contents(path, &name, NULL, NULL);
    return g_strdup_printf("%s (pid %s)", name ? g_strchomp(name) : "a process", pid);
}

char *file_holder_describe(int fd, int64_t byte)
{
    struct stat st;
    g_autoptr(GDir) proc = g_dir_open("/proc", 0, NULL);
    if (!proc || fstat(fd, &st) < 0) {
        return NULL;
    }
    struct wanted wanted = {st.st_ino, byte, fd};
    const char *pid;
    while ((pid = g_dir_read_name(proc))) {
        if (g_ascii_isdigit(pid[0]) && process_holds(pid, &wanted)) {
            return describe(pid);
        }
    }
    return NULL;
}
