/*
 * Hostile qcow2 images. A small valid image is built by hand; each case spoils
 * one or two of its fields or table entries, and every subcommand runs on it with
 * 1 GiB of address space and 2 s of processor time; those that change the image
 * get a fresh one each. Whatever the image says, the tool either succeeds or fails
 * with a message and a status of at most 4 (63: nothing to check); it never dies,
 * and never uses more than 128 MiB.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"

#define CLUSTER UINT64_C(4096)
enum { CLUSTERS = 12, RSS_LIMIT_KIB = 128 * 1024 };

/* Where things are in the image, in clusters. */
enum { HEADER, REFTABLE, REFBLOCK, L1, L2, DATA, PACKED = 9, LIST, LIST_TABLE, END = CLUSTERS };

#define COPIED (UINT64_C(1) << 63)
#define IS_PACKED (UINT64_C(1) << 62)

struct image {
    uint8_t bytes[CLUSTERS * CLUSTER];
    size_t size;
};

struct place {
    const char *name;
    uint64_t offset;
    int width;
};

static const struct place header_fields[] = {
    {"magic", 0, 4},
    {"version", 4, 4},
    {"backing name offset", 8, 8},
    {"backing name length", 16, 4},
    {"cluster_bits", 20, 4},
    {"size", 24, 8},
    {"crypt_method", 32, 4},
    {"l1_size", 36, 4},
    {"l1_table_offset", 40, 8},
    {"refcount_table_offset", 48, 8},
    {"refcount_table_clusters", 56, 4},
    {"nb_snapshots", 60, 4},
    {"snapshots_offset", 64, 8},
    {"incompatible features", 72, 8},
    {"compatible features", 80, 8},
    {"autoclear features", 88, 8},
    {"refcount_order", 96, 4},
    {"header_length", 100, 4},
    {"compression type", 104, 1},
    {"first extension", 112, 4},
    {"its length", 116, 4},
};

static const struct place entries[] = {
    {"first L1 entry", L1 *CLUSTER, 8},
    {"second L1 entry", L1 *CLUSTER + 8, 8},
    {"first L2 entry", L2 *CLUSTER, 8},
    {"second L2 entry", L2 *CLUSTER + 8, 8},
    {"last L2 entry", L2 *CLUSTER + CLUSTER - 8, 8},
    {"first refcount table entry", REFTABLE *CLUSTER, 8},
    {"first refcounts", REFBLOCK *CLUSTER, 8},
};

/* A snapshot table of one entry in LIST; its L1 table is LIST_TABLE. */
static const struct place snapshot_fields[] = {
    {"number of snapshots", 60, 4},
    {"snapshot table", 64, 8},
    {"snapshot's L1 table", LIST *CLUSTER, 8},
    {"snapshot's L1 size", LIST *CLUSTER + 8, 4},
    {"length of the id", LIST *CLUSTER + 12, 2},
    {"length of the name", LIST *CLUSTER + 14, 2},
    {"date", LIST *CLUSTER + 16, 4},
    {"nanoseconds", LIST *CLUSTER + 20, 4},
    {"clock", LIST *CLUSTER + 24, 8},
    {"size of the VM state", LIST *CLUSTER + 32, 4},
    {"size of the extra data", LIST *CLUSTER + 36, 4},
    {"long size of the VM state", LIST *CLUSTER + 40, 8},
    {"snapshot's disk size", LIST *CLUSTER + 48, 8},
    {"icount", LIST *CLUSTER + 56, 8},
    {"snapshot's first L1 entry", LIST_TABLE *CLUSTER, 8},
};

/* The bitmap extension and a directory of one entry in LIST; its table is LIST_TABLE. */
static const struct place bitmap_fields[] = {
    {"length of the bitmap extension", 116, 4},
    {"number of bitmaps", 120, 4},
    {"reserved", 124, 4},
    {"size of the bitmap directory", 128, 8},
    {"bitmap directory", 136, 8},
    {"bitmap table", LIST *CLUSTER, 8},
    {"size of the bitmap table", LIST *CLUSTER + 8, 4},
    {"flags of the bitmap", LIST *CLUSTER + 12, 4},
    {"type of the bitmap", LIST *CLUSTER + 16, 1},
    {"granularity", LIST *CLUSTER + 17, 1},
    {"length of the bitmap's name", LIST *CLUSTER + 18, 2},
    {"extra data of the bitmap", LIST *CLUSTER + 20, 4},
    {"first bitmap table entry", LIST_TABLE *CLUSTER, 8},
};

static const uint64_t edges[] = {
    0,
    1,
    2,
    0x7f,
    0xff,
    511,
    CLUSTER - 1,
    CLUSTER *CLUSTERS,
    CLUSTER *CLUSTERS - 1,
    INT32_MAX,
    UINT64_C(1) << 31,
    UINT32_MAX - 1,
    UINT32_MAX,
    UINT64_C(1) << 32,
    UINT64_C(1) << 55,
    UINT64_C(0x00fffffffffff000),
    INT64_MAX,
    UINT64_C(1) << 63,
    UINT64_MAX - CLUSTER + 1,
    UINT64_MAX - 1,
    UINT64_MAX,
};

static const uint64_t pointers[] = {
    COPIED, /* the header */
    COPIED | (REFTABLE * CLUSTER),
    COPIED | (REFBLOCK * CLUSTER),
    COPIED | (L1 * CLUSTER),
    COPIED | (L2 * CLUSTER),
    L2 *CLUSTER,
    L2 *CLUSTER + 512,
    L2 *CLUSTER + 1,
    END *CLUSTER,
    IS_PACKED, /* at the header */
    IS_PACKED | (L2 * CLUSTER),
    IS_PACKED | (END * CLUSTER - 1),
    IS_PACKED | (END * CLUSTER),
    UINT64_C(0x7fffffffffffffff), /* packed, far away, as long as can be said */
    UINT64_C(0x7ffc000000000000) | (PACKED * CLUSTER),
};

static void put(struct image *image, const struct place *place, uint64_t value)
{
    uint8_t *at = image->bytes + place->offset;
    switch (place->width) {
    case 1: *at = (uint8_t)value; break;
    case 2: store_be16(at, (uint16_t)value); break;
    case 4: store_be32(at, (uint32_t)value); break;
    default: store_be64(at, value); break;
    }
}

/* 1 MiB of guest disk: clusters 0..3 hold data, 4 is zero, 5 is packed (one stored deflate block).
 */
static void build(struct image *image)
{
    uint8_t *b = image->bytes;
    memset(image, 0, sizeof(*image));
    image->size = sizeof(image->bytes);
    store_be32(b, 0x514649fb);
    store_be32(b + 4, 3);
    store_be32(b + 20, 12);
    store_be64(b + 24, 1 << 20);
    store_be32(b + 36, 1);
    store_be64(b + 40, L1 * CLUSTER);
    store_be64(b + 48, REFTABLE * CLUSTER);
    store_be32(b + 56, 1);
    store_be32(b + 96, 4);
    store_be32(b + 100, 112);
    store_be64(b + REFTABLE * CLUSTER, REFBLOCK * CLUSTER);
    for (int i = 0; i < CLUSTERS; i++)
        store_be16(b + REFBLOCK * CLUSTER + 2 * i, 1);
    store_be64(b + L1 * CLUSTER, COPIED | (L2 * CLUSTER));
    for (unsigned i = 0; i < 4; i++)
        store_be64(b + L2 * CLUSTER + 8 * i, COPIED | ((DATA + i) * CLUSTER));
    memset(b + DATA * CLUSTER, 'x', 4 * CLUSTER);
    store_be64(b + L2 * CLUSTER + 8 * 4, 1);
    store_be64(b + L2 * CLUSTER + 8 * 5, IS_PACKED | UINT64_C(8) << 58 | (PACKED * CLUSTER));
    b[PACKED * CLUSTER] = 1;
    store_le16(b + PACKED * CLUSTER + 1, CLUSTER);
    store_le16(b + PACKED * CLUSTER + 3, (uint16_t)~CLUSTER);
}

static void add_snapshot(struct image *image)
{
    uint8_t *b = image->bytes, *entry = b + LIST * CLUSTER;
    store_be32(b + 60, 1);
    store_be64(b + 64, LIST * CLUSTER);
    store_be64(entry, LIST_TABLE * CLUSTER);
    store_be32(entry + 8, 1);
    store_be16(entry + 12, 1);
    store_be16(entry + 14, 3);
    store_be32(entry + 36, 24);
    store_be64(entry + 48, 1 << 20);
    memcpy(entry + 64, "1one", 4);
}

static void add_bitmap(struct image *image)
{
    uint8_t *b = image->bytes, *entry = b + LIST * CLUSTER;
    store_be64(b + 88, 1); /* the bitmaps are consistent */
    store_be32(b + 112, 0x23852875);
    store_be32(b + 116, 24);
    store_be32(b + 120, 1);
    store_be64(b + 128, 32);
    store_be64(b + 136, LIST * CLUSTER);
    store_be64(entry, LIST_TABLE * CLUSTER);
    store_be32(entry + 8, 1);
    entry[16] = 1;
    entry[17] = 16;
    store_be16(entry + 18, 3);
    memcpy(entry + 24, "map", 3);
}

static void save(const struct image *image, const char *path)
{
    g_assert_true(g_file_set_contents(path, (const char *)image->bytes, (gssize)image->size, NULL));
}

/* ---- running the tool ---- */

struct outcome {
    int status; /* as of wait(2) */
    long rss_kib;
    char errors[512];
};

static void child(char **argv, int errors)
{
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    struct rlimit space = {1 << 30, 1 << 30};
    setrlimit(RLIMIT_AS, &space);
#endif
    struct rlimit cpu = {2, 2}, core = {0, 0};
    setrlimit(RLIMIT_CPU, &cpu);
    setrlimit(RLIMIT_CORE, &core);
    int null = open("/dev/null", O_RDWR);
    dup2(null, STDIN_FILENO);
    dup2(null, STDOUT_FILENO);
    dup2(errors, STDERR_FILENO);
    execv(argv[0], argv);
    _exit(127);
}

static void read_errors(int fd, struct outcome *outcome)
{
    size_t have = 0;
    char text[4096];
    for (ssize_t n; (n = read(fd, text, sizeof(text))) > 0;) {
        size_t take = MIN((size_t)n, sizeof(outcome->errors) - 1 - have);
        memcpy(outcome->errors + have, text, take);
        have += take;
    }
    outcome->errors[have] = '\0';
}

static void run(char **argv, struct outcome *outcome)
{
    int fds[2];
    struct rusage usage;
    g_assert_cmpint(pipe(fds), ==, 0);
    pid_t pid = fork();
    g_assert_cmpint(pid, >=, 0);
    if (pid == 0)
        child(argv, fds[1]);
    close(fds[1]);
    read_errors(fds[0], outcome);
    close(fds[0]);
    g_assert_cmpint(wait4(pid, &outcome->status, 0, &usage), ==, pid);
    outcome->rss_kib = usage.ru_maxrss;
}

static int lines(const char *text)
{
    int n = 0;
    for (; (text = strchr(text, '\n')); text++)
        n++;
    return n;
}

/* What is wrong with how a command ended, or NULL. */
static const char *complaint(const struct outcome *outcome, const char *command)
{
    int status = outcome->status;
    bool may_be_silent = g_str_has_prefix(command, "compare") && status == 1 << 8;
    if (!WIFEXITED(status))
        return "died of a signal";
    if (WEXITSTATUS(status) > 4 && WEXITSTATUS(status) != 63)
        return "exit status above 4";
    if (status && !outcome->errors[0] && !may_be_silent)
        return "failed without a message";
    int warning = g_str_has_prefix(outcome->errors, "WARNING: Image format") ? 3 : 0;
    if (lines(outcome->errors) > warning + 3 && !g_str_has_prefix(command, "check"))
        return "more than three lines of message";
    if (outcome->rss_kib > RSS_LIMIT_KIB)
        return "too much memory";
    if (status && g_file_test("out", G_FILE_TEST_EXISTS))
        return "failed and left its output";
    return NULL;
}

static void run_command(const char *what, const char *command)
{
    g_auto(GStrv) word = g_strsplit(command, " ", -1);
    char *argv[16] = {(char *)g_getenv("CAIRN_IMG")};
    struct outcome outcome = {0};
    for (int i = 0; word[i]; i++)
        argv[i + 1] = word[i];
    run(argv, &outcome);
    const char *wrong = complaint(&outcome, command);
    g_unlink("out");
    if (!wrong)
        return;
    g_test_message("%s: %s: %s (status %#x, %ld KiB): %s", what, command, wrong, outcome.status,
                   outcome.rss_kib, outcome.errors);
    g_test_fail();
}

static struct {
    const char *command;
    bool changes;
    bool built; /* the program has it */
} commands[] = {
    {"info -f qcow2 hostile.qcow2", false, false},
    {"map -f qcow2 --output=json hostile.qcow2", false, false},
    {"convert -f qcow2 -O qcow2 hostile.qcow2 out", false, false},
    {"convert -f qcow2 -O raw hostile.qcow2 out", false, false},
    {"compare -f qcow2 -F qcow2 hostile.qcow2 good.qcow2", false, false},
    {"measure -f qcow2 -O qcow2 hostile.qcow2", false, false},
    {"check -f qcow2 hostile.qcow2", false, false},
    {"snapshot -l hostile.qcow2", false, false},
    {"check -f qcow2 -r leaks hostile.qcow2", true, false},
    {"check -f qcow2 -r all hostile.qcow2", true, false},
    {"snapshot -c new hostile.qcow2", true, false},
    {"snapshot -a one hostile.qcow2", true, false},
    {"snapshot -d one hostile.qcow2", true, false},
    {"resize -f qcow2 hostile.qcow2 +64k", true, false},
    {"resize -f qcow2 --shrink hostile.qcow2 8k", true, false},
    {"amend -f qcow2 -o compat=0.10 hostile.qcow2", true, false},
    {"amend -f qcow2 -o refcount_bits=64 hostile.qcow2", true, false},
    {"rebase -u -f qcow2 -b good.qcow2 -F qcow2 hostile.qcow2", true, false},
    {"rebase -f qcow2 -b good.qcow2 -F qcow2 hostile.qcow2", true, false},
    {"commit -f qcow2 hostile.qcow2", true, false},
    {"dd -f qcow2 -O raw if=hostile.qcow2 of=out", false, false},
    {"bench -w -c 8 -f qcow2 hostile.qcow2", true, false},
};

static void find_built(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
        g_auto(GStrv) word = g_strsplit(commands[i].command, " ", 2);
        char *argv[] = {(char *)g_getenv("CAIRN_IMG"), word[0], (char *)"--help", NULL};
        struct outcome outcome = {0};
        run(argv, &outcome);
        commands[i].built = outcome.status == 0;
    }
}

/* The suite tries each command on a part of the images, in turn; the long form on all. */
static void run_all(const struct image *image, const char *what)
{
    static unsigned turn;
    turn++;
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
        bool due = g_test_slow() || (turn + i) % (commands[i].changes ? 10 : 2) == 0;
        if (i == 0 || commands[i].changes)
            save(image, "hostile.qcow2");
        if (commands[i].built && due)
            run_command(what, commands[i].command);
    }
}

static void run_metadata(const struct image *image, const char *what)
{
    save(image, "hostile.qcow2");
    run_command(what, "info -f qcow2 hostile.qcow2");
    run_command(what, "map -f qcow2 --output=json hostile.qcow2");
}

/* ---- the cases ---- */

/* Makes the valid image one with snapshots or bitmaps. */
typedef void add_fn(struct image *image);

static void spoil(add_fn *add, const struct place *place, uint64_t value)
{
    static struct image image;
    g_autofree char *what = g_strdup_printf("%s = %#" PRIx64, place->name, value);
    build(&image);
    if (add)
        add(&image);
    put(&image, place, value);
    run_all(&image, what);
}

static void spoil_all(add_fn *add, const struct place *places, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int width = places[i].width;
        uint64_t most = width == 8 ? UINT64_MAX : (UINT64_C(1) << 8 * width) - 1;
        for (size_t k = 0; k < G_N_ELEMENTS(edges); k++)
            if (edges[k] <= most)
                spoil(add, &places[i], edges[k]);
    }
}

static void test_header(void)
{
    spoil_all(NULL, header_fields, G_N_ELEMENTS(header_fields));
}

/* Also where the tables lead to what is something else. */
static void test_snapshots(void)
{
    spoil_all(add_snapshot, snapshot_fields, G_N_ELEMENTS(snapshot_fields));
    for (size_t k = 0; k < G_N_ELEMENTS(pointers); k++) {
        spoil(add_snapshot, &snapshot_fields[2], pointers[k]);
        spoil(add_snapshot, &snapshot_fields[14], pointers[k]);
    }
}

static void test_bitmaps(void)
{
    spoil_all(add_bitmap, bitmap_fields, G_N_ELEMENTS(bitmap_fields));
    for (size_t k = 0; k < G_N_ELEMENTS(pointers); k++) {
        spoil(add_bitmap, &bitmap_fields[4], pointers[k]);
        spoil(add_bitmap, &bitmap_fields[12], pointers[k]);
    }
}

static void test_entries(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(entries); i++) {
        for (size_t k = 0; k < G_N_ELEMENTS(edges); k++)
            spoil(NULL, &entries[i], edges[k]);
        for (size_t k = 0; k < G_N_ELEMENTS(pointers); k++)
            spoil(NULL, &entries[i], pointers[k]);
    }
}

/* Two fields that are used together, at their edges. */
static void spoil_pair(const struct place *a, const struct place *b)
{
    for (size_t i = 0; i < G_N_ELEMENTS(edges); i += 2) {
        for (size_t k = 0; k < G_N_ELEMENTS(edges); k += 2) {
            static struct image image;
            g_autofree char *what = g_strdup_printf("%s = %#" PRIx64 ", %s = %#" PRIx64, a->name,
                                                    edges[i], b->name, edges[k]);
            build(&image);
            put(&image, a, edges[i]);
            put(&image, b, edges[k]);
            run_metadata(&image, what);
        }
    }
}

static void test_pairs(void)
{
    static const int pairs[][2] = {{2, 3}, {4, 5}, {5, 7}, {7, 8}, {9, 10}, {11, 12}, {19, 20}};
    for (size_t i = 0; i < G_N_ELEMENTS(pairs); i++)
        spoil_pair(&header_fields[pairs[i][0]], &header_fields[pairs[i][1]]);
}

static void test_cut_off(void)
{
    static const size_t cuts[] = {0,     1,     4,     71,    72,    103,  104,   111,
                                  112,   511,   512,   4095,  4096,  8192, 12288, 16384,
                                  16388, 20480, 20488, 28672, 36864, 36865};
    for (size_t i = 0; i < G_N_ELEMENTS(cuts); i++) {
        static struct image image;
        g_autofree char *what = g_strdup_printf("cut off after %zu bytes", cuts[i]);
        build(&image);
        image.size = cuts[i];
        run_all(&image, what);
    }
}

/* Every L1 entry points to one L2 table, and every entry of that to the same place. */
static void test_uniform_tables(void)
{
    for (size_t k = 0; k < G_N_ELEMENTS(pointers); k++) {
        static struct image image;
        g_autofree char *what = g_strdup_printf("every L2 entry %#" PRIx64, pointers[k]);
        build(&image);
        store_be64(image.bytes + 24, 512 * CLUSTER * 512);
        store_be32(image.bytes + 36, 512);
        for (int i = 0; i < 512; i++)
            store_be64(image.bytes + L1 * CLUSTER + 8 * i, COPIED | (L2 * CLUSTER));
        for (int i = 0; i < 512; i++)
            store_be64(image.bytes + L2 * CLUSTER + 8 * i, pointers[k]);
        run_metadata(&image, what);
    }
}

static void test_valid(void)
{
    static struct image image;
    struct outcome outcome = {0};
    char *argv[] = {(char *)g_getenv("CAIRN_IMG"), "info", "-f", "qcow2", "good.qcow2", NULL};
    build(&image);
    save(&image, "good.qcow2");
    run(argv, &outcome);
    g_assert_cmpstr(outcome.errors, ==, "");
    g_assert_cmpint(outcome.status, ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_autofree char *folder = g_dir_make_tmp("cairn-hostile-XXXXXX", NULL);
    if (!g_getenv("CAIRN_IMG") || !folder || g_chdir(folder) < 0)
        g_error("CAIRN_IMG is not set, or there is no folder for temporary files");
    find_built();
    g_test_add_func("/hostile/the-image-is-valid", test_valid);
    g_test_add_func("/hostile/header-fields", test_header);
    g_test_add_func("/hostile/table-entries", test_entries);
    g_test_add_func("/hostile/snapshots", test_snapshots);
    g_test_add_func("/hostile/bitmaps", test_bitmaps);
    g_test_add_func("/hostile/pairs-of-fields", test_pairs);
    g_test_add_func("/hostile/cut-off", test_cut_off);
    g_test_add_func("/hostile/uniform-tables", test_uniform_tables);
    int status = g_test_run();
    g_unlink("good.qcow2");
    g_unlink("hostile.qcow2");
    g_assert_cmpint(g_chdir("/"), ==, 0);
    g_rmdir(folder);
    return status;
}
