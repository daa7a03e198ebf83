/*
 * Locking the process in before it reads an image that nobody vouches for
 * (--untrusted): only the files of the command line can be opened, only the
 * system calls that image work needs can be made, memory and time are bounded.
 */
#ifndef CAIRN_IMG_CONFINE_H
#define CAIRN_IMG_CONFINE_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

struct confinement {
    const char *const *reads; /* names of images, as typed; NULL-terminated */
    const char *target;       /* an image to write, or NULL */
    bool any_file;            /* names are option lists: which files they mean is not known */
};

/* Confines this process for good. Where the kernel has no Landlock, files stay reachable and all
 * the rest holds; false when system calls cannot be filtered. */
bool confine_start(const struct confinement *confinement, GError **error);

/* Grants the processor time that reading `bytes` of guest data takes, beside that for metadata.
 * Without confine_start() nothing is bounded. */
void confine_allow_work(int64_t bytes);

#endif
