/*
 * host_device: a block device of the host. Bytes move as for files; the size is
 * the device's, and space is given back and zeroed by the device's own calls,
 * which block and therefore run in the pool.
 */
#include "libblock/drivers/file.h"

#include <errno.h>
#include <linux/fs.h>
#include <sys/ioctl.h>

#include "libblock/driver.h"

struct device_call {
    int fd;
    unsigned long request;
    uint64_t range[2]; /* offset, length */
};

static int64_t device_ioctl(void *arg)
{
    struct device_call *call = arg;
    return ioctl(call->fd, call->request, call->range) < 0 ? -errno : 0;
}

static int co_device_call(struct blk_node *node, unsigned long request, int64_t offset,
                          int64_t length)
{
    const struct file_state *s = node->state;
    struct device_call call = {s->fd, request, {offset, length}};
    int ret = s->patient ? device_ioctl(&call) : co_offload(device_ioctl, &call);
    bool missing = ret == -EOPNOTSUPP || ret == -ENOTTY || ret == -EINVAL;
    return missing ? -ENOTSUP : ret;
}

static bool device_co_open(struct blk_node *node, json_t *rest, GError **error)
{
    const struct file_options *o = node->options;
    const struct file_state *s = node->state;
    if (!file_open_fd(node, error)) {
        return false;
    }
    if (!s->device) {
        file_co_close(node, NULL);
        return error_set(error, ENOTBLK, "'%s' is not a block device", o->filename);
    }
    return true;
}

static void device_limits(struct blk_node *node, struct blk_limits *limits)
{
    const struct file_state *s = node->state;
    int sector = 512;
    file_limits(node, limits);
    if (ioctl(s->fd, BLKSSZGET, &sector) == 0 && sector > 0 && is_pow2(sector)) {
        limits->zero_align = limits->discard_align = sector;
    }
}

static int device_co_zero(struct blk_node *node, int64_t offset, int64_t length, uint32_t flags)
{
    int ret = co_device_call(node, BLKZEROOUT, offset, length);
    return ret || !(flags & REQ_FUA) ? ret : file_co_flush(node);
}

static int device_co_discard(struct blk_node *node, int64_t offset, int64_t length)
{
    return co_device_call(node, BLKDISCARD, offset, length);
}

/* A device is there already: creating means that it is large enough. */
static bool device_co_create(const struct blk_create *create, GError **error)
{
    struct blk_node *node =
        node_co_open(create->graph, create->filename, "host_device", NULL, NODE_RDWR, error);
    if (!node) {
        return false;
    }
    int64_t size = node_size(node);
    bool ok = node_co_close(node, error);
    return ok &&
           (size >= create->size ||
            error_set(error, ENOSPC, "device '%s' has %" PRId64 " bytes, %" PRId64 " are needed",
                      create->filename, size, create->size));
}

const struct blk_driver host_device_driver = {
    .name = "host_device",
    .description = "a block device of the host",
    .flags = DRIVER_PROTOCOL | DRIVER_ANY_LOOP | DRIVER_FUA,
    .state_size = sizeof(struct file_state),
    .options = file_fields,
    .options_size = sizeof(struct file_options),
    .create_options = file_create_fields,
    .create_options_size = sizeof(struct file_create_options),
    .co_open = device_co_open,
    .co_close = file_co_close,
    .co_reopen = file_co_reopen,
    .limits = device_limits,
    .co_read = file_co_read,
    .co_write = file_co_write,
    .co_zero = device_co_zero,
    .co_discard = device_co_discard,
    .co_flush = file_co_flush,
    .co_create = device_co_create,
};
