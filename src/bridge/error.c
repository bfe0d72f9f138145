/* Errors across. A Python exception is in Lua a proxy of itself, so it comes back as the same
   object. A Lua error value is in Python a LuaError that refers to it, and comes back as that
   value; the LuaError is remembered until then, because it has the traceback. */

#include "bridge.h"

#include <string.h>

PyObject *ml_PyExc_LuaError;
static PyObject *value_name; /* "value" */

static void decref(void *o) { Py_DECREF((PyObject *)o); }

int ml_error_init(PyObject *module) {
    if (!value_name) value_name = PyUnicode_InternFromString("value");
    if (!value_name) return -1;
    if (!ml_PyExc_LuaError) {
        ml_PyExc_LuaError = PyErr_NewExceptionWithDoc(
            "moonlet.LuaError",
            "A Lua error. `value` is the Lua error value: a str for a message, or whatever was "
            "given to error().",
            NULL, NULL);
        if (!ml_PyExc_LuaError) return -1;
    }
    return PyModule_AddObjectRef(module, "LuaError", ml_PyExc_LuaError);
}

void ml_error_forget(ml_world *w) {
    if (!w->last_exception) return;
    PyObject *exception = w->last_exception;
    w->last_exception = NULL;
    luaL_unref(w->service, LUA_REGISTRYINDEX, w->last_value);
    w->last_value = LUA_NOREF;
    Py_DECREF(exception);
}

/* Remembers that the value on top stands for `exception`. May raise. */
static void remember(lua_State *L, ml_world *w, PyObject *exception, bool crossed) {
    if (w->last_exception) ml_world_defer(w, decref, w->last_exception);
    w->last_exception = NULL;
    lua_pushvalue(L, -1);
    if (w->last_value < 0 || lua_isnil(L, -1)) {
        /* A reference in use must not be to nil: luaL_ref might give it away again. */
        luaL_unref(L, LUA_REGISTRYINDEX, w->last_value);
        w->last_value = LUA_NOREF;
        w->last_value = luaL_ref(L, LUA_REGISTRYINDEX); /* LUA_REFNIL for nil */
    } else {
        lua_rawseti(L, LUA_REGISTRYINDEX, w->last_value);
    }
    w->last_exception = Py_NewRef(exception);
    w->last_crossed = crossed;
}

/* The exception that is set, normalized and with its traceback, or NULL (new reference). */
static PyObject *fetch(void) {
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback && value) PyException_SetTraceback(value, traceback);
    Py_XDECREF(type);
    Py_XDECREF(traceback);
    return value;
}

static void restore(PyObject *exception) {
    PyErr_Restore(Py_NewRef((PyObject *)Py_TYPE(exception)), Py_NewRef(exception),
                  PyException_GetTraceback(exception));
}

/* Sets an exception that comes out of Lua. One without a context is raised only here; Python chains
   it to what is being handled. */
static void raise(PyObject *exception) {
    PyObject *context = PyException_GetContext(exception);
    if (context) {
        Py_DECREF(context);
        restore(exception);
    } else {
        PyErr_SetObject((PyObject *)Py_TYPE(exception), exception);
    }
}

/* The Lua error value that a LuaError stands for: a new reference or NULL. */
static PyObject *value_of(PyObject *exception) {
    PyObject *value = PyObject_GetAttr(exception, value_name);
    if (value || !PyErr_ExceptionMatches(PyExc_AttributeError)) return value;
    PyErr_Clear(); /* raised by Python code: raise LuaError("message") */
    PyObject *args = ((PyBaseExceptionObject *)exception)->args;
    return Py_NewRef(PyTuple_GET_SIZE(args) == 1 ? PyTuple_GET_ITEM(args, 0) : exception);
}

void ml_error_push(lua_State *L, ml_world *w) {
    if (!lua_checkstack(L, 8)) {
        PyErr_Clear();
        luaL_error(L, "stack overflow");
    }
    PyObject *exception = fetch();
    if (!exception) {
        lua_pushliteral(L, "a Python function failed without setting an exception");
        return;
    }
    PyObject *value = NULL;
    if (PyObject_TypeCheck(exception, (PyTypeObject *)ml_PyExc_LuaError)) {
        value = value_of(exception);
        if (!value) { /* what prevented it is the error then */
            Py_DECREF(exception);
            exception = fetch();
        }
    }
    ml_world_defer(w, decref, exception);
    if (!value) {
        ml_to_lua(L, w, exception);
        return;
    }
    ml_to_lua_steal(L, w, value);
    remember(L, w, exception, true);
}

int ml_error_raise(lua_State *L, ml_world *w) {
    ml_error_push(L, w);
    return lua_error(L);
}

PyObject *ml_error_find(lua_State *L, ml_world *w, int index) {
    PyObject *o = ml_pyproxy_test(L, index);
    if (o && PyExceptionInstance_Check(o)) return o;
    if (!w->last_exception || !lua_checkstack(L, 1)) return NULL;
    index = lua_absindex(L, index);
    lua_rawgeti(L, LUA_REGISTRYINDEX, w->last_value);
    bool same = lua_rawequal(L, -1, index);
    lua_pop(L, 1);
    return same ? w->last_exception : NULL;
}

PyObject *ml_error_exception(lua_State *L, ml_world *w, int index) {
    PyObject *exception = ml_error_find(L, w, index);
    return exception == w->last_exception && !w->last_crossed ? NULL : exception;
}

enum { FIELDS_SHOWN = 8 };

/* Pushes a field's key or value as text; of what Lua would show as an address only the type. */
static void push_short_text(lua_State *L, int index, bool quote) {
    switch (lua_type(L, index)) {
        case LUA_TSTRING:
            lua_pushfstring(L, quote ? "\"%s\"" : "%s", lua_tostring(L, index));
            break;
        case LUA_TNUMBER:
        case LUA_TBOOLEAN: luaL_tolstring(L, index, NULL); break;
        default: lua_pushstring(L, luaL_typename(L, index));
    }
}

/* Pushes what the table at 1 says, which has no words of its own: {code = 404, "not found"}. */
static void push_fields(lua_State *L) {
    int count = 0;
    lua_settop(L, 1);
    lua_pushliteral(L, "{");
    lua_pushnil(L); /* 2: the text, 3: the key, 4: its value */
    for (; lua_next(L, 1); count++) {
        if (count == FIELDS_SHOWN) {
            lua_pushliteral(L, ", ...");
            lua_replace(L, 3);
            lua_settop(L, 3);
            lua_concat(L, 2);
            break;
        }
        lua_pushvalue(L, 2);
        lua_pushstring(L, count ? ", " : "");
        bool item = lua_isinteger(L, 3) && lua_tointeger(L, 3) == count + 1;
        if (!item) {
            lua_pushstring(L, lua_type(L, 3) == LUA_TSTRING ? "" : "[");
            push_short_text(L, 3, false);
            lua_pushstring(L, lua_type(L, 3) == LUA_TSTRING ? " = " : "] = ");
        }
        push_short_text(L, 4, true);
        lua_concat(L, lua_gettop(L) - 4);
        lua_replace(L, 2);
        lua_settop(L, 3);
    }
    lua_settop(L, 2);
    lua_pushliteral(L, "}");
    lua_concat(L, 2);
}

/* What str() of a LuaError says. Raises no Lua error; new reference or NULL. */
static int describe(lua_State *L) {
    PyObject **message = lua_touserdata(L, 2);
    size_t length;
    bool plain = lua_istable(L, 1) && luaL_getmetafield(L, 1, "__tostring") == LUA_TNIL &&
                 luaL_getmetafield(L, 1, "__name") == LUA_TNIL;
    if (plain) {
        push_fields(L);
    } else {
        luaL_tolstring(L, 1, NULL);
    }
    const char *text = lua_tolstring(L, -1, &length);
    *message = PyUnicode_DecodeUTF8(text, (Py_ssize_t)length, "backslashreplace");
    return 0;
}

/* A new LuaError for the value on top. New reference or NULL. */
static PyObject *new_error(lua_State *L, ml_world *w) {
    PyObject *message = NULL;
    if (!lua_checkstack(L, 4)) return PyErr_NoMemory();
    lua_pushcfunction(L, describe);
    lua_pushvalue(L, -2);
    lua_pushlightuserdata(L, &message);
    if (lua_pcall(L, 2, 0, 0) != LUA_OK) {
        lua_pop(L, 1);
        message = PyUnicode_FromFormat("(error object is a %s value)", luaL_typename(L, -1));
    }
    if (!message) return NULL;
    PyObject *exception = PyObject_CallOneArg(ml_PyExc_LuaError, message);
    Py_DECREF(message);
    if (!exception) return NULL;
    PyObject *value = ml_to_python(L, w, -1);
    if (!value || PyObject_SetAttr(exception, value_name, value) != 0) Py_CLEAR(exception);
    Py_XDECREF(value);
    return exception;
}

PyObject *ml_error_new(lua_State *L, ml_world *w, int index) {
    PyObject *type = ml_pyproxy_test(L, index);
    if (type && PyExceptionClass_Check(type)) {
        PyObject *exception = PyObject_CallNoArgs(type);
        if (!exception || PyExceptionInstance_Check(exception)) return exception;
        Py_DECREF(exception);
    }
    if (!lua_checkstack(L, 1)) return PyErr_NoMemory();
    lua_pushvalue(L, index);
    PyObject *exception = new_error(L, w);
    lua_pop(L, 1);
    return exception;
}

void ml_error_keep(lua_State *L, ml_world *w, int index, PyObject *exception, bool crossed) {
    ml_world_defer(w, decref, exception);
    PyObject *o = ml_pyproxy_test(L, index);
    if (o && PyExceptionInstance_Check(o)) return;
    lua_pushvalue(L, index);
    remember(L, w, exception, crossed);
    lua_pop(L, 1);
}

void ml_error_to_python(lua_State *L, ml_world *w, int status) {
    PyObject *o = ml_pyproxy_test(L, -1);
    PyObject *known = ml_error_find(L, w, -1);
    if (status == LUA_ERRMEM) {
        PyErr_NoMemory();
    } else if (o && PyExceptionClass_Check(o)) {
        PyErr_SetNone(o);
    } else if (known) {
        raise(known);
    } else {
        PyObject *exception = new_error(L, w);
        if (exception) {
            raise(exception);
            Py_DECREF(exception);
        }
    }
    lua_pop(L, 1);
    ml_error_forget(w);
}

/* ---------------------------------------------------------------------- the message handler */

void ml_error_of_coroutine(lua_State *L, ml_world *w, lua_State *co, int status) {
    lua_checkstack(co, 1); /* there are slots, even after a stack overflow */
    lua_pushvalue(co, -1);
    lua_xmove(co, L, 1);
    lua_pushvalue(L, -1);
    ml_error_to_python(L, w, status);
    ml_traceback_add(co, 0);
}

int ml_error_handler(lua_State *L) {
    ml_world *w = ml_world_get(L);
    if (!w || w->closed || !lua_checkstack(L, 10)) return 1;
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyObject *exception = ml_error_find(L, w, 1);
    bool made = !exception;
    if (exception) {
        Py_INCREF(exception);
    } else {
        exception = new_error(L, w);
    }
    if (exception) {
        restore(exception);
        ml_traceback_add(L, 1);
        PyObject *again = fetch(); /* takes the traceback into the exception */
        Py_XDECREF(again);
        ml_world_defer(w, decref, exception);
        if (!made) w->last_crossed = true;
    }
    PyErr_Clear();
    PyErr_Restore(type, value, traceback);
    lua_settop(L, 1);
    if (exception && made) remember(L, w, exception, false);
    lua_settop(L, 1);
    return 1;
}
