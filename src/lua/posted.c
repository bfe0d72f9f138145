/* What other threads leave to the one that a world belongs to. */

#include "world.h"

static void post_to_loop(ml_world *w, ml_posted *p) {
    if (w->loop_posted) {
        w->last_loop_posted->next = p;
    } else {
        w->loop_posted = p;
    }
    w->last_loop_posted = p;
}

void ml_world_post(ml_world *w, ml_posted *p) {
    p->next = NULL;
    if (w->has_loop) {
        post_to_loop(w, p);
        return;
    }
    if (ml_has_posted(w)) {
        w->last_posted->next = p;
    } else {
        atomic_store_explicit(&w->posted, p, memory_order_relaxed);
    }
    w->last_posted = p;
    /* Other threads have been noticed by the owner, if it is in Lua: they run only after a turn, or
       after it has left and come back. */
    if (ml_this_thread_or_null() == w->thread) ml_ticks_on(w);
}

static ml_posted *take(ml_world *w) {
    ml_posted *p = atomic_load_explicit(&w->posted, memory_order_relaxed);
    atomic_store_explicit(&w->posted, p->next, memory_order_relaxed);
    return p;
}

void ml_world_run_posted(ml_world *w) {
    if (w->doing_posted || w->closing || w->closed || ml_in_finalizer(w)) return;
    ml_activation *a = ml_current()->lua;
    bool trusted = a->trusted;
    const char *barred =
        ml_bar("cannot switch to another greenlet inside a call of call_soon_threadsafe");
    w->users++;
    w->doing_posted = true;
    a->trusted = false;
    const ml_posted *last = w->last_posted; /* what these calls post has to wait */
    bool more = true;
    while (more && ml_has_posted(w)) {
        ml_posted *p = take(w);
        more = p != last;
        p->run(w, p);
    }
    if (!w->closed) ml_world_drain(w);
    a->trusted = trusted;
    w->doing_posted = false;
    ml_bar(barred);
    ml_world_release(w);
}

/* What waits for the loop comes after what was posted before. */
static void take_from_loop(ml_world *w) {
    ml_posted *first = w->loop_posted;
    if (!first) return;
    w->loop_posted = NULL;
    if (ml_has_posted(w)) {
        w->last_posted->next = first;
    } else {
        atomic_store_explicit(&w->posted, first, memory_order_relaxed);
    }
    w->last_posted = w->last_loop_posted;
}

void ml_world_set_loop(ml_world *w, bool on) {
    if (w->has_loop == on) return;
    w->has_loop = on;
    if (on || !w->loop_posted) return;
    take_from_loop(w);
    ml_ticks_on(w);
}

void ml_world_run_loop_posted(ml_world *w) {
    if (w->doing_posted || w->closing || w->closed || ml_in_finalizer(w)) return;
    take_from_loop(w);
    if (ml_has_posted(w)) ml_world_run_posted(w);
}

void ml_world_discard_posted(ml_world *w) {
    take_from_loop(w);
    while (ml_has_posted(w)) {
        ml_posted *p = take(w);
        p->run(w, p);
    }
}
