/* pcall and xpcall that let a cancel pass, and the exceptions that the scheduler raises. */

#include "hub.h"

#include <string.h>

static const struct {
    const char *name;
    PyObject **base;
    const char *doc;
} classes[] = {
    {"moonlet.Cancelled", &PyExc_BaseException,
     "Raised in a task, where it waits, to unwind it: the task or a scope of it was cancelled. Not "
     "to be caught for good: each wait raises it again until the scope has been left."},
    {"moonlet.TaskCancelled", &PyExc_Exception, "Raised by who joins a task that was cancelled."},
    {"moonlet.Closed", &PyExc_Exception,
     "Raised by who sends to, or waits for, something that is closed."},
    {"moonlet.WouldBlock", &PyExc_Exception, "What was to be done at once would have to wait."},
    {"moonlet.Deadlock", &PyExc_RuntimeError,
     "Raised when nothing can ever run again; tells which tasks wait for what, and where."},
};

enum { COUNT = sizeof classes / sizeof *classes, CLOSED = 2 };

static PyObject *made[COUNT];

int ml_catch_init(PyObject *module) {
    for (int i = 0; i < COUNT; i++) {
        if (!made[i]) {
            made[i] =
                PyErr_NewExceptionWithDoc(classes[i].name, classes[i].doc, *classes[i].base, NULL);
        }
        if (made[i] && i == CLOSED && PyObject_SetAttrString(made[i], "index", Py_None)) {
            return -1;
        }
        if (!made[i] ||
            PyModule_AddObjectRef(module, strrchr(classes[i].name, '.') + 1, made[i])) {
            return -1;
        }
    }
    return 0;
}

bool ml_is_cancel(PyObject *exception) {
    return made[0] && PyType_IsSubtype(Py_TYPE(exception), (PyTypeObject *)made[0]);
}

static bool is_cancel(lua_State *L, int index) {
    PyObject *o = lua_type(L, index) == LUA_TUSERDATA ? ml_pyproxy_test(L, index) : NULL;
    return o && ml_is_cancel(o);
}

static int test(lua_State *L) {
    lua_pushboolean(L, is_cancel(L, 1));
    return 1;
}

/* ------------------------------------------------------------------- as in Lua's lbaselib.c */

static int finish(lua_State *L, int status, lua_KContext extra) {
    if (status == LUA_OK || status == LUA_YIELD) return lua_gettop(L) - (int)extra;
    if (is_cancel(L, -1)) return lua_error(L);
    lua_pushboolean(L, 0);
    lua_pushvalue(L, -2);
    return 2;
}

static int protected_call(lua_State *L) {
    luaL_checkany(L, 1);
    lua_pushboolean(L, 1);
    lua_insert(L, 1);
    int status = lua_pcallk(L, lua_gettop(L) - 2, LUA_MULTRET, 0, 0, finish);
    return finish(L, status, 0);
}

/* The message handler is not asked about a cancel, which it could replace. It is called by a tail call,
   so that the levels it sees are those without this; but a function in C cannot be, and is asked itself:
   debug.traceback and moonlet.traceback give a cancel as it is. */
static const char guard_source[] = "local is_cancel = ...\n"
                                   "return function(handler)\n"
                                   "    return function(...)\n"
                                   "        if is_cancel(...) then return ... end\n"
                                   "        return handler(...)\n"
                                   "    end\n"
                                   "end";

static int protected_call_with_handler(lua_State *L) {
    int count = lua_gettop(L);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    if (!lua_iscfunction(L, 2)) {
        lua_pushvalue(L, lua_upvalueindex(1));
        lua_pushvalue(L, 2);
        lua_call(L, 1, 1);
        lua_replace(L, 2);
    }
    lua_pushboolean(L, 1);
    lua_pushvalue(L, 1);
    lua_rotate(L, 3, 2);
    int status = lua_pcallk(L, count - 2, LUA_MULTRET, 2, 2, finish);
    return finish(L, status, 2);
}

void ml_catch_open(lua_State *L, ml_world *w) {
    lua_pushcfunction(L, protected_call);
    lua_setglobal(L, "pcall");
    if (luaL_loadbuffer(L, guard_source, sizeof guard_source - 1, "=xpcall") != LUA_OK)
        lua_error(L);
    lua_pushcfunction(L, test);
    lua_call(L, 1, 1);
    lua_pushcclosure(L, protected_call_with_handler, 1);
    lua_setglobal(L, "xpcall");
    for (int i = 0; i < COUNT; i++) {
        ml_to_lua(L, w, made[i]);
        lua_setfield(L, -2, strrchr(classes[i].name, '.') + 1);
    }
}

/* ------------------------------------------------------------------------------ for Lua files */

static int finish_any(lua_State *L, int status, lua_KContext extra) {
    if (status == LUA_OK || status == LUA_YIELD) return lua_gettop(L) - (int)extra;
    lua_pushboolean(L, 0);
    lua_pushvalue(L, -2);
    return 2;
}

/* Lua's own, so that it need not have been kept from somewhere. */
static int catch_any(lua_State *L) {
    luaL_checkany(L, 1);
    lua_pushboolean(L, 1);
    lua_insert(L, 1);
    int status = lua_pcallk(L, lua_gettop(L) - 2, LUA_MULTRET, 0, 0, finish_any);
    return finish_any(L, status, 0);
}

/* closed(text, index): a new exception Closed; its `index` is that of the case of a select, or nil. */
static int closed(lua_State *L) {
    ml_world *w = lua_touserdata(L, lua_upvalueindex(1));
    const char *text = luaL_checkstring(L, 1);
    PyObject *index = lua_isnoneornil(L, 2) ? NULL : PyLong_FromLongLong(luaL_checkinteger(L, 2));
    PyObject *error = PyErr_Occurred() ? NULL : PyObject_CallFunction(made[CLOSED], "s", text);
    if (error && index && PyObject_SetAttrString(error, "index", index)) Py_CLEAR(error);
    Py_XDECREF(index);
    if (!error) return ml_error_raise(L, w);
    ml_to_lua_steal(L, w, error);
    return 1;
}

void ml_catch_register(lua_State *L, ml_world *w) {
    lua_pushlightuserdata(L, w);
    lua_pushcclosure(L, closed, 1);
    lua_setfield(L, -2, "closed");
    lua_pushcfunction(L, test);
    lua_setfield(L, -2, "is_cancel");
    lua_pushcfunction(L, catch_any);
    lua_setfield(L, -2, "pcall");
}
