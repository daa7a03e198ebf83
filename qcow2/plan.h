/*
 * Filling a fresh image in guest order, for convert.
 */
#ifndef CAIRN_QCOW2_PLAN_H
#define CAIRN_QCOW2_PLAN_H

struct plan_ops;

extern const struct plan_ops qcow2_plan_ops;

#endif
