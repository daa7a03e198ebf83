/*
 * Scenes: commands of cairn-img over small images that are made once, run in a
 * folder that is put back before each run, and judged afterwards. What may be
 * there depends on the kind of the scene only, not on what went wrong:
 *
 *   ASK     nothing has changed; a run that succeeds prints what it always prints
 *   MAKE    the output is there and whole, or what was there before is
 *   CHANGE  the image is sound (leaks are allowed) and each of the views reads
 *           as before or as after the change; all else is as it was
 *
 * Whoever disturbs a command (every-nth.c, ../crash/kill.c) asks here for what
 * is wrong with the outcome.
 */
#ifndef CAIRN_TESTS_FAULT_SCENE_H
#define CAIRN_TESTS_FAULT_SCENE_H

#include <glib.h>
#include <stdbool.h>

enum scene_kind { SCENE_ASK, SCENE_MAKE, SCENE_CHANGE };

struct scene {
    const char *name;
    const char *command; /* words between blanks, the program left out */
    enum scene_kind kind;
    const char *files; /* those it reads, may change or makes; the last one is MAKE's output */
    const char *views; /* "FILE:FORMAT ..." of images whose contents count */
    bool mixed;        /* CHANGE: each sector of a view may be old or new */
    bool rough;        /* CHANGE: what it is given is not sound, nor need it be after a failure */
    bool chatty;       /* it tells of what it finds on stderr, a line each */
    bool aborts;       /* it keeps long lists in GLib's arrays, which end the program */
    int status;        /* with which it ends when nothing goes wrong */
};

extern const struct scene scenes[];
extern const int scene_count;

struct outcome {
    int status; /* of wait(2) */
    char *output, *errors;
    gsize output_length;
};

/* Makes a folder, the images in it, and runs every scene once undisturbed. */
void scenes_start(const char *tool);
void scenes_stop(void);

/* False when the program lacks the scene's subcommand. */
bool scene_is_built(const struct scene *scene);

/* True for the status of wait(2) with which the scene ends undisturbed. */
bool scene_succeeded(const struct scene *scene, int status);

/* Puts the files back. MAKE: with something else under the output's name if `occupied`. */
void scene_reset(const struct scene *scene, bool occupied);

/* Starts the command; the caller waits for it. `environment`: NULL or "NAME=value" that are added.
 */
GPid scene_start(const struct scene *scene, const char *const *environment);

/* Waits for it and collects what it said; free with outcome_clear(). */
void scene_wait(const struct scene *scene, GPid pid, struct outcome *ret_outcome);
void outcome_clear(struct outcome *outcome);

/* What is wrong with the files now, to be freed, or NULL. Strays: other files may lie around. */
char *scene_judge_files(const struct scene *scene, bool succeeded, bool strays);

/* What is wrong with what a command said: it failed, or succeeded, as it should say. */
char *scene_judge_words(const struct scene *scene, const struct outcome *outcome);

#endif
