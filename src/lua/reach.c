#define _GNU_SOURCE /* clock_gettime */
#include "reach.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static volatile unsigned count;
static lua_Hook passed;

static const char opener_key; /* registry: the thread that has opened the world */

enum {
    LEVELS = 64,         /* coroutines inside one another that are followed */
    SAVED_MAX = 32,      /* threads at a time whose own hook waits */
    COUNT_MAX = 1000,    /* of a count hook, as documented */
    POSTPONED_MAX = 1000 /* steps in Lua files of ours */
};

/* Of the OS thread's processor time: more than any call or return takes to be complete. */
static const int64_t STEADY = 1000000;

static const int EVERYTHING = LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT;

/* A thread on the way to the one that runs. */
typedef struct level {
    lua_State *L;
    const void *frame;        /* its innermost CallInfo when it was looked at first */
    const lua_State *resumed; /* what that seems to resume */
    int64_t since;            /* when all of this was seen first */
} level;

typedef struct path {
    unsigned length;
    level levels[LEVELS];
} path;

/* A hook that is not ours, which waits for ours to be called. */
typedef struct saved {
    lua_State *L;
    lua_Hook hook;
    int mask;
    int count;
} saved;

struct ml_reach {
    lua_State *opener;          /* not the main thread, or NULL */
    volatile sig_atomic_t busy; /* hooks are being put back */
    path paths[3];
    saved saved[SAVED_MAX];
    unsigned postponed; /* so many steps */
};

void ml_reach_open(lua_State *L, ml_world *w) {
    ml_reach *r = calloc(1, sizeof *r);
    if (!r) luaL_error(L, "not enough memory");
    w->reach = r;
    if (L == w->main) return;
    lua_pushthread(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &opener_key);
    r->opener = L;
}

static saved *find_saved(ml_reach *r, const lua_State *L) {
    for (int i = 0; i < SAVED_MAX; i++) {
        if (r->saved[i].L == L) return &r->saved[i];
    }
    return NULL;
}

/* -------------------------------------------------------------------------------- the hook */

static void forget_level(path *p, const lua_State *L) {
    for (unsigned i = 0; i < p->length; i++) {
        if (p->levels[i].L == L) p->length = i;
    }
}

/* Whether a Lua file of ours runs, or a C function that it has called. */
static bool is_ours(lua_State *L) {
    lua_Debug ar;
    for (int i = 0; i < 2 && lua_getstack(L, i, &ar); i++) {
        lua_getinfo(L, "S", &ar);
        if (*ar.what != 'C') return strncmp(ar.source, "@moonlet/", 9) == 0;
    }
    return false;
}

/* The scheduler is better not interrupted between two steps that belong together: whoever catches
   Ctrl-C would go on with what is half done. It soon comes to somebody else. */
static bool is_postponed(ml_reach *r, lua_State *L) {
    if (find_saved(r, L) || r->postponed >= POSTPONED_MAX || !is_ours(L)) {
        r->postponed = 0;
        return false;
    }
    r->postponed++;
    return true;
}

static void reached(lua_State *L, lua_Debug *ar) {
    count++;
    ml_world *w = ml_world_get(L);
    ml_reach *r = w ? w->reach : NULL;
    if (r && is_postponed(r, L)) return;
    saved before = {.L = NULL};
    if (r) {
        r->busy = 1;
        atomic_signal_fence(memory_order_seq_cst);
        saved *s = find_saved(r, L);
        if (s) {
            before = *s;
            s->L = NULL;
            int mask = lua_gethookmask(L);
            if (mask != (before.mask | EVERYTHING)) {
                /* Ours was set while lua_sethook was setting another, whose mask this is. */
                before.mask = mask;
                before.count = lua_gethookcount(L);
            }
        }
        for (int i = 0; i < 3; i++) forget_level(&r->paths[i], L);
    }
    lua_sethook(L, before.hook, before.mask, before.count);
    if (r) {
        atomic_signal_fence(memory_order_seq_cst);
        r->busy = 0;
    }
    if (w && !w->closed) w->bridge->turn(L, w);
    if (!before.hook) return;
    int event = ar->event == LUA_HOOKTAILCALL ? LUA_HOOKCALL : ar->event;
    bool due = before.mask >> event & 1 && (event != LUA_HOOKCOUNT || before.count == 1);
    if (due && lua_gethook(L) == before.hook) before.hook(L, ar);
}

static bool is_set(lua_State *L) {
    return lua_gethook(L) == reached && (lua_gethookmask(L) & EVERYTHING) == EVERYTHING;
}

/* Sets the hook on `L`, unless its own must not be replaced. */
static bool set(ml_reach *r, lua_State *L) {
    if (is_set(L)) return true;
    lua_Hook hook = lua_gethook(L);
    int mask = lua_gethookmask(L);
    int steps = lua_gethookcount(L);
    saved *s = find_saved(r, L);
    if (!hook) {
        if (s) s->L = NULL;
        lua_sethook(L, reached, EVERYTHING, 1);
        return true;
    }
    if (mask & LUA_MASKCOUNT && steps > COUNT_MAX) return false;
    if (!s) s = find_saved(r, NULL);
    if (!s) return false;
    if (hook != reached) *s = (saved){L, hook, mask, steps};
    /* Its events are also ours, so that none is lost; no others that it could get from a step that
       is half done (luaG_traceexec of ldebug.c). */
    lua_sethook(L, reached, EVERYTHING | mask, 1);
    return true;
}

/* ------------------------------------------------------------------------------ finding it */

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static const void *innermost(lua_State *L) {
    lua_Debug ar;
    return lua_getstack(L, 0, &ar) ? ar.i_ci : NULL;
}

/* The thread that the innermost function of `L` seems to resume, or NULL. Only reads; but what it
   reads must be at rest. */
static lua_State *resumed_by(lua_State *L) {
    lua_Debug ar;
    if (!lua_getstack(L, 0, &ar) || !lua_getinfo(L, "S", &ar) || *ar.what != 'C') return NULL;
    lua_State *argument = lua_gettop(L) ? lua_tothread(L, 1) : NULL;
    return argument ? argument : lua_tothread(L, lua_upvalueindex(1));
}

static bool is_on(const path *p, unsigned length, const lua_State *L) {
    for (unsigned i = 0; i < length; i++) {
        if (p->levels[i].L == L) return true;
    }
    return false;
}

/* From `L` on towards the one that runs, as far as is certain in this round. */
static void follow(ml_reach *r, path *p, lua_State *L) {
    int64_t time = now();
    for (unsigned i = 0; i < LEVELS && L && !is_on(p, i, L); i++) {
        level *l = &p->levels[i];
        const void *frame = innermost(L);
        if (i >= p->length || l->L != L || l->frame != frame || !is_set(L)) {
            bool done = set(r, L);
            *l = (level){.L = L, .frame = frame, .since = time};
            p->length = done ? i + 1 : i;
            return;
        }
        const saved *own = find_saved(r, L);
        if (time - l->since < STEADY || (own && own->hook != passed)) return;
        lua_State *next = resumed_by(L);
        if (next != l->resumed) {
            l->resumed = next;
            l->since = time;
            p->length = i + 1;
            return;
        }
        L = next;
    }
}

unsigned ml_reach_count(void) { return count; }
void ml_reach_pass(lua_Hook hook) { passed = hook; }

bool ml_reach_is_stopped(lua_State *L) {
    lua_Hook hook = lua_gethook(L);
    if (!hook || hook == reached || hook == passed) return false;
    int all = LUA_MASKCALL | LUA_MASKRET | LUA_MASKLINE | LUA_MASKCOUNT;
    return lua_gethookmask(L) == all && lua_gethookcount(L) == 1;
}

void ml_reach_round(ml_world *w) {
    ml_reach *r = w->reach;
    const ml_greenlet *g = ml_this_thread_or_null() ? ml_current() : NULL;
    if (!g || r->busy || !ml_in_place(g)) return;
    const ml_activation *a = g->lua;
    if (a && (a->world != w || !a->inside)) return;
    /* In a finalizer Lua calls no hooks, so nothing can be told from their silence. */
    if (lua_gc(w->main, LUA_GCISRUNNING) == -1) return;
    lua_State *L = a ? a->L : w->main;
    follow(r, &r->paths[0], L);
    const ml_lthread *t = g->lua_threads; /* for a call that is nested deep: see ml_lua_state */
    while (t && t->world != w) t = t->same_greenlet;
    if (t && t->L != L) follow(r, &r->paths[1], t->L);
    if (!a && r->opener) follow(r, &r->paths[2], r->opener);
}
