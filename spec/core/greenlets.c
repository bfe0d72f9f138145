/* The rules of greenlets, one by one: starting, ending, parents, errors, lanes. */

#include "host.h"
#include "lane.h"

#include <fenv.h>
#include <stdio.h>

static ml_greenlet *main_greenlet;

/* Sends back what it gets, to its parent, until it is told 0 or to exit; returns the last. */
static void echo(ml_greenlet *self, ml_parcel *parcel) {
    long value = host_open(parcel);
    while (value != 0 && value != HOST_EXIT) value = host_switch(self->parent, value);
    *parcel = host_value(value);
}

/* Returns what it gets plus one; an error it passes on. */
static void add_one(ml_greenlet *self, ml_parcel *parcel) {
    (void)self;
    bool error = parcel->error;
    long value = host_open(parcel);
    *parcel = error ? host_error(value) : host_value(value + 1);
}

static ml_greenlet *finished(ml_greenlet *parent) {
    ml_greenlet *g = host_new(main_greenlet, add_one, NULL);
    host_switch(g, 0);
    CHECK(g->state == ML_DEAD);
    CHECK(ml_set_parent(g, parent) == 0);
    return g;
}

/* What a switch of `value` to `g` brings back, an error's value negated. */
static long outcome(ml_greenlet *g, long value) {
    ml_parcel parcel = host_value(value);
    CHECK(ml_switch(g, &parcel) == 0);
    bool error = parcel.error;
    value = host_open(&parcel);
    return error ? -value : value;
}

/* ---------------------------------------------------------------------------- a life */

static void a_switch_carries_a_parcel_each_way(void) {
    ml_greenlet *g = host_new(main_greenlet, echo, NULL);
    CHECK(g->state == ML_NEW && !g->thread && ml_greenlet_thread(g) == ml_thread_get());
    CHECK(host_switch(g, 1) == 1);
    CHECK(g->state == ML_ACTIVE && g->thread == ml_thread_get() && !ml_is_main(g));
    CHECK(ml_current() == main_greenlet && ml_is_main(main_greenlet));
    ml_parcel parcel = host_value(2);
    CHECK(ml_switch(g, &parcel) == 0);
    CHECK(!parcel.results && !parcel.error && parcel.origin == g);
    CHECK(host_open(&parcel) == 2);
    parcel = host_value(0);
    CHECK(ml_switch(g, &parcel) == 0);
    CHECK(parcel.results && parcel.origin == g && g->state == ML_DEAD);
    CHECK(host_open(&parcel) == 0);
    host_release(g);
}

static void the_current_greenlet_holds_itself(void) {
    int before = host(main_greenlet)->references;
    ml_greenlet *g = host_new(main_greenlet, echo, NULL);
    host_switch(g, 1);
    CHECK(host(g)->references == 1); /* suspended: ours */
    CHECK(host(main_greenlet)->references == before + 1);
    ml_parcel parcel = host_value(2);
    CHECK(ml_switch(g, &parcel) == 0);
    CHECK(host(g)->references == 2); /* and the parcel's, until it is opened */
    host_open(&parcel);
    host_release(g);
    CHECK(host(main_greenlet)->references == before);
}

static void a_switch_to_oneself_returns_what_it_sends(void) {
    ml_parcel parcel = host_value(7);
    CHECK(ml_switch(main_greenlet, &parcel) == 0);
    CHECK(!parcel.origin && host_open(&parcel) == 7);
}

static void the_last_reference_kills(void) {
    long count = host_greenlets();
    ml_greenlet *g = host_new(main_greenlet, echo, NULL);
    host_switch(g, 1);
    host_release(g);
    CHECK(host_greenlets() == count);
    host_release(host_new(main_greenlet, echo, NULL)); /* nothing to kill in a new one */
    CHECK(host_greenlets() == count);
}

static void a_buried_one_is_killed_at_the_next_switch(void) {
    long count = host_greenlets();
    ml_greenlet *g = host_new(main_greenlet, echo, NULL);
    host_switch(g, 1);
    host_retain(g);
    ml_bury(g);
    ml_bury(g); /* drops the second reference: it is queued already */
    CHECK(host_greenlets() == count + 1 && g->state == ML_ACTIVE);
    host_switch(main_greenlet, 1);
    CHECK(host_greenlets() == count);
}

/* -------------------------------------------------------------------------- parents */

static void a_finished_greenlet_answers_its_parent(void) {
    ml_greenlet *parent = host_new(main_greenlet, echo, NULL);
    host_switch(parent, 1);
    ml_greenlet *g = host_new(parent, add_one, NULL);
    CHECK(host_switch(g, 5) == 6); /* by way of the parent, which echoes it to main */
    CHECK(g->state == ML_DEAD && parent->state == ML_ACTIVE);
    host_release(g);
    host_release(parent);
}

static void the_dead_forward_to_the_first_live_ancestor(void) {
    ml_greenlet *live = host_new(main_greenlet, echo, NULL);
    host_switch(live, 1);
    ml_greenlet *child = finished(live);
    ml_greenlet *grandchild = finished(child);
    CHECK(host_switch(grandchild, 3) == 3);
    CHECK(host_switch(live, 0) == 0);
    CHECK(host_switch(grandchild, 4) == 4); /* now to main itself */
    host_release(grandchild);
    host_release(child);
    host_release(live);
}

static void forwarding_to_an_unstarted_ancestor_starts_it(void) {
    ml_greenlet *unstarted = host_new(main_greenlet, add_one, NULL);
    ml_greenlet *dead = finished(unstarted);
    CHECK(host_switch(dead, 3) == 4 && unstarted->state == ML_DEAD);
    host_release(dead);
    host_release(unstarted);

    ml_greenlet *parent = host_new(main_greenlet, add_one, NULL);
    ml_greenlet *g = host_new(parent, add_one, NULL);
    CHECK(host_switch(g, 1) == 3 && parent->state == ML_DEAD);
    host_release(g);
    host_release(parent);
}

static void parents_are_refused_with_a_code(void) {
    ml_greenlet *a = host_new(main_greenlet, echo, NULL);
    ml_greenlet *b = host_new(a, echo, NULL);
    ml_greenlet *c = host_new(b, echo, NULL);
    ml_greenlet *lost = host_new(NULL, echo, NULL);
    CHECK(ml_set_parent(a, a) == ML_ECYCLE);
    CHECK(ml_set_parent(a, c) == ML_ECYCLE && a->parent == main_greenlet);
    CHECK(ml_set_parent(main_greenlet, a) == ML_EMAIN && !main_greenlet->parent);
    CHECK(ml_set_parent(a, NULL) == ML_EORPHAN);
    CHECK(ml_set_parent(a, lost) == ML_EORPHAN && host(lost)->references == 1);
    ml_parcel parcel = host_value(9);
    CHECK(ml_switch(lost, &parcel) == ML_EORPHAN && host_open(&parcel) == 9);
    CHECK(ml_set_parent(c, a) == 0 && c->parent == a);
    CHECK(host(b)->references == 1 && host(a)->references == 3);
    host_release(c);
    host_release(b);
    host_release(a);
    host_release(lost);
}

/* --------------------------------------------------------------------------- errors */

static void errors_cross(void) {
    ml_greenlet *g = host_new(main_greenlet, add_one, NULL);
    ml_parcel parcel = host_error(3); /* it has not begun: it leaves at once */
    CHECK(ml_switch(g, &parcel) == 0);
    CHECK(parcel.error && host_open(&parcel) == 3 && g->state == ML_DEAD);
    host_release(g);
}

static int refuse(ml_greenlet *self) {
    (void)self;
    return host_refuse(5);
}

static void a_start_can_be_refused(void) {
    ml_greenlet *g = host_new(main_greenlet, add_one, NULL);
    host(g)->prepare = refuse;
    ml_parcel parcel = host_value(1);
    CHECK(ml_switch(g, &parcel) == ML_ELANGUAGE && g->state == ML_NEW && !g->lane);
    CHECK(host_open(&parcel) == 1 && host_pending == 5);
    /* Where nobody is left to tell, the parent of the one that refused gets the error. */
    ml_greenlet *child = host_new(g, add_one, NULL);
    CHECK(outcome(child, 1) == -5 && child->state == ML_DEAD && g->state == ML_NEW);
    host(g)->prepare = NULL;
    CHECK(outcome(child, 1) == 2);
    host_release(child);
    host_release(g);
}

/* Before it starts, its language runs code that starts it. */
static int start_first(ml_greenlet *self) {
    host(self)->prepare = NULL;
    CHECK(host_switch(self, 1) == 1);
    return 0;
}

/* ... and code that drops its last reference, which its child had. */
static int drop_oneself(ml_greenlet *self) {
    ml_greenlet *child = host(self)->data;
    CHECK(ml_set_parent(child, main_greenlet) == 0 && host(self)->references == 1);
    return 0;
}

static int drop_and_refuse(ml_greenlet *self) {
    drop_oneself(self);
    return host_refuse(6);
}

static void code_that_runs_before_a_start_may_do_anything(void) {
    ml_greenlet *g = host_new(main_greenlet, echo, NULL);
    host(g)->prepare = start_first;
    CHECK(host_switch(g, 2) == 2 && g->state == ML_ACTIVE);
    host_release(g);

    int (*const actions[])(ml_greenlet *) = {drop_oneself, drop_and_refuse};
    for (int i = 0; i < 2; i++) {
        ml_greenlet *parent = host_new(main_greenlet, add_one, NULL);
        ml_greenlet *child = i ? host_new(parent, add_one, NULL) : finished(parent);
        host(parent)->data = child;
        host(parent)->prepare = actions[i];
        host_release(parent);
        CHECK(outcome(child, 1) == (i ? -6 : 1)); /* main has become its heir */
        host_release(child);
    }
}

/* ---------------------------------------------------------------------------- lanes */

enum { MANY = 40 };

static void create_many(ml_greenlet **all) {
    for (int i = 0; i < MANY; i++) {
        all[i] = host_new(main_greenlet, echo, NULL);
        CHECK(host_switch(all[i], 1) == 1);
    }
}

static void release_many(ml_greenlet **all) {
    for (int i = 0; i < MANY; i++) host_release(all[i]);
}

static void a_switch_to_a_resident_copies_nothing(void) {
    ml_greenlet *all[MANY];
    create_many(all);
    uint64_t before = ml_thread_counts().evictions;
    for (int i = 0; i < 10 * MANY; i++) CHECK(host_switch(all[i % MANY], i + 1) == i + 1);
    uint64_t copied = ml_thread_counts().evictions - before;
    CHECK(copied == (ml_lane_limit() == 1 ? 10 * MANY : 0));
    release_many(all);
}

static void the_lane_of_the_latest_to_finish_is_used_next(void) {
    ml_greenlet *all[MANY];
    create_many(all);
    ml_lane *lane = all[7]->lane;
    CHECK(host_switch(all[3], 0) == 0);
    CHECK(host_switch(all[7], 0) == 0);
    host_release(all[7]);
    all[7] = host_new(main_greenlet, echo, NULL);
    host_switch(all[7], 1);
    CHECK(all[7]->lane == lane);
    release_many(all);
}

/* Where there are more than lanes: neighbours have different ones, and all have about as many. */
static void lanes_are_shared_evenly(void) {
    enum { LANES = 24, SHARED = 3000 };
    static ml_greenlet *all[SHARED];
    unsigned usual = ml_lane_limit();
    if (usual == 1) return;
    ml_set_lane_limit(LANES);
    for (int i = 0; i < SHARED; i++) {
        all[i] = host_new(main_greenlet, echo, NULL);
        CHECK(host_switch(all[i], 1) == 1);
        for (int j = i - 1; j >= LANES && j > i - 4; j--) CHECK(all[i]->lane != all[j]->lane);
    }
    CHECK(ml_thread_counts().lanes == LANES);
    for (int i = 0; i < SHARED; i++) {
        unsigned tenants = all[i]->lane->tenants;
        CHECK(tenants > SHARED / LANES - 16 && tenants < SHARED / LANES + 16);
    }
    for (int i = 0; i < SHARED; i++) host_release(all[i]);
    ml_set_lane_limit(usual);
}

static void the_dead_hold_no_memory(void) {
    unsigned usual = ml_lane_limit();
    ml_set_lane_limit(1);
    ml_greenlet *all[MANY];
    create_many(all);
    for (int i = 0; i < MANY; i++) CHECK(host_switch(all[i], 0) == 0);
    long memory = host_memory();
    release_many(all);
    CHECK(host_memory() == memory);
    ml_set_lane_limit(usual);
}

static void the_lane_limit_changes_both_ways(void) {
    unsigned usual = ml_lane_limit();
    ml_greenlet *all[MANY];
    create_many(all);
    if (usual > 1) { /* the hostile build has one, always */
        CHECK(ml_thread_counts().lanes >= MANY);
        ml_set_lane_limit(3); /* those in use stay */
        CHECK(ml_lane_limit() == 3 && ml_thread_counts().lanes >= MANY);
        for (int i = 0; i < MANY; i++) CHECK(host_switch(all[i], 2) == 2);
        release_many(all);
        create_many(all);
        CHECK(ml_thread_counts().lanes == 3);
        ml_set_lane_limit(5);
        release_many(all);
        create_many(all);
        CHECK(ml_thread_counts().lanes == 5);
        ml_set_lane_limit(0);
        CHECK(ml_lane_limit() == 1);
        ml_set_lane_limit(~0u);
        CHECK(ml_lane_limit() == ML_LANES_MAX);
        ml_set_lane_limit(usual);
    }
    release_many(all);
}

/* ------------------------------------------------------------------------ rounding */

static void note_mode(ml_greenlet *self, ml_parcel *parcel) {
    host_open(parcel);
    long inherited = fegetround();
    fesetround(FE_UPWARD);
    host_switch(self->parent, inherited);
    CHECK(fegetround() == FE_UPWARD);
    *parcel = host_value(fegetround());
}

static void a_greenlet_inherits_the_rounding_mode_and_keeps_its_own(void) {
    unsigned usual = ml_lane_limit();
    for (unsigned limit = 1; limit <= 2; limit++) {
        ml_set_lane_limit(limit);
        ml_greenlet *other = host_new(main_greenlet, echo, NULL);
        host_switch(other, 1); /* occupies a lane */
        fesetround(FE_TOWARDZERO);
        ml_greenlet *g = host_new(main_greenlet, note_mode, NULL);
        CHECK(host_switch(g, 1) == FE_TOWARDZERO && fegetround() == FE_TOWARDZERO);
        CHECK(host_switch(g, 1) == FE_UPWARD && fegetround() == FE_TOWARDZERO);
        fesetround(FE_TONEAREST);
        host_release(g);
        host_release(other);
    }
    ml_set_lane_limit(usual);
}

static void note_origin(host_tracer *tracer, ml_greenlet *g, ml_parcel *parcel) {
    CHECK(ml_is_running(g));
    tracer->calls++;
    tracer->origin = parcel->origin;
    if (tracer->calls == 3) *ml_thread_tracer(ml_thread_get()) = NULL;
}

static void a_tracer_sees_every_arrival(void) {
    ml_greenlet *g = host_new(main_greenlet, echo, NULL);
    host_tracer tracer = {.call = note_origin};
    *ml_thread_tracer(ml_thread_get()) = &tracer;
    CHECK(host_switch(g, 1) == 1); /* there and back */
    CHECK(tracer.calls == 2 && tracer.origin == g);
    CHECK(host_switch(main_greenlet, 1) == 1); /* to itself; the tracer goes */
    CHECK(tracer.calls == 3 && !tracer.origin);
    CHECK(host_switch(g, 0) == 0 && tracer.calls == 3);
    host_release(g);
}

static void measure_main(ml_greenlet *self, ml_parcel *parcel) {
    host_open(parcel);
    CHECK(ml_stack_size(self) == 0);
    host_switch(self->parent, (long)ml_stack_size(main_greenlet));
    *parcel = host_value(0);
}

static void a_suspended_stack_has_a_size(void) {
    ml_greenlet *g = host_new(main_greenlet, measure_main, NULL);
    CHECK(ml_stack_size(g) == 0 && ml_stack_size(main_greenlet) == 0);
    CHECK(host_switch(g, 0) > 0);
    CHECK(ml_stack_size(g) > 0 && ml_stack_size(g) < 65536);
    host_switch(g, 0);
    CHECK(g->state == ML_DEAD && ml_stack_size(g) == 0);
    host_release(g);
}

static void a_thread_can_be_kept_from_switching(void) {
    static const char reason[] = "not now";
    ml_greenlet *g = host_new(main_greenlet, echo, NULL);
    ml_greenlet *buried = host_new(main_greenlet, echo, NULL);
    CHECK(host_switch(g, 1) == 1 && host_switch(buried, 1) == 1);
    CHECK(ml_bar(reason) == NULL && ml_barred() == reason);
    ml_parcel parcel = host_value(2);
    CHECK(ml_switch(g, &parcel) == ML_EBARRED && ml_error_text(ML_EBARRED) == reason);
    ml_bury(buried);
    ml_tidy();
    CHECK(ml_switch(g, &parcel) == ML_EBARRED);
    CHECK(buried->state == ML_ACTIVE);
    CHECK(ml_bar(NULL) == reason && !ml_barred());
    CHECK(ml_switch(g, &parcel) == 0 && host_open(&parcel) == 2);
    CHECK(host_greenlets() == 2); /* g and main: the other one has been killed */
    host_switch(g, 0);
    host_release(g);
}

int main(void) {
    host_install();
    CHECK(!ml_this_thread_or_null());
    main_greenlet = ml_current();
    a_switch_carries_a_parcel_each_way();
    the_current_greenlet_holds_itself();
    a_switch_to_oneself_returns_what_it_sends();
    the_last_reference_kills();
    a_buried_one_is_killed_at_the_next_switch();
    a_finished_greenlet_answers_its_parent();
    the_dead_forward_to_the_first_live_ancestor();
    forwarding_to_an_unstarted_ancestor_starts_it();
    parents_are_refused_with_a_code();
    errors_cross();
    a_start_can_be_refused();
    code_that_runs_before_a_start_may_do_anything();
    a_tracer_sees_every_arrival();
    a_suspended_stack_has_a_size();
    a_thread_can_be_kept_from_switching();
    a_switch_to_a_resident_copies_nothing();
    the_lane_of_the_latest_to_finish_is_used_next();
    lanes_are_shared_evenly();
    the_dead_hold_no_memory();
    the_lane_limit_changes_both_ways();
    a_greenlet_inherits_the_rounding_mode_and_keeps_its_own();
    host_thread_exit();
    CHECK(host_greenlets() == 0 && host_memory() == 0 && host_parcels() == 0);
    puts("greenlets: all rules hold");
    return 0;
}
