/*
 * The door of a node: what every request passes before transfer.c cuts it to
 * the driver's measure.
 *
 * A request is counted in node->in_flight from here to its end. A drained
 * section waits until that count is zero and keeps newcomers waiting. Writes
 * advance write_gen when they end; a flush remembers the value it began with,
 * so that it is skipped when nothing was written since. On nodes with
 * request_align > 1 writes hold their range in node->ranges, shared when they
 * are aligned and exclusive while they read, modify and write; other nodes pay
 * nothing for that.
 *
 * On a loop other than the graph's only leaves may be used; their requests are
 * not counted: a job that spreads work over loops owns the graph meanwhile.
 */
#include "libblock/request.h"

#include <errno.h>

#include "libblock/deep.h"
#include "libblock/graph.h"
#include "libblock/probe.h"
#include "libblock/transfer.h"

static bool is_foreign(const struct blk_node *node)
{
    bool foreign = G_UNLIKELY(loop_current() != node->graph->loop);
    g_assert(!foreign || node_is_leaf(node));
    return foreign;
}

static void request_co_begin(struct blk_node *node)
{
    while (G_UNLIKELY(node->drained)) {
        co_queue_co_wait(&node->waiters);
    }
    node->in_flight++;
}

static void request_end(struct blk_node *node)
{
    if (!--node->in_flight && G_UNLIKELY(node->drained)) {
        co_queue_wake_all(&node->waiters);
    }
}

void node_co_drain_begin(struct blk_node *node)
{
    node->drained++;
    while (node->in_flight) {
        co_queue_co_wait(&node->waiters);
    }
}

void node_drain_end(struct blk_node *node)
{
    g_assert(node->drained > 0);
    if (!--node->drained) {
        co_queue_wake_all(&node->waiters);
    }
}

void request_co_wait_idle(struct blk_node *node)
{
    if (node->in_flight) {
        node_co_drain_begin(node);
        node_drain_end(node);
    }
}

int request_check_range(int64_t offset, int64_t length)
{
    return offset < 0 || length < 0 || offset > INT64_MAX - length ? -EINVAL : 0;
}

int request_check_write(const struct blk_node *node, int64_t offset, int64_t length)
{
    int ret = request_check_range(offset, length);
    if (ret) {
        return ret;
    }
    if (!(node->flags & NODE_RDWR)) {
        return -EPERM;
    }
    return offset + length > node_size(node) && !node->growable ? -EIO : 0;
}

void request_note_write(struct blk_node *node, int64_t end)
{
    int64_t size = node_size(node);
    while (node->growable && end > size &&
           !__atomic_compare_exchange_n(&node->size, &size, end, false, __ATOMIC_RELAXED,
                                        __ATOMIC_RELAXED)) {
    }
    __atomic_add_fetch(&node->write_gen, 1, __ATOMIC_RELEASE);
}

struct deep_read {
    struct blk_node *node;
    int64_t offset, length;
    struct span span;
    int result;
};

static void deep_read_co_run(void *arg)
{
    struct deep_read *r = arg;
    r->result = transfer_co_read(r->node, r->offset, r->length, r->span);
}

static int read_co_deep(struct blk_node *node, int64_t offset, int64_t length, struct span span)
{
    struct deep_read r = {node, offset, length, span, -EIO};
    return deep_co_call(deep_read_co_run, &r) ? r.result : -ENOMEM;
}

int node_co_read(struct blk_node *node, int64_t offset, int64_t length, struct span span)
{
    int ret = request_check_range(offset, length);
    if (ret || !length) {
        return ret;
    }
    if (is_foreign(node)) {
        return transfer_co_read(node, offset, length, span);
    }
    request_co_begin(node);
    ret = G_UNLIKELY(deep_is_due(node)) ? read_co_deep(node, offset, length, span)
                                        : transfer_co_read(node, offset, length, span);
    request_end(node);
    return ret;
}

/* The guest of an image whose raw format was only guessed must not write the signature of another
 * format into it: next time that would be guessed. */
static int guard_co_probed(struct blk_node *node, int64_t offset, int64_t length, struct span span)
{
    uint8_t head[512] = {0};
    int64_t len = min_i64(node_size(node), sizeof(head));
    if (!(node->driver->flags & DRIVER_PLAIN) || offset >= len) {
        return 0;
    }
    int ret = transfer_co_read(node, 0, len, span_of(&(struct iovec){0}, head, len));
    if (!ret) {
        span_read(span, head + offset, min_i64(length, len - offset));
        ret = probe_head(node->graph, head, len, NULL) == node->driver ? 0 : -EPERM;
    }
    return ret;
}

static uint32_t effective_flags(const struct blk_node *node, uint32_t flags)
{
    if (node->flags & NODE_WRITETHROUGH) {
        flags |= REQ_FUA;
    }
    return node->flags & NODE_NO_FLUSH ? flags & ~(uint32_t)REQ_FUA : flags;
}

static int flush_co_now(struct blk_node *node);

/* True when a write with REQ_FUA needs a flush after it. */
static bool fua_is_emulated(const struct blk_node *node, uint32_t flags)
{
    return (flags & REQ_FUA) && node->driver->co_write && !(node->driver->flags & DRIVER_FUA);
}

static int write_co_counted(struct blk_node *node, int64_t offset, int64_t length, struct span span,
                            uint32_t flags)
{
    int ret = node->probed ? guard_co_probed(node, offset, length, span) : 0;
    if (ret) {
        return ret;
    }
    bool flush = fua_is_emulated(node, flags);
    ret = transfer_co_write(node, offset, length, span, flush ? flags & ~(uint32_t)REQ_FUA : flags);
    node_co_event(node, BLK_EVENT_PWRITEV_DONE);
    request_note_write(node, ret ? 0 : offset + length);
    return ret || !flush ? ret : flush_co_now(node);
}

int node_co_write(struct blk_node *node, int64_t offset, int64_t length, struct span span,
                  uint32_t flags)
{
    int ret = request_check_write(node, offset, length);
    if (ret || !length) {
        return ret;
    }
    flags = effective_flags(node, flags);
    if (is_foreign(node)) {
        return leaf_co_write_span(node, offset, length, span, flags);
    }
    request_co_begin(node);
    ret = write_co_counted(node, offset, length, span, flags);
    request_end(node);
    return ret;
}

int node_co_write_compressed(struct blk_node *node, int64_t offset, int64_t length,
                             struct span span)
{
    const struct plan_ops *ops = node->driver->plan;
    int ret = request_check_write(node, offset, length);
    if (ret || !length) {
        return ret;
    }
    if (node->file && (node->driver->flags & DRIVER_FILTER) && !node->driver->co_write) {
        request_co_begin(node);
        ret = node_co_write_compressed(node->file, offset, length, span);
        request_note_write(node, ret ? 0 : offset + length);
        request_end(node);
        return ret;
    }
    if (!ops || !ops->co_write_packed) {
        return -ENOTSUP;
    }
    request_co_begin(node);
    ret = ops->co_write_packed(node, offset, length, span);
    request_note_write(node, ret ? 0 : offset + length);
    bool flush = !ret && (effective_flags(node, 0) & REQ_FUA);
    ret = flush ? flush_co_now(node) : ret;
    request_end(node);
    return ret;
}

int node_co_zero(struct blk_node *node, int64_t offset, int64_t length, uint32_t flags)
{
    int ret = request_check_write(node, offset, length);
    if (ret || !length) {
        return ret;
    }
    flags = effective_flags(node, flags);
    if (is_foreign(node)) {
        return leaf_co_zero(node, offset, length, flags);
    }
    bool flush = fua_is_emulated(node, flags);
    request_co_begin(node);
    ret = transfer_co_zero(node, offset, length, flush ? flags & ~(uint32_t)REQ_FUA : flags);
    request_note_write(node, ret ? 0 : offset + length);
    ret = ret || !flush ? ret : flush_co_now(node);
    request_end(node);
    return ret;
}

int node_co_discard(struct blk_node *node, int64_t offset, int64_t length)
{
    int ret = request_check_range(offset, length);
    if (!ret && node->growable) {
        length = max_i64(0, min_i64(length, node_size(node) - offset));
    }
    ret = ret ? ret : request_check_write(node, offset, length);
    if (ret || !length) {
        return ret;
    }
    if (is_foreign(node)) {
        return transfer_co_discard(node, offset, length);
    }
    request_co_begin(node);
    ret = transfer_co_discard(node, offset, length);
    request_note_write(node, 0);
    request_end(node);
    return ret;
}

/* ---- the area for a machine's state ---- */

int node_co_vmstate_read(struct blk_node *node, int64_t offset, int64_t length, struct span span)
{
    const struct snapshot_ops *ops = node->driver->snapshot;
    int ret = ops ? request_check_range(offset, length) : -ENOTSUP;
    if (ret || !length) {
        return ret;
    }
    request_co_begin(node);
    node_co_event(node->file, BLK_EVENT_VMSTATE_LOAD);
    ret = ops->co_vmstate_read(node, offset, length, span);
    request_end(node);
    return ret;
}

int node_co_vmstate_write(struct blk_node *node, int64_t offset, int64_t length, struct span span)
{
    const struct snapshot_ops *ops = node->driver->snapshot;
    int ret = ops ? request_check_range(offset, length) : -ENOTSUP;
    if (!ret && !node_is_writable(node)) {
        ret = -EPERM;
    }
    if (ret || !length) {
        return ret;
    }
    request_co_begin(node);
    node_co_event(node->file, BLK_EVENT_VMSTATE_SAVE);
    ret = ops->co_vmstate_write(node, offset, length, span);
    request_note_write(node, 0);
    request_end(node);
    return ret;
}

static int flush_co_children(struct blk_node *node)
{
    int ret = node->file ? node_co_flush(node->file) : 0;
    return ret || !node->data_file ? ret : node_co_flush(node->data_file);
}

/* The driver first, then what is below it. A medium that once failed to flush may have dropped
 * what it held, so the failure of a protocol node is final. */
static int flush_co_now(struct blk_node *node)
{
    bool protocol = node->driver->flags & DRIVER_PROTOCOL;
    uint64_t gen = __atomic_load_n(&node->write_gen, __ATOMIC_ACQUIRE);
    int ret = node->flush_error;
    node_co_event(node->file, BLK_EVENT_FLUSH_TO_OS);
    if (!ret && node->driver->co_flush && gen != node->flushed_gen &&
        !(protocol && (node->flags & NODE_NO_FLUSH))) {
        ret = node->driver->co_flush(node);
        node->flush_error = protocol && ret != -ENOMEM ? ret : 0;
    }
    node_co_event(node->file, BLK_EVENT_FLUSH_TO_DISK);
    ret = ret ? ret : flush_co_children(node);
    if (!ret && gen > node->flushed_gen) {
        node->flushed_gen = gen;
    }
    return ret;
}

int node_co_flush(struct blk_node *node)
{
    if (is_foreign(node)) {
        return node->driver->co_flush ? node->driver->co_flush(node) : 0;
    }
    request_co_begin(node);
    int ret = flush_co_now(node);
    request_end(node);
    return ret;
}

static bool resize_co_now(struct blk_node *node, int64_t size, const char *preallocation,
                          GError **error)
{
    const struct blk_driver *driver = node->driver;
    if (driver->co_resize) {
        return driver->co_resize(node, size, preallocation, error);
    }
    if (node->file && (driver->flags & DRIVER_FILTER)) {
        bool ok = node_co_resize(node->file, size, preallocation, error);
        node->size = ok ? node_size(node->file) : node->size;
        return ok;
    }
    return error_set(error, ENOTSUP, "driver '%s' cannot resize", driver->name);
}

bool node_co_resize(struct blk_node *node, int64_t size, const char *preallocation, GError **error)
{
    if (!(node->flags & NODE_RDWR)) {
        return error_set(error, EACCES, "'%s' is open read-only", node_filename(node));
    }
    if (size < 0) {
        return error_set(error, EINVAL, "a size of %" PRId64 " bytes is not possible", size);
    }
    bool shrinks = size < node_size(node);
    if (shrinks) {
        node_co_drain_begin(node);
    } else {
        request_co_begin(node);
    }
    bool ok = resize_co_now(node, size, preallocation, error);
    request_note_write(node, 0);
    if (shrinks) {
        node_drain_end(node);
    } else {
        request_end(node);
    }
    return ok;
}

int node_co_copy_range(struct blk_node *src, int64_t src_offset, struct blk_node *dst,
                       int64_t dst_offset, int64_t length)
{
    int ret = request_check_range(src_offset, length);
    ret = ret ? ret : request_check_write(dst, dst_offset, length);
    if (ret || !length) {
        return ret;
    }
    if (src->driver != dst->driver || !dst->driver->co_copy_range) {
        return -ENOTSUP;
    }
    if (src_offset + length > node_size(src)) {
        return -EIO;
    }
    bool foreign = is_foreign(dst);
    if (!foreign) {
        request_co_begin(src);
        request_co_begin(dst);
    }
    ret = dst->driver->co_copy_range(src, src_offset, dst, dst_offset, length);
    request_note_write(dst, ret ? 0 : dst_offset + length);
    if (!foreign) {
        request_end(dst);
        request_end(src);
    }
    return ret;
}

int node_co_pread(struct blk_node *node, int64_t offset, int64_t length, void *buf)
{
    struct iovec slot;
    return node_co_read(node, offset, length, span_of(&slot, buf, length));
}

int node_co_pwrite(struct blk_node *node, int64_t offset, int64_t length, const void *buf)
{
    struct iovec slot;
    return node_co_write(node, offset, length, span_of(&slot, (void *)buf, length), 0);
}
