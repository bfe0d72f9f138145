#include "host.h"
#include "lane.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static atomic_long blocks;
static atomic_long greenlets;
static _Thread_local long parcels;

void host_fail(const char *file, int line, const char *condition) {
    fprintf(stderr, "%s:%d: not true: %s\n", file, line, condition);
    fflush(NULL);
    _Exit(1);
}

/* ---------------------------------------------------------------------------------- memory */

static ml_memory real;

static _Thread_local struct {
    long countdown; /* below 0: over */
    int how;
    long count;
} faults = {.countdown = -1};

void host_fail_allocation(long n, int how) {
    faults.countdown = n;
    faults.how = how;
    faults.count = 0;
}

long host_allow_allocation(void) {
    faults.countdown = -1;
    return faults.count;
}

static bool fails(bool mapping) {
    if (faults.countdown < 0 || (faults.how == HOST_MAPS && !mapping)) return false;
    if (faults.countdown > 0) {
        faults.countdown--;
        return false;
    }
    if (faults.how == HOST_ONCE) faults.countdown = -1;
    faults.count++;
    return true;
}

/* Blocks start and end their lives full of rubbish, so that nobody lives on what was there. */
typedef union header {
    size_t size;
    max_align_t align;
} header;

static void *allocate(size_t size) {
    header *h = fails(false) ? NULL : real.allocate(sizeof *h + size);
    if (!h) return NULL;
    blocks++;
    h->size = size;
    return memset(h + 1, 0xcd, size);
}

static void release_memory(void *memory) {
    if (!memory) return;
    blocks--;
    header *h = (header *)memory - 1;
    real.release(memset(h, 0xdd, sizeof *h + h->size));
}

static void *map(size_t size, size_t guard) {
    void *memory = fails(true) ? NULL : real.map(size, guard);
    if (memory) blocks++;
    return memory;
}

static void unmap(void *memory, size_t size) {
    blocks--;
    real.unmap(memory, size);
}

long host_memory(void) { return blocks; }
long host_greenlets(void) { return greenlets; }
long host_parcels(void) { return parcels; }

/* ----------------------------------------------------------------------------------- values */

static void discard(ml_parcel *parcel) {
    (void)parcel;
    parcels--;
}

static const ml_parcel_kind kind = {discard};

ml_parcel host_value(long value) {
    parcels++;
    return (ml_parcel){.kind = &kind, .value = (void *)(intptr_t)value};
}

ml_parcel host_error(long value) {
    ml_parcel parcel = host_value(value);
    parcel.error = true;
    return parcel;
}

long host_open(ml_parcel *parcel) {
    CHECK(parcel->kind == &kind);
    long value = (long)(intptr_t)parcel->value;
    ml_discard(parcel);
    return value;
}

long host_switch(ml_greenlet *target, long value) {
    ml_parcel parcel = host_value(value);
    CHECK(ml_switch(target, &parcel) == 0);
    return host_open(&parcel);
}

_Thread_local long host_pending;

int host_refuse(long value) {
    host_pending = value;
    return ML_ELANGUAGE;
}

void ml_hook_take_error(ml_parcel *parcel) {
    ml_parcel refused = *parcel;
    *parcel = host_error(host_pending);
    ml_discard(&refused);
    host_pending = 0;
}

/* -------------------------------------------------------------------------------- greenlets */

static ml_greenlet *create(ml_greenlet *parent, ml_body body, void *data) {
    host_greenlet *h = calloc(1, sizeof *h);
    CHECK(h);
    greenlets++;
    h->references = 1;
    h->data = data;
    ml_greenlet_init(&h->core, h, parent, body);
    return &h->core;
}

ml_greenlet *host_new(ml_greenlet *parent, ml_body body, void *data) {
    return create(parent, body, data);
}

ml_greenlet *ml_hook_create_main(void) { return fails(false) ? NULL : create(NULL, NULL, NULL); }

void host_thread_exit(void) { ml_thread_exit(ml_thread_get()); }

void host_retain(ml_greenlet *g) { host(g)->references++; }

/* Ends `g`, which has one reference. Where there is no memory to switch to it, later. */
void ml_hook_end(ml_greenlet *g) {
    CHECK(ml_set_parent(g, ml_current()) == 0);
    ml_parcel parcel = host_error(HOST_EXIT);
    if (ml_switch(g, &parcel) == ML_ENOMEM) {
        host_retain(g);
        ml_bury(g);
    }
    ml_discard(&parcel);
}

void host_release(ml_greenlet *g) {
    host_greenlet *h = host(g);
    CHECK(h->references > 0);
    if (--h->references > 0) return;
    if (g->state == ML_ACTIVE && !ml_thread_exited(g->thread)) {
        h->references = 1;
        if (g->thread != ml_this_thread_or_null()) {
            ml_bury(g);
            return;
        }
        ml_hook_end(g);
        if (--h->references > 0) return;
        CHECK(g->state == ML_DEAD);
    }
    ml_greenlet_fini(g);
    free(memset(h, 0xdd, sizeof *h));
    greenlets--;
}

/* ------------------------------------------------------------------------------------ hooks */

void ml_hook_retain(ml_greenlet *g) { host_retain(g); }
void ml_hook_release(ml_greenlet *g) { host_release(g); }
void ml_hook_kill(ml_greenlet *g) { host_release(g); }

int ml_hook_prepare(ml_greenlet *g) { return host(g)->prepare ? host(g)->prepare(g) : 0; }

void ml_hook_trace(ml_greenlet *g, ml_parcel *parcel) {
    CHECK(g == ml_current());
    host_tracer *tracer = *ml_thread_tracer(ml_thread_get());
    tracer->call(tracer, g, parcel);
}

void ml_hook_leave(ml_greenlet *g, const ml_parcel *parcel) {
    CHECK(g == ml_current() && parcel->kind);
}

/* A sum of `size` bytes. Whole words, since padding between variables, which AddressSanitizer guards,
   counts, too. */
__attribute__((no_sanitize("address"))) static uint64_t sum(const void *bytes, size_t size) {
    uint64_t all = 0;
    for (const volatile uint64_t *p = bytes; size >= sizeof *p; size -= sizeof *p) {
        all = all * 31 + *p++;
    }
    return all;
}

/* In use of the loft, in words: more or less of it. The last one has a pointer to itself, which moves. */
static size_t loft_words(const host_greenlet *h) {
    return (uintptr_t)h / 64 % (ML_LOFT_SIZE / sizeof(void *)) + 1;
}

size_t ml_hook_loft_used(const ml_greenlet *g) {
    CHECK(ml_in_place(g));
    return loft_words((const host_greenlet *)g) * sizeof(void *);
}

void ml_hook_moved(ml_greenlet *g, const char *from, size_t size, char *to) {
    host_greenlet *h = host(g);
    CHECK(g->state == ML_ACTIVE && g->sp && (to != g->sp || !g->lane->resident));
    CHECK(h->evicted == (from != g->sp) && size == g->saved_size);
    if (!h->evicted) h->bytes = sum(from, size);
    CHECK(h->bytes == sum(to, size));
    CHECK((const char *)h->last == from + size - sizeof(void *));
    h->last = (void **)(to + size - sizeof(void *));
    h->evicted = to != g->sp;
}

/* What is in the loft of `g`, which runs. */
static void check_loft(const ml_greenlet *g) {
    const host_greenlet *h = (const host_greenlet *)g;
    void **loft = g->lane ? ml_loft(g) : NULL;
    if (loft) CHECK(h->last == &loft[loft_words(h) - 1] && *h->last == h->last);
}

void ml_hook_enter(ml_greenlet *g) {
    CHECK(g == ml_current() && !host(g)->evicted);
    check_loft(g);
    host_retain(g);
}

void ml_hook_run(ml_greenlet *g, ml_parcel *parcel) {
    void **loft = ml_loft(g);
    host(g)->last = &loft[loft_words(host(g)) - 1];
    *host(g)->last = host(g)->last;
    ml_hook_enter(g);
    if (*ml_thread_tracer(g->thread)) ml_hook_trace(g, parcel);
    g->body(g, parcel);
    CHECK(!parcel->origin); /* the body has opened what it got */
    parcel->results = true;
}

void host_install(void) {
    real = ml_the_memory;
    ml_the_memory = (ml_memory){allocate, release_memory, map, unmap};
}
