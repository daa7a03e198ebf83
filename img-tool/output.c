/*
 * Outputs that appear whole or not at all. See output.h.
 */
#include "img-tool/output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "img-tool/tool.h"

#define LINKS_MAX 40
#define OUTPUT_MODE 0644

struct output {
    char *name;     /* as given */
    char *final;    /* the file that `name` leads to */
    char *path;     /* where to write */
    char *temp;     /* a hidden name that exists in the folder, or NULL */
    int dir_fd, fd; /* folder and unfinished file; -1 in place */
    bool exists, is_file;
    struct stat old;       /* when exists */
    struct blk_node *lock; /* holds the existing file's locks, or NULL */
};

/* "PROTOCOL:rest" and "json:{...}"; a colon counts before the first slash only. */
static bool is_protocol_name(const char *name)
{
    size_t colon = strcspn(name, ":/");
    return colon && name[colon] == ':';
}

/* The file that `name` leads to through symbolic links, whether it exists or not. */
static char *follow_links(const char *name, GError **error)
{
    char *path = g_strdup(name);
    char target[PATH_MAX];
    for (int i = 0; i < LINKS_MAX; i++) {
        ssize_t len = readlink(path, target, sizeof(target) - 1);
        if (len < 0) {
            return path;
        }
        target[len] = 0;
        g_autofree char *dir = g_path_get_dirname(path);
        g_free(path);
        path = g_path_is_absolute(target) ? g_strdup(target) : g_build_filename(dir, target, NULL);
    }
    g_free(path);
    error_set_errno(error, ELOOP, "Could not open '%s'", name);
    return NULL;
}

static bool is_mount_point(const char *path)
{
    struct statx info;
    return !statx(AT_FDCWD, path, 0, STATX_TYPE, &info) &&
           (info.stx_attributes_mask & info.stx_attributes & STATX_ATTR_MOUNT_ROOT);
}

/* Takes the locks of the existing file as a writer would. */
static bool lock_existing(struct output *output, struct blk_graph *graph, GError **error)
{
    output->lock = node_open(graph, output->final, "file", NULL, NODE_RDWR | NODE_UNSHARED, error);
    if (!output->lock && error && *error && g_str_has_prefix((*error)->message, "could not open")) {
        (*error)->message[0] = 'C';
    }
    return output->lock != NULL;
}

/* Writing in place takes the locks itself. */
static void write_in_place(struct output *output)
{
    output->path = g_strdup(output->final ? output->final : output->name);
    node_close(output->lock, NULL);
    output->lock = NULL;
}

/* A file without a name in the folder. */
static bool make_nameless(struct output *output)
{
    output->fd = openat(output->dir_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, OUTPUT_MODE);
    if (output->fd < 0) {
        return false;
    }
    output->path = g_strdup_printf("/proc/self/fd/%d", output->fd);
    if (access(output->path, R_OK | W_OK)) {
        g_clear_pointer(&output->path, g_free);
        close(output->fd);
        output->fd = -1;
        return false;
    }
    return true;
}

/* Picks a hidden name that nothing has, for the file `final`. */
static void choose_temp(struct output *output)
{
    g_autofree char *dir = g_path_get_dirname(output->final);
    g_autofree char *base = g_path_get_basename(output->final);
    g_free(output->temp);
    output->temp = g_strdup_printf("%s/.%.200s.%08x.part", dir, base, g_random_int());
}

static bool make_named(struct output *output)
{
    do {
        choose_temp(output);
        tool_remove_on_signal(output->temp);
        output->fd = open(output->temp, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, OUTPUT_MODE);
    } while (output->fd < 0 && errno == EEXIST);
    if (output->fd < 0) {
        int err = errno;
        tool_remove_on_signal(NULL);
        g_clear_pointer(&output->temp, g_free);
        errno = err;
        return false;
    }
    output->path = g_strdup(output->temp);
    return true;
}

static bool make_temporary(struct output *output, bool needs_name, GError **error)
{
    g_autofree char *dir = g_path_get_dirname(output->final);
    output->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (output->dir_fd >= 0 && !needs_name && make_nameless(output)) {
        return true;
    }
    if (make_named(output)) {
        return true;
    }
    bool closed_folder = errno == EACCES || errno == EPERM || errno == EROFS;
    if (output->exists && closed_folder) {
        write_in_place(output);
        return true;
    }
    return error_set_errno(error, errno, "Could not create '%s'", output->name);
}

/* Looks at what has the final name now; an existing file must be writable and free. */
static bool examine(struct output *output, struct blk_graph *graph, GError **error)
{
    output->final = follow_links(output->name, error);
    if (!output->final) {
        return false;
    }
    output->exists = !stat(output->final, &output->old);
    output->is_file = !output->exists || S_ISREG(output->old.st_mode);
    if (!output->exists) {
        return errno == ENOENT ||
               error_set_errno(error, errno, "Could not open '%s'", output->name);
    }
    if (S_ISDIR(output->old.st_mode)) {
        return error_set_errno(error, EISDIR, "Could not open '%s'", output->name);
    }
    if (faccessat(AT_FDCWD, output->final, W_OK, AT_EACCESS)) {
        return error_set_errno(error, errno, "Could not open '%s'", output->name);
    }
    return !output->is_file || lock_existing(output, graph, error);
}

struct output *output_begin(struct blk_graph *graph, const char *name, bool needs_name,
                            GError **error)
{
    struct output *output = g_new0(struct output, 1);
    output->name = g_strdup(name);
    output->dir_fd = output->fd = -1;
    if (is_protocol_name(name)) {
        write_in_place(output);
        return output;
    }
    bool done = *name ? examine(output, graph, error)
                      : error_set(error, EINVAL, "the name of the new image is empty");
    if (done && (!output->is_file || (output->exists && is_mount_point(output->final)))) {
        write_in_place(output);
    } else if (done) {
        done = make_temporary(output, needs_name, error);
    }
    if (!done) {
        output_free(output, error);
        return NULL;
    }
    return output;
}

const char *output_path(const struct output *output)
{
    return output->path;
}

bool output_is_in_place(const struct output *output)
{
    return output->fd < 0;
}

bool output_is_file(const struct output *output)
{
    return output->is_file;
}

/* The successor of a file gets its mode, and its owner as far as we may. */
static void take_over_attributes(struct output *output)
{
    if (fchown(output->fd, output->old.st_uid, output->old.st_gid) &&
        fchown(output->fd, (uid_t)-1, output->old.st_gid)) {
        /* the file then belongs to who made it, as a copy does */
    }
    fchmod(output->fd, output->old.st_mode & 07777);
}

/* Gives a nameless file a name: the final one when nothing has it, else a hidden one. */
static bool link_nameless(struct output *output, bool *ret_done)
{
    *ret_done = false;
    if (!output->exists &&
        !linkat(AT_FDCWD, output->path, AT_FDCWD, output->final, AT_SYMLINK_FOLLOW)) {
        *ret_done = true;
        return true;
    }
    int ret;
    do {
        choose_temp(output);
        tool_remove_on_signal(output->temp);
        ret = linkat(AT_FDCWD, output->path, AT_FDCWD, output->temp, AT_SYMLINK_FOLLOW);
    } while (ret && errno == EEXIST);
    if (ret) {
        int err = errno;
        g_clear_pointer(&output->temp, g_free);
        errno = err;
    }
    return !ret;
}

static bool give_name(struct output *output)
{
    bool done = false;
    if (!output->temp && !link_nameless(output, &done)) {
        return false;
    }
    if (!done && rename(output->temp, output->final)) {
        return false;
    }
    tool_remove_on_signal(NULL);
    g_clear_pointer(&output->temp, g_free);
    return true;
}

bool output_commit(struct output *output, bool durable, GError **error)
{
    if (output_is_in_place(output)) {
        return true;
    }
    if (output->exists) {
        take_over_attributes(output);
    }
    bool done = (!output->exists && !durable) || !fsync(output->fd);
    done = done && give_name(output) && (!durable || !fsync(output->dir_fd));
    return done || error_set_errno(error, errno, "Could not complete '%s'", output->name);
}

/* Messages speak of the final name. */
static void rename_in_error(const struct output *output, GError **error)
{
    if (!error || !*error || !output->path || output_is_in_place(output)) {
        return;
    }
    g_auto(GStrv) parts = g_strsplit((*error)->message, output->path, -1);
    char *message = g_strjoinv(output->name, parts);
    g_free((*error)->message);
    (*error)->message = message;
}

void output_free(struct output *output, GError **error)
{
    if (!output) {
        return;
    }
    rename_in_error(output, error);
    if (output->temp) {
        unlink(output->temp);
        tool_remove_on_signal(NULL);
    }
    node_close(output->lock, NULL);
    if (output->fd >= 0) {
        close(output->fd);
    }
    if (output->dir_fd >= 0) {
        close(output->dir_fd);
    }
    g_free(output->name);
    g_free(output->final);
    g_free(output->path);
    g_free(output->temp);
    g_free(output);
}

static bool is_same_file(const struct stat *a, const struct stat *b)
{
    return S_ISBLK(a->st_mode) ? S_ISBLK(b->st_mode) && a->st_rdev == b->st_rdev
                               : a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

bool output_is_source(const char *name, struct blk_node *source, GError **error)
{
    struct stat target, file;
    if (is_protocol_name(name) || stat(name, &target) ||
        (!S_ISREG(target.st_mode) && !S_ISBLK(target.st_mode))) {
        return false;
    }
    for (struct blk_node *layer = source; layer; layer = node_backing(layer)) {
        struct blk_node *leaf = layer;
        while (node_file(leaf)) {
            leaf = node_file(leaf);
        }
        if (!stat(node_filename(leaf), &file) && is_same_file(&target, &file)) {
            error_set(error, EINVAL, "'%s' is both %s and target; name another target", name,
                      layer == source ? "source" : "backing file of the source");
            return true;
        }
    }
    return false;
}
