/*
 * What checkers must be told about stacks: AddressSanitizer keeps a fake stack
 * and bounds per fiber, ThreadSanitizer a happens-before clock, valgrind a
 * list of stacks. In ordinary builds everything here is empty. Private to base.
 */
#ifndef CAIRN_BASE_CO_SHADOW_H
#define CAIRN_BASE_CO_SHADOW_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define CO_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define CO_TSAN 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define CO_ASAN 1
#endif
#ifdef __SANITIZE_THREAD__
#define CO_TSAN 1
#endif

/* Built with a sanitizer: stacks need more room. */
#if defined(CO_ASAN) || defined(CO_TSAN)
#define CO_CHECKED 1
#else
#define CO_CHECKED 0
#endif

#ifdef CO_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef CO_TSAN
#include <sanitizer/tsan_interface.h>
#endif
#ifdef HAVE_VALGRIND_VALGRIND_H
#include <valgrind/valgrind.h>
#endif

struct co_shadow {
    const void *stack; /* lowest address; NULL while not known */
    size_t size;
    void *fake_stack, *fiber;
    unsigned valgrind_id;
};

static inline void shadow_init(struct co_shadow *shadow, void *stack, size_t size)
{
    shadow->stack = stack;
    shadow->size = size;
#ifdef CO_TSAN
    shadow->fiber = __tsan_create_fiber(0);
#endif
#ifdef HAVE_VALGRIND_VALGRIND_H
    shadow->valgrind_id = VALGRIND_STACK_REGISTER(stack, (char *)stack + size);
#endif
}

static inline void shadow_done(struct co_shadow *shadow)
{
#ifdef CO_ASAN
    ASAN_UNPOISON_MEMORY_REGION(shadow->stack, shadow->size);
#endif
#ifdef CO_TSAN
    __tsan_destroy_fiber(shadow->fiber);
#endif
#ifdef HAVE_VALGRIND_VALGRIND_H
    VALGRIND_STACK_DEREGISTER(shadow->valgrind_id);
#endif
}

/* Right before a switch; `last`: the flow that leaves never comes back. */
static inline void shadow_leave(struct co_shadow *from, struct co_shadow *to, bool last)
{
#ifdef CO_ASAN
    __sanitizer_start_switch_fiber(last ? NULL : &from->fake_stack, to->stack, to->size);
#endif
#ifdef CO_TSAN
    if (!from->fiber) {
        from->fiber = __tsan_get_current_fiber();
    }
    __tsan_switch_to_fiber(to->fiber, 0);
#endif
}

/* Right after a switch to `self`, which `resumer` (or NULL) runs: learns the bounds of a stack that
 * is not ours. */
static inline void shadow_arrive(struct co_shadow *self, struct co_shadow *resumer)
{
#ifdef CO_ASAN
    const void *stack;
    size_t size;
    __sanitizer_finish_switch_fiber(self->fake_stack, &stack, &size);
    if (resumer && !resumer->stack) {
        resumer->stack = stack;
        resumer->size = size;
    }
#endif
}

#endif
