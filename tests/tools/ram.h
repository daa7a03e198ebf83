/*
 * "ram:N": a protocol driver over byte arrays that tests own. It can record
 * what is done to it, in the order in which it took effect, and it can let other
 * coroutines run before each request so that completions come in a seeded,
 * shuffled order.
 */
#ifndef CAIRN_TESTS_RAM_H
#define CAIRN_TESTS_RAM_H

#include <glib.h>
#include <stdint.h>

#include "tests/tools/rng.h"

enum ram_kind {
    RAM_WRITE,       /* `length` bytes of `data` at `offset` */
    RAM_ZERO,        /* also discards */
    RAM_RESIZE,      /* to `length` bytes */
    RAM_FLUSH_BEGIN, /* what was recorded before this ... */
    RAM_FLUSH_END,   /* ... is durable from here on; `offset`: index of its RAM_FLUSH_BEGIN */
    RAM_MARK,        /* nothing: a place in the log that the test has marked */
};

struct ram_op {
    enum ram_kind kind;
    int disk; /* its number */
    int64_t offset, length;
    uint8_t *data; /* owned */
};

struct ram_disk {
    GMutex lock;
    GByteArray *bytes; /* NULL: does not exist */
    GArray *log;       /* struct ram_op, maybe shared with other disks; NULL: not recorded */
    struct rng *shake; /* NULL: no yields; used by one loop only */
};

enum { RAM_DISKS = 8 };
extern struct ram_disk ram_disks[RAM_DISKS];
extern const struct blk_driver ram_driver;

/* The disk ram:N, empty. */
struct ram_disk *ram_reset(int n);

/* Replaces the contents. */
void ram_set(struct ram_disk *disk, const void *bytes, int64_t size);

/* Records what is done to the disk in a new log, or together with another disk in its log. */
void ram_record(struct ram_disk *disk);
void ram_record_with(struct ram_disk *disk, const struct ram_disk *other);
int64_t ram_mark(struct ram_disk *disk); /* the index of the mark */
void ram_forget_log(struct ram_disk *disk);

/* Does one recorded operation to `bytes`; only the first `keep` bytes of a write (-1: all). */
void ram_replay(GByteArray *bytes, const struct ram_op *op, int64_t keep);

/* ram_driver and then every driver of the suite, NULL-terminated; free with g_free(). */
const struct blk_driver **ram_drivers(void);

#endif
