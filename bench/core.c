/* What the core's rows measure: the core alone, with the smallest language on it, beside what no
   switch can do without, a jump of Boost.Context and memcpy of the same bytes.

   Reads lines `NAME N` from stdin and answers each with the nanoseconds of processor time that one
   of N operations took. SIZE is a number of bytes:

       switch          from the main greenlet to another and back
       arch            the same with ml_arch_switch alone
       boost           the same with jump_fcontext
       collision_SIZE  one hop between two greenlets that share a lane, each with about SIZE bytes
       memcpy_SIZE     two memcpy of just as many bytes, between such places, and one hop */

#define _GNU_SOURCE /* MAP_ANONYMOUS, MADV_NOHUGEPAGE */
#include "switch.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static void check(bool good, const char *what) {
    if (good) return;
    fprintf(stderr, "bench_core: %s\n", what);
    exit(1);
}

/* -------------------------------------------------------------------------- the language */

typedef struct counted {
    ml_greenlet core;
    long references;
    void *data;
} counted;

static counted *counts(ml_greenlet *g) { return (counted *)g; }

static void discard(ml_parcel *parcel) { (void)parcel; }
static const ml_parcel_kind kind = {discard};

static ml_greenlet *create(ml_greenlet *parent, ml_body body, void *data) {
    counted *c = calloc(1, sizeof *c);
    check(c != NULL, "out of memory");
    c->references = 1;
    c->data = data;
    ml_greenlet_init(&c->core, c, parent, body);
    return &c->core;
}

/* The bodies below come to their end by themselves: nobody is ever killed. */
void ml_hook_release(ml_greenlet *g) {
    if (--counts(g)->references > 0) return;
    ml_greenlet_fini(g);
    free(g);
}

void ml_hook_retain(ml_greenlet *g) { counts(g)->references++; }
void ml_hook_end(ml_greenlet *g) { (void)g; }
void ml_hook_kill(ml_greenlet *g) { ml_hook_release(g); }
ml_greenlet *ml_hook_create_main(void) { return create(NULL, NULL, NULL); }
void ml_hook_take_error(ml_parcel *parcel) { (void)parcel; }
void ml_hook_trace(ml_greenlet *g, ml_parcel *parcel) { (void)g, (void)parcel; }
void ml_hook_leave(ml_greenlet *g, const ml_parcel *parcel) { (void)g, (void)parcel; }
void ml_hook_enter(ml_greenlet *g) { ml_hook_retain(g); }
void ml_hook_moved(ml_greenlet *g, const char *from, size_t size, char *to) {
    (void)g, (void)from, (void)size, (void)to;
}

size_t ml_hook_loft_used(const ml_greenlet *g) {
    (void)g;
    return 0;
}

int ml_hook_prepare(ml_greenlet *g) {
    (void)g;
    return 0;
}

void ml_hook_run(ml_greenlet *g, ml_parcel *parcel) {
    ml_hook_enter(g);
    g->body(g, parcel);
}

/* As the languages do it: the short way where there is one. */
static intptr_t resume(void *nothing) {
    (void)nothing;
    ml_thread *t = ml_this_thread;
    ml_hook_enter(ml_come(t));
    ml_hook_release(t->origin);
    return 0;
}

__attribute__((noinline)) static intptr_t hop(ml_greenlet *target) {
    ml_thread *t = ml_this_thread;
    ml_route route = ml_find_way(t, target);
    if (route.way > ML_STAY) {
        t->parcel.kind = &kind;
        ml_hook_leave(t->current, &t->parcel);
        return ml_go(t, route, resume, NULL);
    }
    ml_parcel parcel = {.kind = &kind};
    check(ml_switch(target, &parcel) == 0, "cannot switch");
    ml_settle(&parcel);
    return 0;
}

/* --------------------------------------------------------------------------- there and back */

static bool over;

/* The same loop on both sides, as that of an interpreter: what is called from one place returns to
   where the processor expects it. */
__attribute__((noinline)) static void exchange(ml_greenlet *target, long n) {
    while (n-- > 0 && !over) hop(target);
}

static void answer(ml_greenlet *self, ml_parcel *parcel) {
    ml_settle(parcel);
    exchange(self->parent, LONG_MAX);
}

static double measure_switch(long n) {
    ml_greenlet *g = create(ml_current(), answer, NULL);
    over = false;
    hop(g);
    double start = now();
    exchange(g, n);
    double taken = now() - start;
    over = true;
    hop(g);
    ml_hook_release(g);
    return taken / (double)n;
}

static _Alignas(64) char stack[64 << 10];
static void *here, *there;

static intptr_t back(void *nothing) {
    (void)nothing;
    return 0;
}

__attribute__((noinline)) static void exchange_bare(void **save, void **load, long n) {
    while (n-- > 0) ml_arch_switch(save, *load, back, NULL);
}

static void arch_answer(void *arg) {
    (void)arg;
    exchange_bare(&there, &here, LONG_MAX);
}

static double measure_arch(long n) {
    ml_arch_start(&here, stack + sizeof stack, arch_answer, NULL, back, NULL);
    double start = now();
    exchange_bare(&here, &there, n);
    return (now() - start) / (double)n;
}

/* From boost/context/detail/fcontext.hpp of Boost 1.74: C++ that declares C functions. */
typedef struct transfer_t {
    void *fctx;
    void *data;
} transfer_t;
transfer_t jump_fcontext(void *to, void *data);
void *make_fcontext(void *base, size_t size, void (*entry)(transfer_t));

__attribute__((noinline)) static void exchange_boost(transfer_t other, long n) {
    while (n-- > 0) other = jump_fcontext(other.fctx, stack);
}

static void boost_answer(transfer_t from) { exchange_boost(from, LONG_MAX); }

static double measure_boost(long n) {
    void *context = make_fcontext(stack + sizeof stack, sizeof stack, boost_answer);
    transfer_t other = jump_fcontext(context, stack);
    double start = now();
    exchange_boost(other, n);
    return (now() - start) / (double)n;
}

/* ------------------------------------------------------------------------------- collisions

   Two greenlets, and what one hop from either to the other does. Main starts both, then lets the
   first go; who made the last hop comes back. */

typedef struct couple {
    ml_greenlet *both[2];
    size_t room;    /* on the stack of each */
    long left;      /* hops to make */
    size_t size;    /* of what memcpy moves at each hop, or 0 */
    char *place;    /* where those bytes are while their owner runs ... */
    char *aside[2]; /* ... and while it does not */
} couple;

static void *volatile kept;

static void partner(ml_greenlet *self, ml_parcel *parcel) {
    couple *c = counts(self)->data;
    bool second = self == c->both[1];
    ml_greenlet *other = c->both[!second];
    char room[c->room + 1];
    memset(room, 1, sizeof room);
    kept = room;
    ml_settle(parcel);
    hop(self->parent);
    while (c->left-- > 0) {
        if (c->size) {
            memcpy(c->aside[second], c->place, c->size);
            memcpy(c->place, c->aside[!second], c->size);
        }
        hop(other);
    }
}

/* Starts both, and returns how many bytes of stack each has. */
static size_t start(couple *c) {
    for (int i = 0; i < 2; i++) c->both[i] = create(ml_current(), partner, c);
    for (int i = 0; i < 2; i++) hop(c->both[i]);
    return ml_stack_size(c->both[0]);
}

/* Makes n hops and ends both. */
static double run(couple *c, long n) {
    c->left = n;
    double begin = now();
    hop(c->both[0]);
    double taken = now() - begin;
    for (int i = 0; i < 2; i++) {
        if (c->both[i]->state != ML_DEAD) hop(c->both[i]);
        ml_hook_release(c->both[i]);
    }
    return n ? taken / (double)n : 0;
}

static double measure_collision(size_t size, long n) {
    couple c = {.room = size};
    ml_set_lane_limit(1);
    start(&c);
    return run(&c, n);
}

/* A place as a lane is, and buffers as the core would have for it (src/core: map, make_buffer). */
enum { PLACE = 8 << 20 };

static double measure_memcpy(size_t size, long n) {
    couple model = {.room = size};
    size_t bytes = start(&model);
    run(&model, 0);
    ml_set_lane_limit(ML_LANES_DEFAULT);
    char *map = mmap(NULL, PLACE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(map != MAP_FAILED, "out of memory");
    madvise(map, PLACE, MADV_NOHUGEPAGE);
    couple c = {.size = bytes, .place = map + PLACE - bytes};
    memset(c.place, 1, bytes);
    for (int i = 0; i < 2; i++) {
        c.aside[i] = malloc((bytes + 63) & ~(size_t)63);
        check(c.aside[i] != NULL, "out of memory");
        memset(c.aside[i], 2, bytes);
    }
    start(&c);
    double each = run(&c, n);
    for (int i = 0; i < 2; i++) free(c.aside[i]);
    munmap(map, PLACE);
    return each;
}

/* -------------------------------------------------------------------------------------- main */

static double measure(const char *name, long n) {
    size_t size;
    if (strcmp(name, "switch") == 0) return measure_switch(n);
    if (strcmp(name, "arch") == 0) return measure_arch(n);
    if (strcmp(name, "boost") == 0) return measure_boost(n);
    if (sscanf(name, "collision_%zu", &size) == 1) return measure_collision(size, n);
    if (sscanf(name, "memcpy_%zu", &size) == 1) return measure_memcpy(size, n);
    check(false, "unknown operation");
    return 0;
}

int main(void) {
    char name[64];
    long n;
    while (scanf("%63s %ld", name, &n) == 2) {
        printf("%.3f\n", measure(name, n));
        fflush(stdout);
    }
    return 0;
}
