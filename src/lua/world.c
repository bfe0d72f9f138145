#include "reach.h"
#include "ticks.h"

#include <stdlib.h>

enum { MAX_IDLE = 256 };

static const char world_key; /* registry[&world_key]: userdata with a pointer to the world */

const char ml_threads_key;
const ml_lua_bridge *ml_the_bridge;

static ml_world *open_worlds; /* of all threads; used with the lock that Lua runs under */

/* -------------------------------------------------------------------------- which one is here */

/* The world of the innermost activation of `g`, which runs, else of who made it. It may be closed,
   or even freed in the second case. */
static const ml_world *belongs_to(const ml_greenlet *g) {
    for (const ml_activation *a = g->lua; a; a = a->previous) {
        if (!a->world->closed) return a->world;
    }
    return g->lua_home;
}

static void adopt(ml_greenlet *g) {
    const ml_greenlet *maker = ml_this_thread_or_null() ? ml_current() : NULL;
    g->lua_home = maker ? (void *)belongs_to(maker) : NULL;
}

ml_world *ml_world_here(bool *several) {
    const ml_thread *t = ml_this_thread_or_null();
    const ml_world *mine = t ? belongs_to(ml_current()) : NULL;
    ml_world *found = NULL;
    *several = false;
    for (ml_world *w = open_worlds; w; w = w->next) {
        if (w->thread != t) continue;
        if (w == mine) {
            *several = false;
            return w;
        }
        *several = found != NULL;
        found = w;
    }
    return *several ? NULL : found;
}

ml_world *ml_world_first(void) {
    ml_world *w = open_worlds;
    while (w && w->next) w = w->next;
    return w;
}

/* ------------------------------------------------------------------------- open and close */

static bool make_room(ml_world *w, size_t more);

static int collect_world(lua_State *L) {
    ml_world **slot = lua_touserdata(L, 1);
    ml_world *w = *slot;
    *slot = NULL;
    if (!w) return 0;
    ml_world_close(w);
    ml_world_drain(w); /* it may have been closed before, then finalizers have deferred more */
    ml_world_release(w);
    return 0;
}

ml_world *ml_world_get(lua_State *L) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &world_key);
    ml_world **slot = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return slot ? *slot : NULL;
}

ml_world *ml_world_open(lua_State *L, const ml_lua_bridge *bridge) {
    ml_world *w = ml_world_get(L);
    if (w) return w;
    ml_thread *thread = ml_thread_get();
    if (!thread) luaL_error(L, "not enough memory");
    luaL_checkstack(L, 4, NULL);

    /* Made before every other object with a finalizer of ours, it is finalized after them
       (Lua 5.4 manual, 2.5.3): only then are deferred releases done, so that greenlets that are
       killed while the state closes can still use what they refer to. */
    ml_world **slot = lua_newuserdatauv(L, sizeof *slot, 0);
    *slot = NULL;
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, collect_world);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);

    lua_newtable(L);
    lua_State *service = lua_newthread(L);
    lua_rawsetp(L, -2, service);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &ml_threads_key);
    luaL_checkstack(service, 16, NULL);

    w = calloc(1, sizeof *w);
    if (w && !make_room(w, 0)) {
        free(w);
        w = NULL;
    }
    if (!w) luaL_error(L, "not enough memory");
    *slot = w;
    w->service = service;
    w->thread = thread;
    w->bridge = ml_the_bridge = bridge;
    w->users = 1;
    w->epoch = 1;
    w->last_value = LUA_NOREF;
    w->held_limit = SIZE_MAX;
    ml_forget_lua = ml_lua_forget;
    ml_adopt_lua = adopt;
    lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
    w->main = lua_tothread(L, -1);
    lua_pop(L, 1);
    lua_newtable(L);
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "v");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    w->identity = luaL_ref(L, LUA_REGISTRYINDEX);
    ml_reach_open(L, w);
    ml_ticks_open(w);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &world_key); /* last: a world that is found is complete */
    static uint64_t last_id;
    w->id = ++last_id;
    w->next = open_worlds;
    open_worlds = w;
    return w;
}

static void unlist(const ml_world *w) {
    ml_world **place = &open_worlds;
    while (*place && *place != w) place = &(*place)->next;
    if (*place) *place = w->next;
}

void ml_world_retain(ml_world *w) { w->users++; }

void ml_world_release(ml_world *w) {
    if (--w->users) return;
    w->bridge->free_objects(w);
    free(w->deferred);
    free(w->reach);
    free(w);
}

static bool can_end(const ml_world *w, const ml_greenlet *g) {
    return g->state == ML_ACTIVE && g->thread == w->thread && g != ml_current();
}

/* Does `act` to each greenlet that is suspended in Lua, but to none that is made meanwhile. Whether
   there were any. */
static bool for_each_suspended(ml_world *w, void (*act)(ml_greenlet *)) {
    bool any = false;
    for (w->next_busy = w->busy; w->next_busy;) { /* new ones come before the first */
        ml_greenlet *g = w->next_busy->greenlet;
        w->next_busy = w->next_busy->next;
        if (!can_end(w, g)) continue;
        any = true;
        ml_hook_retain(g);
        act(g);
        ml_hook_release(g);
    }
    return any;
}

/* What is ended may make others on its way. */
enum { ATTEMPTS = 3 };

static void end_greenlets(ml_world *w) {
    w->closing = true;
    for (int i = 0; i < ATTEMPTS; i++) {
        if (!for_each_suspended(w, ml_hook_end)) break;
    }
    for_each_suspended(w, ml_greenlet_abandon);
    w->closing = false;
}

void ml_world_close(ml_world *w) {
    if (w->closed || w->closing) return;
    ml_lua_touch(w);
    const char *barred = ml_bar(NULL);
    if (ml_this_thread_or_null() == w->thread) end_greenlets(w);
    ml_bar(barred);
    w->bridge->forget_error(w);
    w->bridge->close(w);
    ml_ticks_close(w);
    w->closed = true;
    unlist(w);
    while (w->busy) ml_lthread_free(w->busy);
    while (w->idle) {
        ml_lthread *t = w->idle;
        w->idle = t->next;
        free(t);
    }
    ml_world_discard_posted(w);
    ml_world_drain(w);
}

/* ------------------------------------------------------------------------------- deferring */

enum { SPARE = 64 }; /* for what is deferred when there is no memory, until the next drain */

/* Room for `more`, besides what is promised and to spare. */
static bool make_room(ml_world *w, size_t more) {
    size_t needed = w->deferred_count + w->promised + more + SPARE;
    if (needed <= w->deferred_capacity) return true;
    size_t capacity = 2 * needed;
    ml_deferred *deferred = realloc(w->deferred, capacity * sizeof *deferred);
    if (!deferred) return false;
    w->deferred = deferred;
    w->deferred_capacity = capacity;
    return true;
}

bool ml_world_defer(ml_world *w, void (*function)(void *), void *argument) {
    if (!make_room(w, 1) && w->deferred_count == w->deferred_capacity) return false;
    w->deferred[w->deferred_count++] = (ml_deferred){function, argument};
    return true;
}

void ml_world_drain(ml_world *w) {
    if (!w->deferred_count || w->closing) return;
    /* A finalizer may run inside of whatever allocates, where somebody relies on what he has
       deferred. */
    if (!w->closed && ml_in_finalizer(w)) return;
    w->hurry = false;
    w->epoch++;
    while (w->deferred_count) {
        ml_deferred d = w->deferred[--w->deferred_count];
        d.function(d.argument);
    }
}

void ml_world_tidy(ml_world *w) {
    if (!w->closed && ml_in_finalizer(w)) return;
    w->bridge->forget_error(w);
    ml_world_drain(w);
    if (ml_has_posted(w)) ml_world_run_posted(w);
}

enum { BATCH = 16 /* KiB */ };

void ml_world_weigh(lua_State *L, ml_world *w, unsigned bytes) {
    w->weight += bytes;
    if (w->weight < BATCH * 1024) return;
    w->weight = 0;
    if (lua_gc(L, LUA_GCISRUNNING) == 1) lua_gc(L, LUA_GCSTEP, BATCH);
}

ml_handle *ml_handle_push(lua_State *L, ml_world *w, const void *tag, int metatable) {
    ml_handle *h = lua_newuserdatauv(L, sizeof *h, 0);
    *h = (ml_handle){.tag = tag, .world = w};
    if (!make_room(w, 1)) luaL_error(L, "not enough memory");
    w->promised++;
    lua_rawgeti(L, LUA_REGISTRYINDEX, metatable);
    lua_setmetatable(L, -2);
    return h;
}

void ml_handle_set(ml_handle *h, void *pointer, void (*release)(void *)) {
    h->pointer = pointer;
    h->listed = h->world->closing;
    if (!h->listed) return;
    h->world->promised--;
    ml_world_defer(h->world, release, pointer);
}

bool ml_identity_push(lua_State *L, const ml_world *w, const void *pointer) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, w->identity);
    if (lua_rawgetp(L, -1, pointer) == LUA_TUSERDATA) {
        /* While a state is closed, its finalized userdata are still here. */
        const ml_handle *h = lua_touserdata(L, -1);
        if (!h->dead_since) {
            lua_remove(L, -2);
            return true;
        }
    }
    lua_pop(L, 2);
    return false;
}

void ml_identity_set(lua_State *L, const ml_world *w, const void *pointer) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, w->identity);
    lua_pushvalue(L, -2);
    lua_rawsetp(L, -2, pointer);
    lua_pop(L, 1);
}

void ml_handle_collect(lua_State *L, void (*release)(void *)) {
    ml_handle *h = ml_handle_at(L, 1);
    if (!h || h->dead_since || h->listed) return;
    ml_lua_touch(h->world);
    h->world->finalized++;
    h->dead_since = h->world->epoch;
    h->world->promised--;
    if (h->pointer) ml_world_defer(h->world, release, h->pointer);
}

void ml_handle_clear(ml_handle *h) {
    h->world->promised--;
    h->pointer = NULL;
    h->dead_since = h->world->epoch;
}

/* ------------------------------------------------------------------------------ Lua threads */

static int new_thread(lua_State *L) {
    ml_lthread *t = lua_touserdata(L, 1);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &ml_threads_key);
    lua_State *thread = lua_newthread(L);
    lua_rawsetp(L, -2, thread);
    t->L = thread;
    return 0;
}

static ml_lthread *make_thread(ml_world *w) {
    ml_lthread *t = calloc(1, sizeof *t);
    if (!t) return NULL;
    t->world = w;
    lua_pushcfunction(w->service, new_thread);
    lua_pushlightuserdata(w->service, t);
    if (lua_pcall(w->service, 1, 0, 0) != LUA_OK) {
        lua_settop(w->service, 0);
        free(t);
        return NULL;
    }
    return t;
}

ml_lthread *ml_lthread_new(ml_world *w, ml_greenlet *g) {
    ml_lthread *t = w->idle;
    if (t) {
        w->idle = t->next;
        w->idle_count--;
    } else {
        t = make_thread(w);
        if (!t) return NULL;
    }
    t->greenlet = g;
    t->previous = NULL;
    t->next = w->busy;
    if (w->busy) w->busy->previous = t;
    w->busy = t;
    t->same_greenlet = g->lua_threads;
    g->lua_threads = t;
    if (__builtin_expect(++w->held >= w->held_limit, 0)) w->bridge->crowded(w);
    return t;
}

static void give_back(ml_lthread *t) {
    ml_world *w = t->world;
    if (t->previous) {
        t->previous->next = t->next;
    } else {
        w->busy = t->next;
    }
    if (t->next) t->next->previous = t->previous;
    if (w->next_busy == t) w->next_busy = t->next;
    w->held--;
    if (w->closed) {
        free(t);
        return;
    }
    lua_settop(t->L, 0);
    if (w->idle_count < MAX_IDLE && lua_status(t->L) == LUA_OK) {
        t->next = w->idle;
        w->idle = t;
        w->idle_count++;
        return;
    }
    /* Assigning nil to a key that is there allocates nothing, so cannot fail. */
    lua_rawgetp(w->service, LUA_REGISTRYINDEX, &ml_threads_key);
    lua_pushnil(w->service);
    lua_rawsetp(w->service, -2, t->L);
    lua_pop(w->service, 1);
    free(t);
}

void ml_lua_forget(ml_greenlet *g) {
    ml_lthread *t = g->lua_threads;
    g->lua_threads = NULL;
    while (t) {
        ml_lthread *next = t->same_greenlet;
        give_back(t);
        t = next;
    }
}

void ml_lthread_free(ml_lthread *t) {
    ml_lthread *before = t->greenlet->lua_threads;
    if (before == t) {
        t->greenlet->lua_threads = t->same_greenlet;
    } else {
        while (before->same_greenlet != t) before = before->same_greenlet;
        before->same_greenlet = t->same_greenlet;
    }
    give_back(t);
}

/* Of calls from one language into the other and back, per Lua thread and in all. At the second
   limit Lua's own one is left to end the recursion, while there is still C stack. */
enum { DEPTH_PER_THREAD = 64, DEPTH_LIMIT = 1024 };

/* What a recursion through both languages has to leave of the C stack, for what each does meanwhile:
   this, or a quarter of a small stack. */
enum { STACK_RESERVE = 1 << 20 };

static bool is_stack_full(void) {
    size_t size;
    size_t left = ml_stack_left(&size);
    return left < STACK_RESERVE && left < size / 4;
}

lua_State *ml_lua_state(ml_world *w, ml_lthread **fresh, bool *overflow) {
    ml_greenlet *g = ml_current();
    *fresh = NULL;
    *overflow = false;
    for (const ml_activation *a = g->lua; a; a = a->previous) {
        if (a->world != w) continue;
        if (a->depth < DEPTH_PER_THREAD - 1) return a->L;
        *overflow = is_stack_full();
        if (*overflow) return NULL;
        if (a->depth % DEPTH_PER_THREAD != DEPTH_PER_THREAD - 1 || a->depth >= DEPTH_LIMIT) {
            return a->L;
        }
        *fresh = ml_lthread_new(w, g);
        return *fresh ? (*fresh)->L : NULL;
    }
    for (ml_lthread *t = g->lua_threads; t; t = t->same_greenlet) {
        if (t->world == w) return t->L;
    }
    if (ml_is_main(g)) return w->main;
    ml_lthread *t = ml_lthread_new(w, g);
    return t ? t->L : NULL;
}
