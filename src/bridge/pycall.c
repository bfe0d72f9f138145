/* Calls of Python objects, and of their methods. */

#include "../lua/callsite.h"
#include "bridge.h"

static ml_world *world(lua_State *L) { return lua_touserdata(L, lua_upvalueindex(1)); }

/* --------------------------------------------------------------------------------- arguments */

enum { SMALL = 12 };

/* The arguments of a call in the form of PEP 590, all references owned. The first slot is the
   callee's to use. */
typedef struct arguments {
    PyObject *small[SMALL];
    PyObject **all; /* small, or allocated */
    ml_owned owned; /* those converted, keyword arguments' values included */
    Py_ssize_t positional;
    PyObject *names; /* a tuple, or NULL */
} arguments;

static int reserve(arguments *args, size_t count) {
    args->all = args->small;
    args->owned = (ml_owned){args->all, 0};
    args->positional = 0;
    args->names = NULL;
    if (__builtin_expect(count < SMALL, 1)) return 0;
    args->owned.all = args->all = PyMem_Malloc((count + 1) * sizeof *args->all);
    if (args->all) return 0;
    PyErr_NoMemory();
    return -1;
}

static void release(arguments *args) {
    if (!args->all) return;
    while (args->owned.count > 0) Py_DECREF(args->all[args->owned.count--]);
    if (args->all != args->small) PyMem_Free(args->all);
    Py_XDECREF(args->names);
}

/* Appends the `size` pairs that start at `index`, for which there is room. */
static int add_keywords(lua_State *L, ml_world *w, int index, Py_ssize_t size, arguments *args) {
    args->names = PyTuple_New(size);
    if (!args->names) return -1;
    for (Py_ssize_t i = 0; i < size; i++, index += 2) {
        PyObject *name = ml_kw_name(L, index);
        if (!name) return -1;
        PyTuple_SET_ITEM(args->names, i, name);
        PyObject *value = ml_to_python(L, w, index + 1);
        if (!value) return -1;
        args->all[++args->owned.count] = value;
    }
    return 0;
}

/* Converts `self`, if there is one, and the values at 2 ... top of the stack, the last of which may be
   from py.kw. 0, or -1 with an exception; to be released in both cases. */
static int convert(lua_State *L, ml_world *w, PyObject *self, arguments *args) {
    int top = lua_gettop(L);
    int type = top >= 2 ? lua_type(L, top) : LUA_TNIL;
    int keywords = top + 1;
    Py_ssize_t pairs = 0;
    args->all = NULL;
    if (type == LUA_TTABLE && ml_is_kw(L, w, top)) {
        pairs = ml_kw_spread(L, top--);
        if (pairs < 0) return -1;
    }
    if (reserve(args, (size_t)top + (size_t)pairs) != 0) return -1;
    if (self) args->all[++args->owned.count] = Py_NewRef(self);
    for (int i = 2; i <= top; i++) {
        type = lua_type(L, i);
        if (type == LUA_TTABLE && ml_is_kw(L, w, i)) {
            PyErr_SetString(PyExc_TypeError, "py.kw must be the last argument");
            return -1;
        }
        PyObject *value = ml_typed_to_python(L, w, i, type);
        if (!value) return -1;
        args->all[++args->owned.count] = value;
    }
    args->positional = args->owned.count;
    return pairs ? add_keywords(L, w, keywords, pairs, args) : 0;
}

/* ------------------------------------------------------------------------------------- calls */

/* Calls `callable` with the values at 2 ... top. */
static int call(lua_State *L, ml_world *w, PyObject *callable) {
    arguments args;
    PyObject *result = NULL;
    ml_activation a;
    ml_lua_leave(&a, L, w);
    if (convert(L, w, NULL, &args) == 0 && ml_allowed(&a, callable, "call", NULL)) {
        size_t count = (size_t)args.positional | PY_VECTORCALL_ARGUMENTS_OFFSET;
        a.owned = &args.owned;
        result = PyObject_Vectorcall(callable, args.all + 1, count, args.names);
    }
    release(&args);
    ml_lua_return(&a);
    return ml_finish_call(L, w, result);
}

int ml_pycall(lua_State *L) {
    ml_world *w;
    PyObject *callable = ml_pyproxy_self(L, &w);
    /* for item in iterator do: what cannot be called gives its next item. */
    if (!Py_TYPE(callable)->tp_call && PyIter_Check(callable)) return ml_pyoperators_next(L);
    return call(L, w, callable);
}

/* ----------------------------------------------------------------------------------- methods

   o:m(...) is to Lua two steps: look up m in o, call what that gives with o and the arguments. If m
   is a method of o's class, as CPython's own LOAD_METHOD understands it, the first step gives a
   function that does the second for every o: nothing is bound or allocated. It finds in the world
   what the first step has found, unless the arguments have looked up others meanwhile. Any other m
   is bound already, or needs no o: what is called then drops it. */

/* What was found: a borrowed reference, good as long as the type has this version (which is no other
   type's, see assign_version_tag of CPython's typeobject.c). */
static void remember_method(ml_world *w, PyObject *o, PyObject *name, PyObject *function) {
    w->method.object = o;
    w->method.name = name;
    w->method.function = function;
    w->method.version = Py_TYPE(o)->tp_version_tag;
}

static PyObject *recall_method(const ml_world *w, const PyObject *o, const PyObject *name) {
    unsigned version = Py_TYPE(o)->tp_version_tag;
    bool known =
        w->method.object == o && w->method.name == name && version && w->method.version == version;
    return known ? w->method.function : NULL;
}

/* Upvalues: the world, the name, which upvalue 3 keeps alive. */
static int call_by_name(lua_State *L) {
    ml_world *w;
    PyObject *o = ml_pyproxy_self(L, &w);
    PyObject *name = lua_touserdata(L, lua_upvalueindex(2));
    if (w->limits) return luaL_error(L, "a method that was looked up before moonlet.open");
    PyObject *function = Py_XNewRef(recall_method(w, o, name));
    PyObject *result = NULL;
    arguments args;
    ml_activation a;
    ml_lua_leave(&a, L, w);
    if (convert(L, w, o, &args) == 0) {
        size_t count = (size_t)args.positional | PY_VECTORCALL_ARGUMENTS_OFFSET;
        a.owned = &args.owned;
        result = function ? PyObject_Vectorcall(function, args.all + 1, count, args.names)
                          : PyObject_VectorcallMethod(name, args.all + 1, count, args.names);
    }
    release(&args);
    Py_XDECREF(function);
    ml_lua_return(&a);
    return ml_finish_call(L, w, result);
}

/* Upvalues: the world, the callable. */
static int call_without_self(lua_State *L) {
    ml_world *w = world(L);
    return call(L, w, ml_pyproxy_check(L, w, lua_upvalueindex(2)));
}

/* Pushes the function for methods of the name at 2; `name` (stolen) is the same. May raise. */
static int push_caller(lua_State *L, ml_world *w, PyObject *name) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, w->callers);
    lua_pushvalue(L, 2);
    if (lua_rawget(L, -2) == LUA_TFUNCTION) {
        Py_DECREF(name);
        return 1;
    }
    lua_pop(L, 1);
    ml_world_defer(w, (void (*)(void *))Py_DecRef, name);
    lua_pushvalue(L, 2);
    lua_pushlightuserdata(L, w);
    lua_pushlightuserdata(L, name);
    ml_pyproxy_push(L, w, name);
    lua_pushcclosure(L, call_by_name, 3);
    lua_pushvalue(L, -1);
    lua_insert(L, -4);
    lua_rawset(L, -3);
    lua_pop(L, 1);
    return 1;
}

/* The method, or what else has that name. */
static PyObject *find(ml_activation *a, PyObject *o, PyObject *name, bool *unbound) {
    PyObject *value = NULL;
    if (!PyUnicode_Check(name)) {
        PyErr_SetString(PyExc_TypeError, "the name of a method must be UTF-8");
        return NULL;
    }
    if (!a->world->limits) {
        *unbound = _PyObject_GetMethod(o, name, &value);
    } else if (ml_ask(a, o, "getattr", name)) {
        value = PyObject_GetAttr(o, name); /* bound, so that the call can be asked for */
    } else {
        return NULL;
    }
    return value ? value : ml_pyproxy_item_instead(a, o, name);
}

int ml_pycall_method(lua_State *L, ml_world *w, PyObject *o) {
    ml_activation a;
    ml_lua_leave(&a, L, w);
    PyObject *name = ml_name_to_python(L, 2);
    bool unbound = false;
    PyObject *value = name ? find(&a, o, name, &unbound) : NULL;
    ml_lua_return(&a);
    if (!value) {
        Py_XDECREF(name);
        return ml_error_raise(L, w);
    }
    if (unbound) {
        remember_method(w, o, name, value);
        Py_DECREF(value); /* its class has it */
        return push_caller(L, w, name);
    }
    Py_DECREF(name);
    ml_to_lua_steal(L, w, value);
    if (ml_pyproxy_test(L, -1)) {
        lua_pushlightuserdata(L, w);
        lua_insert(L, -2);
        lua_pushcclosure(L, call_without_self, 2);
    }
    return 1;
}

void ml_pycall_open(lua_State *L, ml_world *w) {
    if (!ml_callsite_open(L)) luaL_error(L, "moonlet: this is not Lua 5.4 as it was released");
    lua_newtable(L);
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "v");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    w->callers = luaL_ref(L, LUA_REGISTRYINDEX);
}
