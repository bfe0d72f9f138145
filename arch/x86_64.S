/* x86-64, System V ABI.
   Callee-saved: rbx, rbp, r12-r15, the control bits of mxcsr, the x87 control word.

   A suspended stack, from its stack pointer upwards:
       +0  mxcsr   +4  x87 control word
       +8  r15  +16 r14  +24 r13  +32 r12  +40 rbx  +48 rbp  +56 return address */

        .text

/* void ml_arch_switch(void **save, void *load) */
        .globl  ml_arch_switch
        .hidden ml_arch_switch
        .type   ml_arch_switch, @function
        .balign 16
ml_arch_switch:
        .cfi_startproc
        endbr64
        pushq   %rbp
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset rbp, 0
        pushq   %rbx
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset rbx, 0
        pushq   %r12
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset r12, 0
        pushq   %r13
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset r13, 0
        pushq   %r14
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset r14, 0
        pushq   %r15
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset r15, 0
        subq    $8, %rsp
        .cfi_adjust_cfa_offset 8
        stmxcsr (%rsp)
        fnstcw  4(%rsp)

        movq    %rsp, (%rdi)
        movq    %rsi, %rsp

        /* The other stack has the same layout, so the CFI above holds for it too. */
        ldmxcsr (%rsp)
        fldcw   4(%rsp)
        addq    $8, %rsp
        .cfi_adjust_cfa_offset -8
        popq    %r15
        .cfi_adjust_cfa_offset -8
        .cfi_restore r15
        popq    %r14
        .cfi_adjust_cfa_offset -8
        .cfi_restore r14
        popq    %r13
        .cfi_adjust_cfa_offset -8
        .cfi_restore r13
        popq    %r12
        .cfi_adjust_cfa_offset -8
        .cfi_restore r12
        popq    %rbx
        .cfi_adjust_cfa_offset -8
        .cfi_restore rbx
        popq    %rbp
        .cfi_adjust_cfa_offset -8
        .cfi_restore rbp
        /* A jump, not a ret: the return-address predictor would be wrong every time.
           notrack: it lands behind a call, where indirect-branch tracking has no landing pad. */
        popq    %rcx
        .cfi_adjust_cfa_offset -8
        .cfi_register rip, rcx
        notrack jmp *%rcx
        .cfi_endproc
        .size   ml_arch_switch, .-ml_arch_switch

/* void *ml_arch_first(void *base, void (*entry)(void *), void *arg) */
        .globl  ml_arch_first
        .hidden ml_arch_first
        .type   ml_arch_first, @function
        .balign 16
ml_arch_first:
        .cfi_startproc
        endbr64
        leaq    start(%rip), %rcx
        leaq    -80(%rdi), %rax         /* 64 bytes of frame; 16 above it keep the ABI's alignment */
        stmxcsr (%rax)
        fnstcw  4(%rax)
        movq    $0, 8(%rax)
        movq    $0, 16(%rax)
        movq    $0, 24(%rax)
        movq    %rsi, 32(%rax)          /* r12: entry */
        movq    %rdx, 40(%rax)          /* rbx: arg */
        movq    $0, 48(%rax)            /* rbp: the end of the frame-pointer chain */
        movq    %rcx, 56(%rax)
        movq    $0, 64(%rax)
        movq    $0, 72(%rax)
        ret
        .cfi_endproc
        .size   ml_arch_first, .-ml_arch_first

/* The outermost frame of a lane: no caller, so unwinders stop here. */
        .type   start, @function
        .balign 16
start:
        .cfi_startproc
        .cfi_undefined rip
        movq    %rbx, %rdi
        callq   *%r12
        ud2
        .cfi_endproc
        .size   start, .-start

        .section .note.GNU-stack, "", @progbits

/* x86 feature property: indirect-branch tracking (bit 0) is honoured. Shadow stacks (bit 1) are
   not: a stack that is copied aside cannot take its shadow along. */
        .section .note.gnu.property, "a"
        .balign 8
        .long   4, 16, 5
        .asciz  "GNU"
        .long   0xc0000002, 4, 1, 0
