#include "lgreenlet.h"
#include "../core/switch.h"

#include <string.h>

const char ml_greenlet_tag;
static const char overflow_key; /* registry: a message, for where none can be made */

static ml_world *world(lua_State *L) { return lua_touserdata(L, lua_upvalueindex(1)); }

/* --------------------------------------------------------------------------------- parcels */

static void discard(ml_parcel *parcel) {
    lua_State *from = parcel->value;
    lua_settop(from, -parcel->count - 1);
}

const ml_parcel_kind ml_lua_parcel = {discard};

/* L's topmost values. Field by field: a struct that is copied when it has just been made is read by
   more bytes at once than it was written by, for which a processor has to wait. */
static inline void pack(ml_parcel *parcel, lua_State *L, ml_world *w, int count) {
    parcel->kind = &ml_lua_parcel;
    parcel->value = L;
    parcel->extra = w;
    parcel->more = NULL;
    parcel->count = count;
    parcel->error = false;
    parcel->results = false;
    parcel->origin = NULL;
}

int ml_lgreenlet_overflow(lua_State *L, ml_parcel *parcel) {
    ml_discard(parcel);
    parcel->error = true;
    lua_settop(L, 0); /* makes room for the message */
    lua_rawgetp(L, LUA_REGISTRYINDEX, &overflow_key);
    return 1;
}

/* Pushes what a parcel brought and settles it. Returns the number of values; with parcel->error
   it is one, to be raised. Needs a free stack slot, and checks for more. Raises no Lua error
   itself. */
static inline int receive(lua_State *L, ml_world *w, ml_parcel *parcel, ml_reception as) {
    int count = parcel->count;
    lua_State *from = parcel->value;
    if (!parcel->kind) {
        count = 0;
    } else if (parcel->kind != &ml_lua_parcel || parcel->extra != w) {
        count = w->bridge->receive(L, w, parcel, as);
    } else if (count && from != L) {
        if (!lua_checkstack(L, count)) return ml_lgreenlet_overflow(L, parcel);
        lua_xmove(from, L, count);
    }
    parcel->kind = NULL;
    ml_settle(parcel);
    return count;
}

/* ------------------------------------------------------------------------------------- body */

/* Runs the function at index 1 of the greenlet's Lua thread. */
static void body(ml_greenlet *g, ml_parcel *parcel) {
    ml_lthread *t = g->lua_threads;
    if (!t || t->world->closed) {
        ml_discard(parcel);
        ml_the_bridge->closed(parcel);
        return;
    }
    lua_State *L = t->L;
    ml_world *w = t->world;
    ml_activation base = {.L = L, .world = w, .greenlet = g, .inside = true};
    g->lua = &base;
    ml_push_handler(L, w);
    lua_insert(L, 1);
    int count = receive(L, w, parcel, ML_ARGUMENTS);
    ml_lua_resumed(w);
    bool failed = parcel->error || lua_pcall(L, count, LUA_MULTRET, 1) != LUA_OK;
    g->lua = NULL;
    pack(parcel, L, w, failed ? 1 : lua_gettop(L) - 1);
    parcel->error = failed && !w->bridge->is_exit(L);
    parcel->results = true;
}

/* ----------------------------------------------------------------------------------- values */

enum { WEIGHT = 512 }; /* see ml_world_weigh; of a greenlet without its stack, about */

static void release(void *g) { ml_hook_release(g); }

ml_greenlet *ml_lgreenlet_test(lua_State *L, int index) {
    const ml_handle *h = ml_handle_at(L, index);
    return h && h->tag == &ml_greenlet_tag ? ml_handle_get(h) : NULL;
}

void ml_lgreenlet_push(lua_State *L, ml_world *w, ml_greenlet *g) {
    luaL_checkstack(L, 4, NULL);
    if (ml_identity_push(L, w, g)) return;
    ml_world_weigh(L, w, WEIGHT);
    ml_handle *h = ml_handle_push(L, w, &ml_greenlet_tag, w->greenlets);
    ml_hook_retain(g);
    ml_handle_set(h, g, release);
    ml_identity_set(L, w, g);
}

static int collect(lua_State *L) {
    ml_handle_collect(L, release);
    return 0;
}

/* The handle of the greenlet at `index`, or an error that says what was there instead. */
static const ml_handle *check_handle(lua_State *L, int index) {
    const ml_handle *h = ml_handle_at(L, index);
    if (!h || h->tag != &ml_greenlet_tag || !ml_handle_get(h))
        luaL_typeerror(L, index, "greenlet");
    return h;
}

static ml_greenlet *check(lua_State *L, int index) { return check_handle(L, index)->pointer; }

/* -------------------------------------------------------------------------- switch and throw */

/* Inside a finalizer (Lua 5.4: GCTM in lgc.c) the collector is stopped, and would stay so while
   the finalizer is suspended. lua_gc then refuses every request with -1. */
static void check_may_leave(lua_State *L, const ml_world *w) {
    if (lua_gc(L, LUA_GCISRUNNING) == -1 && !w->closing) {
        luaL_error(L, "cannot switch to another greenlet inside a finalizer (__gc)");
    }
}

static void run_posted(lua_State *L, ml_world *w) {
    ml_activation a;
    ml_activate(&a, L, w);
    ml_world_run_posted(w);
    ml_lua_return(&a);
}

/* What has to be done and seen to before every switch. */
static inline void prepare(lua_State *L, ml_world *w) {
    if (__builtin_expect(w->closed, 0)) luaL_error(L, "the Lua state is closed");
    check_may_leave(L, w);
    if (__builtin_expect(w->deferred_count != 0, 0)) ml_world_drain(w);
    if (__builtin_expect(ml_has_posted(w), 0)) run_posted(L, w);
}

/* Pushes the error that `result` of ml_switch says. */
static void push_failure(lua_State *L, ml_world *w, int result) {
    if (result == ML_ELANGUAGE) {
        w->bridge->push_error(L, w);
        return;
    }
    luaL_where(L, 1);
    lua_pushstring(L, ml_error_text(result));
    lua_concat(L, 2);
}

/* Raises it. */
static __attribute__((noinline, cold)) intptr_t fail(lua_State *L, ml_world *w, int result) {
    push_failure(L, w, result);
    return lua_error(L);
}

/* Switches to `g` with a parcel of L's topmost values. */
static int switch_to(lua_State *L, ml_world *w, ml_greenlet *g, ml_parcel *parcel) {
    prepare(L, w);
    int result = ml_switch(g, parcel);
    ml_lua_resumed(w);
    if (result != 0) return fail(L, w, result);
    int count = receive(L, w, parcel, ML_SWITCHED);
    return parcel->error ? lua_error(L) : count;
}

/* The short way of the same, see ml_go. */

/* A lua_CFunction whose end is ml_go: what is returned must have the same type everywhere for that to be
   a jump. Lua reads the lower half of it, in the processors' calling conventions. */
typedef intptr_t going(lua_State *L);

/* What such a function does when it cannot switch, because of `result`. */
typedef intptr_t failing(lua_State *L, ml_world *w, int result);

static lua_CFunction as_function(going *f) { return (lua_CFunction)(void (*)(void))f; }

/* Ends a function whose greenlet is at 1: switches there with the values above it, or with the `error`
   above it. When somebody comes back, `resume` goes on. To the current greenlet there is no such way:
   `stay` then does it all. */
static inline intptr_t go(lua_State *L, const ml_handle *h, bool error, ml_resume *resume,
                          going *stay, failing *failed) {
    ml_world *w = h->world;
    ml_thread *t = ml_this_thread;
    if (__builtin_expect(!t, 0) && !(t = ml_thread_get())) return failed(L, w, ML_ENOMEM);
    prepare(L, w);
    ml_route route = ml_find_way(t, h->pointer);
    if (__builtin_expect(route.way <= ML_STAY, 0)) {
        return route.way == ML_STAY ? stay(L) : failed(L, w, route.way);
    }
    int count = lua_gettop(L) - 1;
    if (count) {
        pack(&t->parcel, L, w, count);
        if (error) t->parcel.error = true;
    } else {
        t->parcel = (ml_parcel){.kind = NULL};
    }
    ml_hook_leave(t->current, &t->parcel);
    return ml_go(t, route, resume, L);
}

static __attribute__((noinline, cold)) intptr_t refused(lua_State *L, ml_world *w, ml_thread *t,
                                                        failing *failed) {
    int result = ml_take_refusal(t);
    ml_parcel nothing = {.origin = t->origin};
    ml_settle(&nothing);
    return failed(L, w, result);
}

static __attribute__((noinline, cold)) void trace(ml_thread *t) {
    ml_parcel parcel = t->parcel;
    parcel.origin = t->origin;
    ml_hook_trace(t->current, &parcel);
    t->parcel = parcel;
    t->origin = parcel.origin;
}

/* Somebody has come back, unless t->refusal says why there was no switch; t->parcel is what he brought.
   Returns the world. */
static inline ml_world *come(lua_State *L, ml_thread *t) {
    ml_hook_enter(ml_come(t));
    const ml_handle *h = lua_touserdata(L, 1);
    ml_world *w = h->world;
    ml_lua_resumed(w);
    if (__builtin_expect(t->tracer != NULL, 0) && !t->refusal) trace(t);
    return w;
}

static __attribute__((noinline)) int take_copy(lua_State *L, ml_world *w, ml_thread *t,
                                               ml_reception as, bool *error) {
    ml_parcel parcel = t->parcel;
    parcel.origin = t->origin;
    int count = receive(L, w, &parcel, as);
    *error = parcel.error;
    return count;
}

/* As `receive`, of what came. Nothing can use t->parcel before all is taken from it. */
static inline int take(lua_State *L, ml_world *w, ml_thread *t, ml_reception as, bool *error) {
    const ml_parcel *p = &t->parcel;
    int count = p->count;
    if (p->kind && (p->kind != &ml_lua_parcel || p->extra != w)) {
        count = w->bridge->receive_simple(L, w, p, as);
        if (count < 0) return take_copy(L, w, t, as, error);
    } else if (count) {
        if (__builtin_expect(!lua_checkstack(L, count), 0)) return take_copy(L, w, t, as, error);
        lua_xmove(p->value, L, count);
    }
    *error = p->error;
    t->parcel.origin = t->origin;
    ml_settle(&t->parcel);
    return count;
}

static intptr_t switch_resumed(void *arg) {
    lua_State *L = arg;
    ml_thread *t = ml_this_thread;
    ml_world *w = come(L, t);
    if (__builtin_expect(t->refusal != 0, 0)) return refused(L, w, t, fail);
    bool error;
    int count = take(L, w, t, ML_SWITCHED, &error);
    return __builtin_expect(error, 0) ? lua_error(L) : count;
}

static intptr_t switch_to_oneself(lua_State *L) {
    const ml_handle *h = ml_handle_at(L, 1);
    ml_parcel parcel;
    pack(&parcel, L, h->world, lua_gettop(L) - 1);
    return switch_to(L, h->world, h->pointer, &parcel);
}

static intptr_t switch_method(lua_State *L) {
    return go(L, check_handle(L, 1), false, switch_resumed, switch_to_oneself, fail);
}

static int throw_method(lua_State *L) {
    ml_world *w = world(L);
    ml_greenlet *g = check(L, 1);
    lua_settop(L, 2);
    w->bridge->throwable(L, w);
    ml_parcel parcel;
    pack(&parcel, L, w, 1);
    /* As in greenlet: what ends quietly ends quietly, even if it has ended long ago. */
    parcel.error = g->state != ML_DEAD || !w->bridge->is_exit(L);
    return switch_to(L, w, g, &parcel);
}

static intptr_t resume_failed(lua_State *L, ml_world *w, int result) {
    luaL_checkstack(L, 5, NULL);
    lua_pushnil(L);
    lua_pushboolean(L, 0);
    lua_pushnil(L);
    push_failure(L, w, result);
    return 4;
}

static intptr_t resume_resumed(void *arg) {
    lua_State *L = arg;
    ml_thread *t = ml_this_thread;
    ml_world *w = come(L, t);
    if (__builtin_expect(t->refusal != 0, 0)) return refused(L, w, t, resume_failed);
    const ml_parcel *p = &t->parcel;
    ml_greenlet *origin = t->origin;
    bool ended = p->results || (p->error && origin->state == ML_DEAD);
    lua_pushboolean(L, ended);
    lua_pushboolean(L, !p->error);
    lua_pushlightuserdata(L, origin);
    bool error;
    int count = take(L, w, t, p->results ? ML_OPAQUE : ML_SWITCHED, &error);
    if (__builtin_expect(!error, 1)) return count + 3;
    /* It is on top, and perhaps nothing below. */
    lua_pushboolean(L, ended);
    lua_pushboolean(L, 0);
    lua_pushlightuserdata(L, origin);
    lua_pushvalue(L, -4);
    return 4;
}

static intptr_t resume_oneself(lua_State *L) { return luaL_argerror(L, 1, "it runs"); }

/* resume(g, ...): switches to `g`, which is not the current greenlet, for the scheduler. Returns what came
   back: whether a greenlet has ended, whether without an error, which one (a light userdata) and its
   values, which are opaque; else whether it is no error, who switched here, and the values. If it could
   not switch, nil, false, nil and the error. */
static intptr_t resume(lua_State *L) {
    return go(L, check_handle(L, 1), false, resume_resumed, resume_oneself, resume_failed);
}

/* throw(g, error): the same, throwing an error there. */
static intptr_t throw_into(lua_State *L) {
    const ml_handle *h = check_handle(L, 1);
    lua_settop(L, 2);
    h->world->bridge->throwable(L, h->world);
    return go(L, h, true, resume_resumed, resume_oneself, resume_failed);
}

/* ------------------------------------------------------------------------------- attributes */

static bool is_dead(const ml_greenlet *g) {
    return g->state == ML_DEAD || (g->state == ML_ACTIVE && ml_thread_exited(g->thread));
}

/* What is no method: the greenlet at 1, the key at 2. Upvalue 1 is the world. */
static int get_attribute(lua_State *L) {
    ml_world *w = world(L);
    ml_greenlet *g = check(L, 1);
    const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
    if (strcmp(key, "dead") == 0) {
        lua_pushboolean(L, is_dead(g));
        return 1;
    }
    if (strcmp(key, "parent") == 0) {
        if (g->parent) {
            ml_lgreenlet_push(L, w, g->parent);
        } else {
            lua_pushnil(L);
        }
        return 1;
    }
    lua_settop(L, 2);
    return w->bridge->index(L);
}

/* A function as __index costs g:switch() as much again as the switch: Lua calls it for every
   lookup. A table does not, but in a table that has no such key Lua forgets whom it was asked
   for. So a greenlet whose methods are looked up often gets a metatable of its own: __index is a
   table with the methods, which knows the greenlet for everything else. */
enum { OFTEN = 32 };

/* Upvalues: the world, the greenlet. */
static int index_own(lua_State *L) {
    lua_settop(L, 2);
    lua_pushvalue(L, lua_upvalueindex(2));
    lua_replace(L, 1);
    return get_attribute(L);
}

/* Pushes a copy of the table on top with room for one more. */
static void push_copy(lua_State *L) {
    lua_createtable(L, 0, 16); /* roomy: what is looked up at each switch should not collide */
    lua_pushnil(L);
    while (lua_next(L, -3)) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, -4);
    }
}

/* Gives the greenlet at 1 its own metatable. */
static void specialize(lua_State *L) {
    int top = lua_gettop(L);
    luaL_checkstack(L, 10, NULL);
    lua_getmetatable(L, 1);
    push_copy(L);
    lua_pushvalue(L, lua_upvalueindex(2));
    push_copy(L);
    lua_createtable(L, 0, 1);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushvalue(L, 1);
    lua_pushcclosure(L, index_own, 2);
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, -2);
    lua_setfield(L, -3, "__index");
    lua_pop(L, 1);
    lua_setmetatable(L, 1);
    lua_settop(L, top);
}

/* Upvalues: the world, the methods. */
static int index(lua_State *L) {
    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(2)) == LUA_TNIL) return get_attribute(L);
    ml_handle *h = ml_handle_at(L, 1);
    if (h && h->tag == &ml_greenlet_tag && ++h->lookups == OFTEN) specialize(L);
    return 1;
}

static int newindex(lua_State *L) {
    const ml_world *w = world(L);
    ml_greenlet *g = check(L, 1);
    const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
    if (strcmp(key, "parent") == 0) {
        ml_greenlet *parent = ml_lgreenlet_test(L, 3);
        if (!parent) {
            return luaL_error(L, "bad value for 'parent' (greenlet expected, got %s)",
                              luaL_typename(L, 3));
        }
        int result = ml_set_parent(g, parent);
        if (result == ML_ETHREAD) return luaL_error(L, "parent cannot be on a different thread");
        if (result != 0) return luaL_error(L, "%s", ml_error_text(result));
        return 0;
    }
    if (strcmp(key, "dead") == 0 || strcmp(key, "switch") == 0 || strcmp(key, "throw") == 0) {
        return luaL_error(L, "cannot set '%s' of a greenlet", key);
    }
    return w->bridge->newindex(L);
}

static int to_string(lua_State *L) {
    const ml_greenlet *g = check(L, 1);
    const char *state = is_dead(g)           ? "dead"
                        : g->state == ML_NEW ? "new"
                        : g == ml_current()  ? "running"
                                             : "suspended";
    lua_pushfstring(L, "greenlet: %p (%s%s)", g->owner, ml_is_main(g) ? "main, " : "", state);
    return 1;
}

/* ---------------------------------------------------------------------------------- module */

static bool is_callable(lua_State *L) {
    if (lua_isfunction(L, 1)) return true;
    if (luaL_getmetafield(L, 1, "__call") == LUA_TNIL) return false;
    lua_pop(L, 1);
    return true;
}

ml_greenlet *ml_lgreenlet_new(lua_State *L, ml_world *w) {
    bool callable = true;
    bool foreign = !lua_isfunction(L, 1) && w->bridge->is_foreign(L, &callable);
    if (!(foreign ? callable : is_callable(L))) {
        luaL_typeerror(L, 1, "function or Python callable");
    }
    ml_greenlet *parent = NULL;
    if (!lua_isnoneornil(L, 2)) parent = check(L, 2);
    if (w->deferred_count) ml_world_drain(w);
    lua_settop(L, 1);
    ml_world_weigh(L, w, WEIGHT);
    ml_handle *h = ml_handle_push(L, w, &ml_greenlet_tag, w->greenlets);
    ml_greenlet *g = w->bridge->create(L, foreign ? NULL : body, parent);
    if (!g) {
        w->bridge->push_error(L, w);
        lua_error(L);
        return NULL;
    }
    g->lua_home = w;
    ml_handle_set(h, g, release);
    if (!foreign) {
        ml_lthread *t = ml_lthread_new(w, g);
        if (!t) luaL_error(L, "not enough memory");
        lua_pushvalue(L, 1);
        lua_xmove(L, t->L, 1);
    }
    return g;
}

/* moonlet.greenlet(f [, parent]) */
static int new (lua_State *L) {
    ml_world *w = world(L);
    const ml_greenlet *g = ml_lgreenlet_new(L, w);
    ml_identity_set(L, w, g);
    return 1;
}

/* moonlet.current() */
static int current(lua_State *L) {
    ml_greenlet *g = ml_current();
    if (!g) return luaL_error(L, "not enough memory");
    ml_lgreenlet_push(L, world(L), g);
    return 1;
}

static void set_functions(lua_State *L, ml_world *w, const luaL_Reg *functions) {
    lua_pushlightuserdata(L, w);
    luaL_setfuncs(L, functions, 1);
}

void ml_lgreenlet_open(lua_State *L, ml_world *w) {
    const luaL_Reg methods[] = {
        {"switch", as_function(switch_method)}, {"throw", throw_method}, {NULL, NULL}};
    static const luaL_Reg metamethods[] = {
        {"__newindex", newindex}, {"__tostring", to_string}, {"__gc", collect}, {NULL, NULL}};
    lua_createtable(L, 0, 8);
    set_functions(L, w, metamethods);
    lua_pushliteral(L, "greenlet");
    lua_setfield(L, -2, "__name");
    lua_pushlightuserdata(L, w);
    lua_createtable(L, 0, 2);
    set_functions(L, w, methods);
    lua_pushcclosure(L, index, 2);
    lua_setfield(L, -2, "__index");
    w->greenlets = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pushliteral(L, "stack overflow (too many values passed to a greenlet)");
    lua_rawsetp(L, LUA_REGISTRYINDEX, &overflow_key);
}

void ml_lgreenlet_register_native(lua_State *L, ml_world *w) {
    const luaL_Reg functions[] = {
        {"resume", as_function(resume)}, {"throw", as_function(throw_into)}, {NULL, NULL}};
    set_functions(L, w, functions);
}

void ml_lgreenlet_register(lua_State *L, ml_world *w) {
    static const luaL_Reg functions[] = {{"greenlet", new}, {"current", current}, {NULL, NULL}};
    set_functions(L, w, functions);
}
