/* blk-copy SOURCE FORMAT TARGET: copies a disk image of any format into a new one. */
#include <blk.h>
#include <stdio.h>
#include <string.h>

enum { CHUNK = 1 << 20 };

static int copy(struct blk *from, struct blk *to)
{
    static char buffer[CHUNK];
    struct blk_segment s;
    int ret = 0;
    for (int64_t at = 0; at < blk_size(from) && ret >= 0; at += s.length) {
        ret = blk_map(from, CHUNK, at, &s, 1);
        if (ret > 0 && !s.zero) {
            ret = blk_read(from, buffer, s.length, at);
            ret = ret ? ret : blk_write(to, buffer, s.length, at, 0);
        }
    }
    return ret;
}

int main(int argc, char **argv)
{
    char *error = NULL;
    struct blk *to = NULL, *from = argc == 4 ? blk_open(argv[1], NULL, 0, &error) : NULL;
    if (from && blk_create(argv[3], argv[2], blk_size(from), NULL, &error)) {
        to = blk_open(argv[3], argv[2], BLK_READ_WRITE, &error);
    }
    int ret = to ? copy(from, to) : 0;
    int ok = to && ret >= 0 && blk_close(to, &error) && blk_close(from, &error);
    if (!ok) {
        const char *usage = "usage: blk-copy SOURCE FORMAT TARGET";
        fprintf(stderr, "%s\n", ret < 0 ? strerror(-ret) : error ? error : usage);
        blk_free(error);
    }
    return !ok;
}
