#include "tests/tools/ram.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/loop.h"
#include "base/span.h"
#include "formats/formats.h"
#include "libblock/driver.h"

static const int64_t max_size = INT64_C(1) << 30;

struct ram_disk ram_disks[RAM_DISKS];

struct ram_options {
    char *filename;
};

static const struct field ram_fields[] = {
    FIELD(struct ram_options, filename, "filename", NULL, "number of the array"),
    {0},
};

static struct ram_disk *disk_of(struct blk_node *node)
{
    return *(struct ram_disk **)node->state;
}

/* "ram:3" or "3". */
static struct ram_disk *disk_named(const char *name, GError **error)
{
    const char *number = name && g_str_has_prefix(name, "ram:") ? name + strlen("ram:") : name;
    int n = number ? atoi(number) : -1;
    if (n >= 0 && n < RAM_DISKS)
        return &ram_disks[n];
    error_set(error, ENOENT, "could not open '%s': no such test disk", name);
    return NULL;
}

/* Logs are shared between disks, and disks between loops. */
static GMutex log_lock;

static void log_op(struct ram_disk *disk, struct ram_op op)
{
    op.disk = (int)(disk - ram_disks);
    g_mutex_lock(&log_lock);
    if (disk->log)
        g_array_append_val(disk->log, op);
    else
        g_free(op.data);
    g_mutex_unlock(&log_lock);
}

static void shake(struct ram_disk *disk)
{
    for (int64_t n = disk->shake ? rng_below(disk->shake, 4) : 0; n > 0; n--)
        loop_co_relax();
}

static void grow(GByteArray *bytes, int64_t size)
{
    int64_t old = bytes->len;
    if (size <= old)
        return;
    g_byte_array_set_size(bytes, (guint)size);
    memset(bytes->data + old, 0, (size_t)(size - old));
}

static bool ram_co_open(struct blk_node *node, json_t *rest, GError **error)
{
    struct ram_options *options = node->options;
    struct ram_disk *disk = disk_named(options->filename, error);
    if (!disk)
        return false;
    if (!disk->bytes)
        return error_set(error, ENOENT, "could not open '%s': it was not created",
                         options->filename);
    *(struct ram_disk **)node->state = disk;
    node->size = disk->bytes->len;
    node->growable = true;
    return true;
}

static int ram_co_read(struct blk_node *node, int64_t offset, int64_t length, struct span span)
{
    struct ram_disk *disk = disk_of(node);
    shake(disk);
    g_mutex_lock(&disk->lock);
    int64_t have = CLAMP(disk->bytes->len - offset, 0, length);
    span_write(span, disk->bytes->data + (have ? offset : 0), (size_t)have);
    span_fill(span_skip(span, (size_t)have), 0, (size_t)(length - have));
    g_mutex_unlock(&disk->lock);
    return 0;
}

static int ram_co_write(struct blk_node *node, int64_t offset, int64_t length, struct span span,
                        uint32_t flags)
{
    struct ram_disk *disk = disk_of(node);
    if (offset > max_size - length)
        return -EFBIG;
    shake(disk);
    struct ram_op op = {RAM_WRITE, 0, offset, length, g_malloc((gsize)length)};
    span_read(span, op.data, (size_t)length);
    g_mutex_lock(&disk->lock);
    ram_replay(disk->bytes, &op, -1);
    node->size = disk->bytes->len;
    log_op(disk, op);
    g_mutex_unlock(&disk->lock);
    return 0;
}

static int ram_co_zero(struct blk_node *node, int64_t offset, int64_t length, uint32_t flags)
{
    struct ram_disk *disk = disk_of(node);
    if (offset > max_size - length)
        return -EFBIG;
    shake(disk);
    struct ram_op op = {RAM_ZERO, 0, offset, length, NULL};
    g_mutex_lock(&disk->lock);
    ram_replay(disk->bytes, &op, -1);
    node->size = disk->bytes->len;
    log_op(disk, op);
    g_mutex_unlock(&disk->lock);
    return 0;
}

static int ram_co_discard(struct blk_node *node, int64_t offset, int64_t length)
{
    int64_t end = MIN(offset + length, disk_of(node)->bytes->len);
    return offset < end ? ram_co_zero(node, offset, end - offset, 0) : 0;
}

static int ram_co_flush(struct blk_node *node)
{
    struct ram_disk *disk = disk_of(node);
    g_mutex_lock(&disk->lock);
    int64_t begin = disk->log ? disk->log->len : 0;
    log_op(disk, (struct ram_op){RAM_FLUSH_BEGIN, 0, 0, 0, NULL});
    g_mutex_unlock(&disk->lock);
    shake(disk);
    g_mutex_lock(&disk->lock);
    log_op(disk, (struct ram_op){RAM_FLUSH_END, 0, begin, 0, NULL});
    g_mutex_unlock(&disk->lock);
    return 0;
}

static bool ram_co_resize(struct blk_node *node, int64_t size, const char *preallocation,
                          GError **error)
{
    struct ram_disk *disk = disk_of(node);
    if (size > max_size)
        return error_set(error, EFBIG, "a test disk cannot have %" PRId64 " bytes", size);
    struct ram_op op = {RAM_RESIZE, 0, 0, size, NULL};
    g_mutex_lock(&disk->lock);
    ram_replay(disk->bytes, &op, -1);
    node->size = size;
    log_op(disk, op);
    g_mutex_unlock(&disk->lock);
    return true;
}

static bool ram_co_create(const struct blk_create *create, GError **error)
{
    struct ram_disk *disk = disk_named(create->filename, error);
    if (!disk)
        return false;
    if (create->size > max_size)
        return error_set(error, EFBIG, "a test disk cannot have %" PRId64 " bytes", create->size);
    if (!disk->bytes)
        disk->bytes = g_byte_array_new();
    g_byte_array_set_size(disk->bytes, 0);
    grow(disk->bytes, create->size);
    return true;
}

static const struct field ram_create_fields[] = {{0}};
static const char *const ram_schemes[] = {"ram", NULL};

const struct blk_driver ram_driver = {
    .name = "ram",
    .description = "a byte array of a test",
    .flags = DRIVER_PROTOCOL | DRIVER_ANY_LOOP,
    .state_size = sizeof(struct ram_disk *),
    .options = ram_fields,
    .options_size = sizeof(struct ram_options),
    .create_options = ram_create_fields,
    .create_options_size = 1,
    .schemes = ram_schemes,
    .co_open = ram_co_open,
    .co_read = ram_co_read,
    .co_write = ram_co_write,
    .co_zero = ram_co_zero,
    .co_discard = ram_co_discard,
    .co_flush = ram_co_flush,
    .co_resize = ram_co_resize,
    .co_create = ram_co_create,
};

struct ram_disk *ram_reset(int n)
{
    struct ram_disk *disk = &ram_disks[n];
    ram_forget_log(disk);
    if (disk->bytes)
        g_byte_array_unref(disk->bytes);
    disk->bytes = NULL;
    disk->shake = NULL;
    return disk;
}

void ram_set(struct ram_disk *disk, const void *bytes, int64_t size)
{
    if (!disk->bytes)
        disk->bytes = g_byte_array_new();
    g_byte_array_set_size(disk->bytes, 0);
    g_byte_array_append(disk->bytes, bytes, (guint)size);
}

static void op_clear(void *op)
{
    g_free(((struct ram_op *)op)->data);
}

void ram_record(struct ram_disk *disk)
{
    ram_forget_log(disk);
    disk->log = g_array_new(FALSE, FALSE, sizeof(struct ram_op));
    g_array_set_clear_func(disk->log, op_clear);
}

void ram_record_with(struct ram_disk *disk, const struct ram_disk *other)
{
    ram_forget_log(disk);
    disk->log = g_array_ref(other->log);
}

int64_t ram_mark(struct ram_disk *disk)
{
    log_op(disk, (struct ram_op){RAM_MARK, 0, 0, 0, NULL});
    return disk->log->len - 1;
}

void ram_forget_log(struct ram_disk *disk)
{
    if (disk->log)
        g_array_unref(disk->log);
    disk->log = NULL;
}

void ram_replay(GByteArray *bytes, const struct ram_op *op, int64_t keep)
{
    int64_t length = keep < 0 ? op->length : MIN(keep, op->length);
    if (op->kind == RAM_WRITE || op->kind == RAM_ZERO)
        grow(bytes, op->offset + length);
    if (op->kind == RAM_WRITE)
        memcpy(bytes->data + op->offset, op->data, (size_t)length);
    else if (op->kind == RAM_ZERO)
        memset(bytes->data + op->offset, 0, (size_t)length);
    else if (op->kind == RAM_RESIZE && op->length > bytes->len)
        grow(bytes, op->length);
    else if (op->kind == RAM_RESIZE)
        g_byte_array_set_size(bytes, (guint)op->length);
}

const struct blk_driver **ram_drivers(void)
{
    int count = 0;
    while (formats_drivers[count])
        count++;
    const struct blk_driver **all = g_new0(const struct blk_driver *, (gsize)count + 2);
    all[0] = &ram_driver;
    memcpy(all + 1, formats_drivers, (size_t)count * sizeof(*all));
    return all;
}
