/* Joint collections of Python and Lua: when, and by whom. See ml_collect in bridge.h; shadow.c has
   how. */

#define _GNU_SOURCE /* clock_gettime */
#include "../lua/heap.h"
#include "shadow.h"

#include <time.h>

/* ------------------------------------------------------------------------------ start and stop */

static ml_objects *worlds;   /* all, linked */
static bool forced;          /* the next full collection is to be joint, whatever it costs */
static PyObject *gc_collect; /* gc.collect */

/* What the thread has worked: a collection must not seem long because others have run meanwhile. */
static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* The size of the Lua heap in KiB. */
static size_t heap_size(const ml_world *w) { return (size_t)lua_gc(w->service, LUA_GCCOUNT); }

static bool can_collect(const ml_objects *o) {
    const ml_world *w = o->world;
    return !w->closed && !w->closing && w->thread == ml_this_thread_or_null() &&
           !ml_finalizing() && !o->active && !ml_in_finalizer(w);
}

/* Heaps of this size (KiB) are walked in every full collection. Others when that is due or when it
   does not take more than a part of the time. */
enum { SMALL_HEAP = 16 << 10, PART = 10 };

static bool is_wanted(const ml_objects *o) {
    if (forced) return true;
    if (!lua_gc(o->world->service, LUA_GCISRUNNING)) return false;
    return heap_size(o->world) <= SMALL_HEAP || o->world->held >= o->world->held_limit ||
           now() - o->ended >= PART * o->walk_time;
}

static void start(ml_objects *o) {
    o->started = now();
    if (ml_shadows_make(o) != 0) return;
    o->walk_time = now() - o->started;
    o->buried = ml_py_buried;
    o->active = true;
    ml_world_retain(o->world);
}

static int do_collect_lua(lua_State *L) {
    lua_gc(L, LUA_GCCOLLECT);
    return 0;
}

/* A full collection of Lua's. */
static void collect_lua(const ml_objects *o) {
    if (ml_protect(o->world, do_collect_lua, NULL) != 0) PyErr_WriteUnraisable(NULL);
    ml_world_drain(o->world);
}

/* How many proxies and Lua threads of greenlets may be held before a collection is due, so that its
   time is NS_EACH for each new one at most. */
enum { FEW = 1024, NS_EACH = 10000, HEAP_GROWTH = 32 << 10 };

static void set_limits(ml_objects *o) {
    ml_world *w = o->world;
    uint64_t extra = (o->ended - o->started) / NS_EACH;
    w->held_limit = 2 * w->held + (extra > FEW ? (size_t)extra : FEW);
    if (!ml_in_finalizer(w)) o->heap_limit = 2 * heap_size(w) + HEAP_GROWTH;
}

static void stop(ml_objects *o) {
    ml_world *w = o->world;
    size_t released = ml_shadows_release(o);
    bool disturbed = o->shadow_count && !ml_shadows_valid(o);
    o->again = disturbed || o->buried != ml_py_buried;
    o->shadows_gone += ml_shadows_gone(o);
    ml_shadows_drop(o);
    o->active = false;
    /* Weak tables would go on to show what is dead. */
    if (released && !w->closed && !w->closing && !ml_in_finalizer(w)) collect_lua(o);
    o->ended = now();
    if (!w->closed) set_limits(o);
    /* What was disturbed has had its finalizers called, so next time it may not be. */
    if (o->again && !forced && !w->closed) ml_collect_request(w);
    ml_world_release(w);
}

/* ------------------------------------------------------------------------- Python's collector */

static bool is_full(PyObject *info) {
    PyObject *generation = PyDict_Check(info) ? PyDict_GetItemString(info, "generation") : NULL;
    return generation && PyLong_Check(generation) && PyLong_AsLong(generation) == 2;
}

/* In gc.callbacks: called before and after each collection, with what it is. */
static PyObject *on_collection(PyObject *module, PyObject *const *args, Py_ssize_t count) {
    (void)module;
    if (count != 2 || !PyUnicode_Check(args[0]) || !is_full(args[1])) Py_RETURN_NONE;
    bool starts = PyUnicode_CompareWithASCIIString(args[0], "start") == 0;
    for (ml_objects *o = worlds, *next; o; o = next) {
        ml_world *w = o->world;
        ml_world_retain(w);
        if (starts && can_collect(o) && is_wanted(o)) {
            start(o);
        } else if (!starts && o->active && w->thread == ml_this_thread_or_null()) {
            stop(o);
        }
        next = o->next;
        ml_world_release(w);
    }
    if (!starts) forced = false;
    Py_RETURN_NONE;
}

static PyMethodDef on_collection_method = {
    "collect_lua", (PyCFunction)(void (*)(void))on_collection, METH_FASTCALL,
    "Lets full collections of the garbage collector see through the Lua heap."};

/* What functions that Lua has called own on the stack of a suspended greenlet. */
static int traverse_stack(const ml_greenlet *g, visitproc visit, void *arg) {
    for (const ml_activation *a = g->lua; a;) {
        a = ml_stack_view(g, a);
        const ml_owned *owned = a->owned ? ml_stack_view(g, a->owned) : NULL;
        PyObject *const *all = owned && owned->count ? ml_stack_view(g, owned->all) : NULL;
        for (ptrdiff_t i = 1; all && i <= owned->count; i++) Py_VISIT(all[i]);
        a = a->previous;
    }
    return 0;
}

int ml_collect_init(void) {
    if (gc_collect) return 0;
    if (ml_shadows_init() != 0) return -1;
    ml_py_traverse_stack = traverse_stack;
    PyObject *gc = PyImport_ImportModule("gc");
    PyObject *callbacks = gc ? PyObject_GetAttrString(gc, "callbacks") : NULL;
    PyObject *callback = callbacks ? PyCFunction_New(&on_collection_method, NULL) : NULL;
    PyObject *collect = callback ? PyObject_GetAttrString(gc, "collect") : NULL;
    if (collect && PyList_Append(callbacks, callback) == 0) gc_collect = Py_NewRef(collect);
    Py_XDECREF(gc);
    Py_XDECREF(callbacks);
    Py_XDECREF(callback);
    Py_XDECREF(collect);
    return gc_collect ? 0 : -1;
}

/* ----------------------------------------------------------------------------------- requests */

/* A full collection of Python's; how many objects it has found. */
static Py_ssize_t collect_python(void) {
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    forced = true;
    PyObject *found = PyObject_CallNoArgs(gc_collect);
    forced = false;
    Py_ssize_t count = found ? PyLong_AsSsize_t(found) : -1;
    if (count < 0) {
        PyErr_WriteUnraisable(gc_collect);
        count = 0;
    }
    Py_XDECREF(found);
    PyErr_Restore(type, value, traceback);
    return count;
}

/* Whoever has stopped one of the collectors does not want it to run now. */
static bool is_stopped(const ml_world *w) {
    return !PyGC_IsEnabled() || !lua_gc(w->service, LUA_GCISRUNNING);
}

static void collect_now(void *argument) {
    ml_world *w = argument;
    ml_objects *o = w->objects;
    o->requested = false;
    if (can_collect(o) && !is_stopped(w)) {
        collect_python();
        if (o->again) collect_python();
    } else if (w->held >= w->held_limit) {
        w->held_limit = w->held + w->held / 2 + FEW;
    }
    ml_world_release(w);
}

void ml_collect_request(ml_world *w) {
    ml_objects *o = w->objects;
    if (o->requested || o->active) return;
    o->requested = true;
    ml_world_retain(w);
    if (ml_world_defer(w, collect_now, w)) {
        w->hurry = true;
    } else {
        o->requested = false;
        ml_world_release(w);
    }
}

static bool can_collect_any(void) {
    const ml_objects *o = worlds;
    while (o && !can_collect(o)) o = o->next;
    return o != NULL;
}

/* Collects what can be collected now in Lua. Whether that has released anything of Python's. */
static bool collect_worlds(void) {
    uint64_t finalized = 0;
    for (ml_objects *o = worlds, *next; o; o = next) {
        ml_world *w = o->world;
        ml_world_retain(w);
        uint64_t before = w->finalized;
        if (can_collect(o)) collect_lua(o);
        finalized += w->finalized - before;
        next = o->next;
        ml_world_release(w);
    }
    return finalized != 0;
}

/* How many shadows the last collection has found, and whether it has left something to do. */
static size_t look_at_last(bool *again) {
    size_t gone = 0;
    for (ml_objects *o = worlds; o; o = o->next) {
        gone += o->shadows_gone;
        o->shadows_gone = 0;
        *again = *again || o->again;
        o->again = false;
    }
    return gone;
}

/* What one collector releases may be the last that held something of the other's. */
Py_ssize_t ml_collect(void) {
    enum { ROUNDS = 10 };
    if (!can_collect_any()) return 0;
    Py_ssize_t all = 0;
    bool again = true;
    for (int round = 0; again && round < ROUNDS; round++) {
        again = collect_worlds();
        look_at_last(&again);
        Py_ssize_t found = collect_python();
        again = again || found > 0;
        all += found - (Py_ssize_t)look_at_last(&again);
    }
    collect_worlds();
    return all > 0 ? all : 0;
}

/* ------------------------------------------------------------------------------ Lua's collector */

/* Large Lua objects may be held by few objects of Python's. */
static void check_heap(void *argument) {
    ml_world *w = argument;
    ml_objects *o = w->objects;
    if (can_collect(o) && w->held && heap_size(w) >= o->heap_limit) {
        o->requested = true;
        ml_world_retain(w);
        collect_now(w);
    }
    ml_world_release(w);
}

/* The finalizer of a userdata that nobody refers to: it is called once in each cycle of Lua's
   collector, and makes another one. */
static int on_cycle(lua_State *L) {
    ml_world *w = lua_touserdata(L, lua_upvalueindex(1));
    if (w->closed || w->closing) return 0;
    ml_world_retain(w);
    if (!ml_world_defer(w, check_heap, w)) ml_world_release(w);
    lua_newuserdatauv(L, 0, 0);
    lua_getmetatable(L, 1);
    lua_setmetatable(L, -2);
    return 0;
}

static int collect_method(lua_State *L) {
    ml_world *w = lua_touserdata(L, lua_upvalueindex(1));
    ml_activation a;
    luaL_checkstack(L, 8, NULL);
    ml_lua_leave(&a, L, w);
    Py_ssize_t found = ml_collect();
    ml_lua_return(&a);
    lua_pushinteger(L, found);
    return 1;
}

void ml_collect_open(lua_State *L, ml_world *w) {
    ml_heap_check(L);
    ml_objects *o = w->objects;
    o->next = worlds;
    worlds = o;
    o->heap_limit = heap_size(w) + HEAP_GROWTH;
    w->held_limit = FEW;
    lua_newuserdatauv(L, 0, 0);
    lua_createtable(L, 0, 1);
    lua_pushlightuserdata(L, w);
    lua_pushcclosure(L, on_cycle, 1);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    lua_pop(L, 1);
}

void ml_collect_register(lua_State *L, ml_world *w) {
    lua_pushlightuserdata(L, w);
    lua_pushcclosure(L, collect_method, 1);
    lua_setfield(L, -2, "collect");
}

void ml_collect_forget(ml_objects *o) {
    for (ml_objects **place = &worlds; *place; place = &(*place)->next) {
        if (*place == o) {
            *place = o->next;
            return;
        }
    }
}
