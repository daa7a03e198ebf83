/* A whole hostile image: open it, map the first extents, read here and there, look at its info, and
 * if it opens for that, write, zero and discard here and there, take snapshots and resize. */
#include "tests/fuzz/fuzz.h"

#include <glib.h>

#include "base/base.h"
#include "base/loop.h"
#include "libblock/libblock.h"
#include "tests/tools/ram.h"

static void use(struct blk_node *node)
{
    static uint8_t buf[65536];
    struct extent_list list = {.limit = 100};
    struct blk_info info = {0};
    int64_t size = node_size(node);
    node_map(node, 0, size, MAP_CHAIN, &list);
    extents_done(&list);
    for (int i = 0; i < 8; i++) {
        int64_t offset = size / 8 * i;
        node_read(node, offset, MIN((int64_t)sizeof(buf), size - offset), buf);
    }
    if (node_info(node, &info, NULL))
        node_info_clear(&info);
}

/* Whatever the tables say, changes fail or succeed; the header's magic outlives them all. */
static void change(struct blk_node *node)
{
    static uint8_t buf[8192];
    int64_t size = node_size(node);
    for (int i = 0; i < 12; i++) {
        int64_t offset = size / 12 * i, length = MIN((int64_t)sizeof(buf), size - offset);
        switch (i % 4) {
        case 0: node_zero(node, offset, length, REQ_MAY_UNMAP); break;
        case 1: node_discard(node, offset, MIN(INT64_C(1) << 20, size - offset)); break;
        default: node_write(node, offset, length, buf, 0);
        }
        if (i % 5 == 4)
            node_flush(node);
    }
    g_assert_cmpmem(ram_disks[0].bytes->data, 4, "QFI\xfb", 4);
}

/* Snapshots and other sizes: they are made, or an error says why not. */
static void change_whole(struct blk_node *node)
{
    struct blk_snapshot fresh = {.name = (char *)"fresh", .date_ns = 1};
    GArray *list = node_snapshot_list(node, NULL);
    node_snapshot_create(node, &fresh, NULL);
    if (list && list->len) {
        node_snapshot_do(node, SNAPSHOT_APPLY, g_array_index(list, struct blk_snapshot, 0).id,
                         NULL);
        node_snapshot_do(node, SNAPSHOT_DELETE, g_array_index(list, struct blk_snapshot, 0).name,
                         NULL);
    }
    node_resize(node, align_down(node_size(node) / 2, 512), NULL, NULL);
    node_snapshot_do(node, SNAPSHOT_APPLY, "fresh", NULL);
    node_resize(node, MIN(node_size(node), 1 << 20) + 65536, "metadata", NULL);
    if (list)
        g_array_unref(list);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct loop *loop = loop_new(NULL);
    const struct blk_driver **drivers = ram_drivers();
    struct blk_graph *graph = graph_new(loop, drivers);
    graph_set_trust(graph, GRAPH_TRUST_NONE);
    ram_set(ram_reset(0), data, (int64_t)size);
    struct blk_node *node =
        node_open(graph, "ram:0", "qcow2", NULL, size % 2 ? NODE_RDWR : 0, NULL);
    if (node) {
        use(node);
        if (node_is_writable(node)) {
            change(node);
            change_whole(node);
        }
        node_close(node, NULL);
    }
    graph_free(graph);
    loop_free(loop);
    g_free(drivers);
    return 0;
}
