/* The contract of arch/arch.h, without anything else of the core: what a new processor must pass
   first. Two stacks, each with a value in every register that a call preserves. */

#include "../../arch/arch.h"
#include "host.h"

#include <fenv.h>
#include <stdio.h>
#include <unwind.h>

enum { STACK_SIZE = 256 << 10, TIMES = 1000 };

static _Alignas(16) char stack[STACK_SIZE + 16]; /* the outermost frame has a formal end there */
static void *ours;                               /* where the thread's own stack is suspended */
static void *other;                              /* and where the one above is */

/* What goes on in the place of the call below. */
static intptr_t resume(void *arg) {
    CHECK((uintptr_t)__builtin_frame_address(0) % 16 == 0);
    *(volatile uint64_t *)arg += 1;
    return 42;
}

/* Switches with registers full of what follows from `seed`, the frame pointer in use too, since
   there is an array of variable size. */
static void switch_laden(void **save, void *load, uint64_t seed) {
    volatile unsigned char canary[1 + seed % 50];
    volatile uint64_t k[10];
    volatile double d[8];
    canary[seed % 50] = (unsigned char)seed;
    for (unsigned i = 0; i < 10; i++) k[i] = seed *= 0x2545f4914f6cdd1du;
    for (unsigned i = 0; i < 8; i++) d[i] = (double)(k[i] >> 12);
    unsigned char last = canary[sizeof canary - 1];
    uint64_t k0 = k[0], k1 = k[1], k2 = k[2], k3 = k[3], k4 = k[4];
    uint64_t k5 = k[5], k6 = k[6], k7 = k[7], k8 = k[8], k9 = k[9];
    double d0 = d[0], d1 = d[1], d2 = d[2], d3 = d[3], d4 = d[4], d5 = d[5], d6 = d[6], d7 = d[7];
    volatile uint64_t resumed = seed;
    CHECK(ml_arch_switch(save, load, resume, (void *)&resumed) == 42);
    CHECK(resumed == seed + 1);
    CHECK(k0 == k[0] && k1 == k[1] && k2 == k[2] && k3 == k[3] && k4 == k[4]);
    CHECK(k5 == k[5] && k6 == k[6] && k7 == k[7] && k8 == k[8] && k9 == k[9]);
    CHECK(d0 == d[0] && d1 == d[1] && d2 == d[2] && d3 == d[3]);
    CHECK(d4 == d[4] && d5 == d[5] && d6 == d[6] && d7 == d[7]);
    CHECK(last == canary[sizeof canary - 1]);
}

/* Only this stack's frames, and then the end. */
static _Unwind_Reason_Code count_frame(struct _Unwind_Context *context, void *count) {
    const char *frame = (const char *)_Unwind_GetCFA(context);
    CHECK(frame > stack && frame <= stack + STACK_SIZE + 16);
    CHECK(++*(int *)count < 10);
    return _URC_NO_REASON;
}

static void entry(void *arg) {
    CHECK(arg == &other);
    CHECK((uintptr_t)__builtin_frame_address(0) % 16 == 0);
    CHECK(fegetround() == FE_DOWNWARD); /* as the starter has it */
    int frames = 0;
    CHECK(_Unwind_Backtrace(count_frame, &frames) == _URC_END_OF_STACK);
    CHECK(frames >= 2); /* this and the one that calls it */
    fesetround(FE_UPWARD);
    for (uint64_t i = 0;; i++) {
        switch_laden(&other, ours, ~i);
        CHECK(fegetround() == FE_UPWARD);
    }
}

/* Ends at once, with other control state. */
static void leave(void *arg) {
    CHECK(fegetround() == FE_TOWARDZERO);
    fesetround(FE_UPWARD);
    ml_arch_continue(arg ? ours : NULL);
    CHECK(!"not reached");
}

int main(void) {
    fesetround(FE_DOWNWARD);
    volatile uint64_t resumed = 1;
    CHECK(ml_arch_start(&ours, stack + STACK_SIZE, entry, &other, resume, (void *)&resumed) == 42);
    CHECK(resumed == 2);
    CHECK(fegetround() == FE_DOWNWARD);
    CHECK((char *)other >= stack && (char *)other < stack + STACK_SIZE);
    fesetround(FE_TOWARDZERO);
    for (uint64_t i = 1; i <= TIMES; i++) {
        switch_laden(&ours, other, i);
        CHECK(fegetround() == FE_TOWARDZERO);
    }
    for (uint64_t i = 1; i <= TIMES; i++) {
        volatile uint64_t again = i;
        CHECK(ml_arch_start(&ours, stack + STACK_SIZE, leave, &ours, resume, (void *)&again) ==
              42);
        CHECK(again == i + 1 && fegetround() == FE_TOWARDZERO);
    }
    puts("arch: every register was kept");
    return 0;
}
