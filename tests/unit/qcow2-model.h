/*
 * An image and an array of bytes that ought to be equal: random requests go to
 * both, and every read is compared. Images are files in a folder of their own, so
 * that other programs can be asked about them.
 */
#ifndef CAIRN_TESTS_QCOW2_MODEL_H
#define CAIRN_TESTS_QCOW2_MODEL_H

#include <glib.h>

#include "libblock/libblock.h"

/* What image to make. Zero members: the format's defaults. */
struct model_shape {
    int64_t cluster_size, size;
    int refcount_bits;
    bool v2, zstd, lazy;
    int64_t backing_size; /* 0: no backing file */
    const char *preallocation;
    const char *open_options; /* JSON text, or NULL */
};

struct model {
    struct model_shape shape;
    struct loop *loop;
    struct blk_graph *graph;
    struct blk_node *node;
    struct blk_node *jolt; /* the filter below, or NULL: see qcow2-jolt.h */
    char *folder, *path;
    uint8_t *bytes;   /* what the guest should see */
    uint8_t *unknown; /* 1: contents undefined (discarded over a version 2 backing file) */
    GRand *rand;
};

void model_start(struct model *model, const struct model_shape *shape, guint32 seed);
void model_stop(struct model *model); /* removes the folder */
void model_reopen(struct model *model);

/* Closing that may fail, and opening again. */
void model_close_any(struct model *model);
void model_open(struct model *model);

/* Reopens with a jolt filter between image and file. */
void model_jolt(struct model *model);

/* One random request, up to `max_length` bytes; reads are compared. */
void model_step(struct model *model, int64_t max_length);

/* Reads the whole disk and compares. */
void model_compare(struct model *model);

/* Asks Debian's qemu-img whether the image is clean (leaks too), and whether it reads the same.
 * Nothing happens where there is no qemu-img. */
void model_ask_peer(struct model *model);

/* Asks it only whether the image is sound; with `leaks` it may hold clusters that nobody uses. */
void model_check_peer(struct model *model, bool leaks);

#endif
