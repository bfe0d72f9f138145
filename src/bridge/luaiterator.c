/* Lua's loops in Python: an iterator holds what `for` of Lua holds. */

#include "luaproxy.h"

#include <stddef.h>

typedef struct LuaIterator {
    PyObject_HEAD
    LuaObject *loop;   /* a Lua table: function, state, control variable; NULL: it has ended */
    PyObject *closing; /* the value that is to be closed at the end, or NULL */
    int kind;
    bool plain; /* the state is a table without __pairs: the function would be `next` */
} LuaIterator;

enum { FUNCTION = 1, STATE, CONTROL };

/* Sets task->result to a table of the three topmost values. */
static int give_loop(lua_State *L, ml_task *task) {
    lua_createtable(L, 3, 0);
    lua_insert(L, -4);
    for (int i = CONTROL; i >= FUNCTION; i--) lua_rawseti(L, -i - 1, i);
    ml_give(L, task, -1);
    return 0;
}

static PyObject *make(PyObject *loop, int kind, PyObject *closing) {
    LuaIterator *self = loop ? PyObject_GC_New(LuaIterator, &ml_LuaIterator_Type) : NULL;
    if (!self) {
        Py_XDECREF(loop);
        return NULL;
    }
    self->loop = (LuaObject *)loop;
    self->closing = Py_XNewRef(closing);
    self->kind = kind;
    self->plain = false;
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

static int do_start_table(lua_State *L) {
    ml_task *task = lua_touserdata(L, 1);
    ml_push_lua_object(L, task->self);
    task->number = luaL_getmetafield(L, 2, "__pairs") == LUA_TNIL;
    if (task->number) {
        lua_pushnil(L);
        lua_insert(L, 2);
        lua_pushnil(L);
    } else {
        lua_insert(L, 2);
        lua_call(L, 1, 3);
    }
    return give_loop(L, task);
}

PyObject *ml_luaiterator_of_table(PyObject *table, int kind) {
    ml_task task = {.self = (LuaObject *)table};
    PyObject *iterator = make(ml_perform(do_start_table, &task), kind, NULL);
    if (iterator) ((LuaIterator *)iterator)->plain = task.number;
    return iterator;
}

typedef struct loop_request {
    ml_world *world;
    PyObject *const *values;
    PyObject *result;
} loop_request;

static int do_start_function(lua_State *L) {
    loop_request *r = lua_touserdata(L, 1);
    lua_createtable(L, 3, 0);
    for (int i = FUNCTION; i <= CONTROL; i++) {
        ml_to_lua(L, r->world, r->values[i - 1]);
        lua_rawseti(L, 2, i);
    }
    ml_to_lua(L, r->world, r->values[3]);
    if (lua_toboolean(L, 3) && luaL_getmetafield(L, 3, "__close") == LUA_TNIL) {
        return luaL_error(L,
                          "the closing value of a loop (a %s value) has no metamethod '__close'",
                          luaL_typename(L, 3));
    }
    r->result = ml_to_python(L, r->world, 2);
    return r->result ? 0 : ml_error_raise(L, r->world);
}

PyObject *ml_luaiterator_of_function(ml_world *w, PyObject *const values[4]) {
    loop_request r = {.world = w, .values = values};
    if (ml_protect(w, do_start_function, &r) != 0) return NULL;
    bool closes = values[3] != Py_None && values[3] != Py_False;
    return make(r.result, ML_RESULTS, closes ? values[3] : NULL);
}

/* ------------------------------------------------------------------------------------- steps */

static PyObject *pair(lua_State *L, ml_world *w) {
    PyObject *key = ml_to_python(L, w, -2);
    PyObject *value = key ? ml_to_python(L, w, -1) : NULL;
    PyObject *tuple = value ? PyTuple_New(2) : NULL;
    if (tuple) {
        PyTuple_SET_ITEM(tuple, 0, key);
        PyTuple_SET_ITEM(tuple, 1, value);
        return tuple;
    }
    Py_XDECREF(key);
    Py_XDECREF(value);
    return NULL;
}

/* What the loop gives of the values on top, of which there are `count` if it gives all. */
static PyObject *item(lua_State *L, ml_world *w, int kind, int count) {
    switch (kind) {
        case ML_KEYS: return ml_to_python(L, w, -2);
        case ML_VALUES: return ml_to_python(L, w, -1);
        case ML_ITEMS: return pair(L, w);
        default: return ml_results_to_python(L, w, count);
    }
}

/* The next key and value on top, or false at the end. */
static bool advance(lua_State *L, const LuaIterator *self) {
    int loop = lua_gettop(L);
    if (self->plain) {
        lua_rawgeti(L, loop, STATE);
        lua_rawgeti(L, loop, CONTROL);
        if (!lua_next(L, -2)) return false;
    } else {
        for (int i = FUNCTION; i <= CONTROL; i++) lua_rawgeti(L, loop, i);
        lua_call(L, 2, self->kind == ML_RESULTS ? LUA_MULTRET : 2);
        luaL_checkstack(L, 4, NULL);
        if (lua_gettop(L) == loop || lua_isnil(L, loop + 1)) return false;
    }
    lua_pushvalue(L, self->plain ? -2 : loop + 1);
    lua_rawseti(L, loop, CONTROL);
    return true;
}

static int do_next(lua_State *L) {
    ml_task *task = lua_touserdata(L, 1);
    const LuaIterator *self = (LuaIterator *)task->key;
    int kind = self->kind;
    ml_push_lua_object(L, task->self);
    if (!advance(L, self)) return 0;
    task->result = item(L, task->world, kind, lua_gettop(L) - 2);
    return task->result ? 0 : ml_error_raise(L, task->world);
}

/* The same without protection: `next` fails only for a key that the table has not, so not if there
   is something at the key. False: not possible. */
static bool try_next(const LuaIterator *self, const LuaObject *state, PyObject **result) {
    ml_entry e;
    ml_world *w = state->world;
    *result = NULL;
    if (ml_enter(w, &e) != 0) return true;
    lua_State *L = e.L;
    ml_push_lua_object(L, state);
    int loop = lua_gettop(L);
    lua_rawgeti(L, loop, STATE);
    bool possible = lua_rawgeti(L, loop, CONTROL) == LUA_TNIL;
    if (!possible) {
        lua_pushvalue(L, -1);
        possible = lua_rawget(L, -3) != LUA_TNIL;
        lua_pop(L, 1);
    }
    if (possible && lua_next(L, -2)) {
        lua_pushvalue(L, -2);
        lua_rawseti(L, loop, CONTROL); /* which exists: no allocation */
        *result = item(L, w, self->kind, 0);
    }
    ml_leave(&e);
    return possible;
}

/* Ends the loop as Lua does, with the exception that is set, if any. 0, or -1 with an exception. */
static int end(LuaIterator *self) {
    PyObject *loop = (PyObject *)self->loop;
    PyObject *closing = self->closing;
    self->loop = NULL;
    self->closing = NULL;
    int result = 0;
    ml_world *w = loop ? ((LuaObject *)loop)->world : NULL;
    if (closing && w && !w->closed) result = ml_close_value(w, closing);
    Py_XDECREF(loop);
    Py_XDECREF(closing);
    return result;
}

static PyObject *next(PyObject *o) {
    LuaIterator *self = (LuaIterator *)o;
    if (!self->loop) return NULL;
    LuaObject *loop = (LuaObject *)Py_NewRef((PyObject *)self->loop); /* it may end meanwhile */
    PyObject *result;
    if (!self->plain || !try_next(self, loop, &result)) {
        ml_task task = {.self = loop, .key = o};
        result = ml_perform(do_next, &task);
    }
    Py_DECREF(loop);
    if (!result) end(self);
    return result;
}

/* -------------------------------------------------------------------------------------- life */

static PyObject *close_loop(PyObject *self, PyObject *unused) {
    (void)unused;
    if (end((LuaIterator *)self) != 0) return NULL;
    Py_RETURN_NONE;
}

static void close_late(void *argument) {
    LuaIterator *self = argument;
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (end(self) != 0) PyErr_WriteUnraisable((PyObject *)&ml_LuaIterator_Type);
    PyErr_Restore(type, value, traceback);
    Py_DECREF(self);
}

/* A loop that is left before its end: as for a generator of Python, nobody else closes it. Not
   here, where the thread may be another one than Lua's, or Lua be collecting garbage. */
static void finalize(PyObject *o) {
    LuaIterator *self = (LuaIterator *)o;
    if (!self->closing || !self->loop || self->loop->world->closed) return;
    ml_world_defer(self->loop->world, close_late, Py_NewRef(o));
}

static int traverse(PyObject *o, visitproc visit, void *arg) {
    Py_VISIT(((LuaIterator *)o)->loop);
    Py_VISIT(((LuaIterator *)o)->closing);
    return 0;
}

static int clear(PyObject *o) {
    Py_CLEAR(((LuaIterator *)o)->loop);
    Py_CLEAR(((LuaIterator *)o)->closing);
    return 0;
}

static void dealloc(PyObject *o) {
    if (PyObject_CallFinalizerFromDealloc(o) != 0) return;
    PyObject_GC_UnTrack(o);
    clear(o);
    PyObject_GC_Del(o);
}

static PyMethodDef methods[] = {
    {"close", close_loop, METH_NOARGS,
     "close($self, /)\n--\n\nEnds the loop as `break` does: closes its closing value, if there is one."},
    {NULL, NULL, 0, NULL},
};

PyTypeObject ml_LuaIterator_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "moonlet.LuaIterator",
    .tp_doc = "What Lua's `for` iterates over.",
    .tp_basicsize = sizeof(LuaIterator),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_dealloc = dealloc,
    .tp_finalize = finalize,
    .tp_traverse = traverse,
    .tp_clear = clear,
    .tp_iter = PyObject_SelfIter,
    .tp_iternext = next,
    .tp_methods = methods,
};
