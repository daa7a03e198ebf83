/*
 * Which metadata is protected against being overwritten: the options overlap-check.*.
 */
#ifndef CAIRN_QCOW2_PROTECT_H
#define CAIRN_QCOW2_PROTECT_H

#include "qcow2/image.h"

/* Reads the option's value (a mode, or an object with "template" and a switch for each kind of
 * metadata; NULL: everything is protected) into a mask for image->protect. */
bool qcow2_protect_parse(json_t *told, uint32_t *ret_kinds, GError **error);

/* Takes the kinds that are not in image->protect out of image->meta, after all were noted there. */
void qcow2_protect_apply(struct qcow2_image *image);

#endif
