/* AArch64, AAPCS64.
   Callee-saved: x19-x30, the low halves of v8-v15, and FPCR, which holds the rounding mode.

   A suspended stack, from its stack pointer upwards:
       +0   x19 ... x28     +80  x29, x30     +96  d8 ... d15     +160 FPCR
       +168 arg     +176 resume     (192 bytes) */

        .text

/* Pushes the callee-saved state and how to go on, and stores the stack pointer in the first
   argument. */
        .macro  suspend resume, arg
        sub     sp, sp, #192
        .cfi_adjust_cfa_offset 192
        stp     x19, x20, [sp, #0]
        .cfi_rel_offset x19, 0
        .cfi_rel_offset x20, 8
        stp     x21, x22, [sp, #16]
        .cfi_rel_offset x21, 16
        .cfi_rel_offset x22, 24
        stp     x23, x24, [sp, #32]
        .cfi_rel_offset x23, 32
        .cfi_rel_offset x24, 40
        stp     x25, x26, [sp, #48]
        .cfi_rel_offset x25, 48
        .cfi_rel_offset x26, 56
        stp     x27, x28, [sp, #64]
        .cfi_rel_offset x27, 64
        .cfi_rel_offset x28, 72
        stp     x29, x30, [sp, #80]
        .cfi_rel_offset x29, 80
        .cfi_rel_offset x30, 88
        stp     d8, d9, [sp, #96]
        stp     d10, d11, [sp, #112]
        stp     d12, d13, [sp, #128]
        stp     d14, d15, [sp, #144]
        mrs     x9, fpcr
        stp     x9, \arg, [sp, #160]
        str     \resume, [sp, #176]
        mov     x10, sp
        str     x10, [x0]
        .endm

/* Pops all that, and jumps to `resume`. Setting FPCR is slow, and it nearly always is the same
   already. */
        .macro  continue
        mrs     x9, fpcr
        ldp     x10, x0, [sp, #160]
        ldr     x16, [sp, #176]
        cmp     x9, x10
        b.eq    .Lsame\@
        msr     fpcr, x10
.Lsame\@:
        ldp     d8, d9, [sp, #96]
        ldp     d10, d11, [sp, #112]
        ldp     d12, d13, [sp, #128]
        ldp     d14, d15, [sp, #144]
        ldp     x19, x20, [sp, #0]
        ldp     x21, x22, [sp, #16]
        ldp     x23, x24, [sp, #32]
        ldp     x25, x26, [sp, #48]
        ldp     x27, x28, [sp, #64]
        ldp     x29, x30, [sp, #80]
        .cfi_restore x19
        .cfi_restore x20
        .cfi_restore x21
        .cfi_restore x22
        .cfi_restore x23
        .cfi_restore x24
        .cfi_restore x25
        .cfi_restore x26
        .cfi_restore x27
        .cfi_restore x28
        .cfi_restore x29
        .cfi_restore x30
        add     sp, sp, #192
        .cfi_adjust_cfa_offset -192
        br      x16                     /* the register that bti c may be reached by */
        .endm

/* intptr_t ml_arch_switch(void **save, void *load, intptr_t (*resume)(void *), void *arg) */
        .globl  ml_arch_switch
        .hidden ml_arch_switch
        .type   ml_arch_switch, %function
        .balign 16
ml_arch_switch:
        .cfi_startproc
        hint    #34                     /* bti c */
        suspend x2, x3
        mov     sp, x1
        /* The other stack has the same layout, so the CFI above holds for it too. */
        continue
        .cfi_endproc
        .size   ml_arch_switch, .-ml_arch_switch

/* void ml_arch_continue(void *load) */
        .globl  ml_arch_continue
        .hidden ml_arch_continue
        .type   ml_arch_continue, %function
        .balign 16
ml_arch_continue:
        .cfi_startproc
        hint    #34
        mov     sp, x0
        .cfi_def_cfa sp, 192
        .cfi_rel_offset x19, 0
        .cfi_rel_offset x20, 8
        .cfi_rel_offset x21, 16
        .cfi_rel_offset x22, 24
        .cfi_rel_offset x23, 32
        .cfi_rel_offset x24, 40
        .cfi_rel_offset x25, 48
        .cfi_rel_offset x26, 56
        .cfi_rel_offset x27, 64
        .cfi_rel_offset x28, 72
        .cfi_rel_offset x29, 80
        .cfi_rel_offset x30, 88
        continue
        .cfi_endproc
        .size   ml_arch_continue, .-ml_arch_continue

/* intptr_t ml_arch_start(void **save, void *base, void (*entry)(void *), void *entry_arg,
                          intptr_t (*resume)(void *), void *arg) */
        .globl  ml_arch_start
        .hidden ml_arch_start
        .type   ml_arch_start, %function
        .balign 16
ml_arch_start:
        .cfi_startproc
        hint    #34
        suspend x4, x5
        /* The outermost frame of the new stack: no caller, so unwinders stop here. */
        mov     sp, x1
        .cfi_def_cfa sp, 16
        .cfi_undefined x30
        mov     x29, xzr                /* the end of the frame-pointer chain */
        adr     x30, 1f
        mov     x0, x3
        /* Not a call: the processor would expect a return here. */
        mov     x16, x2
        br      x16
1:      brk     #0
        .cfi_endproc
        .size   ml_arch_start, .-ml_arch_start

        .section .note.GNU-stack, "", %progbits

/* AArch64 feature property: branch target identification (bit 0) is honoured. Return addresses
   are neither signed nor authenticated here (bit 1). */
        .section .note.gnu.property, "a"
        .balign 8
        .long   4, 16, 5
        .asciz  "GNU"
        .long   0xc0000000, 4, 1, 0
