/*
 * Requests with a callback, for callers outside coroutines: device models,
 * servers, the C API. Any thread may submit; the request runs, and its callback
 * is called, in the graph's loop.
 */
#include <errno.h>

#include "libblock/graph.h"

struct submission {
    struct blk_node *node;
    struct blk_request *request;
};

static int submission_co_perform(struct blk_node *node, const struct blk_request *r)
{
    struct span span = {r->iov, 0};
    switch (r->kind) {
    case REQ_READ: return node_co_read(node, r->offset, r->length, span);
    case REQ_WRITE: return node_co_write(node, r->offset, r->length, span, r->flags);
    case REQ_ZERO: return node_co_zero(node, r->offset, r->length, r->flags);
    case REQ_DISCARD: return node_co_discard(node, r->offset, r->length);
    case REQ_FLUSH: return node_co_flush(node);
    }
    return -EINVAL;
}

static void submission_co_run(void *arg)
{
    struct submission s = *(struct submission *)arg;
    s.request->done(s.request, submission_co_perform(s.node, s.request));
}

static void submission_co_run_own(void *arg)
{
    submission_co_run(arg);
    g_free(arg);
}

/* The argument is kept until there is a stack, which may be later. */
static void submission_post(void *arg)
{
    struct submission *s = arg;
    loop_spawn(s->node->graph->loop, submission_co_run_own, s);
}

void node_submit(struct blk_node *node, struct blk_request *request)
{
    struct submission s = {node, request};
    struct loop *loop = node->graph->loop;
    if (loop_current() != loop) {
        loop_post(loop, submission_post, g_memdup2(&s, sizeof(s)));
    } else if (!loop_try_spawn(loop, submission_co_run, &s)) {
        submission_post(g_memdup2(&s, sizeof(s)));
    }
}
