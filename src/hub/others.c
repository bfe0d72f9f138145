/* Other threads of Python: whether there is one that may yet do something for the scheduler. */

#include "hub.h"

/* In the dict of a thread that does nothing but what the scheduler gives it. */
#define IDLE "moonlet.idle"

/* moonlet._idle_thread(): the thread that calls does only what it is given by the scheduler, which
   knows by itself when it has something to do. */
static PyObject *idle_thread(PyObject *module, PyObject *nothing) {
    (void)module, (void)nothing;
    PyObject *dict = PyThreadState_GetDict();
    if (!dict) return PyErr_NoMemory();
    if (PyDict_SetItemString(dict, IDLE, Py_True) != 0) return NULL;
    Py_RETURN_NONE;
}

static bool is_idle(const PyThreadState *ts) {
    return ts->dict && PyDict_GetItemString(ts->dict, IDLE) == Py_True;
}

/* other_threads(): how many other threads Python has, without those. */
static int other_threads(lua_State *L) {
    int count = 0;
    const PyThreadState *here = ml_tstate();
    PyThreadState *ts = PyInterpreterState_ThreadHead(PyInterpreterState_Get());
    for (; ts; ts = PyThreadState_Next(ts)) {
        if (ts != here && !is_idle(ts)) count++;
    }
    lua_pushinteger(L, count);
    return 1;
}

static PyMethodDef method = {"_idle_thread", idle_thread, METH_NOARGS, NULL};

int ml_others_init(PyObject *module) {
    PyObject *function = PyCFunction_New(&method, NULL);
    int result = function ? PyModule_AddObjectRef(module, "_idle_thread", function) : -1;
    Py_XDECREF(function);
    return result;
}

void ml_others_register(lua_State *L) {
    lua_pushcfunction(L, other_threads);
    lua_setfield(L, -2, "other_threads");
}
