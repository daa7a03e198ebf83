#include "tests/unit/qcow2-model.h"

#include <glib/gstdio.h>

#include "libblock/driver.h"
#include "qcow2/qcow2.h"
#include "tests/unit/qcow2-jolt.h"

static const struct blk_driver *const drivers[] = {&file_driver, &qcow2_driver, &jolt_driver, NULL};

static void set_text(json_t *options, const char *key, int64_t value)
{
    if (value) {
        g_autofree char *text = g_strdup_printf("%" G_GINT64_FORMAT, value);
        json_object_set_new(options, key, json_string(text));
    }
}

static json_t *create_options(const struct model_shape *shape, const char *backing)
{
    json_t *options = json_object();
    set_text(options, "cluster_size", shape->cluster_size);
    set_text(options, "refcount_bits", shape->refcount_bits);
    json_object_set_new(options, "compat", json_string(shape->v2 ? "0.10" : "1.1"));
    json_object_set_new(options, "compression_type", json_string(shape->zstd ? "zstd" : "zlib"));
    json_object_set_new(options, "lazy_refcounts", json_string(shape->lazy ? "on" : "off"));
    if (shape->preallocation) {
        json_object_set_new(options, "preallocation", json_string(shape->preallocation));
    }
    if (backing) {
        json_object_set_new(options, "backing_file", json_string(backing));
        json_object_set_new(options, "backing_fmt", json_string("qcow2"));
    }
    return options;
}

static void create(struct model *m, const char *path, int64_t size, json_t *options)
{
    GError *error = NULL;
    image_create(m->graph, path, "qcow2", size, options, 0, NULL, &error);
    g_assert_no_error(error);
    json_decref(options);
}

static struct blk_node *open_image(struct model *m, const char *path)
{
    GError *error = NULL;
    json_t *options =
        m->shape.open_options ? json_loads(m->shape.open_options, 0, NULL) : json_object();
    struct blk_node *node = m->jolt
                                ? node_open_over(m->jolt, "qcow2", options, NODE_RDWR, &error)
                                : node_open(m->graph, path, "qcow2", options, NODE_RDWR, &error);
    g_assert_no_error(error);
    json_decref(options);
    return node;
}

/* A backing file with data in about half of its places. */
static void make_backing(struct model *m)
{
    g_autofree char *path = g_build_filename(m->folder, "base.qcow2", NULL);
    int64_t size = m->shape.backing_size, common = MIN(size, m->shape.size);
    create(m, path, size, json_pack("{s:s}", "cluster_size", "4096"));
    struct blk_node *node = open_image(m, path);
    g_autofree uint8_t *bytes = g_malloc0((gsize)size);
    for (int64_t at = 0; at < size; at += 1024) {
        if (g_rand_boolean(m->rand)) {
            memset(bytes + at, g_rand_int_range(m->rand, 1, 256), (size_t)MIN(1024, size - at));
        }
    }
    g_assert_cmpint(node_write(node, 0, size, bytes, 0), ==, 0);
    g_assert_true(node_close(node, NULL));
    memcpy(m->bytes, bytes, (size_t)common);
}

void model_start(struct model *m, const struct model_shape *shape, guint32 seed)
{
    *m = (struct model){.shape = *shape};
    m->rand = g_rand_new_with_seed(seed);
    m->loop = loop_new(NULL);
    m->graph = graph_new(m->loop, drivers);
    bool ram = g_file_test("/dev/shm", G_FILE_TEST_IS_DIR) && !g_getenv("TMPDIR");
    m->folder =
        ram ? g_mkdtemp(g_strdup("/dev/shm/qcow2-XXXXXX")) : g_dir_make_tmp("qcow2-XXXXXX", NULL);
    g_assert_nonnull(m->folder);
    m->path = g_build_filename(m->folder, "test.qcow2", NULL);
    m->bytes = g_malloc0((gsize)shape->size);
    m->unknown = g_malloc0((gsize)shape->size);
    if (shape->backing_size) {
        make_backing(m);
    }
    create(m, m->path, shape->size,
           create_options(shape, shape->backing_size ? "base.qcow2" : NULL));
    m->node = open_image(m, m->path);
}

static void close_image(struct model *m)
{
    GError *error = NULL;
    node_close(m->node, &error);
    g_assert_no_error(error);
    m->node = NULL;
}

void model_stop(struct model *m)
{
    g_autofree char *base = g_build_filename(m->folder, "base.qcow2", NULL);
    if (m->node) {
        close_image(m);
    }
    node_close(m->jolt, NULL);
    graph_free(m->graph);
    loop_free(m->loop);
    g_unlink(m->path);
    g_unlink(base);
    g_rmdir(m->folder);
    g_free(m->folder);
    g_free(m->path);
    g_free(m->bytes);
    g_free(m->unknown);
    g_rand_free(m->rand);
}

void model_close_any(struct model *m)
{
    node_close(m->node, NULL);
    m->node = NULL;
}

void model_open(struct model *m)
{
    m->node = open_image(m, m->path);
}

void model_reopen(struct model *m)
{
    close_image(m);
    model_open(m);
}

void model_jolt(struct model *m)
{
    GError *error = NULL;
    close_image(m);
    struct blk_node *file = node_open(m->graph, m->path, "file", NULL, NODE_RDWR, &error);
    g_assert_no_error(error);
    m->jolt = node_open_over(file, "jolt", NULL, NODE_RDWR, &error);
    g_assert_no_error(error);
    node_close(file, NULL);
    model_open(m);
}

static void compare(struct model *m, int64_t offset, int64_t length)
{
    g_autofree uint8_t *got = g_malloc((gsize)length);
    g_assert_cmpint(node_read(m->node, offset, length, got), ==, 0);
    for (int64_t i = 0; i < length; i++) {
        if (m->unknown[offset + i]) {
            m->unknown[offset + i] = 0;
            m->bytes[offset + i] = got[i];
        }
    }
    if (memcmp(got, m->bytes + offset, (size_t)length)) {
        for (int64_t i = 0; i < length; i++) {
            if (got[i] != m->bytes[offset + i]) {
                g_error("byte %" G_GINT64_FORMAT " is %02x, should be %02x", offset + i, got[i],
                        m->bytes[offset + i]);
            }
        }
    }
}

void model_compare(struct model *m)
{
    compare(m, 0, m->shape.size);
}

static void step_write(struct model *m, int64_t offset, int64_t length)
{
    memset(m->bytes + offset, g_rand_int_range(m->rand, 0, 256), (size_t)length);
    memset(m->unknown + offset, 0, (size_t)length);
    g_assert_cmpint(node_write(m->node, offset, length, m->bytes + offset, 0), ==, 0);
}

static void step_zero(struct model *m, int64_t offset, int64_t length)
{
    memset(m->bytes + offset, 0, (size_t)length);
    memset(m->unknown + offset, 0, (size_t)length);
    uint32_t flags = g_rand_boolean(m->rand) ? REQ_MAY_UNMAP : 0;
    g_assert_cmpint(node_zero(m->node, offset, length, flags), ==, 0);
}

/* Whole clusters of the range read as zero afterwards, or, in version 2 over a backing file, as
 * anything. */
static void step_discard(struct model *m, int64_t offset, int64_t length)
{
    int64_t cluster = m->shape.cluster_size, end = offset + length;
    int64_t from = (offset + cluster - 1) / cluster * cluster;
    int64_t to = end == m->shape.size ? end : end / cluster * cluster;
    if (from < to) {
        bool any = m->shape.v2 && m->shape.backing_size;
        memset(m->bytes + from, 0, (size_t)(to - from));
        memset(m->unknown + from, any, (size_t)(to - from));
    }
    g_assert_cmpint(node_discard(m->node, offset, length), ==, 0);
}

struct packed_write {
    struct model *m;
    int64_t offset, length;
    int result;
};

static void co_packed_write(void *arg)
{
    struct packed_write *w = arg;
    struct iovec slot;
    struct span span = span_of(&slot, w->m->bytes + w->offset, (size_t)w->length);
    w->result = qcow2_co_write_compressed(w->m->node, w->offset, w->length, span);
}

/* Compressed clusters, of bytes that compress well, badly or not at all. */
static void step_packed(struct model *m, int64_t offset, int64_t length)
{
    int64_t cluster = m->shape.cluster_size;
    offset = offset / cluster * cluster;
    length = MIN((length + cluster - 1) / cluster * cluster, m->shape.size - offset);
    int range = 1 << g_rand_int_range(m->rand, 0, 9);
    for (int64_t i = 0; i < length; i++) {
        m->bytes[offset + i] = (uint8_t)g_rand_int_range(m->rand, 0, range);
    }
    memset(m->unknown + offset, 0, (size_t)length);
    struct packed_write w = {m, offset, length, -1};
    loop_call(m->loop, co_packed_write, &w);
    g_assert_cmpint(w.result, ==, 0);
}

void model_step(struct model *m, int64_t max_length)
{
    int64_t grain = g_rand_boolean(m->rand) ? 1 : m->shape.cluster_size;
    int64_t offset = (int64_t)(g_rand_double(m->rand) * (double)m->shape.size);
    int64_t length = 1 + (int64_t)(g_rand_double(m->rand) * (double)max_length);
    offset = offset / grain * grain;
    length = MIN((length + grain - 1) / grain * grain, m->shape.size - offset);
    switch (g_rand_int_range(m->rand, 0, 16)) {
    case 0: g_assert_cmpint(node_flush(m->node), ==, 0); break;
    case 1:
    case 2: step_zero(m, offset, length); break;
    case 3:
    case 4: step_discard(m, offset, length); break;
    case 5: step_packed(m, offset, MIN(length, 8 * m->shape.cluster_size)); break;
    case 6:
    case 7:
    case 8:
    case 9: compare(m, offset, length); break;
    default: step_write(m, offset, length);
    }
}

static int run_peer(const char *const *argv, const char *folder)
{
    g_autofree char *out = NULL, *err = NULL;
    int status = 0;
    GError *error = NULL;
    g_spawn_sync(folder, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, &out, &err, &status,
                 &error);
    g_assert_no_error(error);
    if (status) {
        g_test_message("%s %s: %s%s", argv[0], argv[1], out, err);
    }
    return g_spawn_check_wait_status(status, NULL) ? 0 : WEXITSTATUS(status);
}

/* Exit status 3 of check: only leaks. */
static void check_peer(struct model *m, const char *peer, bool leaks)
{
    const char *check[] = {peer, "check", "-U", "-q", "test.qcow2", NULL};
    int status = run_peer(check, m->folder);
    g_assert_true(status == 0 || (leaks && status == 3));
}

void model_check_peer(struct model *m, bool leaks)
{
    g_autofree char *peer = g_find_program_in_path("qemu-img");
    if (peer) {
        close_image(m);
        check_peer(m, peer, leaks);
        model_open(m);
    }
}

void model_ask_peer(struct model *m)
{
    g_autofree char *peer = g_find_program_in_path("qemu-img");
    if (!peer) {
        return;
    }
    model_compare(m);
    close_image(m);
    g_autofree char *raw = g_build_filename(m->folder, "expected.raw", NULL);
    g_assert_true(g_file_set_contents(raw, (const char *)m->bytes, m->shape.size, NULL));
    const char *same[] = {peer,  "compare", "-U",         "-f",           "qcow2", "-F",
                          "raw", "-q",      "test.qcow2", "expected.raw", NULL};
    check_peer(m, peer, false);
    g_assert_cmpint(run_peer(same, m->folder), ==, 0);
    g_unlink(raw);
    model_open(m);
}
