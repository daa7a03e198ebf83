/*
 * blk-io FORMAT IMAGE COMMAND...: does requests on an image through libblock, for tests that
 * compare with other tools. A command is one argument; numbers take size suffixes:
 *
 *   "write PATTERN OFFSET LENGTH"   "read PATTERN OFFSET LENGTH" (verifies)
 *   "zero OFFSET LENGTH"  "discard OFFSET LENGTH"  "flush"
 *   "hold" (prints "holding" and waits until stdin ends)
 */
#include <glib.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "base/loop.h"
#include "base/size.h"
#include "formats/formats.h"
#include "libblock/libblock.h"

static int64_t number(const char *text)
{
    GError *error = NULL;
    int64_t value = 0;
    if (!text || !size_parse(text, "number", &value, &error))
        g_error("blk-io: %s", error ? error->message : "a number is missing");
    return value;
}

static int verify(struct blk_node *node, int pattern, int64_t offset, int64_t length)
{
    g_autofree uint8_t *buf = g_malloc((gsize)length);
    int r = node_read(node, offset, length, buf);
    for (int64_t i = 0; r == 0 && i < length; i++) {
        if (buf[i] != pattern) {
            fprintf(stderr, "blk-io: byte %" PRId64 " is %#x, not %#x\n", offset + i, buf[i],
                    pattern);
            return -1;
        }
    }
    return r;
}

static int hold(void)
{
    char byte;
    printf("holding\n");
    fflush(stdout);
    while (read(STDIN_FILENO, &byte, 1) > 0)
        ;
    return 0;
}

static int do_command(struct blk_node *node, const char *command)
{
    g_auto(GStrv) word = g_strsplit(command, " ", 5);
    int words = (int)g_strv_length(word);
    bool patterned = g_str_equal(word[0], "write") || g_str_equal(word[0], "read");
    int64_t offset = words > 2 ? number(word[1 + patterned]) : 0;
    int64_t length = words > 2 ? number(word[2 + patterned]) : 0;
    int pattern = patterned ? (int)number(word[1]) : 0;
    if (g_str_equal(word[0], "write")) {
        g_autofree uint8_t *buf = g_malloc((gsize)length);
        memset(buf, pattern, (size_t)length);
        return node_write(node, offset, length, buf, 0);
    }
    if (g_str_equal(word[0], "read"))
        return verify(node, pattern, offset, length);
    if (g_str_equal(word[0], "zero"))
        return node_zero(node, offset, length, 0);
    if (g_str_equal(word[0], "discard"))
        return node_discard(node, offset, length);
    if (g_str_equal(word[0], "flush"))
        return node_flush(node);
    if (g_str_equal(word[0], "hold"))
        return hold();
    g_error("blk-io: no such command: %s", command);
}

static bool is_read_only(char **commands)
{
    for (; *commands; commands++)
        if (!g_str_has_prefix(*commands, "read"))
            return false;
    return true;
}

int main(int argc, char **argv)
{
    GError *error = NULL;
    if (argc < 4)
        g_error("usage: blk-io FORMAT IMAGE COMMAND...");
    struct loop *loop = loop_new(NULL);
    struct blk_graph *graph = graph_new(loop, formats_drivers);
    uint32_t flags = is_read_only(argv + 3) ? 0 : NODE_RDWR;
    struct blk_node *node = node_open(graph, argv[2], argv[1], NULL, flags, &error);
    int r = 0;
    for (int i = 3; node && i < argc && r == 0; i++)
        if ((r = do_command(node, argv[i])) < 0)
            fprintf(stderr, "blk-io: %s: %s\n", argv[i], g_strerror(-r));
    bool ok = node && node_close(node, &error);
    if (!ok)
        fprintf(stderr, "blk-io: %s\n", error->message);
    graph_free(graph);
    loop_free(loop);
    return !ok || r < 0;
}
