/*
 * Opening images as the command line says: formats, --image-opts, cache modes,
 * sharing, and which names inside images are followed.
 */
#ifndef CAIRN_IMG_IMAGE_H
#define CAIRN_IMG_IMAGE_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/cli.h"
#include "libblock/libblock.h"

/* Options that commands which open images share; a command's arguments embed it as `image`. */
struct image_args {
    char *format, *cache;
    bool image_opts, force_share, untrusted;
    int allow_ref; /* index into image_allow_names */
    GPtrArray *objects;
};

extern const char *const image_allow_names[];

/* Rows of option tables over the member `image` of struct type. */
#define IMAGE_ROW_FORMAT(type, letters, name, help)                                                \
    {                                                                                              \
        letters, "FMT", FIELD(type, image.format, name, NULL, help), NULL                          \
    }
#define IMAGE_ROW_OPTS(type)                                                                       \
    {                                                                                              \
        NULL, NULL,                                                                                \
            FIELD(type, image.image_opts, "image-opts", NULL,                                      \
                  "take names as option lists (key=value,...)"),                                   \
            NULL                                                                                   \
    }
#define IMAGE_ROW_CACHE(type, letters, name)                                                       \
    {                                                                                              \
        letters, "CACHE",                                                                          \
            FIELD(type, image.cache, name, "writeback",                                            \
                  "cache mode: none, writeback, writethrough, directsync, unsafe"),                \
            NULL                                                                                   \
    }
#define IMAGE_ROW_SHARE(type)                                                                      \
    {                                                                                              \
        "U", NULL,                                                                                 \
            FIELD(type, image.force_share, "force-share", NULL,                                    \
                  "read even while another process writes to the image"),                          \
            NULL                                                                                   \
    }
#define IMAGE_ROWS_TRUST(type)                                                                     \
    {NULL, NULL,                                                                                   \
     FIELD(type, image.untrusted, "untrusted", NULL,                                               \
           "confine the process to the files named here, and bound memory and time"),              \
     NULL},                                                                                        \
    {                                                                                              \
        NULL, "WORD",                                                                              \
            FIELD_ENUM(type, image.allow_ref, "allow-ref", NULL, image_allow_names,                \
                       "which names inside images to follow"),                                     \
            NULL                                                                                   \
    }
#define IMAGE_ROW_OBJECT(type)                                                                     \
    {                                                                                              \
        NULL, "OBJECT",                                                                            \
            FIELD(type, image.objects, "object", NULL,                                             \
                  "define a secret or a throttle-group (TYPE,id=ID,...)"),                         \
            NULL                                                                                   \
    }

/* The graph of one run. */
struct session {
    struct loop *loop;
    struct blk_graph *graph;
};

/* Checks what is independent of any image and makes the graph. */
bool session_start(struct session *session, const struct image_args *args, GError **error);

/* With --untrusted: confines the process to reading the images `names`
 * (NULL-terminated), the last of which is written when `writes_last`. Before
 * session_start(). */
bool image_confine(const struct image_args *args, char *const *names, bool writes_last,
                   GError **error);

/* Ends what session_start() began; every node is closed. */
void session_end(struct session *session);

/* Opens `name` with `format` (NULL: probe it) as `args` says; `flags` are added. */
struct blk_node *image_open(struct session *session, const struct image_args *args,
                            const char *name, const char *format, uint32_t flags, GError **error);

/* Opens `name`, an option list when `image_opts`, with exactly these flags. */
struct blk_node *image_open_plain(struct session *session, const char *name, const char *format,
                                  bool image_opts, uint32_t flags, GError **error);

/* Warns when `node` is raw only because nothing else was recognised. */
void image_warn_probed(const struct blk_node *node, const char *name);

/* Node flags of a cache mode. */
bool image_cache_flags(const char *cache, uint32_t *flags, GError **error);

/* Shows a snapshot of `node`, open read-only: `text` is an id or a name, or
 * "snapshot.id=ID,snapshot.name=NAME" or one of the two. NULL: nothing is to do. */
bool image_load_snapshot(struct blk_node *node, const char *text, GError **error);

/* For commands that change an image in place: refuses one whose format was guessed and may be
 * another. */
bool image_check_guess(struct blk_node *node, const char *name, GError **error);

/* Whether two paths lead to one file. */
bool image_is_same_file(const char *a, const char *b);

/* Closes *node, which may be NULL, and forgets it. False when data may be lost; only the
 * first error is kept. */
bool image_close(struct blk_node **node, GError **error);

/* The driver called `name`, which must be able to create images; "vhd" and the like are
 * hinted at.
 */
const struct blk_driver *image_find_creator(struct session *session, const char *name,
                                            GError **error);

/* Begins the message with "NAME: " unless it speaks of `name` already. Always false. */
bool image_name_error(const char *name, GError **error);

/* Merges the texts of several -o options into a flat object. True in *ret_help when one
 * of them asks for help. */
json_t *image_merge_options(const GPtrArray *texts, bool *ret_help, GError **error);

/* Prints the answer to `-o help`. */
void image_print_create_help(const struct blk_driver *driver);

#endif
