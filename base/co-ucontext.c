/*
 * The stack switch for hosts without one in assembly. About twenty times as
 * slow, because swapcontext() also switches signal masks by a system call.
 */
#include "base/co-context.h"

#include <assert.h>

void co_context_init(struct co_context *context, void *stack, size_t size)
{
    getcontext(&context->ucontext);
    context->ucontext.uc_stack.ss_sp = stack;
    context->ucontext.uc_stack.ss_size = size;
    context->ucontext.uc_link = NULL;
    makecontext(&context->ucontext, co_main, 0);
}

void co_context_switch(struct co_context *from, struct co_context *to)
{
    int failed = swapcontext(&from->ucontext, &to->ucontext);
    assert(!failed);
    (void)failed;
}
