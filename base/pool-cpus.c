/*
 * How many processors this process may use: its affinity mask, and the
 * smallest cpu.max of its cgroup (version 2) and the groups above it.
 */
#include "base/pool-impl.h"

#include <glib.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int cpus_by_affinity(void)
{
    int count = 0;
    for (int room = 1024; !count && room <= 1 << 18; room *= 2) {
        cpu_set_t *set = CPU_ALLOC(room);
        if (set && sched_getaffinity(0, CPU_ALLOC_SIZE(room), set) == 0) {
            count = CPU_COUNT_S(CPU_ALLOC_SIZE(room), set);
        }
        CPU_FREE(set);
    }
    return count ? count : MAX(1, (int)sysconf(_SC_NPROCESSORS_ONLN));
}

int pool_parse_cpu_max(const char *line)
{
    long long quota, period;
    if (sscanf(line, "%lld %lld", &quota, &period) != 2 || quota <= 0 || period <= 0) {
        return 0;
    }
    return (int)CLAMP((quota + period - 1) / period, 1, G_MAXINT);
}

static bool read_line(const char *path, char *line, int size)
{
    FILE *file = fopen(path, "re");
    bool ok = file && fgets(line, size, file);
    if (file) {
        fclose(file);
    }
    return ok;
}

/* The path of our version 2 group, "/" when it is not known. */
static char *cgroup_path(void)
{
    char *text = NULL, *path = NULL;
    if (g_file_get_contents("/proc/self/cgroup", &text, NULL, NULL)) {
        char *start = g_str_has_prefix(text, "0::") ? text : strstr(text, "\n0::");
        start = start ? strchr(start, '/') : NULL;
        path = start ? g_strndup(start, strcspn(start, "\n")) : NULL;
    }
    g_free(text);
    return path ? path : g_strdup("/");
}

static int cpus_by_cgroup(void)
{
    g_autofree char *path = cgroup_path();
    int cpus = 0;
    for (char *slash = path + strlen(path); slash; slash = strrchr(path, '/')) {
        char line[64];
        *slash = '\0';
        g_autofree char *file = g_strconcat("/sys/fs/cgroup", path, "/cpu.max", NULL);
        int here = read_line(file, line, sizeof(line)) ? pool_parse_cpu_max(line) : 0;
        cpus = here && (!cpus || here < cpus) ? here : cpus;
    }
    return cpus;
}

int pool_cpus(void)
{
    int cpus = cpus_by_affinity();
    int granted = cpus_by_cgroup();
    return granted ? MIN(cpus, granted) : cpus;
}
