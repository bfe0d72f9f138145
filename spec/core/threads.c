/* Greenlets in several OS threads: each has its own, none ever changes sides. */

#define _GNU_SOURCE /* pthread_barrier_t */
#include "host.h"
#include "storm.h"

#include <pthread.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

/* A second thread runs `start`; where both call `meet`, they wait for each other. Between two
   meetings only one of them works: greenlets here are not locked. */
static pthread_barrier_t barrier;
static pthread_t second;

static void meet(void) { pthread_barrier_wait(&barrier); }

static void begin(void *(*start)(void *)) {
    CHECK(pthread_barrier_init(&barrier, NULL, 2) == 0);
    CHECK(pthread_create(&second, NULL, start, NULL) == 0);
}

static void join(void) {
    CHECK(pthread_join(second, NULL) == 0);
    pthread_barrier_destroy(&barrier);
}

static void all_gone(void) {
    host_thread_exit();
    CHECK(host_greenlets() == 0 && host_memory() == 0 && host_parcels() == 0);
}

/* Sends back what it gets until it is told 0 or to exit; notes who killed it. */
static pthread_t killer;
static int killed;

static void echo(ml_greenlet *self, ml_parcel *parcel) {
    long value = host_open(parcel);
    while (value != 0 && value != HOST_EXIT) value = host_switch(self->parent, value);
    if (value == HOST_EXIT) {
        killer = pthread_self();
        killed++;
    }
    *parcel = host_value(value);
}

static void refused(ml_greenlet *target, int code) {
    ml_parcel parcel = host_value(3);
    CHECK(ml_switch(target, &parcel) == code);
    CHECK(!parcel.origin && host_open(&parcel) == 3);
}

/* ------------------------------------------------------------------------------ at once */

static void *storm_in_thread(void *seed) {
    CHECK(!ml_this_thread_or_null());
    ml_current();
    storm(*(uint64_t *)seed, SANITIZED ? 10000 : 50000);
    host_thread_exit();
    CHECK(!ml_this_thread_or_null() && host_parcels() == 0);
    return NULL;
}

static void threads_switch_at_once(int count) {
    pthread_t threads[4];
    uint64_t seeds[4];
    for (int i = 0; i < count; i++) {
        seeds[i] = (uint64_t)(count + i);
        CHECK(pthread_create(&threads[i], NULL, storm_in_thread, &seeds[i]) == 0);
    }
    for (int i = 0; i < count; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    all_gone();
}

static void *visit(void *unused) {
    (void)unused;
    ml_greenlet *all[10];
    for (int i = 0; i < 10; i++) host_switch(all[i] = host_new(ml_current(), echo, NULL), 1);
    for (int i = 0; i < 10; i++) host_release(all[i]);
    host_thread_exit();
    return NULL;
}

static void threads_come_and_go(void) {
    for (int i = 0; i < 50; i++) {
        begin(visit);
        join();
    }
    all_gone();
}

/* ------------------------------------------------------------------------ other's greenlets */

enum { SUSPENDED, DEAD, NEW, FORWARDING, MAIN, KINDS };
static ml_greenlet *theirs[KINDS];

static void *make_one_of_each(void *unused) {
    (void)unused;
    ml_greenlet *self = ml_current();
    host_retain(theirs[MAIN] = self);
    host_switch(theirs[SUSPENDED] = host_new(self, echo, NULL), 1);
    host_switch(theirs[DEAD] = host_new(self, echo, NULL), 0);
    theirs[NEW] = host_new(self, echo, NULL);
    host_switch(theirs[FORWARDING] = host_new(self, echo, NULL), 0);
    CHECK(ml_set_parent(theirs[FORWARDING], theirs[SUSPENDED]) == 0);
    meet(); /* the first thread tries them */
    meet();
    CHECK(host_switch(theirs[FORWARDING], 5) == 5); /* nothing has happened to them */
    host_thread_exit();
    return NULL;
}

static void others_greenlets_are_refused(void) {
    ml_greenlet *self = ml_current();
    ml_greenlet *mine = host_new(self, echo, NULL);
    ml_greenlet *unstarted = host_new(self, echo, NULL);
    host_switch(mine, 1);
    begin(make_one_of_each);
    meet();
    for (int i = 0; i < KINDS; i++) {
        refused(theirs[i], ML_ETHREAD);
        CHECK(ml_set_parent(mine, theirs[i]) == ML_ETHREAD && mine->parent == self);
    }
    CHECK(ml_set_parent(unstarted, theirs[NEW]) == 0); /* it belongs to the other thread now */
    refused(unstarted, ML_ETHREAD);
    meet();
    join();
    CHECK(ml_thread_exited(theirs[SUSPENDED]->thread));
    for (int i = 0; i < KINDS; i++) refused(theirs[i], ML_EEXITED);
    refused(unstarted, ML_EEXITED);
    CHECK(ml_set_parent(unstarted, self) == 0); /* and back */
    CHECK(host_switch(unstarted, 4) == 4);
    host_release(unstarted);
    host_release(mine);
    for (int i = 0; i < KINDS; i++) {
        CHECK(host(theirs[i])->references >= 1 && host_memory() > 0);
        host_release(theirs[i]);
    }
    all_gone();
}

/* A child of mine whose unstarted parent has moved away ends in my main greenlet. */
static void an_heir_that_moved_away_is_passed_over(void) {
    ml_greenlet *self = ml_current();
    ml_greenlet *parent = host_new(self, echo, NULL);
    ml_greenlet *child = host_new(parent, echo, NULL);
    CHECK(ml_set_parent(child, self) == 0);
    host_switch(child, 1);
    CHECK(ml_set_parent(child, parent) == 0);
    begin(make_one_of_each);
    meet();
    CHECK(ml_set_parent(parent, theirs[MAIN]) == 0);
    CHECK(host_switch(child, 0) == 0 && child->state == ML_DEAD && parent->state == ML_NEW);
    meet();
    join();
    host_release(child);
    host_release(parent);
    for (int i = 0; i < KINDS; i++) host_release(theirs[i]);
    all_gone();
}

/* -------------------------------------------------------------------- dropped from elsewhere */

static void *switch_once(void *unused) {
    (void)unused;
    killed = 0;
    ml_greenlet *self = ml_current();
    host_switch(theirs[SUSPENDED] = host_new(self, echo, NULL), 1);
    meet(); /* the first thread drops it */
    meet();
    CHECK(killed == 0 && theirs[SUSPENDED]->kill_queued);
    host_switch(self, 1);
    CHECK(killed == 1 && pthread_equal(killer, pthread_self()));
    host_switch(theirs[SUSPENDED] = host_new(self, echo, NULL), 1);
    meet(); /* again, but this thread does not switch any more */
    meet();
    host_thread_exit();
    CHECK(killed == 1 && host_greenlets() == 0);
    return NULL;
}

static void the_owner_kills_what_others_drop(void) {
    begin(switch_once);
    for (int i = 0; i < 2; i++) {
        meet();
        host_release(theirs[SUSPENDED]);
        CHECK(killed == i && theirs[SUSPENDED]->state == ML_ACTIVE);
        meet();
    }
    join();
    all_gone();
}

enum { CROWD = 2000 };
static ml_greenlet *crowd[CROWD];

static void *drop_the_crowd(void *unused) {
    (void)unused;
    meet();
    for (int i = 0; i < CROWD; i++) host_release(crowd[i]);
    return NULL;
}

static void others_may_drop_while_the_owner_kills(void) {
    killed = 0;
    for (int i = 0; i < CROWD; i++) {
        crowd[i] = host_new(ml_current(), echo, NULL);
        host_switch(crowd[i], 1);
    }
    begin(drop_the_crowd);
    meet();
    while (killed < CROWD) host_switch(ml_current(), 1);
    join();
    all_gone();
}

/* ----------------------------------------------------------------------------- teardown */

static ml_greenlet *left_behind[10];

static void *leave_them(void *unused) {
    (void)unused;
    for (int i = 0; i < 10; i++) {
        left_behind[i] = host_new(ml_current(), echo, NULL);
        host_switch(left_behind[i], 1);
    }
    host_thread_exit();
    return NULL;
}

static void the_suspended_of_an_exited_thread_hold_no_memory(void) {
    begin(leave_them);
    join();
    killed = 0;
    for (int i = 0; i < 10; i++) {
        CHECK(left_behind[i]->state == ML_ACTIVE && host_memory() > 0);
        host_release(left_behind[i]);
    }
    CHECK(killed == 0); /* none could run any more */
    all_gone();
}

static void exit_here(ml_greenlet *self, ml_parcel *parcel) {
    (void)self;
    host_open(parcel);
    ml_thread_exit(ml_thread_get());
    pthread_exit(NULL);
}

static void *exit_on_a_lane(void *unused) {
    (void)unused;
    ml_greenlet *g = theirs[SUSPENDED] = host_new(ml_current(), exit_here, NULL);
    host_retain(theirs[MAIN] = ml_current());
    host_switch(g, 1);
    return NULL;
}

/* As CPython ends a daemon thread that wants the GIL after its finalisation: unwinding stops at
   the lane's base, the thread ends, what it stood on stays. */
static void a_thread_may_exit_on_a_lane(void) {
    fflush(NULL);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        begin(exit_on_a_lane);
        join();
        CHECK(theirs[MAIN]->state == ML_DEAD && theirs[SUSPENDED]->state == ML_ACTIVE);
        refused(theirs[SUSPENDED], ML_EEXITED);
        host_release(theirs[MAIN]);
        host_release(theirs[SUSPENDED]);
        _exit(7);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 7);
}

int main(void) {
    host_install();
    const unsigned limits[] = {1, 3, ML_LANES_DEFAULT};
    for (int i = 0; i < 3; i++) {
        ml_set_lane_limit(limits[i]);
        threads_switch_at_once(2);
        threads_switch_at_once(4);
        threads_come_and_go();
        others_greenlets_are_refused();
        an_heir_that_moved_away_is_passed_over();
        the_owner_kills_what_others_drop();
        others_may_drop_while_the_owner_kills();
        the_suspended_of_an_exited_thread_hold_no_memory();
        a_thread_may_exit_on_a_lane();
    }
    puts("threads: each kept its own");
    return 0;
}
