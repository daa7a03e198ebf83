/*
 * libblock: nodes, the requests that run through them, and jobs over them.
 *
 * A graph is a set of nodes on one loop. A node is one driver's view of bytes:
 * a file, a qcow2 image over that file, a filter over either. Requests are
 * coroutine functions (`_co_`); a program outside coroutines uses the
 * synchronous twins (run the loop until done) or node_submit().
 *
 * Offsets and lengths are bytes. Data-path calls return 0 or -errno and are all
 * or nothing. Control calls return bool or a pointer and set a GError.
 */
#ifndef CAIRN_LIBBLOCK_H
#define CAIRN_LIBBLOCK_H

#include <glib.h>
#include <jansson.h>
#include <stdbool.h>
#include <inttypes.h>

#include "base/base.h"
#include "codec/codec.h"

struct blk_driver;
struct blk_graph;
struct blk_node;
struct job;

/* ---- graph ---- */

/* Whom a graph follows when an image names another file (backing file, data file, extent). */
enum graph_trust {
    GRAPH_TRUST_PATHS, /* plain local paths only */
    GRAPH_TRUST_NONE,  /* nothing: --untrusted */
    GRAPH_TRUST_ALL,   /* json:, URLs and devices too: the caller's explicit leave */
};

/* A graph on `loop`. `drivers` is NULL-terminated and const for the graph's life. */
struct blk_graph *graph_new(struct loop *loop, const struct blk_driver *const *drivers);
void graph_free(struct blk_graph *graph); /* every node must be closed */
struct loop *graph_loop(struct blk_graph *graph);
void graph_set_trust(struct blk_graph *graph, enum graph_trust trust);
enum graph_trust graph_trust(const struct blk_graph *graph);
const struct blk_driver *graph_find_driver(struct blk_graph *graph, const char *name);
const struct blk_driver *const *graph_drivers(struct blk_graph *graph);

/* "; did you mean 'NAME'?" for the driver whose name is nearest, or "". Free with g_free(). */
char *graph_driver_hint(struct blk_graph *graph, const char *name);

/* What drivers tell beside error numbers: one line of text, without its end. */
enum report_kind {
    REPORT_NOTE,    /* that something happened which was asked for */
    REPORT_TROUBLE, /* why the error number will be what it is */
};

/* `fn` is called in the graph's loop; NULL: nobody listens. */
void graph_set_report(struct blk_graph *graph,
                      void (*fn)(enum report_kind kind, const char *text, void *user), void *user);

/* Adds a group that nodes of the driver throttle name. `limits`: "limits.bps-total" or
 * "x-bps-total" and the like, flat or as a tree. */
bool graph_add_throttle_group(struct blk_graph *graph, const char *name, json_t *limits,
                              GError **error);

/* ---- nodes ---- */

enum node_flags {
    NODE_RDWR = 1 << 0,
    NODE_NO_BACKING = 1 << 1,   /* do not open backing files; unallocated ranges read as zero */
    NODE_FORCE_SHARE = 1 << 2,  /* read although another process holds the image; read-only opens */
    NODE_NO_FLUSH = 1 << 3,     /* cache mode unsafe: flushes are accepted and not done */
    NODE_WRITETHROUGH = 1 << 4, /* every write carries FUA */
    NODE_DIRECT = 1 << 5,       /* bypass the host page cache */
    NODE_REPAIR = 1 << 6,       /* for node_check() only: although dirty or corrupt; no I/O */
    NODE_NO_IO = 1 << 7,        /* metadata only (info): formats do not read or lock data */
    NODE_NO_LOCK = 1 << 8,      /* take no file locks (private temporary outputs) */
    NODE_SERVER = 1 << 9,       /* one slow request must not stall others */
    NODE_UNSHARED =
        1 << 10, /* nobody else may write or resize meanwhile; libblock sets it below formats */
    NODE_REGULAR = 1 << 11, /* regular files only: a device is refused without being opened */
};

/* Cache mode words of qemu-img -t/-T ("none", "writeback", "writethrough", "directsync", "unsafe")
 * to flags. */
bool node_parse_cache(const char *mode, uint32_t *flags, GError **error);

/* Opens `name`: a path, "PROTOCOL:rest", a URI, or "json:{...}". `driver` is the format's name;
 * NULL probes it. `options` (borrowed, may be NULL) are further driver options as a tree. A name of
 * NULL takes all from the options. Probing never happens for a raw image that is to be written
 * without telling: see node_was_probed(). */
struct blk_node *node_open(struct blk_graph *graph, const char *name, const char *driver,
                           json_t *options, uint32_t flags, GError **error);
struct blk_node *node_co_open(struct blk_graph *graph, const char *name, const char *driver,
                              json_t *options, uint32_t flags, GError **error);

/* Opens `driver` over an open node, of which it takes a reference. */
struct blk_node *node_open_over(struct blk_node *file, const char *driver, json_t *options,
                                uint32_t flags, GError **error);
struct blk_node *node_co_open_over(struct blk_node *file, const char *driver, json_t *options,
                                   uint32_t flags, GError **error);

/* Changes how an open node and the files below it are accessed: NODE_RDWR, NODE_UNSHARED and
 * NODE_FORCE_SHARE of `flags` count, and locks follow them. Its backing file stays as it is. On
 * failure nothing has changed. */
bool node_co_reopen(struct blk_node *node, uint32_t flags, GError **error);
bool node_reopen(struct blk_node *node, uint32_t flags, GError **error);

/* `name` (from inside an image at `base`) resolved against the folder of `base`. */
char *name_resolve(const char *base, const char *name);

struct blk_node *node_ref(struct blk_node *node);

/* Drops a reference; the last one flushes and closes the node and its children. False when anything
 * that was written may not be on the disk; the node is gone all the same. NULL is accepted. */
bool node_close(struct blk_node *node, GError **error);
bool node_co_close(struct blk_node *node, GError **error);

int64_t node_size(const struct blk_node *node);            /* bytes */
const char *node_driver_name(const struct blk_node *node); /* "qcow2" */
const char *node_filename(
    const struct blk_node *node); /* as people may type it again; "json:{...}" if need be */
bool node_is_writable(const struct blk_node *node);
bool node_was_probed(const struct blk_node *node); /* the format was guessed, not told */

/* Whether the image whose format was guessed may as well be the raw disk of a guest that has
 * written another format's signature into it: what in its first sectors says so, in words for a
 * message; NULL: nothing, or the format was told. Ask before changing an image as a whole. */
const char *node_doubt(struct blk_node *node);
const char *node_co_doubt(struct blk_node *node);

struct blk_node *node_file(const struct blk_node *node);    /* the primary child, or NULL */
struct blk_node *node_backing(const struct blk_node *node); /* the backing child, or NULL */
struct blk_graph *node_graph(const struct blk_node *node);

/* Limits of requests, in bytes. Alignments are powers of two, at least 1. */
struct blk_limits {
    int64_t request_align;         /* what the driver takes; libblock widens narrower requests */
    int64_t memory_align;          /* address of buffers; libblock bounces others */
    int64_t max_transfer;          /* read and write; libblock splits longer ones; 0: none */
    int64_t max_zero, max_discard; /* 0: none */
    int64_t zero_align, discard_align; /* below this the driver would write zeroes or do nothing */
    int64_t opt_transfer;              /* best multiple of reads and writes; 0: unknown */
};
const struct blk_limits *node_limits(const struct blk_node *node);

/* What `info` tells. Strings and JSON are owned; node_info_clear() frees them. */
struct blk_info {
    int64_t virtual_size, actual_size; /* actual: bytes that the host file occupies, -1 unknown */
    int64_t cluster_size;              /* 0: not applicable */
    int64_t vm_state_offset; /* guest offset past which a machine's state is kept; 0: nowhere */
    bool dirty, encrypted, compressed;
    char *backing_filename;      /* as written in the image */
    char *full_backing_filename; /* resolved */
    char *backing_format;
    json_t *snapshots; /* array or NULL */
    json_t *specific;  /* {"type": DRIVER, "data": {...}} or NULL */
};
bool node_info(struct blk_node *node, struct blk_info *ret_info, GError **error);
bool node_co_info(struct blk_node *node, struct blk_info *ret_info, GError **error);
void node_info_clear(struct blk_info *info);

/* Whether the file below an image is mostly holes where the image has clusters: then it was
 * preallocated, and the holes say what reads as zero. Elsewhere they are details of the host. */
bool node_is_preallocated(struct blk_node *node);
bool node_co_is_preallocated(struct blk_node *node);

/* ---- requests ---- */

enum req_flags {
    REQ_FUA = 1 << 0,         /* durable when the call returns */
    REQ_MAY_UNMAP = 1 << 1,   /* zeroing may give the space back */
    REQ_NO_FALLBACK = 1 << 2, /* zeroing: -ENOTSUP rather than writing zero bytes */
};

int node_co_read(struct blk_node *node, int64_t offset, int64_t length, struct span span);
int node_co_write(struct blk_node *node, int64_t offset, int64_t length, struct span span,
                  uint32_t flags);
/* As a write of whole clusters (see blk_info.cluster_size; the last one may be cut by the node's
 * end) that the format compresses. -ENOTSUP when it cannot. */
int node_co_write_compressed(struct blk_node *node, int64_t offset, int64_t length,
                             struct span span);
int node_co_zero(struct blk_node *node, int64_t offset, int64_t length, uint32_t flags);
int node_co_discard(struct blk_node *node, int64_t offset,
                    int64_t length);      /* a hint; contents undefined after */
int node_co_flush(struct blk_node *node); /* a failure is remembered: later flushes fail too */
bool node_co_resize(struct blk_node *node, int64_t size, const char *preallocation, GError **error);

/* Copies within the kernel from `src` to `dst`: all, or -ENOTSUP when the two cannot, or -errno. */
int node_co_copy_range(struct blk_node *src, int64_t src_offset, struct blk_node *dst,
                       int64_t dst_offset, int64_t length);

int node_read(struct blk_node *node, int64_t offset, int64_t length, void *buf);
int node_write(struct blk_node *node, int64_t offset, int64_t length, const void *buf,
               uint32_t flags);
int node_zero(struct blk_node *node, int64_t offset, int64_t length, uint32_t flags);
int node_discard(struct blk_node *node, int64_t offset, int64_t length);
int node_flush(struct blk_node *node);
bool node_resize(struct blk_node *node, int64_t size, const char *preallocation, GError **error);

/* Begins a section in which no request is in flight and new ones wait; nests. */
void node_co_drain_begin(struct blk_node *node);
void node_drain_end(struct blk_node *node);

/* Asynchronous requests for callers outside coroutines; `done` runs in the loop's thread. */
enum req_kind { REQ_READ, REQ_WRITE, REQ_ZERO, REQ_DISCARD, REQ_FLUSH };
struct blk_request {
    enum req_kind kind;
    uint32_t flags;
    int64_t offset, length;
    const struct iovec *iov; /* read, write: `length` bytes; borrowed until done */
    void (*done)(struct blk_request *request, int result);
    void *user;
};
void node_submit(struct blk_node *node, struct blk_request *request);

/* ---- events, where a blkdebug filter listens ---- */

/* The next request below `node` that comes to `event` ("write_aio") waits there under `tag`, until
 * node_debug_resume(). Removing a breakpoint (`tag` NULL: all) also lets go of who waits
 * at it; before a node is closed nobody may wait. */
bool node_debug_break(struct blk_node *node, const char *event, const char *tag, GError **error);
bool node_debug_resume(struct blk_node *node, const char *tag, GError **error);
bool node_debug_remove_break(struct blk_node *node, const char *tag, GError **error);
bool node_debug_is_suspended(struct blk_node *node, const char *tag);

/* ---- maps ---- */

enum extent_flags {
    EXTENT_DATA = 1 << 0,       /* holds bytes that must be read */
    EXTENT_ZERO = 1 << 1,       /* reads as zeroes */
    EXTENT_ALLOCATED = 1 << 2,  /* a layer of the chain provides it (QEMU: "present") */
    EXTENT_COMPRESSED = 1 << 3, /* one compressed cluster: packed_length bytes at leaf_offset */
    EXTENT_OFFSET = 1 << 4,     /* leaf and leaf_offset are valid */
    EXTENT_HOLE = 1 << 5,       /* zero, as data of the layer that lies in a hole of the leaf */
};

struct blk_extent {
    int64_t offset, length; /* in the node that was asked */
    uint32_t flags;
    int depth;             /* layers below the asked node: 0 itself, 1 its backing file, ... */
    struct blk_node *leaf; /* node whose bytes [leaf_offset, +length) these are; borrowed */
    int64_t leaf_offset;
    int64_t packed_length; /* EXTENT_COMPRESSED: upper bound of the packed bytes */
    enum codec codec;
};

/* A list that a map call appends to; neighbours that continue each other are merged. */
struct extent_list {
    struct blk_extent *items;
    int count, capacity;
    int limit; /* stop when this many are in; 0: INT_MAX */
};

/* Appends; false when the list is full (the extent was not taken) or memory is short. */
bool extents_add(struct extent_list *list, const struct blk_extent *extent);
void extents_clear(struct extent_list *list); /* forgets the items, keeps the memory */
void extents_done(struct extent_list *list);  /* frees the memory */

enum map_flags {
    MAP_CHAIN = 1 << 0, /* follow backing files below what this node does not provide */
    MAP_LEAF = 1 << 1,  /* resolve leaf and offset down to a node that every loop may read (raw over
                           file -> file) */
    MAP_HOLES = 1 << 2, /* also ask the leaf where its holes are: data there becomes zero */
    MAP_PLAIN_HOLES = 1 << 3, /* the same, but only below layers that keep no tables, as raw */
};

/* Maps [offset, offset+length), clipped at the node's end, from the front; stops early only when
 * the list is full. Every byte up to the stop is in exactly one extent. 0 or -errno. */
int node_co_map(struct blk_node *node, int64_t offset, int64_t length, uint32_t flags,
                struct extent_list *list);
int node_map(struct blk_node *node, int64_t offset, int64_t length, uint32_t flags,
             struct extent_list *list);

/* ---- snapshots inside an image ---- */

struct blk_snapshot {
    char *id, *name;
    int64_t vm_state_size; /* bytes */
    int64_t date_ns;       /* since 1970 */
    uint64_t vm_clock_ns;
    int64_t icount; /* -1: unknown */
    int64_t size;   /* of the guest's disk then, bytes */
};

/* The snapshots in the order of the image: a GArray of struct blk_snapshot that frees its items;
 * unref it. NULL and *error when the format has none. */
GArray *node_co_snapshot_list(struct blk_node *node, GError **error);
GArray *node_snapshot_list(struct blk_node *node, GError **error);

/* The first with `id` (NULL: any) and `name` (NULL: any); or the first whose id, else the first
 * whose name, is `either`. Index into `list`, or -1. */
int snapshot_find(const GArray *list, const char *id, const char *name);
int snapshot_find_either(const GArray *list, const char *either);

enum snapshot_action { SNAPSHOT_CREATE, SNAPSHOT_APPLY, SNAPSHOT_DELETE, SNAPSHOT_LOAD };

/* CREATE takes date, clock, icount, vm_state_size and `name` from `snapshot`, and its id unless
 * NULL; APPLY puts the disk back, its size included; DELETE removes; LOAD shows the snapshot's
 * contents and size in a node that is open read-only. These three take the snapshot that is
 * called `either`: an id, else a name; DELETE looks for a name first. Durable when they return. */
bool node_co_snapshot_create(struct blk_node *node, const struct blk_snapshot *snapshot,
                             GError **error);
bool node_co_snapshot_do(struct blk_node *node, enum snapshot_action action, const char *either,
                         GError **error);
bool node_snapshot_create(struct blk_node *node, const struct blk_snapshot *snapshot,
                          GError **error);
bool node_snapshot_do(struct blk_node *node, enum snapshot_action action, const char *either,
                      GError **error);

/* The area for a machine's state, past the guest's disk. -ENOTSUP where the format has none. */
int node_co_vmstate_read(struct blk_node *node, int64_t offset, int64_t length, struct span span);
int node_co_vmstate_write(struct blk_node *node, int64_t offset, int64_t length, struct span span);

/* ---- check and amend ---- */

enum check_fix {
    CHECK_FIX_LEAKS = 1 << 0,
    CHECK_FIX_ERRORS = 1 << 1,
};

struct blk_check {
    /* in */
    void (*message)(const char *text, void *user); /* each finding, one line; may be NULL */
    void *user;
    /* out: what is wrong now, and what was mended */
    int64_t check_errors; /* places that could not be examined */
    int64_t corruptions, leaks;
    int64_t corruptions_fixed, leaks_fixed;
    int64_t total_clusters, allocated_clusters, fragmented_clusters, compressed_clusters;
    int64_t image_end_offset; /* bytes */
};

/* Examines the image's metadata. Open the node with NODE_REPAIR (and NODE_RDWR for `fix`, enum
 * check_fix). False with ENOTSUP when the format has nothing to check. */
bool node_co_check(struct blk_node *node, uint32_t fix, struct blk_check *check, GError **error);
bool node_check(struct blk_node *node, uint32_t fix, struct blk_check *check, GError **error);

/* Changes create options of an existing image: a flat object of text, as for image_create(). What
 * cannot be changed is refused by name before anything is. `force`: also what may change what the
 * guest sees. `job` (may be NULL) hears of progress. */
bool node_co_amend(struct blk_node *node, json_t *options, bool force, struct job *job,
                   GError **error);

/* The same as a job; `options` are borrowed for its life. */
struct job *amend_job_new(struct blk_node *node, json_t *options, bool force);

/* The options that node_co_amend() takes, for `-o help`; NULL when the driver cannot. */
const struct field *driver_amend_options(const struct blk_driver *driver);

/* Writes another backing file's name (NULL: none) and format (NULL: none told) into the image; what
 * is open stays. */
bool node_co_set_backing(struct blk_node *node, const char *name, const char *format,
                         GError **error);
bool node_set_backing(struct blk_node *node, const char *name, const char *format, GError **error);

/* Forgets all guest data of an overlay: everything shows the backing file again. */
bool node_co_empty(struct blk_node *node, GError **error);
bool node_empty(struct blk_node *node, GError **error);

/* Bytes that a new image takes. */
struct blk_measure {
    int64_t required, fully_allocated;
    int64_t bitmaps; /* -1: none to copy */
};

/* For `driver` with create `options`, holding the contents of `source`, or `size` bytes of data
 * when it is NULL. */
bool image_co_measure(struct blk_graph *graph, const char *driver, json_t *options,
                      struct blk_node *source, int64_t size, struct blk_measure *ret_measure,
                      GError **error);
bool image_measure(struct blk_graph *graph, const char *driver, json_t *options,
                   struct blk_node *source, int64_t size, struct blk_measure *ret_measure,
                   GError **error);

/* ---- leaves: any loop ---- */

/* True when the node's driver keeps no state between requests, so that every loop may call
 * leaf_co_*(). */
bool node_is_leaf(const struct blk_node *node);

/* Any loop: I/O that bypasses request tracking, for jobs that own the graph. Bounds are checked,
 * unaligned requests are widened (reads) or refused with -EINVAL (writes). */
int leaf_co_read(struct blk_node *leaf, int64_t offset, int64_t length, void *buf);
int leaf_co_write(struct blk_node *leaf, int64_t offset, int64_t length, const void *buf);
int leaf_co_zero(struct blk_node *leaf, int64_t offset, int64_t length, uint32_t flags);

/* ---- creating ---- */

/* Creates an image `name` of `size` bytes (-1: from the options or the backing file). `options` is
 * a flat object of create options as text (borrowed, may be NULL). With `ret_options` the effective
 * options are returned, for the "Formatting" line. Flags: NODE_NO_BACKING does not open the backing
 * file (then the size is needed). */
bool image_create(struct blk_graph *graph, const char *name, const char *driver, int64_t size,
                  json_t *options, uint32_t flags, json_t **ret_options, GError **error);

bool image_co_create(struct blk_graph *graph, const char *name, const char *driver, int64_t size,
                     json_t *options, uint32_t flags, json_t **ret_options, GError **error);

/* Makes an open, writable node into an empty image of `size` bytes: the second half of
 * image_create(). */
bool image_create_over(struct blk_node *file, const char *driver, int64_t size, json_t *options,
                       GError **error);
bool image_co_create_over(struct blk_node *file, const char *driver, int64_t size, json_t *options,
                          GError **error);

/* The create options of a driver (NULL: it cannot create), for `-o help`. */
const struct field *driver_create_options(const struct blk_driver *driver);
const char *driver_name(const struct blk_driver *driver);
const char *driver_description(const struct blk_driver *driver);
bool driver_is_format(const struct blk_driver *driver);
bool driver_is_protocol(const struct blk_driver *driver); /* or is named like one */

#include "libblock/job.h"
#include "libblock/jobs/convert.h"
#include "libblock/jobs/compare.h"
#include "libblock/jobs/commit.h"
#include "libblock/jobs/rebase.h"

#endif
