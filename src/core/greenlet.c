#include "switch.h"

#include <stdlib.h>

const char *ml_error_text(int code) {
    switch (code) {
        case ML_ENOMEM: return "out of memory";
        case ML_ETHREAD: return "cannot switch to a different thread";
        case ML_EEXITED:
            return "cannot switch to a different thread (which happens to have exited)";
        case ML_EORPHAN: return "cannot switch to a garbage collected greenlet";
        case ML_ECYCLE: return "cyclic parent chain";
        case ML_EMAIN: return "cannot set the parent of a main greenlet";
        case ML_EBARRED: return ml_barred() ? ml_barred() : "cannot switch now";
        default: return "unknown error";
    }
}

/* -------------------------------------------------------------------------- life and parents */

void ml_greenlet_init(ml_greenlet *g, void *owner, ml_greenlet *parent, ml_body body) {
    g->owner = owner;
    g->body = body;
    g->parent = parent;
    if (parent) ml_hook_retain(parent);
    if (ml_adopt_lua) ml_adopt_lua(g);
}

void ml_greenlet_fini(ml_greenlet *g) {
    ml_thread *t = g->thread;
    if (g->stays && !t->exited) ml_lane_leave(&t->lanes, g);
    if (g->saved) {
        if (t) {
            ml_lane_forget(&t->lanes, g);
        } else {
            ml_the_memory.release(g->saved);
        }
    }
    if (g->lua_threads) ml_forget_lua(g);
    ml_greenlet *parent = g->parent;
    g->parent = NULL;
    g->thread = NULL;
    if (t) ml_thread_unref(t);
    if (parent) ml_hook_release(parent);
}

void ml_greenlet_abandon(ml_greenlet *g) {
    ml_lanes *lanes = &g->thread->lanes;
    bool in_place = g->lane->resident == g;
    g->stays = in_place && ml_lane_evict(lanes, g->lane, NULL) != 0;
    if (!g->stays) ml_lane_leave(lanes, g);
    g->state = ML_DEAD;
}

bool ml_is_main(const ml_greenlet *g) { return g->state != ML_NEW && !g->lane; }

bool ml_is_running(const ml_greenlet *g) { return g->thread && g->thread->current == g; }

size_t ml_stack_size(const ml_greenlet *g) {
    if (g->state != ML_ACTIVE || ml_thread_exited(g->thread) || ml_is_running(g)) return 0;
    if (g->lane) return (size_t)(g->lane->base - (char *)g->sp);
    return g->thread == ml_this_thread ? ml_thread_stack_above(g->sp) : 0;
}

bool ml_in_place(const ml_greenlet *g) { return !g->lane || g->lane->resident == g; }

const void *ml_stack_view(const ml_greenlet *g, const void *address) {
    if (ml_in_place(g)) return address;
    size_t above = (size_t)((const char *)address - (const char *)g->sp); /* huge: below */
    return above <= g->saved_size ? g->saved + above : address;
}

void *ml_loft(const ml_greenlet *g) { return g->lane->base; }

ml_thread *ml_greenlet_thread(const ml_greenlet *g) {
    while (g && !g->thread) g = g->parent;
    return g ? g->thread : NULL;
}

int ml_set_parent(ml_greenlet *g, ml_greenlet *parent) {
    if (ml_is_main(g)) return ML_EMAIN;
    for (const ml_greenlet *p = parent; p; p = p->parent) {
        if (p == g) return ML_ECYCLE;
    }
    ml_thread *theirs = ml_greenlet_thread(parent);
    if (!theirs) return ML_EORPHAN;
    if (g->state == ML_ACTIVE && theirs != g->thread) return ML_ETHREAD;
    ml_greenlet *old = g->parent;
    ml_hook_retain(parent);
    g->parent = parent;
    if (old) ml_hook_release(old);
    return 0;
}

/* ------------------------------------------------------------------------------- switching

   A switch to a resident is ml_arch_switch and nothing else. Otherwise bytes move first:

        lane of the target              heap
              |                 |
              +-----------------+
        base  | resident's      | --- evict ---> resident->saved
              | live bytes      |
          sp  +-----------------+ <-- restore -- target->saved
              |                 |

   If the caller stands on that very lane, the moving is done on the thread's transfer stack:
   caller -> transfer -> target. All memory is allocated before anything has moved, so a failure
   returns to the caller with nothing changed. */

/* Below the end of a lane, what a finished or never finished greenlet may have poisoned there. */
#define STALE_SIZE ((size_t)256 << 10)

static void entry(void *arg);

/* Makes the bytes of `to` those in place on its lane. Stands on no lane that it changes. */
static int exchange(ml_thread *t, ml_greenlet *from, ml_greenlet *to) {
    ml_lane *lender = NULL;
    if (from->state == ML_DEAD) {
        lender = from->lane;
        lender->resident = NULL;
    }
    /* The hostile build evicts at every switch. */
    if (HOSTILE && from->state != ML_DEAD && from->lane &&
        ml_lane_evict(&t->lanes, from->lane, NULL) != 0)
        return ML_ENOMEM;
    ml_lane *lane = to->lane;
    if (lane && lane->resident != to) {
        if (ml_lane_evict(&t->lanes, lane, lender == lane ? NULL : lender) != 0) return ML_ENOMEM;
        if (to->sp) {
            ml_lane_restore(&t->lanes, to);
        } else {
            ml_unpoison(lane->base - STALE_SIZE / 2, STALE_SIZE / 2);
            lane->resident = to;
        }
    }
    if (lender) ml_lane_leave(&t->lanes, from);
    return 0;
}

/* The nearest ancestor-or-self of `target` that is alive or can still be started. */
static ml_greenlet *living(ml_greenlet *target) {
    while (target && target->state == ML_DEAD) target = target->parent;
    return target;
}

static int check_thread(const ml_thread *t, const ml_greenlet *to) {
    const ml_thread *theirs = ml_greenlet_thread(to);
    if (theirs == t) return 0;
    if (!theirs) return ML_EORPHAN;
    return theirs->exited ? ML_EEXITED : ML_ETHREAD;
}

/* Gives the new `to` a lane. It begins there when it is jumped to. */
static int start(ml_thread *t, ml_greenlet *to, ml_lane *lane) {
    if (!lane) lane = ml_lane_choose(&t->lanes);
    if (!lane) return ML_ENOMEM;
    ml_lane_bind(&t->lanes, lane, to);
    to->sp = NULL;
    to->thread = t;
    to->state = ML_ACTIVE;
    t->tenants++;
    return 0;
}

/* Undoes start. */
static void unstart(ml_thread *t, ml_greenlet *to) {
    ml_lane_leave(&t->lanes, to);
    to->lane = NULL;
    to->thread = NULL;
    to->state = ML_NEW;
    t->tenants--;
}

void ml_bury(ml_greenlet *g) {
    if (g->kill_queued) {
        ml_hook_release(g);
        return;
    }
    g->kill_queued = true;
    g->next_kill = atomic_load(&g->thread->graveyard);
    while (!atomic_compare_exchange_weak(&g->thread->graveyard, &g->next_kill, g)) {
    }
}

/* Lets the language refuse the new `to`, which `heir` is or has for an ancestor. That may run
   anything: `*changed` tells that `to` is no ancestor any more (it may be gone) or not new. */
static int prepare(const ml_greenlet *heir, ml_greenlet *to, bool *changed) {
    ml_hook_retain(to);
    int result = ml_hook_prepare(to);
    while (heir && heir != to) heir = heir->parent;
    *changed = !heir || to->state != ML_NEW;
    ml_hook_release(to);
    return result;
}

static intptr_t come_back(void *nothing) {
    (void)nothing;
    return 0;
}

/* Leaves the current stack for good: for that of `to`, whose bytes are in place, or which has none
   yet. Like all that ends on another stack, it is jumped to, not called: see arch.h. */
static inline void leave(ml_thread *t, ml_greenlet *to) {
    ml_announce(t, to, NULL);
    if (to->sp) {
        ml_arch_continue(to->sp);
    } else {
        ml_arch_start(&t->left, to->lane->base, entry, to, come_back, NULL);
    }
}

/* Runs on the transfer stack, each time anew: with the floating-point state of who called it,
   which a new greenlet inherits. */
static void transfer(void *arg) {
    ml_thread *t = arg;
    ml_arrived(t, NULL);
    ml_greenlet *to = t->current;
    t->refusal = exchange(t, t->origin, to);
    if (__builtin_expect(t->refusal != 0, 0)) {
        if (!to->sp) unstart(t, to);
        t->current = to = t->origin;
        t->refused = t->parcel.kind;
        t->parcel.kind = NULL;
    }
    leave(t, to);
}

intptr_t ml_go_far(ml_thread *t, void **fake_stack, ml_resume *resume, void *arg) {
    char *low = t->transfer_map + TRANSFER_GUARD;
    char *base = t->transfer_map + TRANSFER_SIZE;
    ml_unpoison(low, (size_t)(base - low));
    ml_fiber_start(fake_stack, low, (size_t)(base - low));
    return ml_arch_start(&t->origin->sp, base, transfer, t, resume, arg);
}

intptr_t ml_go_fresh(ml_thread *t, ml_greenlet *to, ml_resume *resume, void *arg) {
    return ml_arch_start(&t->origin->sp, to->lane->base, entry, to, resume, arg);
}

int ml_take_refusal(ml_thread *t) {
    int result = t->refusal;
    if (__builtin_expect(result != 0, 0)) {
        t->refusal = 0;
        t->parcel.kind = t->refused;
    }
    return result;
}

/* Finds who is really meant by `target`, and starts it if it is new. 0 or an error code. */
static int resolve(ml_thread *t, ml_greenlet *target, ml_greenlet **found) {
    if (t->barred) return ML_EBARRED;
    if (atomic_load(&t->graveyard)) ml_thread_drain(t);
    for (;;) {
        ml_greenlet *to = living(target);
        if (!to) {
            const ml_thread *theirs = ml_greenlet_thread(target);
            return theirs && theirs->exited ? ML_EEXITED : ML_EORPHAN;
        }
        int result = check_thread(t, to);
        if (result != 0) return result;
        if (to->state == ML_NEW) {
            bool changed;
            result = prepare(target, to, &changed);
            if (result != 0) return result;
            if (changed || check_thread(t, to) != 0) continue;
            result = start(t, to, NULL);
            if (result != 0) return result;
        }
        *found = to;
        return 0;
    }
}

ml_route ml_find_long_way(ml_thread *t, ml_greenlet *target) {
    ml_greenlet *to;
    int result = resolve(t, target, &to);
    if (result != 0) return (ml_route){target, result};
    ml_greenlet *from = t->current;
    if (to == from) return (ml_route){to, ML_STAY};
    ml_lane *lane = to->lane;
    if (HOSTILE || (lane && lane->resident != to && lane == from->lane))
        return (ml_route){to, ML_FAR};
    if (lane && lane->resident != to && exchange(t, from, to) != 0) {
        if (!to->sp) unstart(t, to);
        return (ml_route){target, ML_ENOMEM};
    }
    return (ml_route){to, to->sp ? ML_NEAR : ML_FRESH};
}

int ml_switch(ml_greenlet *target, ml_parcel *parcel) {
    ml_thread *t = ml_this_thread;
    if (__builtin_expect(!t, 0) && !(t = ml_thread_get())) return ML_ENOMEM;
    ml_route route = ml_find_way(t, target);
    if (__builtin_expect(route.way < 0, 0)) return route.way;
    ml_greenlet *from = t->current;
    if (route.way == ML_STAY) {
        parcel->origin = NULL;
    } else {
        t->parcel = *parcel;
        ml_hook_leave(from, parcel);
        ml_go(t, route, come_back, NULL);
        ml_come(t);
        ml_hook_enter(from);
        int result = ml_take_refusal(t);
        if (__builtin_expect(result != 0, 0)) {
            ml_hook_release(from);
            return result;
        }
        *parcel = t->parcel;
        parcel->origin = t->origin;
    }
    if (__builtin_expect(t->tracer != NULL, 0)) ml_hook_trace(from, parcel);
    return 0;
}

void ml_settle(ml_parcel *parcel) {
    ml_greenlet *origin = parcel->origin;
    if (!origin) return;
    parcel->origin = NULL;
    if (origin->lua_threads && origin->state == ML_DEAD) ml_forget_lua(origin);
    ml_hook_release(origin);
}

void ml_discard(ml_parcel *parcel) {
    if (parcel->kind) parcel->kind->discard(parcel);
    parcel->kind = NULL;
    ml_settle(parcel);
}

/* The nearest ancestor of `g`, which is at its end, that takes what it leaves, in `parcel`. */
static ml_greenlet *find_heir(ml_thread *t, ml_greenlet *g, ml_parcel *parcel) {
    ml_greenlet *to = g->parent;
    for (;;) {
        to = living(to);
        if (!to || check_thread(t, to) != 0) to = t->main;
        if (to->state != ML_NEW) return to;
        /* Prepared while `g` is still alive, since that may run arbitrary code. */
        bool changed;
        bool refused = prepare(g, to, &changed) != 0;
        if (refused) ml_hook_take_error(parcel);
        if (changed) {
            to = g->parent;
        } else if (refused) {
            to = to->parent;
        } else if (check_thread(t, to) == 0) {
            start(t, to, g->lane); /* with a lane at hand it cannot fail */
            return to;
        }
    }
}

/* All of its life. Returns who is to go on. */
__attribute__((noinline)) static ml_greenlet *live(ml_thread *t, ml_greenlet *g) {
    ml_arrived(t, NULL);
    ml_parcel parcel = t->parcel;
    parcel.origin = t->origin;
    ml_hook_run(g, &parcel);
    ml_greenlet *heir = find_heir(t, g, &parcel);
    if (g->saved) ml_lane_forget(&t->lanes, g);
    g->state = ML_DEAD;
    t->parcel = parcel;
    ml_hook_leave(g, &parcel);
    return heir;
}

/* The outermost function of a greenlet. */
static void entry(void *arg) {
    ml_greenlet *g = arg;
    ml_thread *t = g->thread;
    ml_greenlet *to = live(t, g);
    t->origin = g;
    t->current = to;
    if (HOSTILE || (to->lane && to->lane->resident != to)) {
        ml_go_far(t, NULL, come_back, NULL);
    } else {
        ml_lane_leave(&t->lanes, g);
        leave(t, to);
    }
}
