/*
 * The stack switch for AArch64. A suspended context is the callee-saved
 * registers, lowest first:
 *
 *     sp -> x19..x28 x29 x30 d8..d15
 */
    .text

/* void co_context_switch(struct co_context *from, struct co_context *to) */
    .globl  co_context_switch
    .hidden co_context_switch
    .type   co_context_switch, %function
    .p2align 4
co_context_switch:
    .cfi_startproc
    hint    #34                     /* bti c */
    sub     sp, sp, #160
    .cfi_adjust_cfa_offset 160
    stp     x19, x20, [sp, #0]
    stp     x21, x22, [sp, #16]
    stp     x23, x24, [sp, #32]
    stp     x25, x26, [sp, #48]
    stp     x27, x28, [sp, #64]
    stp     x29, x30, [sp, #80]
    stp     d8,  d9,  [sp, #96]
    stp     d10, d11, [sp, #112]
    stp     d12, d13, [sp, #128]
    stp     d14, d15, [sp, #144]
    mov     x2, sp
    str     x2, [x0]
    ldr     x2, [x1]
    mov     sp, x2
    ldp     x19, x20, [sp, #0]
    ldp     x21, x22, [sp, #16]
    ldp     x23, x24, [sp, #32]
    ldp     x25, x26, [sp, #48]
    ldp     x27, x28, [sp, #64]
    ldp     x29, x30, [sp, #80]
    ldp     d8,  d9,  [sp, #96]
    ldp     d10, d11, [sp, #112]
    ldp     d12, d13, [sp, #128]
    ldp     d14, d15, [sp, #144]
    add     sp, sp, #160
    .cfi_adjust_cfa_offset -160
    ret
    .cfi_endproc
    .size   co_context_switch, . - co_context_switch

/* void co_context_init(struct co_context *context, void *stack, size_t size) */
    .globl  co_context_init
    .hidden co_context_init
    .type   co_context_init, %function
    .p2align 4
co_context_init:
    .cfi_startproc
    hint    #34                     /* bti c */
    add     x3, x1, x2
    and     x3, x3, #-16
    sub     x3, x3, #160
    adrp    x4, co_start
    add     x4, x4, :lo12:co_start
    str     x4, [x3, #88]
    str     x3, [x0]
    ret
    .cfi_endproc
    .size   co_context_init, . - co_context_init

/* The outermost frame of every coroutine. */
    .type   co_start, %function
    .p2align 4
co_start:
    .cfi_startproc
    .cfi_undefined x30
    hint    #36                     /* bti j */
    bl      co_main
    brk     #1
    .cfi_endproc
    .size   co_start, . - co_start

    .hidden co_main

    .section .note.gnu.property, "a"
    .p2align 3
    .word   4
    .word   16
    .word   5
    .asciz  "GNU"
    .word   0xc0000000
    .word   4
    .word   1
    .word   0

    .section .note.GNU-stack, "", %progbits
