/*
 * The plain main() of a fuzz target: feeds it every file of its corpus, one
 * test case each, and speaks TAP. The corpus of fuzz-NAME is the folder
 * tests/fuzz/corpus/NAME of the source tree; files named on the command line
 * are run instead, which is how a crash that the fuzzer found is repeated.
 * Some hundred seeded mutations of each file follow it, so that the suite
 * notices what a fuzzing session would find in its first second.
 */
#include <glib.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "tests/tools/rng.h"

enum { MUTATIONS = 200, MAX_WORK = 4 << 20 };

/* An exact copy, so that a sanitizer sees the first byte read past the end. */
static void run_copy(const void *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static void mutate(struct rng *rng, uint8_t *data, size_t size)
{
    static const uint8_t edges[] = {0, 1, 0x7f, 0x80, 0xff};
    for (int64_t n = rng_between(rng, 1, 4); n > 0; n--) {
        size_t range = rng_percent(rng, 70) ? MIN(size, 512) : size;
        size_t at = (size_t)rng_below(rng, (int64_t)range);
        data[at] = rng_percent(rng, 50) ? edges[rng_below(rng, 5)] : (uint8_t)rng_next(rng);
    }
}

static void run_mutations(const void *data, size_t size)
{
    struct rng rng = {1};
    for (size_t n = size ? MIN(MUTATIONS, MAX_WORK / size) : 0; n > 0; n--) {
        g_autofree uint8_t *copy = g_memdup2(data, size);
        mutate(&rng, copy, size);
        run_copy(copy, rng_percent(&rng, 10) ? (size_t)rng_below(&rng, (int64_t)size) : size);
    }
}

static void run(const char *path)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *data = NULL;
    gsize size;
    if (!g_file_get_contents(path, &data, &size, &error))
        g_error("%s", error->message);
    run_copy(data, size);
    run_mutations(data, size);
}

static int replay_folder(const char *folder)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GDir) dir = g_dir_open(folder, 0, &error);
    if (!dir)
        g_error("%s", error->message);
    int n = 0;
    for (const char *name; (name = g_dir_read_name(dir));) {
        g_autofree char *path = g_build_filename(folder, name, NULL);
        run(path);
        g_print("ok %d %s\n", ++n, name);
    }
    g_print("1..%d\n", n);
    return n ? 0 : 1;
}

int main(int argc, char **argv)
{
    if (argc > 1 && !g_str_equal(argv[1], "--tap")) {
        for (int i = 1; i < argc; i++)
            run(argv[i]);
        return 0;
    }
    const char *top = g_getenv("abs_top_srcdir");
    g_autofree char *base = g_path_get_basename(argv[0]);
    const char *name = g_str_has_prefix(base, "fuzz-") ? base + strlen("fuzz-") : base;
    g_autofree char *folder = g_build_filename(top ? top : ".", "tests/fuzz/corpus", name, NULL);
    return replay_folder(folder);
}
