/* What Lua values of every type can do in Python besides what Lua does with them. */

#include "luaproxy.h"

/* ----------------------------------------------------------------------------------- closing */

typedef struct closing {
    ml_world *world;
    PyObject *value;
    PyObject *exception; /* or NULL */
} closing;

static int do_close(lua_State *L) {
    const closing *c = lua_touserdata(L, 1);
    ml_to_lua(L, c->world, c->value);
    if (luaL_getmetafield(L, 2, "__close") == LUA_TNIL) {
        return luaL_error(L, "metamethod 'close' (a nil value)");
    }
    lua_insert(L, 2);
    if (c->exception) {
        PyErr_Restore(Py_NewRef((PyObject *)Py_TYPE(c->exception)), Py_NewRef(c->exception),
                      PyException_GetTraceback(c->exception));
        ml_error_push(L, c->world);
    } else {
        lua_pushnil(L);
    }
    lua_call(L, 2, 0);
    return 0;
}

void ml_add_context(PyObject *context) {
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    PyObject *own = PyException_GetContext(value);
    if (!own && value != context) PyException_SetContext(value, Py_NewRef(context));
    Py_XDECREF(own);
    PyErr_Restore(type, value, traceback);
}

int ml_close_value(ml_world *w, PyObject *value) {
    PyObject *type, *exception, *traceback;
    PyErr_Fetch(&type, &exception, &traceback);
    PyErr_NormalizeException(&type, &exception, &traceback);
    if (traceback) PyException_SetTraceback(exception, traceback);
    closing c = {w, value, exception};
    int result = ml_protect(w, do_close, &c);
    if (result == 0) {
        PyErr_Restore(type, exception, traceback);
        return 0;
    }
    if (exception) ml_add_context(exception);
    Py_XDECREF(type);
    Py_XDECREF(exception);
    Py_XDECREF(traceback);
    return -1;
}

/* -------------------------------------------------------------------------------------- with */

static int do_look_for_close(lua_State *L) {
    ml_task *task = lua_touserdata(L, 1);
    ml_push_lua_object(L, task->self);
    task->number = luaL_getmetafield(L, 2, "__close") != LUA_TNIL;
    return 0;
}

static PyObject *enter(PyObject *self, PyObject *unused) {
    (void)unused;
    ml_task task = {.self = (LuaObject *)self};
    ml_perform(do_look_for_close, &task);
    if (PyErr_Occurred()) return NULL;
    if (task.number) return Py_NewRef(self);
    /* The words of Python/ceval.c for BEFORE_WITH. */
    PyErr_Format(PyExc_TypeError, "'%s' object does not support the context manager protocol",
                 Py_TYPE(self)->tp_name);
    return NULL;
}

static PyObject *leave(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    if (ml_check_count("__exit__", count, 3, 3) != 0) return NULL;
    PyObject *exception = args[1];
    if (exception != Py_None && !PyExceptionInstance_Check(exception)) {
        PyErr_Format(PyExc_TypeError, "__exit__ expected an exception or None, not %s",
                     Py_TYPE(exception)->tp_name);
        return NULL;
    }
    if (exception != Py_None) {
        PyErr_Restore(Py_NewRef((PyObject *)Py_TYPE(exception)), Py_NewRef(exception),
                      PyException_GetTraceback(exception));
    }
    if (ml_close_value(((LuaObject *)self)->world, self) != 0) return NULL;
    PyErr_Clear(); /* not lost: who left the block raises it again */
    Py_RETURN_FALSE;
}

/* --------------------------------------------------------------------------------------- dir */

enum { LONGEST_CHAIN = 100 }; /* of tables that are the __index of each other */

/* Appends the names among the keys of the table on top to task->result. */
static void append_names(lua_State *L, ml_task *task) {
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        lua_pop(L, 1);
        if (lua_type(L, -1) != LUA_TSTRING) continue;
        PyObject *name = ml_to_python(L, task->world, -1);
        int result = -1;
        if (name) result = PyUnicode_Check(name) && PyUnicode_IsIdentifier(name);
        if (result > 0) result = PyList_Append(task->result, name);
        Py_XDECREF(name);
        if (result < 0) ml_error_raise(L, task->world);
    }
}

static int do_names(lua_State *L) {
    ml_task *task = lua_touserdata(L, 1);
    task->result = PyList_New(0);
    if (!task->result) return ml_error_raise(L, task->world);
    ml_push_lua_object(L, task->self);
    for (int i = 0; i < LONGEST_CHAIN; i++) {
        if (lua_istable(L, 2)) append_names(L, task);
        if (luaL_getmetafield(L, 2, "__index") != LUA_TTABLE) break;
        lua_replace(L, 2);
    }
    return 0;
}

/* The attributes of the type, and the fields that Lua would find by name. */
static PyObject *dir(PyObject *self, PyObject *unused) {
    (void)unused;
    ml_task task = {.self = (LuaObject *)self};
    PyObject *names = ml_has_class(self) ? PyList_New(0) : ml_perform(do_names, &task);
    PyObject *own = names ? PyObject_Dir((PyObject *)Py_TYPE(self)) : NULL;
    PyObject *all = own ? PySequence_InPlaceConcat(names, own) : NULL;
    PyObject *set = all ? PySet_New(all) : NULL; /* dir() makes it a sorted list */
    Py_XDECREF(names);
    Py_XDECREF(own);
    Py_XDECREF(all);
    return set;
}

/* -------------------------------------------------------------------------------------- copy */

/* A function is its own copy, as in Python. */
static PyObject *same(PyObject *self, PyObject *unused) {
    (void)unused;
    return Py_NewRef(self);
}

PyMethodDef ml_luafunction_methods[] = {
    {"__copy__", same, METH_NOARGS, NULL},
    {"__deepcopy__", same, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

PyMethodDef ml_luaobject_methods[] = {
    {"__enter__", enter, METH_NOARGS, "Itself, if its metatable has __close."},
    {"__exit__", (PyCFunction)(void (*)(void))leave, METH_FASTCALL,
     "Calls the metamethod __close with the value of the Lua error, the Python exception, or nil."},
    {"__dir__", dir, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};
