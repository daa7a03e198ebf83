/*
 * cairn-io: what its files share. The program keeps one image open and runs
 * commands on it, each a word and its arguments. A command is a row of a table;
 * help and the manual walk it.
 */
#ifndef CAIRN_IMG_IO_H
#define CAIRN_IMG_IO_H

#include <glib.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "img-tool/image.h"

/* How an image is opened; kept for reopening. */
struct io_image {
    char *name;      /* NULL: all is in the options */
    char *format;    /* NULL: probe it */
    json_t *options; /* flat, or NULL */
    bool read_only, snapshot, copy_on_read, force_share;
    char *cache, *aio, *discard; /* words, or NULL */
};

struct io {
    struct session session;
    struct blk_node *node; /* NULL: no image is open */
    struct io_image image;
    bool misalign; /* buffers at odd addresses */
    int in_flight; /* asynchronous requests */
    bool quit;
};

struct io_option {
    char letter;
    const char *metavar; /* NULL: a flag */
    const char *help;
};

enum io_command_flags {
    IO_GLOBAL = 1 << 0, /* runs without an image */
    IO_WRITES = 1 << 1, /* needs an image that is open for writing */
};

struct io_command {
    const char *name, *alias;
    const char *synopsis; /* what follows the name: "[-Cq] off len"; NULL: nothing */
    const char *summary;
    const char *about;               /* further sentences for help, or NULL */
    const struct io_option *options; /* ends with {0}; NULL: none */
    int min_args, max_args;          /* words after the name, options included; max -1: no limit */
    uint32_t flags;                  /* enum io_command_flags */
    /* 0, or -1 when the command failed: it has said why. */
    int (*run)(struct io *io, const struct io_command *command, int argc, char **argv);
};

/* Every command in alphabetical order, NULL-terminated. */
extern const struct io_command *const io_commands[];

/* ---- io-command.c ---- */

const struct io_command *io_find(const char *name);

/* Runs one line. -1 when it failed. */
int io_run(struct io *io, const char *line);

/* The next option letter of a command's arguments, its value in optarg; -1 at the end, when optind
 * is the first other word; '?' for one it does not have, which has been said. */
int io_option(const struct io_command *command, int argc, char **argv);

/* Prints the usage line of a command that was misused. Always -1. */
int io_misused(const struct io_command *command);

/* ---- io-text.c ---- */

/* "64 KiB", "1.500 GiB", "512 bytes". */
char *io_quantity(double bytes);

/* Parses a number of bytes; when it is none, says so and returns false. */
bool io_number(const char *text, int64_t *ret_bytes);

/* As io_number() for a length of a request, or an address and length that only `limit` bounds. */
bool io_length(const char *text, int64_t limit, const char *unless, int64_t *ret_bytes);

bool io_pattern(const char *text, int *ret_byte);

/* What a request came to, in one line for programs or two for people. */
struct io_report {
    const char *done; /* "read", "wrote" */
    int64_t start_ns, offset, length;
    bool quiet, terse;
};
void io_report_print(const struct io_report *report);

void io_dump(const uint8_t *buf, int64_t length, int64_t offset);

/* False, having said so, when not every byte is `byte`. */
bool io_verify(const uint8_t *buf, int64_t length, int byte, int64_t offset);

/* An error line on standard error, with the program's name. */
void io_complain(const char *format, ...) G_GNUC_PRINTF(1, 2);

/* ---- io-request.c ---- */

enum io_kind {
    IO_READ,
    IO_WRITE,
    IO_ZERO,
    IO_PACKED,
    IO_STATE_READ,
    IO_STATE_WRITE,
    IO_DISCARD,
    IO_FLUSH
};

#define IO_LENGTH_MAX INT64_C(2147483136) /* the longest request that qemu-io makes */

struct io_request {
    struct blk_node *node;
    enum io_kind kind;
    uint32_t flags; /* enum req_flags */
    int64_t offset, length;
    const struct iovec *iov;
    int result;
};

/* Runs a request; 0 or -errno. */
int io_perform(struct io *io, struct io_request *request);
void io_co_perform(void *request);

/* A buffer filled with `byte`, or NULL, having said so. */
uint8_t *io_buffer_new(struct io *io, int64_t length, int byte);
void io_buffer_free(struct io *io, uint8_t *buf);

/* Buffers for lengths in argv, one after the other in one piece of memory. */
struct io_vector {
    uint8_t *buf;
    struct iovec *iov;
    int64_t length;
};
bool io_vector_init(struct io *io, struct io_vector *vector, char **argv, int byte);
void io_vector_done(struct io *io, struct io_vector *vector);

/* Waits until no asynchronous request is in flight. */
void io_drain(struct io *io);

/* ---- io-file.c ---- */

void io_image_clear(struct io_image *image);

/* Opens what io->image says, and prints why not. */
bool io_open(struct io *io);
bool io_close(struct io *io);

#endif
