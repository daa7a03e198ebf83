/*
 * A header is more than a sector once a backing file's name and extensions
 * follow the fields, but only sectors are written whole or not at all. So the new
 * header is laid out around the old one: what it has past the first sector goes
 * where the old one has nothing, or the same bytes, and the first sector, with the
 * fields that point there, is the switch.
 *
 *     sector 0                 |  1 ...
 *     fields, extensions ......|.. end |  old name   |  new name  |
 *     1: what is new past sector 0   2: flush   3: sector 0   4: flush   5: zeroes over the rest
 *
 * The table of feature names, which nobody needs to read the image, gives way
 * where there is not enough room. Only where even that does not help (clusters of
 * 1 or 2 KiB, two names of hundreds of bytes) is the cluster written in one go.
 */
#include "qcow2/rewrite.h"

#include <errno.h>

#include "qcow2/commit.h"

enum { SECTOR = 512 };

/* A first cluster and what of it is in use. */
struct head {
    uint8_t *bytes;
    struct qcow2_header_parts parts;
};

static bool is_used(const struct head *head, int64_t at)
{
    const struct qcow2_header_parts *p = &head->parts;
    return at < p->extensions_end || (at >= p->name_offset && at < p->name_offset + p->name_length);
}

/* True when past the first sector both agree on every byte that both use. */
static bool is_compatible(const struct head *old, const struct head *new, int64_t size)
{
    for (int64_t i = SECTOR; i < size; i++) {
        if (old->bytes[i] != new->bytes[i] && is_used(old, i) && is_used(new, i)) {
            return false;
        }
    }
    return true;
}

/* Lays the new header out around the old one, if that is possible; *ret_around tells. */
static bool lay_out(const struct qcow2_header *header, const struct head *old, struct head *new,
                    int64_t size, bool *ret_around, GError **error)
{
    const struct qcow2_header_parts *p = &old->parts;
    const int64_t places[] = {0, align_up(p->extensions_end, 8),
                              align_up(p->name_offset + p->name_length, 8)};
    for (int i = 0; i < 2 * (int)G_N_ELEMENTS(places); i++) {
        *ret_around = qcow2_header_encode_at(header, i < (int)G_N_ELEMENTS(places),
                                             places[i % (int)G_N_ELEMENTS(places)], new->bytes,
                                             &new->parts, NULL) &&
                      is_compatible(old, new, size);
        if (*ret_around) {
            return true;
        }
    }
    return qcow2_header_encode_at(header, true, 0, new->bytes, &new->parts, error);
}

/* Writes the bytes from the second sector on in which `to` differs from `from`. */
static int co_write_rest(struct qcow2_image *image, const uint8_t *from, const uint8_t *to)
{
    int64_t first = SECTOR, end = image->cluster_size;
    while (end > first && from[end - 1] == to[end - 1]) {
        end--;
    }
    while (first < end && from[first] == to[first]) {
        first++;
    }
    return end > first ? node_co_pwrite(image->node->file, first, end - first, to + first) : 0;
}

/* `old->bytes` become the cluster as it is before the switch. */
static int co_write_around(struct qcow2_image *image, const struct head *old,
                           const struct head *new)
{
    struct blk_node *file = image->node->file;
    g_autofree uint8_t *merged = g_try_malloc((gsize)image->cluster_size);
    if (!merged) {
        return -ENOMEM;
    }
    memcpy(merged, old->bytes, (size_t)image->cluster_size);
    for (int64_t i = SECTOR; i < image->cluster_size; i++) {
        merged[i] = is_used(new, i) ? new->bytes[i] : merged[i];
    }
    int ret = co_write_rest(image, old->bytes, merged);
    ret = ret ? ret : node_co_flush(file);
    if (!ret) {
        ret = node_co_pwrite(file, 0, SECTOR, new->bytes);
        ret = ret ? ret : node_co_flush(file);
        image->broken = ret;
    }
    return ret ? ret : co_write_rest(image, merged, new->bytes);
}

static int co_write_whole(struct qcow2_image *image, const struct head *new)
{
    struct blk_node *file = image->node->file;
    int ret = node_co_pwrite(file, 0, image->cluster_size, new->bytes);
    ret = ret ? ret : node_co_flush(file);
    image->broken = ret;
    return ret;
}

static bool co_rewrite(struct qcow2_image *image, const struct qcow2_header *header,
                       struct head *old, struct head *new, GError **error)
{
    int64_t size = image->cluster_size;
    bool around;
    int ret = node_co_pread(image->node->file, 0, min_i64(size, node_size(image->node->file)),
                            old->bytes);
    old->parts = qcow2_header_find_parts(old->bytes, size);
    if (!ret && !lay_out(header, old, new, size, &around, error)) {
        return false;
    }
    if (!ret) {
        ret = around ? co_write_around(image, old, new) : co_write_whole(image, new);
    }
    return !ret || error_set_errno(error, -ret, "could not write the header of '%s'",
                                   node_filename(image->node));
}

bool qcow2_co_rewrite_header(struct qcow2_image *image, struct qcow2_header *header, GError **error)
{
    struct head old = {.bytes = g_try_malloc0((gsize)image->cluster_size)};
    struct head new = {.bytes = g_try_malloc((gsize)image->cluster_size)};
    bool done = old.bytes && new.bytes
                    ? co_rewrite(image, header, &old, &new, error)
                    : error_set(error, ENOMEM, "no memory for the header of '%s'",
                                node_filename(image->node));
    g_free(old.bytes);
    g_free(new.bytes);
    if (done) {
        qcow2_header_clear(&image->header);
        image->header = *header;
    }
    return done;
}

struct qcow2_header qcow2_header_copy(const struct qcow2_header *header)
{
    struct qcow2_header copy = *header;
    copy.extra = g_memdup2(header->extra, header->extra_length);
    copy.backing_file = g_strdup(header->backing_file);
    copy.backing_format = g_strdup(header->backing_format);
    copy.data_file = g_strdup(header->data_file);
    copy.extensions = g_new(struct qcow2_extension, header->extension_count);
    for (int i = 0; i < header->extension_count; i++) {
        copy.extensions[i] = header->extensions[i];
        copy.extensions[i].data =
            g_memdup2(header->extensions[i].data, header->extensions[i].length);
    }
    return copy;
}
