/*
 * What the file and host_device drivers share.
 */
#ifndef CAIRN_LIBBLOCK_FILE_H
#define CAIRN_LIBBLOCK_FILE_H

#include "libblock/driver.h"
#include "libblock/drivers/file-lock.h"

enum file_locking { FILE_LOCKING_OFF, FILE_LOCKING_ON, FILE_LOCKING_AUTO };

struct file_options {
    char *filename;
    int locking; /* enum file_locking */
    int aio;     /* accepted; the loop knows better */
    bool drop_cache;
};

/* Fixed after open, but for the descriptor of tails and the flags of what failed, which are
 * atomic: requests come from every loop. */
struct file_state {
    int fd;
    int tail_fd;   /* without O_DIRECT, for the unaligned end of a file; -1 until needed */
    int64_t align; /* of O_DIRECT requests; 0 without */
    int64_t memory_align;
    bool ram;     /* file system in memory: requests never wait for a medium */
    bool patient; /* one-image tool: buffered writes and flushes may block the loop */
    bool device;
    bool no_nowait, no_punch, no_zero_range, no_clone; /* found not to work */
    struct file_lock lock;
};

extern const struct field file_fields[];

/* Opens the file behind node->options; the caller checks what kind it is. */
bool file_open_fd(struct blk_node *node, GError **error);
bool file_co_close(struct blk_node *node, GError **error);
bool file_co_reopen(struct blk_node *node, uint32_t flags, GError **error);
void file_limits(struct blk_node *node, struct blk_limits *limits);

int file_co_read(struct blk_node *node, int64_t offset, int64_t length, struct span span);
int file_co_write(struct blk_node *node, int64_t offset, int64_t length, struct span span,
                  uint32_t flags);
int file_co_flush(struct blk_node *node);
int file_co_zero(struct blk_node *node, int64_t offset, int64_t length, uint32_t flags);
int file_co_discard(struct blk_node *node, int64_t offset, int64_t length);
int file_co_map(struct blk_node *node, int64_t offset, int64_t length, uint32_t flags,
                struct extent_list *list);
int file_co_copy_range(struct blk_node *src, int64_t src_offset, struct blk_node *dst,
                       int64_t dst_offset, int64_t length);

/* Changes the size of a regular file; see preallocation in file-create.c. */
bool file_co_resize(struct blk_node *node, int64_t size, const char *preallocation, GError **error);
bool file_set_size(int fd, const char *filename, int64_t old_size, int64_t size,
                   const char *preallocation, GError **error);
bool file_co_create(const struct blk_create *create, GError **error);
extern const struct field file_create_fields[];

struct file_create_options {
    int preallocation;
    bool nocow;
    int64_t extent_size_hint;
};

#endif
