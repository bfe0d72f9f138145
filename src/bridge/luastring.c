/* py.memoryview: a Lua string as a Python buffer, without copying.

   The exporter is a LuaObject: a reference in the registry keeps the string, which never moves. But
   when its state is closed Lua frees all strings, and there is no way to take a buffer back from
   Python. So the blocks of strings that Python still sees are kept from lua_free until then, by an
   allocator that is put before the state's own:

       lua_close -> keep_block -> the state's allocator
                        |
                        block of a string in use: left for free_block, when Python has released it

   This holds for states of luaL_newstate, whose memory is that of the C library. Another allocator
   may be gone after its state: for those the string is copied at once. */

#include "bridge.h"

#include <stdlib.h>
#include <string.h>

/* A string in use by Python. */
typedef struct kept {
    const char *text;
    void *block; /* once Lua has freed it */
    size_t size; /* of the block */
    size_t users;
} kept;

/* The allocator of a closed state whose strings are in use, until both have ended. */
typedef struct keeper {
    lua_Alloc allocate;
    void *context;
    const void *last; /* what the state frees last */
    size_t users;     /* the state, and the strings in use */
    size_t count;
    kept strings[]; /* ordered by their text */
} keeper;

typedef struct LuaString {
    LuaObject base;
    const char *text;
    Py_ssize_t length;
    keeper *keeper; /* once the state is closed */
    struct LuaString *next, *previous;
} LuaString;

static PyTypeObject LuaString_Type;

static LuaString *all; /* under the GIL */

static lua_Alloc common; /* the allocator of luaL_newstate, */
static void *common_context;

/* -------------------------------------------------------------------------- after the state */

static void release_keeper(keeper *k) {
    if (--k->users == 0) free(k);
}

/* The string in use with the least text that is not before `address`, or the end. */
static kept *find(keeper *k, const char *address) {
    size_t low = 0, high = k->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (k->strings[middle].text < address) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return k->strings + low;
}

/* Lua's allocator once the world is closed (lua_Alloc). */
static void *keep_block(void *context, void *block, size_t size, size_t wanted) {
    keeper *k = context;
    if (wanted == 0 && block) {
        kept *s = find(k, block);
        if (s < k->strings + k->count && s->text < (const char *)block + size && s->users) {
            s->block = block;
            s->size = size;
            return NULL;
        }
    }
    void *result = k->allocate(k->context, block, size, wanted);
    /* The main thread is the last to go (lstate.c, close_state). */
    if (wanted == 0 && block == k->last) release_keeper(k);
    return result;
}

/* The same where there is no memory to tell the blocks apart: the state's memory is lost. */
static void *keep_all(void *context, void *block, size_t size, size_t wanted) {
    (void)context;
    return block && wanted && wanted <= size ? block : NULL;
}

static int compare(const void *a, const void *b) {
    const char *left = ((const kept *)a)->text;
    const char *right = ((const kept *)b)->text;
    return (left > right) - (left < right);
}

void ml_luastring_close(ml_world *w) {
    size_t count = 0;
    for (const LuaString *s = all; s; s = s->next) count += s->base.world == w;
    if (!count) return;
    keeper *k = malloc(sizeof *k + count * sizeof *k->strings);
    if (!k) {
        lua_setallocf(w->main, keep_all, NULL);
        return;
    }
    *k = (keeper){.last = lua_getextraspace(w->main), .users = 1};
    k->allocate = lua_getallocf(w->main, &k->context);
    for (const LuaString *s = all; s; s = s->next) {
        if (s->base.world == w) k->strings[k->count++].text = s->text;
    }
    qsort(k->strings, k->count, sizeof *k->strings, compare);
    size_t distinct = 0;
    for (size_t i = 0; i < k->count; i++) {
        if (i && k->strings[i].text == k->strings[distinct - 1].text) continue;
        k->strings[distinct++] = (kept){.text = k->strings[i].text};
    }
    k->count = distinct;
    for (LuaString *s = all; s; s = s->next) {
        if (s->base.world != w) continue;
        s->keeper = k;
        find(k, s->text)->users++;
        k->users++;
    }
    lua_setallocf(w->main, keep_block, k);
}

static void release_kept(LuaString *self) {
    keeper *k = self->keeper;
    kept *s = find(k, self->text);
    /* Another allocator, if one was put before the common one meanwhile, may be gone. */
    if (--s->users == 0 && s->block && k->allocate == common) {
        common(common_context, s->block, s->size, 0);
    }
    release_keeper(k);
}

/* ------------------------------------------------------------------------------- the exporter */

static void dealloc(PyObject *o) {
    LuaString *self = (LuaString *)o;
    if (self->text) {
        *(self->previous ? &self->previous->next : &all) = self->next;
        if (self->next) self->next->previous = self->previous;
    }
    if (self->keeper) release_kept(self);
    ml_LuaObject_Type.tp_dealloc(o);
}

static int get_buffer(PyObject *o, Py_buffer *buffer, int flags) {
    const LuaString *self = (LuaString *)o;
    return PyBuffer_FillInfo(buffer, o, (void *)self->text, self->length, 1, flags);
}

static PyBufferProcs as_buffer = {.bf_getbuffer = get_buffer};

static PyTypeObject LuaString_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "moonlet.LuaString",
    .tp_doc = "A Lua string in the form of bytes that were not copied; what memoryview shows.",
    .tp_basicsize = sizeof(LuaString),
    .tp_base = &ml_LuaObject_Type,
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_dealloc = dealloc,
    .tp_as_buffer = &as_buffer,
};

int ml_luastring_init(PyObject *module) { return PyModule_AddType(module, &LuaString_Type); }

/* Whether the memory of `L` is that of luaL_newstate. */
static bool has_common_allocator(lua_State *L) {
    if (!common) {
        lua_State *other = luaL_newstate();
        if (!other) return false;
        common = lua_getallocf(other, &common_context);
        lua_close(other);
    }
    void *context;
    return lua_getallocf(L, &context) == common;
}

static PyObject *export(lua_State *L, ml_world *w) {
    LuaString *self = (LuaString *)ml_luaobject_new(L, w, 1, &LuaString_Type, NULL);
    if (!self || self->text) return (PyObject *)self;
    size_t length;
    self->text = lua_tolstring(L, 1, &length);
    self->length = (Py_ssize_t)length;
    self->next = all;
    if (all) all->previous = self;
    all = self;
    return (PyObject *)self;
}

static PyObject *make_view(lua_State *L, ml_world *w) {
    if (lua_type(L, 1) != LUA_TSTRING) return PyMemoryView_FromObject(ml_pyproxy_test(L, 1));
    PyObject *exporter;
    if (has_common_allocator(L) && !w->closing && !w->closed) {
        exporter = export(L, w);
    } else {
        size_t length;
        const char *text = lua_tolstring(L, 1, &length);
        exporter = PyBytes_FromStringAndSize(text, (Py_ssize_t)length);
    }
    PyObject *view = exporter ? PyMemoryView_FromObject(exporter) : NULL;
    Py_XDECREF(exporter);
    return view;
}

/* py.memoryview(s): a Python memoryview of a Lua string, read-only and without copying; the string
   lives as long as Python uses it, also after its state is closed. (In a state with an allocator of
   its own it is a copy.) Of a Python object: what Python's memoryview makes of it. */
int ml_luastring_memoryview(lua_State *L) {
    ml_world *w = lua_touserdata(L, lua_upvalueindex(1));
    if (lua_type(L, 1) != LUA_TSTRING && !ml_pyproxy_test(L, 1)) {
        return luaL_typeerror(L, 1, "string or Python object");
    }
    luaL_checkstack(L, 8, NULL);
    ml_activation a;
    ml_lua_leave(&a, L, w);
    PyObject *view = ml_may_operate(L, &a, "memoryview", 1) ? make_view(L, w) : NULL;
    ml_lua_return(&a);
    if (!view) return ml_error_raise(L, w);
    ml_to_lua_steal(L, w, view);
    return 1;
}
