/* Joint collections: Python's collector sees through the Lua heap. See ml_collect in bridge.h.

   Before a full collection the Lua heap is walked (heap.h). Each Lua object that is alive only
   because Python holds it, or because it is on the Lua stack of a suspended greenlet, and that
   reaches a Python object, gets a shadow: a Python object with references to the shadows of what
   the Lua object refers to. Proxies of the values refer to their shadows, and so do greenlets.

        Python             LuaObject ----> shadow ----> shadow . . . > object
                                :             :            :             ^
        Lua                   value ------> table ----> userdata --------+

   The userdata owns a reference to the object, which its shadow visits in its stead. So Python's
   collector finds what is garbage in both heaps together. It clears its own objects. What the
   userdata own is released afterwards, if nothing else holds the object any more; the rest is up to
   Lua's collector, for which nothing anchors the values now.

   All of this is true as long as no reference in Lua changes, which finalizers can do. Python looks
   again when they have run (handle_resurrected_objects of Modules/gcmodule.c). If Lua was entered
   in between, shadows do not show any more what their userdata own, so that everything is taken for
   alive that Lua has, and the next collection decides. */

#define _GNU_SOURCE /* clock_gettime */
#include "bridge.h"

#include "../lua/heap.h"

#include <stdlib.h>
#include <time.h>

typedef struct ml_shadow {
    PyObject_VAR_HEAD ml_objects *objects; /* whose list it is in, or NULL */
    size_t index;
    ml_handle *handle; /* of the userdata that it stands for if that is a border ... */
    PyObject *object;  /* ... and what that owns a reference to; else NULL */
    bool garbage;      /* cleared by the collector */
    PyObject *edges[1];
} shadow;

static ml_objects *worlds;   /* all, linked */
static bool forced;          /* the next full collection is to be joint, whatever it costs */
static PyObject *gc_collect; /* gc.collect */

/* ----------------------------------------------------------------------------------- shadows */

/* Nothing has happened since the walk that could have changed a reference in Lua. */
static bool is_quiet(const ml_objects *o) {
    return !o->world->touched && o->switches == ml_py_switches;
}

static int traverse(PyObject *self, visitproc visit, void *arg) {
    const shadow *s = (shadow *)self;
    for (Py_ssize_t i = 0; i < Py_SIZE(s); i++) Py_VISIT(s->edges[i]);
    if (s->object && is_quiet(s->objects)) Py_VISIT(s->object);
    return 0;
}

static void clear_edges(shadow *s) {
    for (Py_ssize_t i = 0; i < Py_SIZE(s); i++) Py_CLEAR(s->edges[i]);
}

static int clear(PyObject *self) {
    shadow *s = (shadow *)self;
    s->garbage = true;
    if (s->object) {
        /* It stays, by its reference to itself, until it is decided whether to release. */
        for (Py_ssize_t i = 0; i < Py_SIZE(s); i++) {
            if (s->edges[i] != self) Py_CLEAR(s->edges[i]);
        }
    } else {
        clear_edges(s);
    }
    return 0;
}

static void dealloc(PyObject *self) {
    shadow *s = (shadow *)self;
    PyObject_GC_UnTrack(self);
    if (s->objects) s->objects->shadows[s->index] = NULL;
    s->objects = NULL;
    Py_TRASHCAN_BEGIN(self, dealloc) clear_edges(s);
    PyObject_GC_Del(self);
    Py_TRASHCAN_END
}

static PyTypeObject shadow_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "moonlet._shadow",
    .tp_doc = "Stands for a Lua object while a collection runs.",
    .tp_basicsize = offsetof(shadow, edges),
    .tp_itemsize = sizeof(PyObject *),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_dealloc = dealloc,
    .tp_traverse = traverse,
    .tp_clear = clear,
};

/* A new shadow (new reference), also in the list, with room for `count` edges. NULL: no memory. */
static shadow *new_shadow(ml_objects *o, size_t count) {
    shadow *s = PyObject_GC_NewVar(shadow, &shadow_type, (Py_ssize_t)count);
    if (!s) {
        PyErr_Clear();
        return NULL;
    }
    for (size_t i = 0; i < count; i++) s->edges[i] = NULL;
    s->objects = o;
    s->index = o->shadow_count;
    s->handle = NULL;
    s->object = NULL;
    s->garbage = false;
    o->shadows[o->shadow_count++] = s;
    return s;
}

/* ------------------------------------------------------------------------------------- start */

static int gather(ml_heap *h, ml_world *w) {
    ml_objects *o = w->objects;
    size_t count = o->count;
    for (ml_lthread *t = w->busy; t; t = t->next) {
        t->loose = ml_py_can_collect(t->greenlet);
        count += t->loose;
    }
    h->sources = malloc((count + 1) * sizeof *h->sources);
    if (!h->sources) return -1;
    for (size_t i = 0; o->slots && i <= o->mask; i++) {
        if (o->slots[i]) h->sources[h->source_count++] = (ml_heap_source){.ref = o->slots[i]->ref};
    }
    for (ml_lthread *t = w->busy; t; t = t->next) {
        if (t->loose) {
            h->sources[h->source_count++] = (ml_heap_source){.ref = LUA_NOREF, .thread = t->L};
        }
    }
    w->touched = false;
    o->switches = ml_py_switches;
    return 0;
}

static bool is_border(const ml_handle *h) { return ml_handle_object(h) != NULL; }

/* Makes the shadows of the nodes. 0 or -1. */
static int make_shadows(ml_objects *o, const ml_heap *h) {
    o->shadows = malloc((h->node_count + h->source_count) * sizeof *o->shadows);
    if (!o->shadows) return -1;
    for (uint32_t n = 0; n < h->node_count; n++) {
        bool border = h->borders[n] != NULL;
        shadow *s = new_shadow(o, h->first[n + 1] - h->first[n] + border);
        if (!s) return -1;
        if (border) {
            s->handle = h->borders[n];
            s->object = ml_handle_object(s->handle);
        }
    }
    for (uint32_t n = 0; n < h->node_count; n++) {
        shadow *s = o->shadows[n];
        size_t count = h->first[n + 1] - h->first[n];
        for (size_t i = 0; i < count; i++) {
            s->edges[i] = Py_NewRef((PyObject *)o->shadows[h->to[h->first[n] + i]]);
        }
        if (s->object) s->edges[count] = Py_NewRef((PyObject *)s);
    }
    return 0;
}

/* Makes those refer to the shadows who hold the sources, in the order of `gather`. 0 or -1. */
static int attach_shadows(ml_objects *o, const ml_heap *h) {
    const ml_heap_source *source = h->sources;
    for (size_t i = 0; o->slots && i <= o->mask; i++) {
        if (o->slots[i] && source++->node != ML_HEAP_NONE) {
            o->slots[i]->shadow = Py_NewRef((PyObject *)o->shadows[source[-1].node]);
        }
    }
    for (const ml_lthread *t = o->world->busy; t; t = t->next) {
        if (!t->loose || source++->node == ML_HEAP_NONE) continue;
        /* A greenlet can have several Lua threads. */
        PyObject **place = ml_py_beyond(t->greenlet);
        shadow *s = new_shadow(o, 2);
        if (!s) return -1;
        Py_INCREF(s);
        s->edges[0] = Py_NewRef((PyObject *)o->shadows[source[-1].node]);
        s->edges[1] = *place;
        *place = (PyObject *)s;
    }
    return 0;
}

/* From here on they belong to those who refer to them. */
static void let_go(const ml_objects *o) {
    for (size_t i = 0; i < o->shadow_count; i++) Py_DECREF(o->shadows[i]);
}

/* And the collector sees them. */
static void track(const ml_objects *o) {
    for (size_t i = 0; i < o->shadow_count; i++) {
        if (o->shadows[i]) PyObject_GC_Track(o->shadows[i]);
    }
    for (size_t i = 0; o->slots && i <= o->mask; i++) {
        if (o->slots[i] && o->slots[i]->shadow) PyObject_GC_Track(o->slots[i]);
    }
}

/* Takes everything apart again. Runs no code of others. */
static void detach_shadows(ml_objects *o) {
    for (size_t i = 0; o->slots && i <= o->mask; i++) {
        if (!o->slots[i]) continue;
        PyObject_GC_UnTrack(o->slots[i]); /* also if its shadow was cleared */
        Py_CLEAR(o->slots[i]->shadow);
    }
    for (const ml_lthread *t = o->world->busy; t; t = t->next) {
        Py_CLEAR(*ml_py_beyond(t->greenlet));
    }
    for (size_t i = 0; i < o->shadow_count; i++) {
        shadow *s = o->shadows[i];
        if (!s) continue;
        Py_INCREF(s);
        s->objects = NULL;
        s->object = NULL;
        clear_edges(s);
        Py_DECREF(s);
    }
    free(o->shadows);
    o->shadows = NULL;
    o->shadow_count = 0;
}

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
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
    ml_heap h = {.gather = gather, .is_border = is_border};
    if (ml_heap_walk(o->world, &h) != 0) return;
    o->walk_time = now() - o->started;
    o->active = true;
    ml_world_retain(o->world);
    if (h.node_count) {
        bool made = make_shadows(o, &h) == 0 && attach_shadows(o, &h) == 0;
        let_go(o);
        if (made) {
            track(o);
        } else {
            detach_shadows(o);
        }
    }
    ml_heap_free(&h);
    o->buried = ml_py_buried;
}

/* -------------------------------------------------------------------------------------- stop */

static int do_collect_lua(lua_State *L) {
    lua_gc(L, LUA_GCCOLLECT);
    return 0;
}

/* A full collection of Lua's. */
static void collect_lua(const ml_objects *o) {
    if (ml_protect(o->world, do_collect_lua, NULL) != 0) PyErr_WriteUnraisable(NULL);
    ml_world_drain(o->world);
}

/* Releases what only userdata hold that are garbage. Others still refer to the rest: then it was
   not cleared, or will be released with them. May run code. Returns how many. */
static size_t release_garbage(ml_objects *o) {
    enum { PASSES = 8 };
    size_t released = 0;
    size_t before = 0;
    for (int pass = 0; pass < PASSES && (pass == 0 || released > before); pass++) {
        before = released;
        for (size_t i = 0; i < o->shadow_count && is_quiet(o); i++) {
            shadow *s = o->shadows[i];
            if (!s || !s->garbage || !s->object || Py_REFCNT(s->object) != 1) continue;
            PyObject *object = s->object;
            s->object = NULL;
            if (!PyObject_GC_IsTracked(object)) continue; /* was not cleared */
            ml_handle_clear(s->handle);
            released++;
            Py_DECREF(object);
        }
    }
    return released;
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
    bool quiet = is_quiet(o);
    size_t released = quiet ? release_garbage(o) : 0;
    size_t gone = 0;
    for (size_t i = 0; i < o->shadow_count; i++) gone += !o->shadows[i] || o->shadows[i]->garbage;
    o->shadows_gone += gone;
    o->again = (o->shadow_count && !quiet) || o->buried != ml_py_buried;
    detach_shadows(o);
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
    if (PyType_Ready(&shadow_type) != 0) return -1;
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
