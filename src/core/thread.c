#include "thread.h"
#include "sanitize.h"

#include <string.h>

_Thread_local ml_thread *ml_this_thread __attribute__((tls_model("initial-exec")));

void (*ml_forget_lua)(ml_greenlet *g);
void (*ml_adopt_lua)(ml_greenlet *g);

static ml_thread *create(void) {
    ml_thread *t = ml_the_memory.allocate(sizeof *t);
    if (!t) return NULL;
    memset(t, 0, sizeof *t);
    t->tenants = 2;
    t->transfer_map = ml_the_memory.map(TRANSFER_SIZE, TRANSFER_GUARD);
    if (!t->transfer_map) goto no_map;
    ml_this_thread = t; /* create_main may ask who is current: nobody yet */
    t->main = ml_hook_create_main();
    if (!t->main) goto no_main;
    t->main->thread = t;
    t->main->state = ML_ACTIVE;
    t->current = t->main;
    ml_hook_retain(t->main); /* as the current one; the first reference is the thread's */
    return t;

no_main:
    ml_this_thread = NULL;
    ml_the_memory.unmap(t->transfer_map, TRANSFER_SIZE);
no_map:
    ml_the_memory.release(t);
    return NULL;
}

ml_thread *ml_thread_get(void) { return ml_this_thread ? ml_this_thread : create(); }

ml_greenlet *ml_current(void) {
    ml_thread *t = ml_thread_get();
    return t ? t->current : NULL;
}

ml_greenlet *ml_thread_main(const ml_thread *t) { return t->main; }
void **ml_thread_tracer(ml_thread *t) { return &t->tracer; }
bool ml_thread_exited(const ml_thread *t) { return t->exited; }

ml_counts ml_thread_counts(void) {
    const ml_thread *t = ml_this_thread;
    return t ? (ml_counts){t->lanes.evictions, t->lanes.count} : (ml_counts){0};
}

void ml_thread_unref(ml_thread *t) {
    if (--t->tenants == 0) ml_the_memory.release(t);
}

void ml_thread_drain(ml_thread *t) {
    ml_greenlet *g = atomic_exchange(&t->graveyard, NULL);
    while (g) {
        ml_greenlet *next = g->next_kill;
        g->kill_queued = false;
        ml_hook_kill(g);
        g = next;
    }
}

void ml_tidy(void) {
    ml_thread *t = ml_this_thread;
    if (t && !t->barred && atomic_load(&t->graveyard)) ml_thread_drain(t);
}

const char *ml_bar(const char *reason) {
    ml_thread *t = ml_this_thread;
    if (!t) return NULL;
    const char *before = t->barred;
    t->barred = reason;
    return before;
}

const char *ml_barred(void) { return ml_this_thread ? ml_this_thread->barred : NULL; }

void ml_thread_exit(ml_thread *t) {
    if (t->exited) return;
    t->exited = true;
    bool standing = t->current != t->main;
    if (ml_this_thread == t) {
        ml_this_thread = NULL;
        if (!standing) {
            ml_lanes_fini(&t->lanes);
            ml_unpoison(t->transfer_map, TRANSFER_SIZE);
            ml_the_memory.unmap(t->transfer_map, TRANSFER_SIZE);
        }
    }
    ml_thread_drain(t);
    ml_greenlet *main = t->main;
    t->main = t->current = NULL;
    main->state = ML_DEAD;
    if (!standing) ml_hook_release(main); /* as the current one */
    ml_hook_release(main);
    ml_thread_unref(t);
}

size_t ml_stack_left(size_t *size) {
    ml_thread *t = ml_this_thread;
    const char *here = __builtin_frame_address(0);
    const char *low = NULL;
    const char *high = NULL;
    if (t && t->current->lane) {
        low = t->current->lane->low;
        high = t->current->lane->base;
    } else if (t) {
        if (!t->main_low) ml_thread_stack(&t->main_low, &t->main_high);
        low = t->main_low;
        high = t->main_high;
    }
    *size = (size_t)(high - low);
    /* A host may run on a stack of its own. */
    return low && here > low && here < high ? (size_t)(here - low) : SIZE_MAX;
}

ml_thread *ml_this_thread_or_null(void) { return ml_this_thread; }
