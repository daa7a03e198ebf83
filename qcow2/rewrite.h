/*
 * Replacing the header of an open image, with everything that has no fixed
 * place in it.
 */
#ifndef CAIRN_QCOW2_REWRITE_H
#define CAIRN_QCOW2_REWRITE_H

#include "qcow2/image.h"

/* Writes `header` over the image's own and makes it the image's; its contents are the caller's to
 * free only when this fails. All tables are on the disk already. Durable; a crash leaves the old
 * header or the new one. */
bool qcow2_co_rewrite_header(struct qcow2_image *image, struct qcow2_header *header,
                             GError **error);

/* A copy that owns its contents. */
struct qcow2_header qcow2_header_copy(const struct qcow2_header *header);

#endif
