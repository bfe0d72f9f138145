#include "storm.h"
#include "host.h"

#include <fenv.h>
#include <string.h>

enum { GREENLETS = 30, DEEPEST = 16, MODES = 4 };

static const int modes[MODES] = {FE_TONEAREST, FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};

typedef struct weather {
    uint64_t random;
    long left;                   /* switches to make */
    ml_greenlet *all[GREENLETS]; /* references, or NULL */
    double thirds[MODES];        /* what 1/3 is in each rounding mode */
    /* What is in flight: */
    ml_greenlet *from;
    ml_greenlet *to;
    long value;
    int mode; /* an index */
} weather;

/* xorshift64*, by Marsaglia and Vigna. */
static uint64_t next(weather *w) {
    w->random ^= w->random >> 12;
    w->random ^= w->random << 25;
    w->random ^= w->random >> 27;
    return w->random * 0x2545f4914f6cdd1du;
}

static unsigned below(weather *w, unsigned limit) { return (unsigned)((next(w) >> 33) % limit); }

/* Volatile to the end: compilers move arithmetic past a change of mode. */
static double third(void) {
    volatile double one = 1, three = 3;
    volatile double quotient = one / three;
    return quotient;
}

/* ---------------------------------------------------------------------------------- in flight */

/* Who must get what is sent to `target`. */
static ml_greenlet *heir(ml_greenlet *target) {
    while (target->state == ML_DEAD) target = target->parent;
    return target;
}

static ml_parcel send(weather *w, ml_greenlet *target, int mode) {
    w->left--;
    w->from = ml_current();
    w->to = heir(target);
    w->value = (long)(next(w) >> 2);
    w->mode = mode;
    return host_value(w->value);
}

/* Whether the one who got `parcel` must leave. */
static bool arrive(weather *w, ml_parcel *parcel) {
    if (parcel->error) {
        CHECK(host_open(parcel) == HOST_EXIT);
        return true;
    }
    CHECK(ml_current() == w->to);
    CHECK(parcel->origin == (w->from == w->to ? NULL : w->from));
    long value = w->value;
    CHECK(host_open(parcel) == value); /* this may kill the sender */
    return w->left <= 0;
}

/* ---------------------------------------------------------------------------------- what happens */

static void body(ml_greenlet *self, ml_parcel *parcel);

static void create(weather *w) {
    unsigned i = below(w, GREENLETS);
    ml_greenlet *old = w->all[i];
    ml_greenlet *parent = w->all[below(w, GREENLETS)];
    if (!parent || below(w, 2)) parent = ml_current();
    w->all[i] = host_new(parent, body, w);
    if (old) host_release(old);
}

static void drop(weather *w) {
    unsigned i = below(w, GREENLETS);
    ml_greenlet *old = w->all[i];
    w->all[i] = NULL;
    if (old) host_release(old);
}

static void reparent(weather *w) {
    ml_greenlet *g = w->all[below(w, GREENLETS)];
    ml_greenlet *parent = w->all[below(w, GREENLETS)];
    if (!g || !parent) return;
    bool cycle = false;
    for (const ml_greenlet *p = parent; p; p = p->parent) cycle |= p == g;
    const ml_greenlet *old = g->parent;
    CHECK(ml_set_parent(g, parent) == (cycle ? ML_ECYCLE : 0));
    CHECK(g->parent == (cycle ? old : parent));
}

/* Switches with a value in every register that a call preserves, on any processor. */
static void switch_laden(weather *w, ml_greenlet *target, ml_parcel *parcel) {
    volatile uint64_t k[10];
    volatile double d[8];
    for (int i = 0; i < 10; i++) k[i] = next(w);
    for (int i = 0; i < 8; i++) d[i] = (double)(k[i] >> 12);
    uint64_t k0 = k[0], k1 = k[1], k2 = k[2], k3 = k[3], k4 = k[4];
    uint64_t k5 = k[5], k6 = k[6], k7 = k[7], k8 = k[8], k9 = k[9];
    double d0 = d[0], d1 = d[1], d2 = d[2], d3 = d[3], d4 = d[4], d5 = d[5], d6 = d[6], d7 = d[7];
    CHECK(ml_switch(target, parcel) == 0);
    CHECK(k0 == k[0] && k1 == k[1] && k2 == k[2] && k3 == k[3] && k4 == k[4]);
    CHECK(k5 == k[5] && k6 == k[6] && k7 == k[7] && k8 == k[8] && k9 == k[9]);
    CHECK(d0 == d[0] && d1 == d[1] && d2 == d[2] && d3 == d[3]);
    CHECK(d4 == d[4] && d5 == d[5] && d6 == d[6] && d7 == d[7]);
}

/* At the bottom of a recursion. Whether to leave the greenlet, and it with an error. */
static bool act(weather *w, int mode) {
    if (w->left <= 0) return true;
    switch (below(w, 32)) {
        case 0:
        case 1: create(w); break;
        case 2: drop(w); break;
        case 3:
        case 4: reparent(w); break;
        case 5:
            if (!ml_is_main(ml_current())) return true;
            break;
        default: break;
    }
    ml_greenlet *target = w->all[below(w, GREENLETS)];
    if (!target) target = ml_thread_main(ml_thread_get());
    ml_parcel parcel = send(w, target, mode);
    switch_laden(w, target, &parcel);
    return arrive(w, &parcel);
}

/* The bytes of a canary follow from its seed. */
static void fill(unsigned char *canary, unsigned size, uint64_t seed) {
    for (unsigned i = 0; i < size; i++) canary[i] = (unsigned char)(seed + i * 7);
}

static bool intact(const unsigned char *canary, unsigned size, uint64_t seed) {
    unsigned different = 0;
    for (unsigned i = 0; i < size; i++) different |= canary[i] ^ (unsigned char)(seed + i * 7);
    return different == 0;
}

/* A random number of frames above what happens. Whether to leave. */
static bool dive(weather *w, int depth, int mode) {
    unsigned size = 1 + (below(w, 32) ? below(w, 200) : below(w, 8000));
    unsigned char canary[size];
    uint64_t seed = next(w);
    fill(canary, size, seed);
    bool leave = false;
    for (unsigned times = 1 + !below(w, 4); times > 0 && !leave; times--) {
        leave = depth > 0 ? dive(w, depth - 1, mode) : act(w, mode);
        CHECK(intact(canary, size, seed));
        CHECK(fegetround() == modes[mode] && third() == w->thirds[mode]);
    }
    return leave;
}

static void body(ml_greenlet *self, ml_parcel *parcel) {
    weather *w = host(self)->data;
    bool leave = parcel->error;
    if (!leave) CHECK(fegetround() == modes[w->mode]);
    leave = arrive(w, parcel);
    int mode = (int)below(w, MODES);
    fesetround(modes[mode]);
    while (!leave) leave = dive(w, (int)below(w, DEEPEST), mode);
    *parcel = send(w, self->parent, mode);
}

void storm(uint64_t seed, long switches) {
    weather w = {.random = seed ? seed : 1, .left = switches};
    for (int i = MODES; i-- > 0;) {
        fesetround(modes[i]);
        w.thirds[i] = third();
    }
    CHECK(w.thirds[1] != w.thirds[2]);
    while (w.left > 0) dive(&w, (int)below(&w, DEEPEST), 0);
    for (int i = 0; i < GREENLETS; i++) {
        ml_greenlet *g = w.all[i];
        w.all[i] = NULL;
        if (g) host_release(g);
    }
}
