/*
 * A chain of images may be 200 long, and a request goes down it by recursion,
 * each layer on the stack of the one above. Coroutine stacks are small, so every
 * eighth layer continues on a stack of its own. A node's rank is the number of
 * layers below it, on the longest way down.
 */
#include "libblock/deep.h"

struct deep {
    co_fn *fn;
    void *arg;
    bool done;
    struct co_queue waiter;
};

static void deep_co_run(void *arg)
{
    struct deep *deep = arg;
    deep->fn(deep->arg);
    deep->done = true;
    co_queue_wake_all(&deep->waiter);
}

bool deep_co_call(co_fn *fn, void *arg)
{
    struct deep deep = {.fn = fn, .arg = arg};
    if (!loop_try_spawn(loop_current(), deep_co_run, &deep)) {
        return false;
    }
    while (!deep.done) {
        co_queue_co_wait(&deep.waiter);
    }
    return true;
}

void deep_set_rank(struct blk_node *node)
{
    const struct blk_node *children[] = {node->file, node->backing, node->data_file};
    node->rank = 0;
    for (size_t i = 0; i < G_N_ELEMENTS(children); i++) {
        if (children[i]) {
            node->rank = MAX(node->rank, children[i]->rank + 1);
        }
    }
}
