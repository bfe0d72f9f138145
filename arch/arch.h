/* The contract between the core and a processor. Each processor implements it in one .S file,
   chosen by CMakeLists.txt; a port is finished when the tests in spec/core pass.

   A suspended stack is known by its stack pointer alone. On top of it (at and above that
   address) lie the callee-saved registers and the floating-point control state of its ABI. */

#ifndef ML_ARCH_H
#define ML_ARCH_H

/* Suspends the current stack and continues the one suspended at `load`.
   Pushes the callee-saved state, stores the stack pointer in `*save`, makes `load` the stack
   pointer, pops that stack's state and returns on it. Never stores below a live stack pointer. */
void ml_arch_switch(void **save, void *load);

/* Suspends the current stack in the same way and calls `entry(arg)` on the one that ends at
   `base` (16-byte aligned), with the floating-point control state as it is. `entry` must not
   return. Unwinders find no caller above it. */
void ml_arch_start(void **save, void *base, void (*entry)(void *arg), void *arg);

#endif
