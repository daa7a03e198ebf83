/*
 * What a test program tells the programs that run it: how many states, sequences
 * or kills it went through, as a line "# tally NAME COUNT" that tests/run adds up
 * into its report and tests/shards into its log; and the seeds it is asked to run.
 */
#ifndef CAIRN_TESTS_TALLY_H
#define CAIRN_TESTS_TALLY_H

#include <glib.h>
#include <inttypes.h>

static inline void tally_print(const char *name, int64_t count)
{
    g_print("# tally %s %" PRId64 "\n", name, count);
}

/* A number from the environment: SEED, COUNT, ... */
static inline int64_t tally_environment(const char *name, int64_t dflt)
{
    const char *text = g_getenv(name);
    return text && *text ? g_ascii_strtoll(text, NULL, 10) : dflt;
}

#endif
