/*
 * Chains of images: trust, resolution, loops, depth, and maps through them.
 * "linked" is a toy format for this: its file holds the name of its backing file
 * in the first bytes, and says with a letter a block what it provides.
 */
#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libblock/driver.h"

enum { BLOCK = 512, BLOCKS = 8, HEAD = 512 };

/* What the images say of their backing files; NULL: after the name. */
static const char *backing_format;

struct linked {
    char backing[HEAD];
    char kinds[BLOCKS + 1]; /* 'd' data, 'z' zero, 'c' compressed, '.' the backing file's */
};

/* File: one block of name, BLOCKS letters in the next, then the data. */
static bool linked_co_open(struct blk_node *node, json_t *rest, GError **error)
{
    struct linked *s = node->state;
    node->size = BLOCKS * BLOCK;
    if (node_co_pread(node->file, 0, HEAD, s->backing) ||
        node_co_pread(node->file, HEAD, BLOCKS, s->kinds)) {
        return error_set(error, EIO, "could not read");
    }
    if (s->backing[0] && !(node->flags & NODE_NO_BACKING)) {
        const char *format = g_str_has_suffix(s->backing, ".raw") ? "file" : "linked";
        format = backing_format ? backing_format : format;
        node->backing = node_co_open_reference(node, s->backing, format, node->flags & ~NODE_RDWR,
                                               "backing file", error);
        return node->backing;
    }
    return true;
}

/* Reads as a format does: from its file, or from below. */
static int linked_co_read(struct blk_node *node, int64_t offset, int64_t length, struct span span)
{
    const struct linked *s = node->state;
    bool below = s->kinds[offset / BLOCK] == '.' && node->backing;
    return below ? node_co_read(node->backing, offset, length, span)
                 : node_co_read(node->file, 2 * HEAD + offset, length, span);
}

static int linked_co_map(struct blk_node *node, int64_t offset, int64_t length, uint32_t flags,
                         struct extent_list *list)
{
    const struct linked *s = node->state;
    int64_t end = offset + length;
    for (int64_t n; offset < end; offset += n) {
        char kind = s->kinds[offset / BLOCK];
        n = MIN(end - offset, BLOCK - offset % BLOCK);
        struct blk_extent e = {.offset = offset, .length = n, .leaf = node->file};
        e.leaf_offset = 2 * HEAD + offset;
        if (kind == 'd') {
            e.flags = EXTENT_DATA | EXTENT_ALLOCATED | EXTENT_OFFSET;
        } else if (kind == 'z') {
            e.flags = EXTENT_ZERO | EXTENT_ALLOCATED;
        } else if (kind == 'c') {
            e.flags = EXTENT_DATA | EXTENT_ALLOCATED | EXTENT_OFFSET | EXTENT_COMPRESSED;
            e.packed_length = INT32_MAX;
        }
        if (!extents_add(list, &e)) {
            break;
        }
    }
    return 0;
}

static const struct blk_driver linked_driver = {
    .name = "linked",
    .flags = DRIVER_FORMAT | DRIVER_BACKING,
    .state_size = sizeof(struct linked),
    .co_open = linked_co_open,
    .co_read = linked_co_read,
    .co_map = linked_co_map,
};

static const struct blk_driver *const drivers[] = {
    &file_driver, &host_device_driver, &null_co_driver, &blklog_driver, &linked_driver, NULL};

struct bench {
    struct loop *loop;
    struct blk_graph *graph;
    char *dir;
};

static void bench_init(struct bench *b, gconstpointer data)
{
    b->loop = loop_new(NULL);
    b->graph = graph_new(b->loop, drivers);
    b->dir = g_dir_make_tmp("chain-XXXXXX", NULL);
}

static void bench_done(struct bench *b, gconstpointer data)
{
    const char *name;
    graph_free(b->graph);
    loop_free(b->loop);
    GDir *dir = g_dir_open(b->dir, 0, NULL);
    while ((name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(b->dir, name, NULL);
        g_unlink(path);
    }
    g_dir_close(dir);
    g_assert_cmpint(g_rmdir(b->dir), ==, 0);
    g_free(b->dir);
}

/* Writes an image called `name`; its data is the first letter of the name. */
static void make(struct bench *b, const char *name, const char *backing, const char *kinds)
{
    char bytes[2 * HEAD + BLOCKS * BLOCK] = {0};
    g_autofree char *path = g_build_filename(b->dir, name, NULL);
    g_strlcpy(bytes, backing, HEAD);
    memcpy(bytes + HEAD, kinds, strlen(kinds));
    memset(bytes + 2 * HEAD, name[0], BLOCKS * BLOCK);
    g_assert_true(g_file_set_contents(path, bytes, sizeof(bytes), NULL));
}

static struct blk_node *try_open(struct bench *b, const char *name, GError **error)
{
    g_autofree char *path = g_build_filename(b->dir, name, NULL);
    return node_open(b->graph, path, "linked", NULL, 0, error);
}

static void assert_refused(struct bench *b, const char *name, const char *text)
{
    g_autoptr(GError) error = NULL;
    struct blk_node *node = try_open(b, name, &error);
    g_assert_null(node);
    g_assert_nonnull(strstr(error->message, text));
}

static void test_follows_paths(struct bench *b, gconstpointer data)
{
    make(b, "base", "", "dddddddd");
    make(b, "top", "base", "........");
    make(b, "file-top", "file:base", "........");
    struct blk_node *node = try_open(b, "top", NULL);
    g_assert_nonnull(node);
    g_autofree char *want = g_build_filename(b->dir, "base", NULL);
    g_assert_cmpstr(node_filename(node_backing(node)), ==, want);
    node_close(node, NULL);
    graph_set_trust(b->graph, GRAPH_TRUST_NONE);
    assert_refused(b, "top", "base");
    node = try_open(b, "base", NULL);
    g_assert_nonnull(node);
    node_close(node, NULL);
}

static void test_refuses_what_is_no_path(struct bench *b, gconstpointer data)
{
    make(b, "a", "json:{\"driver\":\"null-co\"}", "........");
    make(b, "b", "null-co://x.raw", "........");
    make(b, "c", "/dev/zero", "........");
    make(b, "d", "host_device:/dev/vda", "........");
    g_autofree char *fifo = g_build_filename(b->dir, "fifo", NULL);
    g_assert_cmpint(mkfifo(fifo, 0600), ==, 0);
    make(b, "e", "fifo", "........");
    static const char *const names[] = {"a", "b", "c", "d", "e"};
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        assert_refused(b, names[i], "--allow-ref=all");
    }
}

/* The kernel tells of every open that is more than holding a name. */
static void test_does_not_open_a_fifo(struct bench *b, gconstpointer data)
{
    g_autofree char *fifo = g_build_filename(b->dir, "fifo", NULL);
    g_assert_cmpint(mkfifo(fifo, 0600), ==, 0);
    make(b, "a", "fifo", "........");
    int watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    g_assert_cmpint(inotify_add_watch(watch, fifo, IN_OPEN), >=, 0);
    assert_refused(b, "a", "no regular file");
    char event[4096];
    g_assert_cmpint(read(watch, event, sizeof(event)), ==, -1);
    graph_set_trust(b->graph, GRAPH_TRUST_ALL);
    assert_refused(b, "a", "neither a regular file nor a disk");
    g_assert_cmpint(read(watch, event, sizeof(event)), >, 0);
    close(watch);
}

static void test_regular_files_only(struct bench *b, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = g_build_filename(b->dir, "a", NULL);
    make(b, "a", "", "dddddddd");
    struct blk_node *node = node_open(b->graph, "/dev/zero", "file", NULL, NODE_REGULAR, &error);
    g_assert_null(node);
    g_assert_nonnull(strstr(error->message, "no regular file"));
    node = node_open(b->graph, path, "file", NULL, NODE_REGULAR | NODE_RDWR, NULL);
    g_assert_nonnull(node);
    g_assert_cmpint(node_write(node, 0, 1, "x", 0), ==, 0);
    node_close(node, NULL);
}

static void test_refuses_strange_formats(struct bench *b, gconstpointer data)
{
    make(b, "plain", "", "dddddddd");
    make(b, "a", "plain", "........");
    static const char *const formats[] = {"null-co", "blklog", "host_device"};
    for (size_t i = 0; i < G_N_ELEMENTS(formats); i++) {
        backing_format = formats[i];
        assert_refused(b, "a", formats[i]);
        assert_refused(b, "a", "--allow-ref=all");
    }
    backing_format = NULL;
}

static void test_follows_all_when_told(struct bench *b, gconstpointer data)
{
    make(b, "a", "json:{\"driver\":\"linked\",\"file\":{\"driver\":\"null-co\"}}", "........");
    assert_refused(b, "a", "--allow-ref=all");
    graph_set_trust(b->graph, GRAPH_TRUST_ALL);
    struct blk_node *node = try_open(b, "a", NULL);
    g_assert_nonnull(node);
    node_close(node, NULL);
}

static void test_loops(struct bench *b, gconstpointer data)
{
    make(b, "self", "self", "........");
    make(b, "x", "y", "........");
    make(b, "y", "./z", "........");
    make(b, "z", "x", "........");
    assert_refused(b, "self", "leads back");
    assert_refused(b, "x", "leads back");
    g_autofree char *hard = g_build_filename(b->dir, "hard", NULL);
    g_autofree char *p = g_build_filename(b->dir, "p", NULL);
    make(b, "p", "hard", "........");
    g_assert_cmpint(link(p, hard), ==, 0);
    assert_refused(b, "p", "leads back");
}

static void test_depth(struct bench *b, gconstpointer data)
{
    for (int i = 0; i < 210; i++) {
        g_autofree char *name = g_strdup_printf("n%d", i);
        g_autofree char *next = g_strdup_printf("n%d", i + 1);
        make(b, name, i < 209 ? next : "", i < 209 ? "........" : "dddddddd");
    }
    struct extent_list list = {0};
    char buf[BLOCK];
    struct blk_node *node = try_open(b, "n9", NULL);
    g_assert_nonnull(node);
    g_assert_cmpint(node_map(node, 0, INT64_MAX, MAP_CHAIN | MAP_LEAF, &list), ==, 0);
    g_assert_cmpint(list.items[0].depth, ==, 200);
    extents_done(&list);
    g_assert_cmpint(node_read(node, BLOCK, BLOCK, buf), ==, 0);
    g_assert_cmpint(buf[7], ==, 'n');
    node_close(node, NULL);
    assert_refused(b, "n8", "deeper than 200");
}

static void test_missing(struct bench *b, gconstpointer data)
{
    make(b, "top", "nowhere", "........");
    assert_refused(b, "top", "nowhere");
    assert_refused(b, "top", "backing file of");
}

/* Each extent as text: kind, blocks, depth. */
static char *map_text(struct blk_node *node, uint32_t flags)
{
    struct extent_list list = {0};
    GString *text = g_string_new(NULL);
    g_assert_cmpint(node_map(node, 0, INT64_MAX, flags, &list), ==, 0);
    int64_t at = 0;
    for (int i = 0; i < list.count; i++) {
        const struct blk_extent *e = &list.items[i];
        g_assert_cmpint(e->offset, ==, at);
        at += e->length;
        g_string_append_printf(text, "%s%s%s%" PRId64 "@%d ", e->flags & EXTENT_DATA ? "D" : "",
                               e->flags & EXTENT_ZERO ? "Z" : "",
                               e->flags & EXTENT_ALLOCATED ? "" : "-", e->length / BLOCK, e->depth);
    }
    g_assert_cmpint(at, ==, node_size(node));
    extents_done(&list);
    return g_string_free(text, FALSE);
}

static void test_map_chain(struct bench *b, gconstpointer data)
{
    make(b, "base", "", "dz..dd..");
    make(b, "top", "base", "..dd..zd");
    struct blk_node *node = try_open(b, "top", NULL);
    g_autofree char *own = map_text(node, 0);
    g_assert_cmpstr(own, ==, "-2@0 D2@0 -2@0 Z1@0 D1@0 ");
    g_autofree char *chain = map_text(node, MAP_CHAIN);
    g_assert_cmpstr(chain, ==, "D1@1 Z1@1 D2@0 D2@1 Z1@0 D1@0 ");
    g_autofree char *base = map_text(node_backing(node), MAP_CHAIN);
    g_assert_cmpstr(base, ==, "D1@0 Z1@0 Z-2@0 D2@0 Z-2@0 ");
    node_close(node, NULL);
}

static void test_map_leaves(struct bench *b, gconstpointer data)
{
    struct extent_list list = {0};
    make(b, "base", "", "dddddddd");
    make(b, "top", "base", "d......c");
    struct blk_node *node = try_open(b, "top", NULL);
    g_assert_cmpint(node_map(node, 0, INT64_MAX, MAP_CHAIN | MAP_LEAF, &list), ==, 0);
    g_assert_cmpint(list.count, ==, 3);
    g_assert_true(list.items[0].leaf == node_file(node));
    g_assert_true(list.items[1].leaf == node_file(node_backing(node)));
    g_assert_cmpint(list.items[1].leaf_offset, ==, 2 * HEAD + BLOCK);
    g_assert_true(list.items[2].flags & EXTENT_COMPRESSED);
    g_assert_cmpint(list.items[2].packed_length, ==, BLOCK); /* clipped at the end of the file */
    extents_done(&list);
    node_close(node, NULL);
}

/* Data that lies in a hole of the file, or past its end, is zero. */
static void test_map_holes(struct bench *b, gconstpointer data)
{
    make(b, "top", "", "dddddddd");
    g_autofree char *path = g_build_filename(b->dir, "top", NULL);
    g_assert_cmpint(truncate(path, 2 * HEAD + 2 * BLOCK), ==, 0);
    struct blk_node *node = try_open(b, "top", NULL);
    g_autofree char *plain = map_text(node, MAP_CHAIN);
    g_assert_cmpstr(plain, ==, "D8@0 ");
    g_autofree char *holes = map_text(node, MAP_CHAIN | MAP_HOLES);
    g_assert_cmpstr(holes, ==, "D2@0 Z6@0 ");
    node_close(node, NULL);
}

static void test_map_short_backing(struct bench *b, gconstpointer data)
{
    g_autofree char *raw = g_build_filename(b->dir, "base.raw", NULL);
    make(b, "base.raw", "", "");
    make(b, "top", "base.raw", "z.......");
    g_assert_cmpint(truncate(raw, 3 * BLOCK), ==, 0);
    struct blk_node *node = try_open(b, "top", NULL);
    g_autofree char *chain = map_text(node, MAP_CHAIN);
    g_assert_cmpstr(chain, ==, "Z1@0 D2@1 Z-5@0 ");
    node_close(node, NULL);
}

static void test_map_limit(struct bench *b, gconstpointer data)
{
    struct extent_list list = {.limit = 3};
    make(b, "base", "", "dzdzdzdz");
    make(b, "top", "base", "........");
    struct blk_node *node = try_open(b, "top", NULL);
    g_assert_cmpint(node_map(node, BLOCK / 2, INT64_MAX, MAP_CHAIN | MAP_LEAF, &list), ==, 0);
    g_assert_cmpint(list.count, ==, 3);
    g_assert_cmpint(list.items[0].offset, ==, BLOCK / 2);
    g_assert_cmpint(list.items[0].length, ==, BLOCK / 2);
    g_assert_cmpint(list.items[2].offset, ==, 2 * BLOCK);
    extents_clear(&list);
    g_assert_cmpint(node_map(node, BLOCKS * BLOCK, 1, 0, &list), ==, 0);
    g_assert_cmpint(list.count, ==, 0);
    g_assert_cmpint(node_map(node, -1, 1, 0, &list), ==, -EINVAL);
    extents_done(&list);
    node_close(node, NULL);
}

static void test_merging(void)
{
    struct extent_list list = {.limit = 2};
    struct blk_extent a = {.offset = 0, .length = 10, .flags = EXTENT_ZERO};
    struct blk_extent b = {.offset = 10, .length = 5, .flags = EXTENT_ZERO};
    struct blk_extent c = {.offset = 15, .length = 5, .flags = EXTENT_ZERO, .depth = 1};
    struct blk_extent d = {.offset = 20, .length = 5, .flags = EXTENT_DATA | EXTENT_OFFSET};
    g_assert_true(extents_add(&list, &a) && extents_add(&list, &b));
    g_assert_cmpint(list.count, ==, 1);
    g_assert_cmpint(list.items[0].length, ==, 15);
    g_assert_true(extents_add(&list, &c));
    g_assert_cmpint(list.count, ==, 2);
    g_assert_false(extents_add(&list, &d));
    extents_clear(&list);
    g_assert_true(extents_add(&list, &d));
    d.offset = 25;
    d.leaf_offset = 6; /* does not continue where the first one ends in the leaf */
    g_assert_true(extents_add(&list, &d));
    g_assert_cmpint(list.count, ==, 2);
    extents_done(&list);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name, fn) g_test_add(name, struct bench, NULL, bench_init, fn, bench_done)
    ADD("/chain/follows-paths", test_follows_paths);
    ADD("/chain/refuses-what-is-no-path", test_refuses_what_is_no_path);
    ADD("/chain/does-not-open-a-fifo", test_does_not_open_a_fifo);
    ADD("/chain/regular-files-only", test_regular_files_only);
    ADD("/chain/refuses-strange-formats", test_refuses_strange_formats);
    ADD("/chain/follows-all-when-told", test_follows_all_when_told);
    ADD("/chain/loops", test_loops);
    ADD("/chain/depth", test_depth);
    ADD("/chain/missing", test_missing);
    ADD("/map/chain", test_map_chain);
    ADD("/map/leaves", test_map_leaves);
    ADD("/map/holes", test_map_holes);
    ADD("/map/short-backing", test_map_short_backing);
    ADD("/map/limit", test_map_limit);
#undef ADD
    g_test_add_func("/map/merging", test_merging);
    return g_test_run();
}
