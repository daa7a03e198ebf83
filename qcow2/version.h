/*
 * Version 2 to version 3 and back.
 */
#ifndef CAIRN_QCOW2_VERSION_H
#define CAIRN_QCOW2_VERSION_H

#include "qcow2/image.h"

/* Whether version 2 can say what the image says; refcounts of `order` are assumed. */
bool qcow2_co_check_downgrade(struct qcow2_image *image, int order, GError **error);

/* Makes the image one of `version`, after qcow2_co_check_downgrade() if that is 2. All of it is on
 * the disk. `job` may be NULL. */
bool qcow2_co_set_version(struct qcow2_image *image, int version, struct job *job, GError **error);

#endif
