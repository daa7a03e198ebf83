/*
 * Stacks and switches. A coroutine lives at the top of its own mapping:
 *
 *     mapping -> | guard page | stack, grows down ... | struct co |
 *
 * co_main() is a loop: it runs the coroutine's function, switches away and,
 * when the stack is used again, runs the next one. So a pooled stack needs no
 * preparation, and checkers see one fiber per stack. Freeing a stack enters it
 * one last time without a function, which ends that loop.
 *
 * The thread's state is reached through a function that is never inlined:
 * a thread-local address must not be kept across a switch.
 */
#include "base/co-impl.h"

#include <assert.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/bytes.h"

#define CO_STACK_SIZE (CO_CHECKED ? 256 * 1024 : 64 * 1024)
#define CO_POOL_MAX 64
#define CO_STACKS_MAX 16384 /* a thread; each takes two of the kernel's 65530 mappings */

struct co_thread {
    struct co leader; /* the thread's own stack */
    struct co *self;  /* what runs now */
    struct co *pool;
    int pooled, stacks;
};

static __attribute__((noinline)) struct co_thread *co_thread(void)
{
    static _Thread_local struct co_thread state;
    struct co_thread *thread = &state;
    __asm__ volatile("" : "+r"(thread));
    if (!thread->self) {
        thread->self = &thread->leader;
    }
    return thread;
}

/* Switches from the running `from` to `to`; comes back when somebody switches to `from`. */
static void co_switch(struct co *from, struct co *to, bool last)
{
    shadow_leave(&from->shadow, &to->shadow, last);
    co_context_switch(&from->context, &to->context);
    shadow_arrive(&from->shadow, from->caller ? &from->caller->shadow : NULL);
}

static void co_enter(struct co *co)
{
    struct co_thread *thread = co_thread();
    struct co *caller = thread->self;
    co->caller = caller;
    thread->self = co;
    co_switch(caller, co, false);
}

static void co_leave(bool last)
{
    struct co_thread *thread = co_thread();
    struct co *co = thread->self;
    struct co *caller = co->caller;
    assert(caller && "yield outside of a coroutine");
    co->caller = NULL;
    thread->self = caller;
    co_switch(co, caller, last);
}

void co_main(void)
{
    struct co *co = co_thread()->self;
    shadow_arrive(&co->shadow, &co->caller->shadow);
    while (co->fn) {
        co->fn(co->arg);
        co->ended = true;
        co_leave(false);
    }
    co_leave(true);
    __builtin_unreachable();
}

static size_t co_mapping_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE) + CO_STACK_SIZE;
}

/* May the thread have another stack? All of them take at most an eighth of a limited address space,
 * so that there is memory left to work with. */
static bool co_may_map(const struct co_thread *thread)
{
    struct rlimit as;
    if (thread->stacks >= CO_STACKS_MAX || getrlimit(RLIMIT_AS, &as) < 0) {
        return false;
    }
    return as.rlim_cur == RLIM_INFINITY ||
           (rlim_t)thread->stacks < as.rlim_cur / 8 / co_mapping_size();
}

static struct co *co_map(void)
{
    size_t guard = sysconf(_SC_PAGESIZE);
    size_t size = co_mapping_size();
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK;
    char *mapping = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (mapping == MAP_FAILED) {
        return NULL;
    }
    if (mprotect(mapping, guard, PROT_NONE) < 0) {
        munmap(mapping, size);
        return NULL;
    }
    struct co *co = (void *)(mapping + align_down(size - sizeof(*co), 64));
    co->mapping = mapping;
    co_thread()->stacks++;
    shadow_init(&co->shadow, mapping + guard, CO_STACK_SIZE);
    co_context_init(&co->context, mapping + guard, (char *)co - (mapping + guard));
    return co;
}

static void co_unmap(struct co *co)
{
    co->fn = NULL;
    co_enter(co);
    shadow_done(&co->shadow);
    munmap(co->mapping, co_mapping_size());
    co_thread()->stacks--;
}

static void co_recycle(struct co *co)
{
    struct co_thread *thread = co_thread();
    if (thread->pooled == CO_POOL_MAX) {
        co_unmap(co);
        return;
    }
    co->next = thread->pool;
    thread->pool = co;
    thread->pooled++;
}

static struct co *co_pooled(struct co_thread *thread)
{
    struct co *co = thread->pool;
    if (co) {
        thread->pool = co->next;
        thread->pooled--;
    }
    return co;
}

static struct co *co_make(co_fn *fn, void *arg, bool beyond_limit)
{
    struct co *co = co_pooled(co_thread());
    if (!co && (beyond_limit || co_may_map(co_thread()))) {
        co = co_map();
    }
    if (co) {
        co->fn = fn;
        co->arg = arg;
        co->ended = false;
        co->next = NULL;
        co->loop = NULL;
    }
    return co;
}

struct co *co_new(co_fn *fn, void *arg)
{
    return co_make(fn, arg, false);
}

struct co *co_new_beyond_limit(co_fn *fn, void *arg)
{
    return co_make(fn, arg, true);
}

bool co_resume(struct co *co)
{
    assert(!co->caller && "resume of a running coroutine");
    co_enter(co);
    if (!co->ended) {
        return true;
    }
    co_recycle(co);
    return false;
}

void co_yield(void)
{
    co_leave(false);
}

struct co *co_self(void)
{
    struct co *self = co_thread()->self;
    return self->mapping ? self : NULL;
}

void co_thread_done(void)
{
    struct co *co;
    while ((co = co_pooled(co_thread()))) {
        co_unmap(co);
    }
}
