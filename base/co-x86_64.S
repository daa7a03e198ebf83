/*
 * The stack switch for x86-64. A suspended context is the callee-saved
 * registers and a return address, lowest first:
 *
 *     sp -> r15 r14 r13 r12 rbx rbp rip
 *
 * The file is marked for indirect-branch tracking but not for shadow stacks,
 * which a stack switch does not keep.
 */
    .text

/* void co_context_switch(struct co_context *from, struct co_context *to) */
    .globl  co_context_switch
    .hidden co_context_switch
    .type   co_context_switch, @function
    .p2align 4
co_context_switch:
    .cfi_startproc
    endbr64
    pushq   %rbp
    .cfi_adjust_cfa_offset 8
    pushq   %rbx
    .cfi_adjust_cfa_offset 8
    pushq   %r12
    .cfi_adjust_cfa_offset 8
    pushq   %r13
    .cfi_adjust_cfa_offset 8
    pushq   %r14
    .cfi_adjust_cfa_offset 8
    pushq   %r15
    .cfi_adjust_cfa_offset 8
    movq    %rsp, (%rdi)
    movq    (%rsi), %rsp
    popq    %r15
    .cfi_adjust_cfa_offset -8
    popq    %r14
    .cfi_adjust_cfa_offset -8
    popq    %r13
    .cfi_adjust_cfa_offset -8
    popq    %r12
    .cfi_adjust_cfa_offset -8
    popq    %rbx
    .cfi_adjust_cfa_offset -8
    popq    %rbp
    .cfi_adjust_cfa_offset -8
    ret
    .cfi_endproc
    .size   co_context_switch, . - co_context_switch

/* void co_context_init(struct co_context *context, void *stack, size_t size) */
    .globl  co_context_init
    .hidden co_context_init
    .type   co_context_init, @function
    .p2align 4
co_context_init:
    .cfi_startproc
    endbr64
    leaq    (%rsi,%rdx), %rax
    andq    $-16, %rax
    leaq    co_start(%rip), %rcx
    movq    %rcx, -8(%rax)
    subq    $56, %rax
    movq    %rax, (%rdi)
    ret
    .cfi_endproc
    .size   co_context_init, . - co_context_init

/* The outermost frame of every coroutine. */
    .type   co_start, @function
    .p2align 4
co_start:
    .cfi_startproc
    .cfi_undefined rip
    endbr64
    call    co_main
    ud2
    .cfi_endproc
    .size   co_start, . - co_start

    .hidden co_main

    .section .note.gnu.property, "a"
    .p2align 3
    .long   4
    .long   16
    .long   5
    .asciz  "GNU"
    .long   0xc0000002
    .long   4
    .long   1
    .long   0

    .section .note.GNU-stack, "", @progbits
