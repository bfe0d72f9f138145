#define _GNU_SOURCE /* SIGEV_THREAD_ID, gettid */
#include "ticks.h"
#include "reach.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

enum {
    SIGNAL = SIGURG,
    PERIOD = 2000000, /* nanoseconds; the kernel may make it a tick of its own */
    REST = 1024
};

struct ml_ticks {
    const ml_lua_bridge *bridge;
    const void *owner;
    const void *others;
    ml_world *worlds;
    timer_t timer;
    bool made;     /* there is a timer */
    bool failed;   /* it could not go when that was tried last */
    unsigned rest; /* so often nothing need be done about it */
    volatile sig_atomic_t on;
};

/* Initial-exec, as in core/thread.h: a signal handler must not be the one to allocate it. */
static _Thread_local ml_ticks *mine __attribute__((tls_model("initial-exec")));

/* A handler that came after ours may pass its signals to ours, and get them back. */
static _Thread_local volatile sig_atomic_t passing __attribute__((tls_model("initial-exec")));

static const char mark; /* its address is the value of our signals */
static struct sigaction before;
static void *const nobody;

/* ------------------------------------------------------------------------------- the handler */

static void let(const ml_ticks *t, long period) {
    struct itimerspec when = {.it_value.tv_nsec = period, .it_interval.tv_nsec = period};
    timer_settime(t->timer, 0, &when, NULL);
}

static void stop(ml_ticks *t) {
    t->on = 0;
    let(t, 0);
}

static void tick(ml_ticks *t) {
    int seen = t->bridge->look(t->owner);
    if (!(seen & ML_RUNS)) return;
    bool idle = !(seen & ML_WANTED);
    for (ml_world *w = t->worlds; w; w = w->next_ticking) {
        if (!(seen & ML_WANTED) && !ml_has_posted(w)) continue;
        idle = false;
        ml_reach_round(w);
    }
    if (!t->worlds || (idle && seen & ML_ALONE)) stop(t);
}

static void pass(int signum, siginfo_t *info, void *context) {
    if (before.sa_flags & SA_SIGINFO) {
        before.sa_sigaction(signum, info, context);
    } else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
        before.sa_handler(signum);
    }
}

static void handle(int signum, siginfo_t *info, void *context) {
    int error = errno;
    if (info->si_code == SI_TIMER && info->si_value.sival_ptr == (void *)&mark) {
        if (mine && mine->on) tick(mine);
    } else if (!passing) {
        passing = 1;
        pass(signum, info, context);
        passing = 0;
    }
    errno = error;
}

/* ---------------------------------------------------------------------------------- the clock */

/* A child process has no timers, and only the thread that made it. */
static void after_fork(void) {
    if (!mine) return;
    mine->made = false;
    mine->on = 0;
}

/* Whether the signal comes to us. */
static bool has_handler(void) {
    static bool installed;
    struct sigaction now;
    if (sigaction(SIGNAL, NULL, &now) != 0) return false;
    if (now.sa_flags & SA_SIGINFO && now.sa_sigaction == handle) return true;
    if (!installed && pthread_atfork(NULL, NULL, after_fork) != 0) return false;
    installed = true;
    before = now;
    struct sigaction action = {.sa_sigaction = handle,
                               .sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK};
    sigaddset(&action.sa_mask, SIGINT); /* whose handler sets hooks, too */
    return sigaction(SIGNAL, &action, NULL) == 0;
}

static bool has_timer(ml_ticks *t) {
    if (t->made) return true;
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID,
                             .sigev_signo = SIGNAL,
                             .sigev_value.sival_ptr = (void *)&mark,
                             .sigev_notify_thread_id = gettid()};
    t->made = timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &t->timer) == 0;
    return t->made;
}

void ml_ticks_on(const ml_world *w) {
    ml_ticks *t = w->ticks;
    if (!t || t != mine) return;
    if ((t->on || t->failed) && t->rest) {
        t->rest--;
        return;
    }
    t->rest = REST;
    t->failed = !has_handler() || !has_timer(t); /* others may have taken the handler away */
    if (t->failed || t->on) return;
    t->on = 1;
    let(t, PERIOD);
}

void ml_ticks_prepare(void) {
    if (mine && has_handler()) has_timer(mine);
}

void ml_ticks_urge(void) {
    if (!mine || !mine->made) return;
    mine->on = 1;
    let(mine, PERIOD);
}

/* ------------------------------------------------------------------------------ its worlds */

void ml_ticks_open(ml_world *w) {
    w->others = &nobody;
    ml_ticks *t = mine;
    if (!t) {
        t = calloc(1, sizeof *t);
        if (!t) return;
        t->bridge = w->bridge;
        t->owner = w->bridge->owner(t, &t->others);
        if (!t->owner) {
            free(t);
            return;
        }
        mine = t;
    }
    w->ticks = t;
    w->others = t->others;
    w->next_ticking = t->worlds;
    atomic_signal_fence(memory_order_seq_cst);
    t->worlds = w;
    if (!(t->bridge->look(t->owner) & ML_ALONE)) ml_ticks_on(w);
}

void ml_ticks_close(ml_world *w) {
    ml_ticks *t = w->ticks;
    w->ticks = NULL;
    w->others = &nobody;
    if (!t) return;
    ml_world **place = &t->worlds;
    while (*place != w) place = &(*place)->next_ticking;
    *place = w->next_ticking;
}

void ml_ticks_end(ml_ticks *t) {
    while (t->worlds) ml_ticks_close(t->worlds);
    t->owner = NULL;
    t->on = 0;
    if (t != mine) return; /* it may be in the handler: `t` is leaked */
    mine = NULL;
    if (t->made) timer_delete(t->timer);
    free(t);
}
