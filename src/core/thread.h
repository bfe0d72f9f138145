/* The greenlet world of one OS thread. */

#ifndef ML_THREAD_H
#define ML_THREAD_H

#include "lane.h"

#include <stdatomic.h>

#define TRANSFER_SIZE ((size_t)128 << 10)
#define TRANSFER_GUARD ((size_t)64 << 10) /* a multiple of every page size */

struct ml_thread {
    ml_greenlet *current;
    _Atomic(ml_greenlet *) graveyard; /* pushed by any thread, emptied by this one */
    ml_parcel parcel;                 /* in flight */
    ml_greenlet *origin;              /* who made the switch in flight */
    ml_greenlet *main;
    void *tracer;
    const char *barred; /* why nobody may be switched to, or NULL */
    ml_lanes lanes;

    /* Copying runs here when it replaces the bytes its caller stands on. */
    char *transfer_map;
    int refusal;                   /* why the switch in flight came back, or 0 ... */
    const ml_parcel_kind *refused; /* ... and what its parcel is: see ml_take_refusal */
    void *left;                    /* where a stack was left for good */

    bool exited;
    size_t tenants; /* itself, and the main and started greenlets not yet finalised */

    const char *main_low, *main_high; /* of the stack that is no lane; NULL: not asked for yet */

    /* AddressSanitizer's view of the stack that is no lane. */
    const void *main_bottom;
    size_t main_size;
};

/* The calling thread, or NULL if it has none yet. Initial-exec: one instruction, also in a
   shared library that is loaded late; it takes eight bytes of the surplus glibc keeps for this. */
extern _Thread_local ml_thread *ml_this_thread __attribute__((tls_model("initial-exec")));

/* How many bytes of the calling thread's own stack there are from `sp` to its base; 0 if `sp` is
   elsewhere. */
size_t ml_thread_stack_above(const char *sp);

/* Where the calling thread's own stack is; both NULL if that is not known. */
void ml_thread_stack(const char **low, const char **high);

/* Kills what is in the graveyard. */
void ml_thread_drain(ml_thread *t);

/* One user of `t` less; frees it with the last. */
void ml_thread_unref(ml_thread *t);

#endif
