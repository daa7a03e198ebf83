/*
 * The switch under a coroutine, once per host: co-x86_64.S, co-aarch64.S, or
 * co-ucontext.c where neither fits. Private to base.
 */
#ifndef CAIRN_BASE_CO_CONTEXT_H
#define CAIRN_BASE_CO_CONTEXT_H

#include <stddef.h>

/* A suspended flow of control. In assembly it is a stack pointer with the callee-saved registers
 * above it. */
#ifdef CO_ASM
struct co_context {
    void *sp;
};
#else
#include <ucontext.h>
struct co_context {
    ucontext_t ucontext;
};
#endif

/* Prepares `context` to enter co_main() on the zeroed `size` bytes at `stack`. */
void co_context_init(struct co_context *context, void *stack, size_t size);

/* Saves the running flow in `from` and continues `to`. Returns when somebody switches back. */
void co_context_switch(struct co_context *from, struct co_context *to);

/* Where every stack begins (co.c); never returns. */
void co_main(void);

#endif
