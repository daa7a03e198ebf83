/*
 * The plain main() of a fuzz target: feeds it every file of its corpus, one
 * test case each, and speaks TAP. The corpus of fuzz-NAME is the folder
 * tests/fuzz/corpus/NAME of the source tree; files named on the command line
 * are run instead, which is how a crash that the fuzzer found is repeated.
 */
#include <glib.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void run(const char *path)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *data = NULL;
    gsize size;
    if (!g_file_get_contents(path, &data, &size, &error))
        g_error("%s", error->message);
    /* an exact copy, so that a sanitizer sees the first byte read past the end */
    uint8_t *copy = malloc(size);
    memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
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
