/*
 * Nearest words by edit distance (Damerau-Levenshtein, adjacent swaps only),
 * over words of a length that people type; longer ones are never near.
 */
#include "base/words.h"

#include <glib.h>
#include <string.h>

#define WORD_MAX 31

/* The number of single-letter slips between a and b, both at most WORD_MAX long. */
static int word_distance(const char *a, const char *b)
{
    int rows[3][WORD_MAX + 1];
    int *before = rows[0], *above = rows[1], *here = rows[2];
    int a_len = (int)strlen(a), b_len = (int)strlen(b);
    for (int j = 0; j <= b_len; j++) {
        above[j] = j;
    }
    for (int i = 1; i <= a_len; i++) {
        here[0] = i;
        for (int j = 1; j <= b_len; j++) {
            int best = above[j - 1] + (a[i - 1] != b[j - 1]);
            best = MIN(best, MIN(above[j], here[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
                best = MIN(best, before[j - 2] + 1);
            }
            here[j] = best;
        }
        int *free_row = before;
        before = above;
        above = here;
        here = free_row;
    }
    return above[b_len];
}

const char *words_nearest(const char *const *names, const char *word)
{
    const char *best = NULL;
    size_t len = strlen(word);
    int best_distance = (int)MIN(len, WORD_MAX) / 3 + 1;
    for (int i = 0; len <= WORD_MAX && names[i]; i++) {
        int distance = strlen(names[i]) <= WORD_MAX ? word_distance(word, names[i]) : INT_MAX;
        if (distance < best_distance) {
            best = names[i];
            best_distance = distance;
        }
    }
    return best;
}

char *words_hint(const char *const *names, const char *word)
{
    const char *near = words_nearest(names, word);
    return near ? g_strdup_printf("; did you mean '%s'?", near) : g_strdup("");
}
