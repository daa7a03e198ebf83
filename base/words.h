/*
 * Words people type: the nearest known one for a message, and lists of them.
 */
#ifndef CAIRN_BASE_WORDS_H
#define CAIRN_BASE_WORDS_H

/* The one of `names` (NULL-terminated) that `word` most likely means, or NULL when none is near:
 * at most one slip (missing, extra, wrong or swapped letter) for each three letters. */
const char *words_nearest(const char *const *names, const char *word);

/* "; did you mean 'NAME'?" for the nearest name, or "". Free with g_free(). */
char *words_hint(const char *const *names, const char *word);

#endif
