#include "tests/fault/scene.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"
#include "base/bytes.h"
#include "formats/formats.h"
#include "libblock/libblock.h"
#include "tests/fault/images.h"
#include "tests/tools/qcow2-ref.h"

enum { SECTOR = 512, SECONDS_MAX = 20, WORDS_MAX = 24, VIEWS_MAX = 3 };

#define OCCUPANT "precious"

/* Contents of a view before and after an undisturbed run. */
struct view {
    char *file, *format;
    GByteArray *before, *after;
};

/* What is known of a scene once it has run undisturbed. */
struct memory {
    bool built;
    char *output; /* ASK */
    gsize output_length;
    struct view views[VIEWS_MAX];
    int view_count;
};

static struct {
    char *tool, *folder;
    GHashTable *images; /* name -> GBytes: how files are put back */
    struct memory *memories;
    int output, errors; /* files in memory for the child's words */
    struct loop *loop;
    struct blk_graph *graph;
} stage;

static struct memory *memory_of(const struct scene *scene)
{
    return &stage.memories[scene - scenes];
}

/* ---- files ---- */

static GBytes *file_bytes(const char *name)
{
    char *text;
    gsize length;
    return g_file_get_contents(name, &text, &length, NULL) ? g_bytes_new_take(text, length) : NULL;
}

static bool file_is(const char *name, GBytes *want)
{
    GBytes *have = file_bytes(name);
    bool same = have && g_bytes_equal(have, want);
    g_clear_pointer(&have, g_bytes_unref);
    return same;
}

static void file_put(const char *name, GBytes *bytes)
{
    gsize length;
    const char *data = g_bytes_get_data(bytes, &length);
    g_unlink(name);
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(write(fd, data, length), ==, (ssize_t)length);
    close(fd);
}

static const char *output_of(const struct scene *scene)
{
    const char *blank = strrchr(scene->files, ' ');
    return scene->kind == SCENE_MAKE ? blank ? blank + 1 : scene->files : NULL;
}

/* Whether the files in the folder are images and at most the output. */
static char *find_stray(const struct scene *scene)
{
    char *stray = NULL;
    GDir *dir = g_dir_open(".", 0, NULL);
    for (const char *name; !stray && (name = g_dir_read_name(dir));)
        if (!g_hash_table_contains(stage.images, name) && g_strcmp0(name, output_of(scene)))
            stray = g_strdup(name);
    g_dir_close(dir);
    return stray;
}

static void remove_strays(void)
{
    GDir *dir = g_dir_open(".", 0, NULL);
    for (const char *name; (name = g_dir_read_name(dir));)
        if (!g_hash_table_contains(stage.images, name))
            g_unlink(name);
    g_dir_close(dir);
}

void scene_reset(const struct scene *scene, bool occupied)
{
    g_auto(GStrv) names = g_strsplit(scene->files, " ", -1);
    remove_strays();
    for (int i = 0; names[i]; i++) {
        GBytes *bytes = g_hash_table_lookup(stage.images, names[i]);
        if (bytes && !file_is(names[i], bytes))
            file_put(names[i], bytes);
    }
    if (occupied && scene->kind == SCENE_MAKE)
        g_assert_true(g_file_set_contents(output_of(scene), OCCUPANT, -1, NULL));
}

/* ---- running ---- */

static void child(char **argv, char **envp)
{
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    alarm(SECONDS_MAX);
    dup2(open("/dev/null", O_RDONLY), STDIN_FILENO);
    dup2(stage.output, STDOUT_FILENO);
    dup2(stage.errors, STDERR_FILENO);
    execve(argv[0], argv, envp);
    _exit(127);
}

GPid scene_start(const struct scene *scene, const char *const *environment)
{
    g_auto(GStrv) word = g_strsplit(scene->command, " ", WORDS_MAX - 2);
    char *argv[WORDS_MAX] = {stage.tool};
    g_auto(GStrv) envp = g_get_environ();
    for (int i = 0; word[i]; i++)
        argv[i + 1] = word[i];
    for (int i = 0; environment && environment[i]; i++) {
        g_auto(GStrv) pair = g_strsplit(environment[i], "=", 2);
        envp = g_environ_setenv(envp, pair[0], pair[1], TRUE);
    }
    g_assert_cmpint(ftruncate(stage.output, 0) | ftruncate(stage.errors, 0), ==, 0);
    lseek(stage.output, 0, SEEK_SET);
    lseek(stage.errors, 0, SEEK_SET);
    pid_t pid = fork();
    g_assert_cmpint(pid, >=, 0);
    if (pid == 0)
        child(argv, envp);
    return pid;
}

static char *words_of(int fd, gsize *ret_length)
{
    off_t length = lseek(fd, 0, SEEK_END);
    char *text = g_malloc0((gsize)length + 1);
    g_assert_cmpint(pread(fd, text, (size_t)length, 0), ==, length);
    if (ret_length)
        *ret_length = (gsize)length;
    return text;
}

void scene_wait(const struct scene *scene, GPid pid, struct outcome *ret_outcome)
{
    g_assert_cmpint(waitpid(pid, &ret_outcome->status, 0), ==, pid);
    ret_outcome->output = words_of(stage.output, &ret_outcome->output_length);
    ret_outcome->errors = words_of(stage.errors, NULL);
}

void outcome_clear(struct outcome *outcome)
{
    g_clear_pointer(&outcome->output, g_free);
    g_clear_pointer(&outcome->errors, g_free);
}

/* ---- what images hold ---- */

/* The guest's bytes; NULL and *ret_why when they cannot be had. */
static GByteArray *contents_of(const char *file, const char *format, char **ret_why)
{
    GError *error = NULL;
    struct blk_node *node = node_open(stage.graph, file, format, NULL, NODE_NO_LOCK, &error);
    if (!node) {
        *ret_why = g_strdup_printf("%s cannot be opened: %s", file, error->message);
        g_error_free(error);
        return NULL;
    }
    GByteArray *bytes = g_byte_array_new();
    g_byte_array_set_size(bytes, (guint)node_size(node));
    int ret = node_read(node, 0, node_size(node), bytes->data);
    node_close(node, NULL);
    if (ret) {
        *ret_why = g_strdup_printf("%s cannot be read: %s", file, g_strerror(-ret));
        g_clear_pointer(&bytes, g_byte_array_unref);
    }
    return bytes;
}

static bool same_bytes(const GByteArray *a, const GByteArray *b)
{
    return a->len == b->len && !memcmp(a->data, b->data, a->len);
}

/* Every sector is as it was or as it is to be, zero where one of them ends. */
static bool is_mixture(const GByteArray *bytes, const struct view *view)
{
    bool sized = bytes->len == view->before->len || bytes->len == view->after->len;
    for (guint at = 0; sized && at < bytes->len; at += SECTOR) {
        guint n = MIN(SECTOR, bytes->len - at);
        bool old =
            at + n > view->before->len || !memcmp(bytes->data + at, view->before->data + at, n);
        bool new =
            at + n > view->after->len || !memcmp(bytes->data + at, view->after->data + at, n);
        if (!old && !new)
            return false;
    }
    return sized;
}

/* Why the qcow2 file is not sound, or NULL. One that is marked dirty is mended by its next user. */
static char *judge_tables(const char *file, bool leaks)
{
    GBytes *bytes = file_bytes(file);
    gsize size;
    const uint8_t *data = g_bytes_get_data(bytes, &size);
    bool dirty = size >= 80 && load_be64(data + 72) & 1;
    struct qcow2_ref ref = {0};
    if (!dirty)
        ref = qcow2_ref_check(data, (int64_t)size);
    g_bytes_unref(bytes);
    if (ref.corruptions || (ref.leaks && !leaks))
        return g_strdup_printf("%s has %d corruptions and %d leaks: %s", file, (int)ref.corruptions,
                               (int)ref.leaks, ref.first);
    return NULL;
}

static char *judge_view(const struct scene *scene, const struct view *view, bool succeeded)
{
    char *why = NULL;
    if (g_str_equal(view->format, "qcow2") && (succeeded || !scene->rough))
        why = judge_tables(view->file, scene->kind == SCENE_CHANGE);
    GByteArray *bytes = why ? NULL : contents_of(view->file, view->format, &why);
    if (bytes) {
        bool before = view->before && same_bytes(bytes, view->before);
        bool after = same_bytes(bytes, view->after);
        bool mixed = scene->mixed && view->before && is_mixture(bytes, view);
        if (succeeded ? !after : !before && !after && !mixed)
            why = g_strdup_printf("%s: the contents of %s are %s", scene->name, view->file,
                                  before ? "the old ones" : "neither the old nor the new ones");
        g_byte_array_unref(bytes);
    }
    return why;
}

/* What must be as it was: all images but those that a view of a change reads from itself. */
static bool may_change(const struct scene *scene, const char *file)
{
    const struct memory *m = memory_of(scene);
    for (int i = 0; i < m->view_count && scene->kind == SCENE_CHANGE; i++)
        if (g_str_equal(m->views[i].file, file))
            return true;
    return false;
}

static char *judge_sources(const struct scene *scene)
{
    g_auto(GStrv) names = g_strsplit(scene->files, " ", -1);
    for (int i = 0; names[i]; i++) {
        GBytes *bytes = g_hash_table_lookup(stage.images, names[i]);
        if (bytes && !may_change(scene, names[i]) && !file_is(names[i], bytes))
            return g_strdup_printf("%s has changed", names[i]);
    }
    return NULL;
}

static char *judge_output(const struct scene *scene, bool succeeded)
{
    g_autoptr(GBytes) occupant = g_bytes_new_static(OCCUPANT, strlen(OCCUPANT));
    const char *name = output_of(scene);
    bool there = g_file_test(name, G_FILE_TEST_EXISTS);
    if (!succeeded && (!there || file_is(name, occupant)))
        return NULL;
    return there ? NULL : g_strdup_printf("%s was not made", name);
}

char *scene_judge_files(const struct scene *scene, bool succeeded, bool strays)
{
    const struct memory *m = memory_of(scene);
    char *why = judge_sources(scene);
    g_autofree char *stray = strays ? NULL : find_stray(scene);
    if (!why && stray)
        why = g_strdup_printf("%s is left behind", stray);
    if (!why && scene->kind == SCENE_MAKE)
        why = judge_output(scene, succeeded);
    bool look = scene->kind == SCENE_CHANGE || succeeded;
    if (!look && scene->kind == SCENE_MAKE && g_file_test(output_of(scene), G_FILE_TEST_EXISTS)) {
        g_autoptr(GBytes) occupant = g_bytes_new_static(OCCUPANT, strlen(OCCUPANT));
        look = !file_is(output_of(scene), occupant);
    }
    for (int i = 0; !why && look && i < m->view_count; i++)
        why = judge_view(scene, &m->views[i], succeeded);
    return why;
}

/* ---- what commands say ---- */

static int count_lines(const char *text)
{
    int n = 0;
    for (; (text = strchr(text, '\n')); text++)
        n++;
    return n;
}

static bool names_a_file(const char *text)
{
    GHashTableIter iter;
    gpointer name;
    g_hash_table_iter_init(&iter, stage.images);
    while (g_hash_table_iter_next(&iter, &name, NULL))
        if (strstr(text, name))
            return true;
    return strstr(text, "out.") || strstr(text, "standard output");
}

char *scene_judge_words(const struct scene *scene, const struct outcome *outcome)
{
    const struct memory *m = memory_of(scene);
    const char *errors = outcome->errors;
    if (!scene_succeeded(scene, outcome->status)) {
        int lines = count_lines(errors);
        return lines < 1                     ? g_strdup("it failed without a word")
               : lines > 3 && !scene->chatty ? g_strdup_printf("%d lines of errors", lines)
               : !names_a_file(errors) && !scene->chatty ? g_strdup("the error names no file")
                                                         : NULL;
    }
    bool same = scene->kind != SCENE_ASK || (outcome->output_length == m->output_length &&
                                             !memcmp(outcome->output, m->output, m->output_length));
    return same ? NULL
                : g_strdup_printf("other output than without the fault: %s", outcome->output);
}

/* ---- setting up ---- */

static bool find_built(const struct scene *scene)
{
    g_auto(GStrv) word = g_strsplit(scene->command, " ", 2);
    char *argv[] = {stage.tool, word[0], (char *)"--help", NULL};
    int status;
    g_auto(GStrv) names = g_strsplit(scene->files, " ", -1);
    for (int i = 0; names[i]; i++)
        if (!g_hash_table_contains(stage.images, names[i]) && g_strcmp0(names[i], output_of(scene)))
            return false;
    g_assert_true(g_spawn_sync(NULL, argv, NULL,
                               G_SPAWN_STDOUT_TO_DEV_NULL | G_SPAWN_STDERR_TO_DEV_NULL, NULL, NULL,
                               NULL, NULL, &status, NULL));
    return status == 0;
}

/* Runs undisturbed, and takes what it did for right; false when it is yet to be built. */
static bool learn(const struct scene *scene)
{
    struct memory *m = memory_of(scene);
    struct outcome outcome;
    char *why = NULL;
    g_auto(GStrv) views = g_strsplit(scene->views ? scene->views : "", " ", VIEWS_MAX);
    scene_reset(scene, false);
    for (int i = 0; views[i]; i++, m->view_count++) {
        g_auto(GStrv) pair = g_strsplit(views[i], ":", 2);
        m->views[i] = (struct view){g_strdup(pair[0]), g_strdup(pair[1]), NULL, NULL};
        if (scene->kind == SCENE_CHANGE)
            m->views[i].before = contents_of(pair[0], pair[1], &why);
    }
    scene_wait(scene, scene_start(scene, NULL), &outcome);
    if (strstr(outcome.errors, "not supported yet")) {
        outcome_clear(&outcome);
        return false;
    }
    bool noisy = *outcome.errors && !scene->chatty;
    if (!scene_succeeded(scene, outcome.status) || noisy || why)
        g_error("%s: status %#x: %s %s", scene->name, outcome.status, outcome.errors,
                why ? why : "");
    for (int i = 0; i < m->view_count && !why; i++)
        m->views[i].after = contents_of(m->views[i].file, m->views[i].format, &why);
    if (why)
        g_error("%s: undisturbed: %s", scene->name, why);
    m->output = g_steal_pointer(&outcome.output);
    m->output_length = outcome.output_length;
    outcome_clear(&outcome);
    return true;
}

bool scene_succeeded(const struct scene *scene, int status)
{
    return WIFEXITED(status) && WEXITSTATUS(status) == scene->status;
}

bool scene_is_built(const struct scene *scene)
{
    return memory_of(scene)->built;
}

static int memory_file(const char *name)
{
    int fd = memfd_create(name, MFD_CLOEXEC);
    g_assert_cmpint(fd, >=, 0);
    return fd;
}

void scenes_start(const char *tool)
{
    stage.tool = g_strdup(tool);
    stage.folder = g_dir_make_tmp("cairn-fault-XXXXXX", NULL);
    if (!tool || !stage.folder || g_chdir(stage.folder) < 0)
        g_error("CAIRN_IMG is not set, or there is no folder for temporary files");
    stage.output = memory_file("output");
    stage.errors = memory_file("errors");
    stage.loop = loop_new(NULL);
    stage.graph = graph_new(stage.loop, formats_drivers);
    stage.images = images_make(stage.graph);
    stage.memories = g_new0(struct memory, scene_count);
    for (int i = 0; i < scene_count; i++)
        stage.memories[i].built = find_built(&scenes[i]) && learn(&scenes[i]);
}

void scenes_stop(void)
{
    GHashTableIter iter;
    gpointer name;
    remove_strays();
    g_hash_table_iter_init(&iter, stage.images);
    while (g_hash_table_iter_next(&iter, &name, NULL))
        g_unlink(name);
    g_assert_cmpint(g_chdir("/"), ==, 0);
    g_assert_cmpint(g_rmdir(stage.folder), ==, 0);
    graph_free(stage.graph);
    loop_free(stage.loop);
}
