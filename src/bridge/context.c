/* Context managers in Lua: py.with, and Python objects as to-be-closed variables. */

#include "bridge.h"

static ml_world *world(lua_State *L) { return lua_touserdata(L, lua_upvalueindex(1)); }

/* A special method as the interpreter looks it up, on the type alone, bound to `o`: a new reference
   or NULL, without an exception if there is none (Objects/typeobject.c, _PyObject_LookupSpecial). */
static PyObject *special_method(PyObject *o, const char *name) {
    PyObject *key = PyUnicode_InternFromString(name);
    if (!key) return NULL;
    PyObject *method = _PyType_Lookup(Py_TYPE(o), key);
    Py_DECREF(key);
    if (!method) return NULL;
    descrgetfunc get = Py_TYPE(method)->tp_descr_get;
    return get ? get(method, o, (PyObject *)Py_TYPE(o)) : Py_NewRef(method);
}

/* --------------------------------------------------------------------------------- leaving */

static PyObject *call_exit(PyObject *exit, PyObject *exception) {
    if (!exception) return PyObject_CallFunctionObjArgs(exit, Py_None, Py_None, Py_None, NULL);
    PyObject *traceback = PyException_GetTraceback(exception);
    PyObject *result = PyObject_CallFunctionObjArgs(exit, Py_TYPE(exception), exception,
                                                    traceback ? traceback : Py_None, NULL);
    Py_XDECREF(traceback);
    return result;
}

/* Leaves a context manager, closes anything else that can be closed; because of `exception`, or of
   none (NULL). Python code sees it as the exception that is being handled, and what it raises gets
   it as its context: an entry on the stack of such, as a generator's (Objects/genobject.c). */
static PyObject *leave(PyObject *o, PyObject *exception) {
    PyThreadState *ts = ml_tstate();
    _PyErr_StackItem handled = {.exc_value = Py_XNewRef(exception), .previous_item = ts->exc_info};
    if (exception) ts->exc_info = &handled;
    PyObject *result = NULL;
    PyObject *exit = special_method(o, "__exit__");
    if (exit) {
        result = call_exit(exit, exception);
        Py_DECREF(exit);
    } else if (!PyErr_Occurred()) {
        result = PyObject_CallMethod(o, "close", NULL);
    }
    if (exception) ts->exc_info = handled.previous_item;
    Py_XDECREF(handled.exc_value);
    return result;
}

int ml_context_close(lua_State *L) {
    ml_world *w = world(L);
    PyObject *o = ml_pyproxy_test(L, 1);
    if (!o) return luaL_typeerror(L, 1, "Python object");
    luaL_checkstack(L, 8, NULL);
    bool failing = !lua_isnoneornil(L, 2);
    bool crossed = failing && ml_error_exception(L, w, 2);
    /* Now: leaving Lua forgets what the error value stands for. */
    PyObject *exception = failing ? Py_XNewRef(ml_error_find(L, w, 2)) : NULL;
    ml_activation a;
    ml_lua_leave(&a, L, w);
    PyObject *result = NULL;
    if (ml_may_operate(L, &a, "__close", 1)) {
        if (failing && !exception) exception = ml_error_new(L, w, 2);
        if (!failing || exception) result = leave(o, exception);
    }
    Py_XDECREF(result);
    ml_lua_return(&a);
    if (!result) {
        Py_XDECREF(exception);
        return ml_error_raise(L, w);
    }
    /* The error goes on: who catches it gets the exception that __exit__ got. */
    if (exception) ml_error_keep(L, w, 2, exception, crossed);
    return 0;
}

/* -------------------------------------------------------------------------------- entering */

/* What `with` does at its beginning (Python/ceval.c, BEFORE_WITH). */
static PyObject *enter(PyObject *o) {
    static const char no_manager[] =
        "'%.200s' object does not support the context manager protocol%s";
    PyObject *method = special_method(o, "__enter__");
    PyObject *exit = method ? special_method(o, "__exit__") : NULL;
    PyObject *result = NULL;
    if (exit) {
        result = PyObject_CallNoArgs(method);
    } else if (!PyErr_Occurred()) {
        PyErr_Format(PyExc_TypeError, no_manager, Py_TYPE(o)->tp_name,
                     method ? " (missed __exit__ method)" : "");
    }
    Py_XDECREF(method);
    Py_XDECREF(exit);
    return result;
}

typedef struct entered {
    ml_world *world;
    PyObject *result; /* until it is taken over */
} entered;

/* Pushes what __enter__ gave. */
static int push_entered(lua_State *L) {
    entered *e = lua_touserdata(L, 1);
    PyObject *result = e->result;
    e->result = NULL;
    lua_settop(L, 0);
    return ml_results_to_lua(L, e->world, result);
}

/* py.with(o) -> o, entered...: `local f <close> = py.with(o)` is Python's `with o:`, and
   `local _ <close>, x = py.with(o)` its `with o as x:`. A tuple that __enter__ gives is several
   values. At the end of the block __exit__ gets the error that leaves it, if any; what __exit__
   returns cannot suppress that: in Lua, errors end at pcall. TypeError if `o` is no context
   manager, and what __enter__ raises. */
int ml_context_with(lua_State *L) {
    ml_world *w = world(L);
    luaL_checkany(L, 1);
    luaL_checkstack(L, 8, NULL);
    lua_settop(L, 1);
    ml_activation a;
    ml_lua_leave(&a, L, w);
    PyObject *o = ml_may_operate(L, &a, "with", 1) ? ml_to_python(L, w, 1) : NULL;
    entered e = {w, o ? enter(o) : NULL};
    if (!e.result) {
        Py_XDECREF(o);
        ml_lua_return(&a);
        return ml_error_raise(L, w);
    }
    /* It is entered: if there is no memory for the results, it has to be left again. */
    lua_pushcfunction(L, push_entered);
    lua_pushlightuserdata(L, &e);
    if (lua_pcall(L, 1, LUA_MULTRET, 0) != LUA_OK) {
        PyObject *exception = ml_error_new(L, w, -1);
        if (exception) Py_XDECREF(leave(o, exception));
        Py_XDECREF(exception);
        Py_XDECREF(e.result);
        PyErr_Clear();
        Py_DECREF(o);
        ml_lua_return(&a);
        return lua_error(L);
    }
    Py_DECREF(o);
    ml_lua_return(&a);
    return lua_gettop(L);
}
