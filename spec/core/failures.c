/* When memory runs out, or a stack: nothing is lost, nothing has moved, the dying still die. */

#define _GNU_SOURCE /* MAP_ANONYMOUS, sigaltstack */
#include "host.h"
#include "sanitize.h"
#include "thread.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static void all_gone(void) {
    host_thread_exit();
    CHECK(host_greenlets() == 0 && host_memory() == 0 && host_parcels() == 0);
}

/* Recurses `depth` frames of a kilobyte deep, switches there, and finds the frames unchanged. */
static long dig(ml_greenlet *target, long depth) {
    unsigned char canary[1000];
    memset(canary, (int)depth, sizeof canary);
    volatile unsigned char *bytes = canary;
    long value = depth > 0 ? dig(target, depth - 1) : host_switch(target, 1);
    for (unsigned i = 0; i < sizeof canary; i++) CHECK(bytes[i] == (unsigned char)depth);
    return value;
}

/* Answers its parent, with 1, from as deep as it is told, until it is told 0 or to exit. Its
   last answer makes a parent of this kind dig. */
enum { LAST = 5 };

static void digger(ml_greenlet *self, ml_parcel *parcel) {
    long depth = host_open(parcel);
    while (depth > 0) depth = dig(self->parent, depth);
    *parcel = host_value(LAST);
}

/* -------------------------------------------------------------- every allocation in turn

   A ring of greenlets on two lanes: each digs to a depth of its own, where it switches to the
   next. Whoever can't looks around, finds all as it was, and tries again. */

enum { RING = 6, ROUNDS = 4 };

static ml_greenlet *ring[RING];

/* A greenlet as it is and the bytes of its suspended stack, wherever they are. */
typedef struct snapshot {
    ml_greenlet core;
    char *bytes;
    size_t size;
} snapshot;

static void take(snapshot *s, const ml_greenlet *g) {
    *s = (snapshot){.core = *g};
    if (g->state != ML_ACTIVE) return;
    const char *from = g->lane->resident == g ? g->sp : g->saved;
    s->size = g->lane->resident == g ? (size_t)(g->lane->base - from) : g->saved_size;
    s->bytes = malloc(s->size);
    CHECK(s->bytes);
    ml_copy_stack(s->bytes, from, s->size, from);
}

static void same(snapshot *s, const ml_greenlet *g) {
    snapshot now;
    take(&now, g);
    CHECK(memcmp(&s->core, &now.core, sizeof now.core) == 0);
    CHECK(s->size == now.size);
    CHECK(s->size == 0 || memcmp(s->bytes, now.bytes, now.size) == 0);
    free(s->bytes);
    free(now.bytes);
}

/* Switches to `target`, a second time if there is no memory. */
static long insist(ml_greenlet *target, long value) {
    ml_greenlet *self = ml_current();
    snapshot before[RING];
    for (int i = 0; i < RING; i++) {
        if (ring[i] && ring[i] != self)
            take(&before[i], ring[i]);
        else
            before[i] = (snapshot){0};
    }
    uint64_t evictions = ml_thread_counts().evictions;
    ml_parcel parcel = host_value(value);
    const ml_parcel sent = parcel;
    int result = ml_switch(target, &parcel);
    if (result != 0) {
        CHECK(result == ML_ENOMEM);
        CHECK(parcel.kind == sent.kind && parcel.value == sent.value && !parcel.origin);
        CHECK(ml_current() == self && ml_thread_counts().evictions == evictions);
        for (int i = 0; i < RING; i++) {
            if (ring[i] && ring[i] != self) same(&before[i], ring[i]);
        }
        host_allow_allocation();
        CHECK(ml_switch(target, &parcel) == 0);
    } else {
        for (int i = 0; i < RING; i++) free(before[i].bytes);
    }
    return host_open(&parcel);
}

static long insist_from(long depth, ml_greenlet *target, long value) {
    unsigned char canary[1000];
    memset(canary, (int)depth, sizeof canary);
    volatile unsigned char *bytes = canary;
    value = depth > 0 ? insist_from(depth - 1, target, value) : insist(target, value);
    for (unsigned i = 0; i < sizeof canary; i++) CHECK(bytes[i] == (unsigned char)depth);
    return value;
}

static void ring_body(ml_greenlet *self, ml_parcel *parcel) {
    int i = *(int *)host(self)->data;
    ml_greenlet *next = i + 1 < RING ? ring[i + 1] : ml_thread_main(ml_thread_get());
    long round = host_open(parcel);
    while (round < ROUNDS && round != HOST_EXIT) {
        round = insist_from((i * 7 + round * 5) % 23, next, round);
    }
    *parcel = host_value(round);
}

/* The whole of it, in a thread of its own, with the n-th allocation failing. How many failed. */
static long go_round(long n, int how) {
    static int numbers[RING];
    host_fail_allocation(n, how);
    long failed = 0;
    if (!ml_current()) {
        CHECK(!ml_this_thread_or_null() && host_memory() == 0 && host_greenlets() == 0);
        failed = host_allow_allocation();
        CHECK(ml_current());
    }
    for (int i = 0; i < RING; i++) {
        numbers[i] = i;
        ring[i] = host_new(ml_current(), ring_body, &numbers[i]);
    }
    for (long round = 0; round < ROUNDS; round++) CHECK(insist(ring[0], round) == round);
    for (int i = 0; i < RING; i++) {
        CHECK(insist(ring[i], ROUNDS) == ROUNDS);
        CHECK(ring[i]->state == ML_DEAD);
        host_release(ring[i]);
        ring[i] = NULL;
    }
    failed += host_allow_allocation();
    const ml_lanes *lanes = &ml_thread_get()->lanes;
    for (unsigned i = 0; i < lanes->count; i++) {
        CHECK(!lanes->all[i]->tenants && !lanes->all[i]->resident && !lanes->all[i]->guest);
    }
    all_gone();
    return failed;
}

static void every_allocation_may_fail(void) {
    unsigned usual = ml_lane_limit();
    ml_set_lane_limit(2);
    for (int how = HOST_ONCE; how <= HOST_MAPS; how++) {
        long n = 0;
        while (go_round(n, how) > 0) n++;
        CHECK(n > (how == HOST_MAPS ? 1 : RING));
        const char *const which[] = {"", ", with all later ones", ", of mappings alone"};
        printf("failures: %ld allocations failed in turn%s\n", n, which[how]);
    }
    ml_set_lane_limit(usual);
}

static void a_kill_waits_for_memory(void) {
    ml_greenlet *main_greenlet = ml_current();
    unsigned usual = ml_lane_limit();
    ml_set_lane_limit(1);
    ml_greenlet *a = host_new(main_greenlet, digger, NULL);
    ml_greenlet *b = host_new(main_greenlet, digger, NULL);
    host_switch(a, 1);
    host_switch(b, 1);
    host_fail_allocation(0, HOST_FOREVER);
    host_release(a); /* b would have to make room */
    if (ml_lane_limit() == 1 && host_allow_allocation() > 0) {
        CHECK(a->state == ML_ACTIVE && a->kill_queued);
        CHECK(host_switch(main_greenlet, 1) == 1);
    }
    CHECK(host_greenlets() == 2);
    host_release(b);
    ml_set_lane_limit(usual);
    all_gone();
}

/* ------------------------------------------------------------------------ the dying never fail

   A greenlet ends, its heir is not resident, somebody else is on the heir's lane, and there is no
   memory left: the lane that has just become free takes in the bytes that must go. */

enum { LANES = 3 };

static void the_dying_make_room(void) {
    if (ml_lane_limit() == 1) return; /* hostile: there is no other lane */
    unsigned usual = ml_lane_limit();
    ml_set_lane_limit(LANES);
    ml_greenlet *main_greenlet = ml_current();
    ml_greenlet *first[LANES], *second[LANES];
    for (int i = 0; i < LANES; i++) {
        first[i] = host_new(main_greenlet, digger, NULL);
        host_switch(first[i], 5);
    }
    for (int i = 0; i < LANES; i++) { /* takes the lane of first[i] */
        second[i] = host_new(main_greenlet, digger, NULL);
        host_switch(second[i], 10 + i);
        CHECK(second[i]->lane == first[i]->lane);
    }
    host_fail_allocation(0, HOST_FOREVER);
    /* second[0] ends for first[1], in whose place second[1] is: it goes to lane 0. */
    CHECK(ml_set_parent(second[0], first[1]) == 0);
    ml_lane *lanes[] = {first[0]->lane, first[1]->lane, first[2]->lane};
    CHECK(host_switch(second[0], 0) == 1 && second[0]->state == ML_DEAD);
    CHECK(lanes[1]->resident == first[1] && second[1]->guest_of == lanes[0]);
    CHECK(lanes[0]->guest == second[1] && !lanes[0]->resident);
    /* Nobody alive gets lane 0 now ... */
    ml_parcel parcel = host_value(1);
    CHECK(ml_switch(first[0], &parcel) == ML_ENOMEM && host_open(&parcel) == 1);
    CHECK(second[1]->guest_of == lanes[0]);
    /* ... but second[2] ends for first[0], who lives there: the guest moves on to lane 2. */
    CHECK(ml_set_parent(second[2], first[0]) == 0);
    CHECK(host_switch(second[2], 0) == 1 && second[2]->state == ML_DEAD);
    CHECK(lanes[0]->resident == first[0] && !lanes[0]->guest);
    CHECK(second[1]->guest_of == lanes[2] && lanes[2]->guest == second[1]);
    /* The guest comes home; who is there now has a buffer already. */
    CHECK(host_allow_allocation() > 0);
    CHECK(host_switch(second[1], 3) == 1);
    CHECK(!second[1]->guest_of && !lanes[2]->guest && lanes[1]->resident == second[1]);
    for (int i = 0; i < LANES; i++) {
        CHECK(host_switch(first[i], 20) == 1 && host_switch(first[i], 0) == LAST);
        host_release(first[i]);
        host_release(second[i]); /* kills second[1] */
    }
    ml_set_lane_limit(usual);
    all_gone();
}

/* Nor does who is given up for good: for want of memory it stays where it is, and can be read. */
static void the_abandoned_stay(void) {
    ml_greenlet *g = host_new(ml_current(), digger, NULL);
    host_switch(g, 5);
    ml_lane *lane = g->lane;
    host_fail_allocation(0, HOST_FOREVER);
    ml_greenlet_abandon(g);
    bool failed = host_allow_allocation() > 0;
    CHECK(g->state == ML_DEAD && g->stays == failed && *host(g)->last);
    CHECK((lane->resident == g) == failed && lane->tenants == failed);
    host_release(g);
    CHECK(!lane->resident && !lane->tenants && ml_thread_get()->lanes.free == lane);
    all_gone();
}

/* A guest's host lane is not free until the guest has left, whatever way it goes. */
static void a_guest_leaves(bool with_its_thread) {
    if (ml_lane_limit() == 1) return;
    unsigned usual = ml_lane_limit();
    ml_set_lane_limit(2);
    ml_greenlet *main_greenlet = ml_current();
    ml_greenlet *heir = host_new(main_greenlet, digger, NULL);
    ml_greenlet *dying = host_new(main_greenlet, digger, NULL);
    ml_greenlet *guest = host_new(main_greenlet, digger, NULL);
    host_switch(heir, 1);
    host_switch(dying, 1);
    host_switch(guest, 9);
    ml_lane *lane = dying->lane;
    CHECK(guest->lane == heir->lane && lane != heir->lane);
    CHECK(ml_set_parent(dying, heir) == 0);
    host_fail_allocation(0, HOST_FOREVER);
    CHECK(host_switch(dying, 0) == 1);
    CHECK(guest->guest_of == lane);
    host_allow_allocation();
    if (with_its_thread) {
        host_thread_exit();
        CHECK(!guest->guest_of && guest->saved); /* its bytes can still be read */
        host_release(guest);
    } else {
        host_release(guest);
        ml_set_lane_limit(3);
        ml_greenlet *next[2];
        for (int i = 0; i < 2; i++) {
            host_switch(next[i] = host_new(main_greenlet, digger, NULL), 1);
        }
        CHECK(next[0]->lane == lane && next[1]->lane != lane && next[1]->lane != heir->lane);
        for (int i = 0; i < 2; i++) host_release(next[i]);
    }
    host_release(dying);
    host_release(heir);
    ml_set_lane_limit(usual);
    all_gone();
}

/* ------------------------------------------------------------------------- no address space */

static void dig_all_the_same(unsigned most_lanes) {
    enum { MANY = 20 };
    ml_greenlet *all[MANY];
    for (int i = 0; i < MANY; i++) {
        all[i] = host_new(ml_current(), digger, NULL);
        CHECK(host_switch(all[i], 1 + i) == 1);
    }
    CHECK(ml_thread_counts().lanes <= most_lanes);
    for (int i = 0; i < 10 * MANY; i++) CHECK(host_switch(all[i * 7 % MANY], 1 + i % 30) == 1);
    for (int i = 0; i < MANY; i++) host_release(all[i]);
    all_gone();
}

static void lanes_that_cannot_be_mapped_are_done_without(void) {
    for (unsigned lanes = 1; lanes <= 3; lanes++) {
        ml_current();
        host_fail_allocation(lanes, HOST_MAPS);
        dig_all_the_same(lanes);
        CHECK(host_allow_allocation() > 0 || ml_lane_limit() == 1);
    }
}

/* The system says no, not our allocator. */
static void little_address_space(void) {
    ml_current();
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK(file && fscanf(file, "%ld", &pages) == 1);
    fclose(file);
    rlim_t limit = (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE) + ((rlim_t)30 << 20);
    CHECK(setrlimit(RLIMIT_AS, &(struct rlimit){limit, limit}) == 0);
    void *much = mmap(NULL, (size_t)64 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    dig_all_the_same(much == MAP_FAILED ? 3 : ML_LANES_DEFAULT); /* qemu knows no such limit */
}

/* -------------------------------------------------------------------------------- overflow

   A greenlet that recurses without end dies at its guard, and damages no neighbour. */

static struct {
    ml_greenlet *neighbours[2];
    snapshot before[2];
    const ml_lane *lane;
} overflow;

static void fault(int number, siginfo_t *info, void *context) {
    (void)number, (void)context;
    const char *at = info->si_addr;
    CHECK(at >= overflow.lane->map && at < overflow.lane->low);
    for (int i = 0; i < 2; i++) same(&overflow.before[i], overflow.neighbours[i]);
    _exit(7);
}

static int endless(int depth) {
    volatile char frame[3000];
    frame[0] = (char)depth;
    if (depth < 0) return 0;
    return endless(depth + 1) + frame[0];
}

static void overflows(ml_greenlet *self, ml_parcel *parcel) {
    long depth = host_open(parcel);
    host_switch(self->parent, 1);
    overflow.lane = self->lane;
    *parcel = host_value(endless((int)depth));
}

static void overflow_a_lane(void) {
    static char stack[64 << 10];
    stack_t other = {.ss_sp = stack, .ss_size = sizeof stack};
    CHECK(sigaltstack(&other, NULL) == 0);
    struct sigaction action = {.sa_sigaction = fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
    ml_greenlet *a = host_new(ml_current(), digger, NULL);
    ml_greenlet *g = host_new(ml_current(), overflows, NULL);
    ml_greenlet *b = host_new(ml_current(), digger, NULL);
    host_switch(a, 10); /* the lanes are made one after the other, side by side */
    host_switch(g, 1);
    host_switch(b, 10);
    overflow.neighbours[0] = a;
    overflow.neighbours[1] = b;
    for (int i = 0; i < 2; i++) take(&overflow.before[i], overflow.neighbours[i]);
    host_switch(g, 1);
}

static int in_child(void (*run)(void)) {
    fflush(NULL);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        run();
        _exit(0);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status));
    return WEXITSTATUS(status);
}

int main(void) {
    host_install();
    every_allocation_may_fail();
    a_kill_waits_for_memory();
    the_dying_make_room();
    the_abandoned_stay();
    a_guest_leaves(false);
    a_guest_leaves(true);
    lanes_that_cannot_be_mapped_are_done_without();
    CHECK(in_child(little_address_space) == 0);
    CHECK(in_child(overflow_a_lane) == 7);
    puts("failures: nothing was lost");
    return 0;
}
