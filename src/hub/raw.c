/* Python's way into the Lua functions of the scheduler, by which values of Python come out as they
   went in: bytes, which elsewhere are strings in Lua, and a tuple that is a task's result. */

#include "../bridge/luaproxy.h"
#include "hub.h"

#include <string.h>

/* ------------------------------------------------------------------------------------- boxes */

typedef struct Box {
    PyObject_HEAD
    PyObject *content;
} Box;

static void box_dealloc(PyObject *self) {
    PyObject_GC_UnTrack(self);
    Py_CLEAR(((Box *)self)->content);
    Py_TYPE(self)->tp_free(self);
}

static int box_traverse(PyObject *self, visitproc visit, void *arg) {
    Py_VISIT(((Box *)self)->content);
    return 0;
}

static int box_clear(PyObject *self) {
    Py_CLEAR(((Box *)self)->content);
    return 0;
}

PyTypeObject ml_Box_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "moonlet._Box",
    .tp_basicsize = sizeof(Box),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_dealloc = box_dealloc,
    .tp_traverse = box_traverse,
    .tp_clear = box_clear,
    .tp_free = PyObject_GC_Del,
};

PyObject *ml_box_content(PyObject *box) { return ((Box *)box)->content; }

static void push_box(lua_State *L, ml_world *w, PyObject *content) {
    Box *box = PyObject_GC_New(Box, &ml_Box_Type);
    if (!box) {
        ml_error_raise(L, w);
        return;
    }
    box->content = Py_NewRef(content);
    PyObject_GC_Track(box);
    ml_world_defer(w, (void (*)(void *))Py_DecRef, box);
    luaL_checkstack(L, 4, NULL);
    ml_pyproxy_push(L, w, (PyObject *)box);
}

void ml_boxed_to_lua(lua_State *L, ml_world *w, PyObject *o, bool result) {
    if (PyBytes_CheckExact(o) || (result && PyTuple_CheckExact(o))) {
        push_box(L, w, o);
    } else {
        ml_to_lua(L, w, o);
    }
}

static PyObject *content_at(lua_State *L, int index) {
    if (lua_type(L, index) != LUA_TUSERDATA) return NULL;
    ml_handle *h = ml_handle_at(L, index);
    PyObject *o = h ? ml_pyproxy_test(L, index) : NULL;
    /* Python's conversions open boxes, too: ask for the userdata's own object. */
    return o && Py_TYPE(o) == &ml_Box_Type ? ml_box_content(o) : NULL;
}

/* unbox(...): what was boxed as Lua would have got it otherwise: bytes as strings, a tuple as
   several values. */
static int unbox(lua_State *L) {
    int count = lua_gettop(L);
    int i = 1;
    while (i <= count && lua_type(L, i) != LUA_TUSERDATA) i++;
    if (i > count) return count;
    ml_world *w = lua_touserdata(L, lua_upvalueindex(1));
    for (i = 1; i <= count; i++) {
        PyObject *content = content_at(L, i);
        if (!content) {
            luaL_checkstack(L, 1, NULL);
            lua_pushvalue(L, i);
        } else if (PyTuple_CheckExact(content)) {
            ml_results_to_lua(L, w, Py_NewRef(content));
        } else {
            ml_to_lua(L, w, content);
        }
    }
    return lua_gettop(L) - count;
}

/* ------------------------------------------------------------------------------------- classes */

static const char classes_key; /* registry: metatable -> Python type, as userdata */

/* set_class(metatable, type): tables with this metatable are of this type in Python, a subclass of
   LuaTable. */
static int set_class(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    const PyObject *type = ml_pyproxy_test(L, 2);
    if (!type || !PyType_Check(type) ||
        !PyType_IsSubtype((PyTypeObject *)type, &ml_LuaTable_Type) ||
        ((PyTypeObject *)type)->tp_basicsize != sizeof(LuaObject) ||
        (((PyTypeObject *)type)->tp_flags & Py_TPFLAGS_MANAGED_DICT)) {
        return luaL_argerror(L, 2, "subclass of LuaTable with empty __slots__ expected");
    }
    lua_rawgetp(L, LUA_REGISTRYINDEX, &classes_key);
    lua_pushvalue(L, 1);
    lua_pushvalue(L, 2);
    lua_rawset(L, -3);
    return 0;
}

PyTypeObject *ml_class_of_table(lua_State *L, int index) {
    if (!lua_checkstack(L, 3) || !lua_getmetatable(L, index)) return NULL;
    PyTypeObject *type = NULL;
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &classes_key) == LUA_TTABLE) {
        lua_insert(L, -2);
        lua_rawget(L, -2);
        type = (PyTypeObject *)ml_pyproxy_test(L, -1);
    }
    lua_pop(L, 2);
    return type;
}

/* -------------------------------------------------------------------------------------- misuse */

static struct {
    PyObject *error; /* the Lua error value that misuse() has raised last */
    PyObject *text;  /* the same without a position */
    PyObject *type;  /* which exception that is in Python; borrowed */
} misused;

/* misuse(type, text): raises an error about how the scheduler was called, as the exception `type` in
   Python; in Lua a message with the place of the innermost caller that is not the scheduler's own. */
static int misuse(lua_State *L) {
    static PyObject *const *const types[] = {&PyExc_TypeError, &PyExc_ValueError,
                                             &PyExc_RuntimeError, &PyExc_AttributeError};
    static const char *const names[] = {"TypeError", "ValueError", "RuntimeError",
                                        "AttributeError", NULL};
    int which = luaL_checkoption(L, 1, NULL, names);
    luaL_checkstring(L, 2);
    lua_settop(L, 2);
    lua_Debug ar;
    int level = 1;
    while (lua_getstack(L, level, &ar) && lua_getinfo(L, "Sl", &ar) &&
           strncmp(ar.source, "@moonlet/", 9) == 0) {
        level++;
    }
    luaL_where(L, level);
    lua_pushvalue(L, 2);
    lua_concat(L, 2);
    ml_world *w = lua_touserdata(L, lua_upvalueindex(1));
    PyObject *error = ml_to_python(L, w, 3);
    PyObject *text = error ? ml_to_python(L, w, 2) : NULL;
    if (text) {
        Py_XSETREF(misused.error, error);
        Py_XSETREF(misused.text, text);
        misused.type = *types[which];
    } else {
        Py_XDECREF(error);
        PyErr_Clear();
    }
    return lua_error(L);
}

/* Replaces the exception that is set by what misuse() has meant, if it comes from there. */
static void as_python_has_it(void) {
    if (!misused.error || !PyErr_ExceptionMatches(ml_PyExc_LuaError)) return;
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    PyObject *error = PyObject_GetAttrString(value, "value");
    if (error && PyObject_RichCompareBool(error, misused.error, Py_EQ) == 1) {
        Py_XDECREF(type);
        Py_XDECREF(value);
        Py_XDECREF(traceback);
        PyErr_SetObject(misused.type, misused.text);
    } else {
        PyErr_Restore(type, value, traceback);
    }
    Py_XDECREF(error);
}

void ml_raw_register(lua_State *L, ml_world *w) {
    lua_newtable(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &classes_key);
    static const luaL_Reg functions[] = {
        {"unbox", unbox}, {"set_class", set_class}, {"misuse", misuse}, {NULL, NULL}};
    lua_pushlightuserdata(L, w);
    luaL_setfuncs(L, functions, 1);
}

/* -------------------------------------------------------------------------------------- raw()

   raw(module, name): what calls the function of that name in moonlet.MODULE of the caller's Lua
   state; name "Class.method" is for a method. Where Lua files have a version of a function that does
   not unbox (hub.facing), that one.

   raw(module, begin, end): a wait in halves, between which the greenlet has nothing in Lua, and needs
   no Lua thread: end() is called when somebody has switched back, and end(true, refused) when somebody
   has thrown an exception, or the switch was `refused`. Both return the address of a greenlet to switch
   to; nil ends the wait. */

typedef struct Raw {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    PyObject *module;
    PyObject *name;
    PyObject *function; /* a LuaObject, or NULL */
    PyObject *end_name; /* or NULL */
    PyObject *end;      /* a LuaObject, or NULL */
} Raw;

static void raw_dealloc(PyObject *self) {
    Raw *r = (Raw *)self;
    PyObject_GC_UnTrack(self);
    Py_CLEAR(r->module);
    Py_CLEAR(r->name);
    Py_CLEAR(r->function);
    Py_CLEAR(r->end_name);
    Py_CLEAR(r->end);
    PyObject_GC_Del(self);
}

static int raw_traverse(PyObject *self, visitproc visit, void *arg) {
    Py_VISIT(((Raw *)self)->function);
    Py_VISIT(((Raw *)self)->end);
    return 0;
}

typedef struct finding {
    ml_world *world;
    PyObject *module;
    PyObject *name;
    PyObject *result;
} finding;

static int do_find(lua_State *L) {
    finding *f = lua_touserdata(L, 1);
    lua_getglobal(L, "require");
    lua_pushliteral(L, "moonlet.hub");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "find");
    ml_to_lua(L, f->world, f->module);
    ml_to_lua(L, f->world, f->name);
    lua_call(L, 2, 1);
    f->result = ml_to_python(L, f->world, -1);
    if (!f->result) ml_error_raise(L, f->world);
    return 0;
}

static int find(const Raw *r, ml_world *w, PyObject *name, PyObject **function) {
    finding f = {.world = w, .module = r->module, .name = name};
    if (ml_protect(w, do_find, &f) != 0) return -1;
    if (!ml_is_lua_object(f.result)) {
        PyErr_Format(PyExc_SystemError, "moonlet.%U has no function '%U'", r->module, name);
        Py_DECREF(f.result);
        return -1;
    }
    Py_XSETREF(*function, f.result);
    return 0;
}

static bool is_of(PyObject *function, const ml_world *w) {
    return function && ((LuaObject *)function)->world == w;
}

typedef struct passing {
    ml_world *world;
    PyObject *const *args;
    Py_ssize_t count;
} passing;

/* Pushes the arguments; runs protected. */
static int push_arguments(lua_State *L) {
    const passing *p = lua_touserdata(L, 1);
    lua_settop(L, 0);
    luaL_checkstack(L, (int)p->count + 4, "too many arguments");
    for (Py_ssize_t i = 0; i < p->count; i++) ml_boxed_to_lua(L, p->world, p->args[i], false);
    return (int)p->count;
}

/* Pushes what needs no protection; false: it is not such a value. */
static bool push_one(lua_State *L, ml_world *w, PyObject *o) {
    if (ml_is_lua_object(o) && ((LuaObject *)o)->world == w) {
        ml_push_lua_object(L, (LuaObject *)o);
        return true;
    }
    return ml_simple_to_lua(L, w, o);
}

static int push_all(const ml_entry *e, ml_world *w, PyObject *const *args, Py_ssize_t count) {
    lua_State *L = e->L;
    Py_ssize_t simple = 0;
    while (simple < count && simple < 8 && push_one(L, w, args[simple])) simple++;
    if (simple == count) return 0;
    lua_pop(L, (int)simple);
    passing p = {w, args, count};
    lua_pushcfunction(L, push_arguments);
    lua_pushlightuserdata(L, &p);
    int status = lua_pcall(L, 1, LUA_MULTRET, e->top + 1);
    if (status == LUA_OK) return 0;
    ml_error_to_python(L, w, status);
    return -1;
}

/* Calls a Lua function. With `target` it is half of a wait, and returns NULL without an exception and
   in `*target` whom to switch to. */
static PyObject *call_lua(ml_world *w, PyObject *function, PyObject *const *args, Py_ssize_t count,
                          ml_greenlet **target) {
    ml_entry e;
    const ml_greenlet *g = ml_current();
    bool is_bare = target && !g->lua && !g->lua_threads && !ml_is_main(g);
    if (ml_enter(w, &e) != 0) return NULL;
    if (is_bare) e.fresh = g->lua_threads; /* not to be kept while it waits */
    ml_push_handler(e.L, w);
    ml_push_lua_object(e.L, (LuaObject *)function);
    PyObject *result = NULL;
    if (push_all(&e, w, args, count) == 0 && ml_pcall(&e, (int)count, LUA_MULTRET) == 0) {
        int results = lua_gettop(e.L) - e.top - 1;
        if (target) {
            *target = results ? lua_touserdata(e.L, e.top + 2) : NULL;
        } else {
            result = ml_results_to_python(e.L, w, results);
        }
    }
    if (!result && PyErr_Occurred()) as_python_has_it();
    ml_leave(&e);
    return result;
}

/* Waits, with `target` to be switched to first. */
static PyObject *wait_for(const Raw *r, ml_world *w, ml_greenlet *target) {
    while (target) {
        ml_parcel parcel = {.kind = &ml_py_parcel};
        int failed = ml_switch(target, &parcel);
        PyObject *result = ml_py_switched(failed, target, &parcel);
        target = NULL;
        if (result) {
            Py_DECREF(result);
            call_lua(w, r->end, NULL, 0, &target);
            if (PyErr_Occurred()) return NULL;
        } else {
            PyObject *type, *value, *traceback;
            PyErr_Fetch(&type, &value, &traceback);
            PyObject *args[] = {Py_True, failed ? Py_True : Py_False}; /* thrown, refused */
            call_lua(w, r->end, args, 2, &target);
            if (PyErr_Occurred()) PyErr_WriteUnraisable((PyObject *)r);
            PyErr_Restore(type, value, traceback);
            return NULL;
        }
    }
    Py_RETURN_NONE;
}

static PyObject *raw_call(PyObject *self, PyObject *const *args, size_t nargsf, PyObject *names) {
    Raw *r = (Raw *)self;
    Py_ssize_t count = PyVectorcall_NARGS(nargsf);
    if (names && PyTuple_GET_SIZE(names)) {
        PyErr_Format(PyExc_TypeError, "%U() takes no keyword arguments", r->name);
        return NULL;
    }
    if (count > 200) {
        PyErr_Format(PyExc_TypeError, "%U() takes at most 200 arguments, got %zd", r->name, count);
        return NULL;
    }
    ml_world *w = ml_world_of_caller();
    if (!w) return NULL;
    if (!is_of(r->function, w) && find(r, w, r->name, &r->function) != 0) return NULL;
    if (r->end_name && !is_of(r->end, w) && find(r, w, r->end_name, &r->end) != 0) return NULL;
    ml_greenlet *g = ml_py_current();
    if (!g) return NULL;
    ml_call here;
    ml_py_begin_call(g, &here, args + count);
    ml_greenlet *target = NULL;
    PyObject *result = call_lua(w, r->function, args, count, r->end_name ? &target : NULL);
    if (r->end_name && !PyErr_Occurred()) result = wait_for(r, w, target);
    ml_py_end_call(g, &here);
    return result;
}

static PyObject *raw_repr(PyObject *self) {
    const Raw *r = (Raw *)self;
    return PyUnicode_FromFormat("<moonlet.%U.%U>", r->module, r->name);
}

static PyTypeObject Raw_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "moonlet._Raw",
    .tp_basicsize = sizeof(Raw),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL |
                Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_dealloc = raw_dealloc,
    .tp_traverse = raw_traverse,
    .tp_call = PyVectorcall_Call,
    .tp_vectorcall_offset = offsetof(Raw, vectorcall),
    .tp_repr = raw_repr,
};

static PyObject *raw(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *of, *name, *end = NULL;
    if (!PyArg_ParseTuple(args, "UU|U:raw", &of, &name, &end)) return NULL;
    Raw *r = PyObject_GC_New(Raw, &Raw_Type);
    if (!r) return NULL;
    r->vectorcall = raw_call;
    r->module = Py_NewRef(of);
    r->name = Py_NewRef(name);
    r->function = NULL;
    r->end_name = Py_XNewRef(end);
    r->end = NULL;
    PyObject_GC_Track(r);
    return (PyObject *)r;
}

static PyMethodDef raw_method = {"raw", raw, METH_VARARGS, NULL};

int ml_raw_init(PyObject *module) {
    if (PyType_Ready(&ml_Box_Type) != 0 || PyType_Ready(&Raw_Type) != 0) return -1;
    PyObject *function = PyCFunction_New(&raw_method, NULL);
    int result = function ? PyModule_AddObjectRef(module, "_raw", function) : -1;
    Py_XDECREF(function);
    return result;
}
