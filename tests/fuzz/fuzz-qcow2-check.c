/* A whole hostile image: checked, repaired, and checked again. What a repair calls clean has no
 * leaks either, and stays clean when it is written to. */
#include "tests/fuzz/fuzz.h"

#include <glib.h>

#include "base/base.h"
#include "base/loop.h"
#include "libblock/libblock.h"
#include "tests/tools/ram.h"

static bool check(struct blk_graph *graph, uint32_t fix, struct blk_check *ret_check)
{
    uint32_t flags = NODE_REPAIR | NODE_NO_BACKING | (fix ? NODE_RDWR : 0);
    struct blk_node *node = node_open(graph, "ram:0", "qcow2", NULL, flags, NULL);
    g_autoptr(GError) error = NULL;
    *ret_check = (struct blk_check){0};
    bool done = node && node_check(node, fix, ret_check, &error);
    g_assert(!node || done == !error);
    node_close(node, NULL);
    return done;
}

static bool is_sound(const struct blk_check *check)
{
    return !check->corruptions && !check->check_errors;
}

/* Writes here and there; some of it may fail, nothing of it may harm. */
static void use(struct blk_graph *graph)
{
    static uint8_t buf[8192];
    struct blk_check found;
    struct blk_node *node =
        node_open(graph, "ram:0", "qcow2", NULL, NODE_RDWR | NODE_NO_BACKING, NULL);
    for (int i = 0; node && i < 8; i++) {
        int64_t size = node_size(node), offset = size / 8 * i;
        int64_t length = MIN((int64_t)sizeof(buf), size - offset);
        if (i % 3 == 2) {
            node_discard(node, offset, length);
        } else {
            node_write(node, offset, length, buf, 0);
        }
    }
    if (node && node_close(node, NULL) && check(graph, 0, &found))
        g_assert(is_sound(&found));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct loop *loop = loop_new(NULL);
    const struct blk_driver **drivers = ram_drivers();
    struct blk_graph *graph = graph_new(loop, drivers);
    graph_set_trust(graph, GRAPH_TRUST_NONE);
    ram_set(ram_reset(0), data, (int64_t)size);
    struct blk_check found, mended, again;
    uint32_t fix = size % 2 ? CHECK_FIX_LEAKS : CHECK_FIX_LEAKS | CHECK_FIX_ERRORS;
    if (check(graph, 0, &found) && check(graph, fix, &mended) && check(graph, 0, &again)) {
        if (is_sound(&again)) {
            g_assert(!again.leaks);
            use(graph);
        }
    }
    graph_free(graph);
    loop_free(loop);
    g_free(drivers);
    return 0;
}
