#include "tests/crash/peer.h"

#include <glib/gstdio.h>
#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "tests/tools/ram.h"

enum { AT_ONCE = 32 };

struct peer {
    char *folder; /* NULL: there is no qemu-img */
    int waiting;
    int64_t count;
    uint64_t seeds[AT_ONCE];
};

static const char script[] =
    "for i in \"$1\"/*.qcow2; do\n"
    "  n=${i%.qcow2}\n"
    "  if [ -e \"$n.dirty\" ]; then qemu-img check -q -r all -f qcow2 \"$i\"; else\n"
    "    qemu-img check -q -f qcow2 \"$i\"; fi >\"$n.out\" 2>&1\n"
    "  case $? in 0|3) ;; *) echo \"$i: check\"; cat \"$n.out\"; exit 1;; esac\n"
    "  qemu-img compare -q -f qcow2 -F raw \"$i\" \"$n.raw\" 2>&1 || "
    "{ echo \"$i: compare\"; exit 1; }\n"
    "done";

struct peer *peer_new(void)
{
    struct peer *peer = g_new0(struct peer, 1);
    g_autofree char *program = g_find_program_in_path("qemu-img");
    if (program)
        peer->folder = g_dir_make_tmp("cairn-crash-XXXXXX", NULL);
    return peer;
}

static void store(const struct peer *peer, const char *name, const void *bytes, int64_t size)
{
    g_autofree char *path = g_build_filename(peer->folder, name, NULL);
    g_autoptr(GError) error = NULL;
    if (!g_file_set_contents_full(path, bytes, (gssize)size, G_FILE_SET_CONTENTS_NONE, 0600,
                                  &error))
        g_error("%s", error->message);
}

/* The image's name for its backing disk, "ram:N", becomes that of a file, "NN.bk", which is made.
 */
static void store_backing(const struct peer *peer, uint8_t *image, int number)
{
    uint8_t *name = image + load_be64(image + 8);
    char file[8];
    if (name == image)
        return;
    g_assert_cmpint(load_be32(image + 16), ==, 5);
    const GByteArray *backing = ram_disks[name[4] - '0'].bytes;
    g_snprintf(file, sizeof(file), "%02d.bk", number);
    store(peer, file, backing->data, backing->len);
    memcpy(name, file, 5);
}

void peer_add(struct peer *peer, uint64_t seed, bool dirty, const uint8_t *contents, int64_t size)
{
    const GByteArray *top = ram_disks[0].bytes;
    int n = peer->waiting;
    char name[16];
    if (!peer->folder)
        return;
    g_autofree uint8_t *image = g_memdup2(top->data, top->len);
    store_backing(peer, image, n);
    g_snprintf(name, sizeof(name), "%02d.qcow2", n);
    store(peer, name, image, top->len);
    g_snprintf(name, sizeof(name), "%02d.raw", n);
    store(peer, name, contents, size);
    g_snprintf(name, sizeof(name), "%02d.dirty", n);
    if (dirty)
        store(peer, name, "", 0);
    peer->seeds[peer->waiting++] = seed;
    if (peer->waiting == AT_ONCE)
        peer_ask(peer);
}

static void empty_folder(const char *folder)
{
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    for (const char *name; dir && (name = g_dir_read_name(dir));) {
        g_autofree char *path = g_build_filename(folder, name, NULL);
        g_unlink(path);
    }
}

void peer_ask(struct peer *peer)
{
    g_autofree char *output = NULL;
    int status = 0;
    const char *argv[] = {"sh", "-c", script, "sh", peer->folder, NULL};
    if (!peer->waiting)
        return;
    if (!g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, &output, NULL,
                      &status, NULL))
        g_error("cannot start a shell");
    if (status) {
        const char *file = strstr(output, ".qcow2: ");
        int n = file ? (int)g_ascii_strtoll(file - 2, NULL, 10) : 0;
        g_error("qemu-img disagrees, SEED=%" PRIu64 " COUNT=1: %s", peer->seeds[n], output);
    }
    peer->count += peer->waiting;
    peer->waiting = 0;
    empty_folder(peer->folder);
}

int64_t peer_count(const struct peer *peer)
{
    return peer->count;
}

void peer_free(struct peer *peer)
{
    if (peer->folder) {
        empty_folder(peer->folder);
        g_rmdir(peer->folder);
    }
    g_free(peer->folder);
    g_free(peer);
}
