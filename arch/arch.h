/* The contract between the core and a processor. Each processor implements it in one .S file,
   chosen by CMakeLists.txt; a port is finished when the tests in spec/core pass.

   A suspended stack is known by its stack pointer alone. On top of it (at and above that
   address) lie the callee-saved registers and the floating-point control state of its ABI, and
   how it goes on: a function and its argument. */

#ifndef ML_ARCH_H
#define ML_ARCH_H

#include <stdint.h>

typedef intptr_t ml_resume(void *arg);

/* Suspends the current stack and continues the one suspended at `load`.
   Pushes the callee-saved state, stores the stack pointer in `*save`, makes `load` the stack
   pointer, pops that stack's state and jumps to its `resume(arg)`, which runs in the place of the
   call that suspended it: what it returns, that call returns. Never stores below a live stack
   pointer.

   Why not simply return: whoever ends with such a call has nothing left on the stack, and there is
   no return of this function that could be predicted wrong. A processor predicts returns by a stack
   of its own, which is right only if both stacks have the same calls above; each return that is
   wrong costs as much as the rest of a switch. So there is no call without its return in here
   either. */
intptr_t ml_arch_switch(void **save, void *load, ml_resume *resume, void *arg);

/* Suspends the current stack in the same way and calls `entry(entry_arg)` on the one that ends at
   `base` (16-byte aligned), with the floating-point control state as it is. `entry` must not
   return. Unwinders find no caller above it. */
intptr_t ml_arch_start(void **save, void *base, void (*entry)(void *arg), void *entry_arg,
                       ml_resume *resume, void *arg);

/* Leaves the current stack for good and continues the one suspended at `load`. Not declared
   _Noreturn: compilers call such functions, and never jump to them. */
void ml_arch_continue(void *load);

#endif
