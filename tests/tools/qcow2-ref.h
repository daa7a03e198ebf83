/*
 * A second opinion on qcow2 images, written from the specification and sharing
 * nothing with qcow2/: counts every reference from the header, L1, L2 and
 * refcount tables of an image held in memory, and compares with what is stored.
 */
#ifndef CAIRN_TESTS_QCOW2_REF_H
#define CAIRN_TESTS_QCOW2_REF_H

#include <stdint.h>

struct qcow2_ref {
    int64_t
        corruptions; /* too low refcounts, wrong COPIED flags, overlaps, references past the end */
    int64_t leaks;   /* clusters whose refcount is too high */
    char first[128]; /* the first problem in words */
};

struct qcow2_ref qcow2_ref_check(const uint8_t *bytes, int64_t size);

#endif
