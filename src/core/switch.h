/* The short way of ml_switch, for those whose switches are to cost as little as can be: to a greenlet
   whose bytes are in place. All that is left then is to say what is sent, and registers. */

#ifndef ML_SWITCH_H
#define ML_SWITCH_H

#include "../../arch/arch.h"
#include "sanitize.h"
#include "thread.h"

/* Before the stack of `to` is switched to. */
static inline void ml_announce(const ml_thread *t, const ml_greenlet *to, void **fake_stack) {
    const ml_lane *lane = to->lane;
    if (lane) {
        ml_fiber_start(fake_stack, lane->low, (size_t)(lane->base - lane->low));
    } else {
        ml_fiber_start(fake_stack, t->main_bottom, t->main_size);
    }
}

/* First thing on a stack that was switched to; `fake_stack` is what ml_announce gave for it. */
static inline void ml_arrived(ml_thread *t, void *fake_stack) {
    const void *bottom;
    size_t size;
    ml_fiber_finish(fake_stack, &bottom, &size);
#ifdef ML_SANITIZE
    if (!t->main_bottom && t->origin == t->main) {
        t->main_bottom = bottom;
        t->main_size = size;
    }
#else
    (void)t;
#endif
}

/* How a greenlet can be switched to. */
typedef enum ml_way {
    ML_NONE, /* only by ml_switch */
    ML_NEAR, /* its bytes are in place */
    ML_FAR,  /* they are, when those of the current greenlet have been copied aside */
} ml_way;

/* The bytes of `to` are not in place: brings them there, if those of the current greenlet are not. */
ml_way ml_bring(ml_thread *t, ml_greenlet *to);

/* The way to `to`; ML_NONE also if it does not just wait to go on, or if somebody waits to be killed
   before. `t`: the calling thread, or NULL. */
static inline ml_way ml_find_way(ml_thread *t, ml_greenlet *to) {
    if (HOSTILE || !t || to->state != ML_ACTIVE || to->thread != t || to == t->current) return ML_NONE;
    if (t->barred || atomic_load_explicit(&t->graveyard, memory_order_relaxed)) return ML_NONE;
    if (__builtin_expect(!to->lane || to->lane->resident == to, 1)) return ML_NEAR;
    return ml_bring(t, to);
}

/* For ml_go. */
intptr_t ml_go_far(ml_thread *t, void **fake_stack, ml_resume *resume, void *arg);

/* Switches to `to` by the way that was found. The sender has done what ml_hook_leave does, and
   t->parcel is what it sends; t->parcel.origin means nothing. When somebody switches back,
   resume(arg) runs in the place of this call, and what that returns is returned: who ends with this
   call leaves nothing of itself on the stack, where it would cost memory, and returns that are
   predicted wrong (arch.h). It calls ml_come first. */
static inline intptr_t ml_go(ml_thread *t, ml_greenlet *to, ml_way way, ml_resume *resume,
                             void *arg) {
    ml_greenlet *from = t->current;
    void **fake_stack = NULL;
#ifdef ML_SANITIZE
    fake_stack = &from->fake_stack;
#endif
    t->origin = from;
    t->current = to;
    if (__builtin_expect(way == ML_FAR, 0)) return ml_go_far(t, fake_stack, resume, arg);
    ml_announce(t, to, fake_stack);
    return ml_arch_switch(&from->sp, to->sp, resume, arg);
}

/* The greenlet that goes on here, the current one. t->parcel is what was sent and t->origin who has
   sent it (the reference of ml_parcel.origin). What ml_hook_enter does is to be done, and
   ml_hook_trace where there is a tracer. */
static inline ml_greenlet *ml_come(ml_thread *t) {
    ml_greenlet *g = t->current;
#ifdef ML_SANITIZE
    ml_arrived(t, g->fake_stack);
#endif
    return g;
}

/* To be asked when t->parcel has no kind: 0, or an error code. Then the switch that was tried has
   failed, t->parcel is the caller's own again, and t->origin the caller. */
int ml_take_refusal(ml_thread *t);

#endif
