/*
 * Long chains of images on short stacks; libblock only.
 */
#ifndef CAIRN_LIBBLOCK_DEEP_H
#define CAIRN_LIBBLOCK_DEEP_H

#include "libblock/driver.h"

/* Runs fn(arg) as a coroutine of its own, with a fresh stack, and waits for it; false when there is
 * no memory for a stack. */
bool deep_co_call(co_fn *fn, void *arg);

/* Sets node->rank when the children are known. */
void deep_set_rank(struct blk_node *node);

/* True when a call that goes down from `node` should go on on a fresh stack. */
static inline bool deep_is_due(const struct blk_node *node)
{
    return node->rank % 8 == 7;
}

#endif
