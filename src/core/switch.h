/* The pieces of ml_switch, for those whose switches are to cost as little as can be. In the common
   case, when the bytes of the target are in place, a parcel and registers are all that moves. */

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

/* How somebody can be switched to. */
enum {
    ML_STAY,  /* it is the current greenlet */
    ML_NEAR,  /* its bytes are in place */
    ML_FRESH, /* it has none yet, but a lane for them */
    ML_FAR,   /* either, when the bytes of the current greenlet have been copied aside */
};

typedef struct ml_route {
    ml_greenlet *to;
    int way; /* or an ML_E... code */
} ml_route;

/* The route to `target`, or where its death forwards to. May run arbitrary code, if that is new or
   others are to be killed before. A new one has been started then: there must be nothing any more
   that could keep the caller from going there. If it cannot be reached, `to` is `target`. */
ml_route ml_find_long_way(ml_thread *t, ml_greenlet *target);

/* Whether the way to `to` is ML_NEAR. */
static inline bool ml_is_near(const ml_thread *t, const ml_greenlet *to) {
    return !HOSTILE && to->state == ML_ACTIVE && to->thread == t && to != t->current &&
           (!to->lane || to->lane->resident == to) && !t->barred &&
           !atomic_load_explicit(&t->graveyard, memory_order_relaxed);
}

static inline ml_route ml_find_way(ml_thread *t, ml_greenlet *target) {
    return __builtin_expect(ml_is_near(t, target), 1) ? (ml_route){target, ML_NEAR}
                                                      : ml_find_long_way(t, target);
}

/* For ml_go. */
intptr_t ml_go_far(ml_thread *t, void **fake_stack, ml_resume *resume, void *arg);
intptr_t ml_go_fresh(ml_thread *t, ml_greenlet *to, ml_resume *resume, void *arg);

/* Switches by a route that was found, and does not stay. The sender has done what ml_hook_leave does,
   and t->parcel is what it sends; t->parcel.origin means nothing. When somebody switches back,
   resume(arg) runs in the place of this call, and what that returns is returned: who ends with this
   call leaves nothing of itself on the stack, where it would cost memory, and returns that are
   predicted wrong (arch.h). It calls ml_come first. */
static inline intptr_t ml_go(ml_thread *t, ml_route route, ml_resume *resume, void *arg) {
    ml_greenlet *from = t->current;
    void **fake_stack = NULL;
#ifdef ML_SANITIZE
    fake_stack = &from->fake_stack;
#endif
    t->origin = from;
    t->current = route.to;
    if (__builtin_expect(route.way == ML_FAR, 0)) return ml_go_far(t, fake_stack, resume, arg);
    ml_announce(t, route.to, fake_stack);
    if (__builtin_expect(route.way == ML_FRESH, 0)) return ml_go_fresh(t, route.to, resume, arg);
    return ml_arch_switch(&from->sp, route.to->sp, resume, arg);
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

/* To be asked if t->parcel has no kind: 0, or an error code. Then the switch that was tried has
   failed, t->parcel is the caller's own again, and t->origin the caller. */
int ml_take_refusal(ml_thread *t);

#endif
