/* The life of Python's proxies of Lua values: anchors that keep the values alive, identity, and
   what Python's collector gets to see. */

#include "bridge.h"

#include <stdlib.h>
#include <string.h>

/* ----------------------------------------------------------------------------------- anchors

   The registry has a field for each live proxy. Fields are reused: one that is free holds false, so
   that to assign to it cannot fail, and needs no protected call. */

typedef struct ml_anchors {
    ml_objects *objects;
    size_t wanted;
} ml_anchors;

static int do_make_anchors(lua_State *L) {
    const ml_anchors *a = lua_touserdata(L, 1);
    ml_objects *o = a->objects;
    while (o->anchor_count < a->wanted) {
        lua_pushboolean(L, 0);
        int ref = luaL_ref(L, LUA_REGISTRYINDEX);
        o->free_anchors[o->free_anchor_count++] = ref;
        o->anchor_count++;
    }
    return 0;
}

/* Makes free anchors where there are none. 0 or -1. */
static int make_anchors(lua_State *L, ml_objects *o) {
    ml_anchors a = {o, o->anchor_count + o->anchor_count / 2 + 16};
    int *free_anchors = realloc(o->free_anchors, a.wanted * sizeof *free_anchors);
    if (!free_anchors) return -1;
    o->free_anchors = free_anchors;
    if (!lua_checkstack(L, 3)) return -1;
    lua_pushcfunction(L, do_make_anchors);
    lua_pushlightuserdata(L, &a);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) lua_pop(L, 1);
    return o->free_anchor_count ? 0 : -1;
}

static void release_anchor(ml_world *w, int ref) {
    lua_pushboolean(w->service, 0);
    lua_rawseti(w->service, LUA_REGISTRYINDEX, ref);
    w->objects->free_anchors[w->objects->free_anchor_count++] = ref;
}

typedef struct late_release {
    ml_world *world;
    int ref;
} late_release;

static void release_late(void *argument) {
    late_release *late = argument;
    if (!late->world->closed) release_anchor(late->world, late->ref);
    ml_world_release(late->world);
    PyMem_RawFree(late);
}

/* Another thread leaves it to the one that runs Lua. */
static void defer_release(ml_world *w, int ref) {
    late_release *late = PyMem_RawMalloc(sizeof *late);
    if (!late) return;
    *late = (late_release){w, ref};
    ml_world_retain(w);
    if (ml_world_defer(w, release_late, late)) return;
    ml_world_release(w);
    PyMem_RawFree(late);
}

/* ---------------------------------------------------------------------------------- identity

   The live proxies of a world, by what lua_topointer says of their values. Open addressing; what
   is removed is closed up, so there are no tombstones. */

static size_t home(const ml_objects *o, const void *pointer) {
    return (size_t)(((uintptr_t)pointer >> 3) * UINT64_C(0x9E3779B97F4A7C15) >> 20) & o->mask;
}

static LuaObject *find(const ml_objects *o, const void *pointer, int kind) {
    if (!o->slots) return NULL;
    for (size_t i = home(o, pointer);; i = (i + 1) & o->mask) {
        LuaObject *found = o->slots[i];
        if (!found || (found->pointer == pointer && found->kind == kind)) return found;
    }
}

static void put(ml_objects *o, LuaObject *object) {
    size_t i = home(o, object->pointer);
    while (o->slots[i]) i = (i + 1) & o->mask;
    o->slots[i] = object;
}

/* Makes room for one more. 0 or -1. */
static int reserve(ml_objects *o) {
    size_t size = o->slots ? o->mask + 1 : 0;
    if (4 * (o->count + 1) <= 3 * size) return 0;
    ml_objects old = *o;
    size_t new_size = size ? 2 * size : 64;
    o->slots = calloc(new_size, sizeof *o->slots);
    if (!o->slots) {
        o->slots = old.slots;
        return -1;
    }
    o->mask = new_size - 1;
    for (size_t i = 0; i < size; i++) {
        if (old.slots[i]) put(o, old.slots[i]);
    }
    free(old.slots);
    return 0;
}

static void take_out(ml_objects *o, const LuaObject *object) {
    size_t hole = home(o, object->pointer);
    while (o->slots[hole] != object) hole = (hole + 1) & o->mask;
    o->count--;
    for (size_t i = (hole + 1) & o->mask; o->slots[i]; i = (i + 1) & o->mask) {
        /* It may move to the hole if that is not before its home. */
        size_t distance = (i - home(o, o->slots[i]->pointer)) & o->mask;
        if (distance < ((i - hole) & o->mask)) continue;
        o->slots[hole] = o->slots[i];
        hole = i;
    }
    o->slots[hole] = NULL;
}

/* -------------------------------------------------------------------------------------- life */

enum { MAX_SPARE = 256 };

static LuaObject *spare[MAX_SPARE];
static int spare_count;

/* Whether objects of this type are as large as all others, and have nothing before them, as a dict
   (_PyObject_GC_New in Modules/gcmodule.c of 3.11). */
static bool is_plain(const PyTypeObject *type) {
    return type->tp_basicsize == sizeof(LuaObject) && !(type->tp_flags & Py_TPFLAGS_MANAGED_DICT);
}

/* Memory for one. No collection starts here: callers are in the midst of things. It is not tracked:
   but for a joint collection, a proxy refers to nothing that Python can see. */
static LuaObject *allocate(PyTypeObject *type) {
    if (spare_count && is_plain(type)) {
        LuaObject *o = spare[--spare_count];
        Py_SET_TYPE(o, type);
        if (type->tp_flags & Py_TPFLAGS_HEAPTYPE) Py_INCREF(type);
        _Py_NewReference((PyObject *)o);
        return o;
    }
    int collecting = PyGC_Disable();
    LuaObject *o = PyObject_GC_New(LuaObject, type);
    if (collecting) PyGC_Enable();
    size_t more = (size_t)type->tp_basicsize - sizeof *o;
    if (o && more) memset(o + 1, 0, more);
    return o;
}

static void release(LuaObject *o) {
    if (spare_count < MAX_SPARE && is_plain(Py_TYPE(o))) {
        spare[spare_count++] = o;
    } else {
        PyObject_GC_Del(o);
    }
}

static PyObject *create(lua_State *L, ml_world *w, int index, const void *pointer, int kind,
                        PyTypeObject *type, vectorcallfunc call) {
    ml_objects *o = w->objects;
    LuaObject *self = allocate(type);
    if (!self) return NULL;
    if (reserve(o) != 0 || (!o->free_anchor_count && make_anchors(L, o) != 0) ||
        !lua_checkstack(L, 1)) {
        release(self);
        if (type->tp_flags & Py_TPFLAGS_HEAPTYPE) Py_DECREF(type); /* its dealloc does, else */
        return PyErr_NoMemory();
    }
    self->vectorcall = call;
    self->weakreflist = NULL;
    self->world = w;
    ml_world_retain(w);
    self->ref = o->free_anchors[--o->free_anchor_count];
    self->kind = kind;
    self->pointer = pointer;
    self->shadow = NULL;
    lua_pushvalue(L, index);
    lua_rawseti(L, LUA_REGISTRYINDEX, self->ref);
    put(o, self);
    o->count++;
    if (__builtin_expect(++w->held >= w->held_limit, 0)) ml_collect_request(w);
    return (PyObject *)self;
}

PyObject *ml_luaobject_new(lua_State *L, ml_world *w, int index, PyTypeObject *type,
                           vectorcallfunc call) {
    const void *pointer = lua_topointer(L, index);
    int kind = lua_type(L, index);
    LuaObject *known = find(w->objects, pointer, kind);
    if (known) return Py_NewRef((PyObject *)known);
    return create(L, w, index, pointer, kind, type, call);
}

void ml_luaobject_dealloc(PyObject *self) {
    LuaObject *o = (LuaObject *)self;
    ml_world *w = o->world;
    PyObject_GC_UnTrack(self);
    take_out(w->objects, o); /* first: nobody may find it now */
    w->held--;
    if (o->weakreflist) PyObject_ClearWeakRefs(self);
    Py_CLEAR(o->shadow);
    if (!w->closed) {
        if (ml_this_thread_or_null() == w->thread) {
            release_anchor(w, o->ref);
        } else {
            defer_release(w, o->ref);
        }
    }
    ml_world_release(w);
    release(o);
}

int ml_luaobject_traverse(PyObject *self, visitproc visit, void *arg) {
    Py_VISIT(((LuaObject *)self)->shadow);
    return 0;
}

int ml_luaobject_clear(PyObject *self) {
    Py_CLEAR(((LuaObject *)self)->shadow);
    return 0;
}

Py_hash_t ml_luaobject_hash(PyObject *self) {
    uintptr_t p = (uintptr_t)((LuaObject *)self)->pointer;
    Py_hash_t hash = (Py_hash_t)(p >> 4 | p << (8 * sizeof p - 4)); /* as Python's of addresses */
    return hash == -1 ? -2 : hash;
}

/* ------------------------------------------------------------------------------------- worlds */

int ml_objects_open(ml_world *w) {
    if (!w->objects) w->objects = calloc(1, sizeof *w->objects);
    if (!w->objects) return -1;
    w->objects->world = w;
    return 0;
}

void ml_objects_free(ml_world *w) {
    ml_objects *o = w->objects;
    w->objects = NULL;
    if (!o) return;
    ml_collect_forget(o);
    free(o->slots);
    free(o->free_anchors);
    free(o);
}
