/*
 * A world is one image under test beside the bytes it should hold. The seed
 * decides everything: format, cluster size, version, refcount width, size,
 * backing chain, what is in it at the start.
 */
#ifndef CAIRN_TESTS_MODEL_WORLD_H
#define CAIRN_TESTS_MODEL_WORLD_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "tests/tools/rng.h"

struct blk_graph;
struct blk_node;
struct loop;

enum world_kind {
    WORLD_RAW_RAM,
    WORLD_RAW_FILE,
    WORLD_RAW_SLICE, /* raw with offset and size */
    WORLD_QCOW2_RAM,
    WORLD_QCOW2_FILE,
    WORLD_KINDS,
};

/* A snapshot inside the image, as the model remembers it. */
struct world_snapshot {
    char *name;
    int64_t size;
    uint8_t *bytes;
};

struct world {
    uint64_t seed;
    struct rng rng;
    struct loop *loop;
    struct blk_graph *graph;
    const struct blk_driver **drivers;
    char *folder; /* for files, owned by the caller */

    enum world_kind kind;
    int cluster_bits, version, refcount_bits, depth; /* qcow2; depth: backing files below */
    bool compressed;                                 /* starts as a compressed copy */
    int64_t align;                                   /* sizes are multiples of it */

    struct blk_node *node;
    int64_t size;
    uint8_t *bytes;       /* what the image reads as */
    uint8_t *beneath;     /* what its backing file reads as there; zeroes without one */
    GPtrArray *snapshots; /* struct world_snapshot */
    int names;            /* of snapshots, so far */
};

/* Chooses a world of `family` and makes its image. Aborts the test on an error. */
enum world_family { FAMILY_PLAIN, FAMILY_CHAIN }; /* alone; over backing files or compressed */
void world_init(struct world *world, enum world_family family, uint64_t seed, const char *folder);
void world_done(struct world *world);

/* "qcow2 over ram, cluster 512, v3, ...", to be freed. */
char *world_describe(const struct world *world);

bool world_is_qcow2(const struct world *world);

/* Closes the image and opens it again. */
void world_reopen(struct world *world, bool writable);

/* The whole image file as it is now, for checkers. */
GBytes *world_image_bytes(struct world *world);

/* Replaces the image file, which is closed. */
void world_set_image_bytes(struct world *world, const char *bytes, gsize size);

/* Gives the model another size; what is new is zero, and covers what the backing file has there. */
void world_resize(struct world *world, int64_t size);

/* Opens the image of layer 0, 1, ... as the world has it. */
struct blk_node *world_open(struct world *world, int layer, uint32_t flags);

/* Ends the run with a message when `error` is set. */
void world_must(struct world *world, bool ok, GError *error, const char *what);

#endif
