/*
 * What a driver is, for those who write one. A driver is a const table; every
 * I/O entry is a coroutine function that runs on the node's loop (drivers with
 * DRIVER_ANY_LOOP: on any loop).
 *
 * What an entry may rely on: offsets and lengths are checked against the node's
 * size, aligned to limits.request_align, no longer than the limits say, and
 * buffers are aligned to limits.memory_align. One exception: a request may end,
 * unaligned, at the end of the node. A node whose `growable` is set is written
 * past its end too, and has grown when the write returns; reads past its end
 * are answered with zeroes before the driver sees them. Formats and filters
 * find node->file open when co_open runs.
 *
 * A missing entry means:
 *
 *   co_open        filters: nothing to do; the size is that of the child
 *   co_close       nothing to do
 *   co_reopen      nothing to do: the flags of the node and its file change
 *   limits         those of the `file` child
 *   co_read        pass on to the `file` child
 *   co_write       pass on to the `file` child; without a child the node is read-only
 *   co_zero        pass on for filters; others: libblock writes zeroes
 *   co_discard     pass on for filters; others: nothing to do
 *   co_flush       nothing of its own to write
 *   co_map         filters: that of the child, but nobody reads past a filter that has a co_read;
 *                  others: all data, leaf = this node
 *   co_resize      filters: that of the child; others: refused
 *   co_copy_range  libblock reads and writes
 *   info           sizes only
 *   co_create      this driver cannot create
 *
 * co_flush writes what the driver itself holds back; libblock then flushes the
 * children. Without DRIVER_FUA a write with REQ_FUA is followed by a flush.
 */
#ifndef CAIRN_LIBBLOCK_DRIVER_H
#define CAIRN_LIBBLOCK_DRIVER_H

#include "libblock/event.h"
#include "libblock/libblock.h"

enum driver_flags {
    DRIVER_FORMAT = 1 << 0,   /* has a `file` child and gives it meaning */
    DRIVER_PROTOCOL = 1 << 1, /* has no `file` child: the bytes themselves */
    DRIVER_FILTER = 1 << 2,   /* has a `file` child and passes it through */
    DRIVER_ANY_LOOP = 1 << 3, /* keeps no state between requests: callable from every loop */
    DRIVER_BACKING = 1 << 4,  /* may have a backing child */
    DRIVER_FUA = 1 << 5,      /* co_write and co_zero honour or hand down REQ_FUA */
    DRIVER_PLAIN = 1 << 6,    /* a format without metadata: others may write the file too */
    DRIVER_PROBES = 1 << 7,   /* the format of the `file` child is guessed when none is told */
};

/* Arguments of co_create. */
struct blk_create {
    struct blk_graph *graph;
    const char *filename; /* as given, for messages; protocols create this */
    int64_t size;         /* bytes, >= 0 */
    const void *options;  /* the struct of create_options, defaults filled in */
    struct blk_node
        *file; /* formats: the protocol node, writable, empty or about to be overwritten */
};

struct blk_driver {
    const char *name;
    const char *description; /* one line */
    uint32_t flags;
    size_t state_size;           /* bytes at node->state, zeroed before co_open */
    const struct field *options; /* members of the struct at node->options */
    size_t options_size;
    const struct field *create_options; /* ends with {0}; NULL: cannot create */
    size_t create_options_size;
    const char *const *schemes; /* protocols: "nbd", "nbd+unix", NULL-terminated; NULL: none */
    const char *file_key;       /* the option that names the `file` child; NULL: "file" */

    /* Filters that have names like a protocol's: puts what follows "DRIVER:" into `tree`. */
    bool (*parse_name)(const char *rest, json_t *tree, GError **error);

    /* Formats: 0..100, how sure the first `len` bytes (at most 2 KiB) look like this format. Pure.
     */
    int (*probe)(const uint8_t *head, size_t len, const char *filename);

    bool (*co_open)(struct blk_node *node, json_t *rest,
                    GError **error); /* `rest`: options not in the table; take what is known */
    bool (*co_close)(struct blk_node *node,
                     GError **error); /* writes what is pending; memory is freed in any case */
    /* `flags` are to become node->flags, and are those of the `file` child already when the node
     * becomes writable; when it ends to be, that child changes afterwards. Nothing changes on
     * failure. */
    bool (*co_reopen)(struct blk_node *node, uint32_t flags, GError **error);
    void (*limits)(struct blk_node *node, struct blk_limits *limits);
    int (*co_read)(struct blk_node *node, int64_t offset, int64_t length, struct span span);
    int (*co_write)(struct blk_node *node, int64_t offset, int64_t length, struct span span,
                    uint32_t flags);
    int (*co_zero)(struct blk_node *node, int64_t offset, int64_t length, uint32_t flags);
    int (*co_discard)(struct blk_node *node, int64_t offset, int64_t length);
    int (*co_flush)(struct blk_node *node);
    int (*co_map)(struct blk_node *node, int64_t offset, int64_t length, uint32_t flags,
                  struct extent_list *list);
    bool (*co_resize)(struct blk_node *node, int64_t size, const char *preallocation,
                      GError **error);
    int (*co_copy_range)(struct blk_node *src, int64_t src_offset, struct blk_node *dst,
                         int64_t dst_offset, int64_t length);
    bool (*info)(struct blk_node *node, struct blk_info *info, GError **error);
    bool (*co_create)(const struct blk_create *create, GError **error);

    /* Groups that only some formats fill; NULL: not supported. */
    const struct plan_ops *plan; /* filled by jobs/convert; NULL: through co_write */
    const struct snapshot_ops *snapshot;
    const struct check_ops *check;
    const struct amend_ops *amend;
    const struct debug_ops *debug;
};

/* Listening to what the nodes above do. */
struct debug_ops {
    void (*co_event)(struct blk_node *node, enum blk_event event);
    /* See node_debug_break() and the others. */
    bool (*set_break)(struct blk_node *node, enum blk_event event, const char *tag, GError **error);
    bool (*resume)(struct blk_node *node, const char *tag, GError **error);
    bool (*remove_break)(struct blk_node *node, const char *tag, GError **error);
    bool (*is_suspended)(struct blk_node *node, const char *tag);
};

/* All of these are called with the node drained, and are durable when they return. `index`: into
 * what co_list returned. */
struct snapshot_ops {
    GArray *(*co_list)(struct blk_node *node, GError **error);
    bool (*co_create)(struct blk_node *node, const struct blk_snapshot *snapshot, GError **error);
    bool (*co_apply)(struct blk_node *node, int index, GError **error);
    bool (*co_delete)(struct blk_node *node, int index, GError **error);
    bool (*co_load)(struct blk_node *node, int index, GError **error);
    /* Not drained. Offsets are those of the state. */
    int (*co_vmstate_read)(struct blk_node *node, int64_t offset, int64_t length, struct span span);
    int (*co_vmstate_write)(struct blk_node *node, int64_t offset, int64_t length,
                            struct span span);
};

/* See node_co_check(); called with the node drained. */
struct check_ops {
    bool (*co_check)(struct blk_node *node, uint32_t fix, struct blk_check *check, GError **error);
};

/* Changing an image as a whole, called with the node drained and durable when they return; see
 * libblock.h. `options` has members of the driver's create_options, as text. */
struct amend_ops {
    const struct field *options; /* what can be changed: names of create options, and more */
    bool (*co_amend)(struct blk_node *node, json_t *options, bool force, struct job *job,
                     GError **error);
    bool (*co_set_backing)(struct blk_node *node, const char *name, const char *format,
                           GError **error);
    bool (*co_empty)(struct blk_node *node, GError **error);
    /* `create_options`: the filled struct. */
    bool (*co_measure)(const void *create_options, struct blk_node *source, int64_t size,
                       struct blk_measure *ret_measure, GError **error);
};

/* Filling a fresh image in ascending guest order, the way convert does: the format decides where
 * bytes go and keeps its tables in memory; the caller writes the bytes to the leaf itself, from any
 * thread. Calls on one plan never overlap (the caller takes turns), but come from different loops,
 * so they may use leaf_co_*() only. */
struct plan;

/* What a writer must know of a plan; constant for its life. */
struct plan_facts {
    int64_t cluster_size;  /* bytes that co_place() deals in; a power of two. raw: that of a hole */
    enum codec codec;      /* the compression that this image takes */
    struct blk_node *leaf; /* borrowed */
    int64_t zero_from;     /* bytes of the leaf from here on read as zero until written, so zeroes
                              need no writing there; INT64_MAX: none */
    bool unordered;        /* places do not depend on the order of calls, and calls may overlap */
};

struct plan_ops {
    /* Begins; NULL: there are no plans, only co_write_packed. `fresh`: the image was just created
     * and reads as zero. -ENOTSUP: use co_write instead. The node's own requests are not used until
     * co_finish. Both are called in the node's loop. */
    int (*co_begin)(struct blk_node *node, bool fresh, struct plan **ret_plan);
    void (*describe)(struct plan *plan, struct plan_facts *ret_facts);
    /* Space for guest [offset, +length) (cluster-aligned, or up to the image's end): may place
     * fewer bytes than asked, a whole number of clusters, and returns how many (> 0), at
     * *ret_leaf_offset; -errno. Every byte of a placed cluster is the caller's to write. */
    int64_t (*co_place)(struct plan *plan, int64_t offset, int64_t length,
                        int64_t *ret_leaf_offset);
    /* Space for one cluster compressed to `packed` bytes (less than a cluster); consecutive calls
     * pack tightly. 0 or -errno; NULL: the format has no compression. */
    int (*co_place_packed)(struct plan *plan, int64_t offset, int64_t packed,
                           int64_t *ret_leaf_offset);
    /* Without a plan: writes guest [offset, +length), whole clusters up to the image's end,
     * compressed by the driver. 0 or -errno; NULL: the format has no compression. */
    int (*co_write_packed)(struct blk_node *node, int64_t offset, int64_t length, struct span span);
    /* Guest [offset, +length), as co_place() takes it, reads as zero. With REQ_MAY_UNMAP it should
     * take no space: nothing is to do where the image reads as zero already. -ENOTSUP: place and
     * write zeroes. */
    int (*co_zero)(struct plan *plan, int64_t offset, int64_t length, uint32_t flags);
    /* Writes the tables and frees the plan; without `commit` only frees. */
    int (*co_finish)(struct plan *plan, bool commit);
};

/* A node, for drivers. Others use the functions of the door. */
struct blk_node {
    const struct blk_driver *driver;
    void *state;   /* the driver's, state_size bytes */
    void *options; /* the driver's option struct */
    struct blk_graph *graph;
    uint32_t flags; /* enum node_flags */
    char *filename; /* see node_filename() */
    char *name;     /* the option node-name, or NULL */
    int64_t size;   /* bytes; set by co_open and co_resize */
    struct blk_limits limits;
    struct blk_node *file, *backing, *data_file; /* children, owned references */
    bool probed;
    bool growable; /* set by co_open of protocols: writes past the end extend the node */
    bool debugged; /* this node, or one below by way of `file`, listens to events */
    int refs;
    json_t *spec;            /* the driver's own options as given, for node_filename() */
    int depth;               /* references followed from the top image to this one */
    int rank;                /* layers below this one, on the longest way down */
    struct blk_node *opener; /* while opening: the node whose reference this is */

    /* request path, owned by libblock/request.c */
    int in_flight;                   /* requests and opens; drained when 0 */
    int drained;                     /* depth of drained sections */
    struct range_lock ranges;        /* serialised requests */
    struct co_queue waiters;         /* waiting for a drained section to begin or end */
    uint64_t write_gen, flushed_gen; /* a flush is skipped when nothing was written since; atomic */
    int flush_error;                 /* sticky -errno of a failed flush */
};

/* Opens a further child named by the user's options (`file` is opened by libblock): takes `key`, a
 * tree or a file name, out of `rest`. `probe`: a format is guessed when the tree names no driver,
 * else a protocol is expected. NULL and *error when absent or unopenable. */
struct blk_node *node_co_open_child(struct blk_node *parent, json_t *rest, const char *key,
                                    bool probe, uint32_t flags, GError **error);

/* Opens a file that an image names inside itself, relative to the parent's folder, if the graph's
 * trust allows; `format` NULL probes (raw is then never assumed for writing). Enforces chain depth
 * (200) and refuses loops. */
struct blk_node *node_co_open_reference(struct blk_node *parent, const char *name,
                                        const char *format, uint32_t flags, const char *role,
                                        GError **error);

/* Reads or writes one buffer of a child; for metadata. */
int node_co_pread(struct blk_node *node, int64_t offset, int64_t length, void *buf);
int node_co_pwrite(struct blk_node *node, int64_t offset, int64_t length, const void *buf);

void event_co_raise(struct blk_node *node, enum blk_event event);

/* Tells the listener at or below `node` (NULL: nobody) that `event` is about to happen. The
 * listener may keep the caller waiting. */
static inline void node_co_event(struct blk_node *node, enum blk_event event)
{
    if (G_UNLIKELY(node && node->debugged)) {
        event_co_raise(node, event);
    }
}

/* Tells the program what an error number cannot say; see graph_set_report(). */
void node_report(struct blk_node *node, enum report_kind kind, const char *format, ...)
    G_GNUC_PRINTF(3, 4);

/* The drivers that come with libblock. */
extern const struct blk_driver file_driver;
extern const struct blk_driver host_device_driver;
extern const struct blk_driver mem_driver;
extern const struct blk_driver null_co_driver;
extern const struct blk_driver null_aio_driver;
extern const struct blk_driver blklog_driver;
extern const struct blk_driver blkdebug_driver;
extern const struct blk_driver compress_driver;
extern const struct blk_driver copy_on_read_driver;
extern const struct blk_driver throttle_driver;
extern const struct blk_driver blkverify_driver;

#endif
