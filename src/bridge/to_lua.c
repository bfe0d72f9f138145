/* Python values as Lua values. */

#include "../python/tstate.h"
#include "bridge.h"

static void decref(void *o) { Py_DECREF((PyObject *)o); }

bool ml_scalar_to_lua(lua_State *L, PyObject *o) {
    PyTypeObject *type = Py_TYPE(o);
    if (o == Py_None) {
        lua_pushnil(L);
    } else if (type == &PyLong_Type) {
        if (ml_int_is_short(o)) {
            lua_pushinteger(L, ml_short_int(o));
            return true;
        }
        int overflow;
        long long value = PyLong_AsLongLongAndOverflow(o, &overflow);
        if (overflow) return false;
        lua_pushinteger(L, value);
    } else if (type == &PyFloat_Type) {
        lua_pushnumber(L, PyFloat_AS_DOUBLE(o));
    } else if (type == &PyBool_Type) {
        lua_pushboolean(L, o == Py_True);
    } else {
        return false;
    }
    return true;
}

/* Text with lone surrogates has no strict UTF-8; written as if they were characters, it comes
   back as the same str. */
static void push_surrogates(lua_State *L, ml_world *w, PyObject *o) {
    PyErr_Clear();
    PyObject *bytes = PyUnicode_AsEncodedString(o, "utf-8", "surrogatepass");
    if (!bytes) {
        ml_error_raise(L, w);
        return;
    }
    ml_world_defer(w, decref, bytes);
    lua_pushlstring(L, PyBytes_AS_STRING(bytes), (size_t)PyBytes_GET_SIZE(bytes));
}

/* Short strings that Python has shown lately, as Lua strings in the registry: to push one again takes
   neither hashing nor memory. */
enum { CACHE_SIZE = 512, SHORT_TEXT = 40 /* LUAI_MAXSHORTLEN of Lua's llimits.h */ };

typedef struct known {
    PyObject *str; /* owned */
    int ref;       /* in the registry, once there was one */
} known;

static known *entry_of(ml_world *w, PyObject *str) {
    if (!w->texts) return NULL;
    uintptr_t address = (uintptr_t)str;
    return (known *)w->texts + (address >> 4 ^ address >> 13) % CACHE_SIZE;
}

/* The string on top is `str`: remembers that. May raise. */
static void remember(lua_State *L, ml_world *w, PyObject *str) {
    if (!w->texts) w->texts = PyMem_Calloc(CACHE_SIZE, sizeof(known));
    known *entry = entry_of(w, str);
    if (!entry) return;
    lua_pushvalue(L, -1);
    if (entry->ref) {
        lua_rawseti(L, LUA_REGISTRYINDEX, entry->ref);
    } else {
        entry->ref = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    Py_INCREF(str);
    Py_XSETREF(entry->str, str);
}

void ml_forget_texts(ml_world *w) {
    known *all = w->texts;
    w->texts = NULL;
    for (int i = 0; all && i < CACHE_SIZE; i++) Py_XDECREF(all[i].str);
    PyMem_Free(all);
}

bool ml_simple_to_lua(lua_State *L, ml_world *w, PyObject *o) {
    if (PyUnicode_CheckExact(o)) {
        const known *entry = entry_of(w, o);
        if (!entry || entry->str != o) return false;
        lua_rawgeti(L, LUA_REGISTRYINDEX, entry->ref);
        return true;
    }
    return ml_scalar_to_lua(L, o);
}

static void push_text(lua_State *L, ml_world *w, PyObject *o) {
    Py_ssize_t length;
    const char *text = PyUnicode_AsUTF8AndSize(o, &length);
    if (!text) {
        push_surrogates(L, w, o);
        return;
    }
    lua_pushlstring(L, text, (size_t)length);
    if (length <= SHORT_TEXT) remember(L, w, o);
}

void ml_to_lua(lua_State *L, ml_world *w, PyObject *o) {
    if (ml_simple_to_lua(L, w, o)) return;
    luaL_checkstack(L, 4, NULL);
    PyTypeObject *type = Py_TYPE(o);
    if (type == &PyUnicode_Type) {
        push_text(L, w, o);
    } else if (type == &PyBytes_Type) {
        lua_pushlstring(L, PyBytes_AS_STRING(o), (size_t)PyBytes_GET_SIZE(o));
    } else if (ml_is_lua_object(o) && ((LuaObject *)o)->world == w) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, ((LuaObject *)o)->ref);
    } else if (ml_is_pygreenlet(o)) {
        ml_lgreenlet_push(L, w, ml_py_core(o));
    } else if (!ml_luamodule_push(L, w, o)) {
        ml_pyproxy_push(L, w, o);
    }
}

void ml_to_lua_steal(lua_State *L, ml_world *w, PyObject *o) {
    if (ml_scalar_to_lua(L, o)) {
        Py_DECREF(o);
        return;
    }
    /* Owned by the list of deferred releases, should a Lua error leave this function. */
    ml_world_defer(w, decref, o);
    size_t mine = w->deferred_count;
    ml_to_lua(L, w, o);
    if (mine && w->deferred_count == mine && w->deferred[mine - 1].argument == o) {
        w->deferred_count--;
        Py_DECREF(o);
    }
}

int ml_results_to_lua(lua_State *L, ml_world *w, PyObject *result) {
    if (!PyTuple_CheckExact(result)) {
        ml_to_lua_steal(L, w, result);
        return 1;
    }
    ml_world_defer(w, decref, result);
    Py_ssize_t count = PyTuple_GET_SIZE(result);
    if (count > 1000000 || !lua_checkstack(L, (int)count + 4)) {
        return luaL_error(L, "stack overflow (a tuple of %d items as results)", (int)count);
    }
    for (Py_ssize_t i = 0; i < count; i++) ml_to_lua(L, w, PyTuple_GET_ITEM(result, i));
    return (int)count;
}
