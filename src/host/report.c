#include "report.h"
#include "../bridge/bridge.h"

#include <stdio.h>

enum { INTERRUPTED = 130 };

/* What a plain error message becomes: itself and the traceback, as `lua` prints them. */
static void add_traceback(lua_State *L) {
    const char *message = lua_tostring(L, 1);
    if (!message) {
        if (luaL_callmeta(L, 1, "__tostring") && lua_type(L, -1) == LUA_TSTRING) {
            lua_replace(L, 1);
            return;
        }
        message = lua_pushfstring(L, "(error object is a %s value)", luaL_typename(L, 1));
    }
    luaL_traceback(L, L, message, 1);
    lua_replace(L, 1);
}

int ml_report_handler(lua_State *L) {
    ml_world *w = ml_world_get(L);
    lua_settop(L, 1);
    if (w && !w->closed) {
        lua_pushlightuserdata(L, w);
        lua_pushcclosure(L, ml_error_handler, 1);
        lua_pushvalue(L, 1);
        lua_call(L, 1, 1);
        lua_settop(L, 1);
        if (ml_error_exception(L, w, 1)) return 1;
    }
    add_traceback(L);
    lua_settop(L, 1);
    return 1;
}

/* Python's rule (Python/pythonrun.c, _Py_HandleSystemExit): no code is 0, a number is itself,
   anything else is printed and is 1. */
static int exit_status(PyObject *exception) {
    PyObject *code = PyObject_GetAttrString(exception, "code");
    int status = 1;
    if (!code) {
        PyErr_Clear();
    } else if (code == Py_None) {
        status = 0;
    } else if (PyLong_Check(code)) {
        status = (int)PyLong_AsLong(code);
    } else {
        PyObject *file = PySys_GetObject("stderr");
        if (file && file != Py_None) {
            PyFile_WriteObject(code, file, Py_PRINT_RAW);
            PyFile_WriteString("\n", file);
        }
    }
    PyErr_Clear();
    Py_XDECREF(code);
    return status;
}

static int report_exception(PyObject *exception) {
    fflush(stdout);
    if (PyErr_GivenExceptionMatches(exception, PyExc_SystemExit)) return exit_status(exception);
    PyObject *traceback = PyException_GetTraceback(exception);
    PyErr_Display((PyObject *)Py_TYPE(exception), exception, traceback);
    Py_XDECREF(traceback);
    bool interrupted = PyErr_GivenExceptionMatches(exception, PyExc_KeyboardInterrupt);
    return interrupted ? INTERRUPTED : 1;
}

int ml_report_error(lua_State *L, const char *program) {
    ml_world *w = ml_world_get(L);
    int status = 1;
    PyObject *exception = w && !w->closed ? ml_error_exception(L, w, -1) : NULL;
    if (exception) {
        Py_INCREF(exception);
        status = report_exception(exception);
        Py_DECREF(exception);
        ml_error_forget(w);
    } else {
        size_t length;
        const char *message = lua_tolstring(L, -1, &length);
        fflush(stdout);
        fprintf(stderr, "%s: %s\n", program, message ? message : "(error object is not a string)");
        if (message && strncmp(message, "interrupted!", 12) == 0) status = INTERRUPTED;
    }
    lua_pop(L, 1);
    return status;
}
