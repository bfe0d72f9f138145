/* x86-64, System V ABI.
   Callee-saved: rbx, rbp, r12-r15, the control bits of mxcsr, the x87 control word.

   A suspended stack, from its stack pointer upwards:
       +0  mxcsr   +4  x87 control word   +8 arg  +16 resume
       +24 r15  +32 r14  +40 r13  +48 r12  +56 rbx  +64 rbp  +72 return address */

        .text

/* Pushes the callee-saved state and how to go on, and stores the stack pointer in the first
   argument. */
        .macro  suspend resume, arg
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
        pushq   \resume
        .cfi_adjust_cfa_offset 8
        pushq   \arg
        .cfi_adjust_cfa_offset 8
        subq    $8, %rsp
        .cfi_adjust_cfa_offset 8
        stmxcsr (%rsp)
        fnstcw  4(%rsp)
        movq    %rsp, (%rdi)
        .endm

/* Pops all that, and jumps to `resume`. To load the control words only where they differ is slower:
   what stmxcsr has stored is long in coming. */
        .macro  continue
        ldmxcsr (%rsp)
        fldcw   4(%rsp)
        addq    $8, %rsp
        .cfi_adjust_cfa_offset -8
        popq    %rdi                    /* arg */
        .cfi_adjust_cfa_offset -8
        popq    %rax                    /* resume */
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
        jmp     *%rax
        .endm

/* intptr_t ml_arch_switch(void **save, void *load, intptr_t (*resume)(void *), void *arg) */
        .globl  ml_arch_switch
        .hidden ml_arch_switch
        .type   ml_arch_switch, @function
        .balign 16
ml_arch_switch:
        .cfi_startproc
        endbr64
        suspend %rdx, %rcx
        movq    %rsi, %rsp
        /* The other stack has the same layout, so the CFI above holds for it too. */
        continue
        .cfi_endproc
        .size   ml_arch_switch, .-ml_arch_switch

/* void ml_arch_continue(void *load) */
        .globl  ml_arch_continue
        .hidden ml_arch_continue
        .type   ml_arch_continue, @function
        .balign 16
ml_arch_continue:
        .cfi_startproc
        endbr64
        movq    %rdi, %rsp
        .cfi_def_cfa rsp, 80
        .cfi_rel_offset r15, 24
        .cfi_rel_offset r14, 32
        .cfi_rel_offset r13, 40
        .cfi_rel_offset r12, 48
        .cfi_rel_offset rbx, 56
        .cfi_rel_offset rbp, 64
        continue
        .cfi_endproc
        .size   ml_arch_continue, .-ml_arch_continue

/* intptr_t ml_arch_start(void **save, void *base, void (*entry)(void *), void *entry_arg,
                          intptr_t (*resume)(void *), void *arg) */
        .globl  ml_arch_start
        .hidden ml_arch_start
        .type   ml_arch_start, @function
        .balign 16
ml_arch_start:
        .cfi_startproc
        endbr64
        suspend %r8, %r9
        /* The outermost frame of the new stack: no caller, so unwinders stop here. */
        movq    %rsi, %rsp
        .cfi_def_cfa rsp, 8
        .cfi_undefined rip
        .cfi_undefined rbp
        xorl    %ebp, %ebp              /* the end of the frame-pointer chain */
        movq    %rcx, %rdi
        /* Not a call: the processor would expect a return here. */
        leaq    1f(%rip), %rax
        pushq   %rax
        jmp     *%rdx
1:      ud2
        .cfi_endproc
        .size   ml_arch_start, .-ml_arch_start

        .section .note.GNU-stack, "", @progbits

/* x86 feature property: indirect-branch tracking (bit 0) is honoured. Shadow stacks (bit 1) are
   not: a stack that is copied aside cannot take its shadow along. */
        .section .note.gnu.property, "a"
        .balign 8
        .long   4, 16, 5
        .asciz  "GNU"
        .long   0xc0000002, 4, 1, 0
