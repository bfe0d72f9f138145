/* require "py:NAME": Python's modules for Lua's `require`. */

#include "bridge.h"

#include <string.h>

#define PREFIX "py:"

static ml_world *world(lua_State *L) { return lua_touserdata(L, lua_upvalueindex(1)); }

/* What `require` calls with the name and what the searcher gave besides: upvalue 1 is the module. */
static int give_module(lua_State *L) {
    lua_pushvalue(L, lua_upvalueindex(1));
    return 1;
}

/* Whether the exception that is set says that there is no such module, or no package that it would
   be in; not that the module is there and lacks another one. */
static bool is_missing(PyObject *name) {
    if (!PyErr_ExceptionMatches(PyExc_ModuleNotFoundError)) return false;
    PyObject *type, *error, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    PyErr_NormalizeException(&type, &error, &traceback);
    PyObject *lacking = ((PyImportErrorObject *)error)->name;
    bool missing = false;
    if (lacking && PyUnicode_Check(lacking)) {
        Py_ssize_t length = PyUnicode_GET_LENGTH(lacking);
        missing =
            PyUnicode_Tailmatch(name, lacking, 0, length, -1) == 1 &&
            (PyUnicode_GET_LENGTH(name) == length || PyUnicode_READ_CHAR(name, length) == '.');
    }
    PyErr_Restore(type, error, traceback);
    return missing;
}

/* The module, or NULL: with an exception, or without one if there is none of that name. */
static PyObject *find(ml_activation *a, const char *text) {
    PyObject *name = PyUnicode_FromString(text);
    PyObject *module = NULL;
    if (name && ml_allowed(a, NULL, "import", name)) {
        module = PyImport_Import(name);
        if (!module && is_missing(name)) PyErr_Clear();
    }
    Py_XDECREF(name);
    return module;
}

static int search(lua_State *L) {
    size_t length;
    const char *name = luaL_checklstring(L, 1, &length);
    if (strncmp(name, PREFIX, strlen(PREFIX)) != 0) return 0;
    PyObject *module = NULL;
    bool failed = false;
    if (strlen(name) == length && length > strlen(PREFIX)) {
        ml_activation a;
        ml_lua_leave(&a, L, world(L));
        module = find(&a, name + strlen(PREFIX));
        failed = !module && PyErr_Occurred();
        ml_lua_return(&a);
    }
    if (failed) return ml_error_raise(L, world(L));
    if (!module) {
        lua_pushfstring(L, "no Python module '%s'", name + strlen(PREFIX));
        return 1;
    }
    ml_to_lua_steal(L, world(L), module);
    lua_pushcclosure(L, give_module, 1);
    lua_pushliteral(L, ":python:"); /* as Lua's own searcher gives ":preload:" */
    return 2;
}

void ml_searcher_open(lua_State *L, ml_world *w) {
    int top = lua_gettop(L);
    luaL_checkstack(L, 6, NULL);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    if (lua_getfield(L, -1, "package") == LUA_TTABLE &&
        lua_getfield(L, -1, "searchers") == LUA_TTABLE) {
        lua_pushlightuserdata(L, w);
        lua_pushcclosure(L, search, 1);
        lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
    }
    lua_settop(L, top);
}
