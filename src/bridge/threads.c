/* Other threads of Python: their turns while Lua runs. */

#include "../lua/ticks.h"
#include "../python/breaker.h"
#include "bridge.h"

#define CAPSULE "moonlet.ticks"

static PyObject *breath; /* a Python function that does nothing */

int ml_threads_init(void) {
    if (breath) return 0;
    PyObject *globals = PyDict_New();
    PyObject *code = globals ? Py_CompileString("lambda: None", "<moonlet>", Py_eval_input) : NULL;
    if (code && PyDict_SetItemString(globals, "__builtins__", PyEval_GetBuiltins()) == 0) {
        breath = PyEval_EvalCode(code, globals, globals);
    }
    Py_XDECREF(code);
    Py_XDECREF(globals);
    return breath ? 0 : -1;
}

static void thread_ends(PyObject *capsule) {
    ml_ticks_end(PyCapsule_GetPointer(capsule, CAPSULE));
}

void *ml_threads_owner(ml_ticks *t, const void **others) {
    PyThreadState *ts = ml_tstate();
    PyObject *dict = PyThreadState_GetDict();
    PyObject *capsule = dict ? PyCapsule_New(t, CAPSULE, NULL) : NULL;
    bool done = capsule && PyDict_SetItemString(dict, CAPSULE, capsule) == 0;
    if (done) PyCapsule_SetDestructor(capsule, thread_ends);
    Py_XDECREF(capsule);
    if (!done) PyErr_Clear();
    *others = &ts->prev; /* those that come later are put before it (Python/pystate.c) */
    return done ? ts : NULL;
}

int ml_threads_look(const void *owner) {
    const PyThreadState *ts = _PyThreadState_UncheckedGet();
    if (!ts || ts != owner) return 0;
    return ML_RUNS | (ml_breaker_is_set(ts) ? ML_WANTED : 0) |
           (ts->prev || ts->next ? 0 : ML_ALONE);
}

/* What Python's eval loop does between bytecodes: signals, pending calls, the GIL for who waits for
   it, asynchronous exceptions. 0, or -1 with an exception. */
static int breathe(void) {
    if (Py_MakePendingCalls() != 0) return -1;
    PyThreadState *ts = ml_tstate();
    ml_tracing_pause(ts);
    PyObject *result = PyObject_CallNoArgs(breath);
    ml_tracing_resume(ts);
    Py_XDECREF(result);
    if (result) return 0;
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    Py_XDECREF(traceback); /* tells of that function only */
    PyErr_Restore(type, value, NULL);
    if (!PyErr_ExceptionMatches(PyExc_RecursionError)) return -1;
    PyErr_Clear(); /* Python is nested too deep to be called; what runs is not to blame */
    return 0;
}

void ml_threads_turn(lua_State *L, ml_world *w) {
    if (!PyGILState_Check() || PyErr_Occurred()) return;
    /* On a Lua thread of its own: on `L` no hooks are called before this one returns. */
    ml_lthread *fresh = ml_lthread_new(w, ml_current());
    if (!fresh) return;
    /* An error may be on its way through Lua. */
    void *exception = w->last_exception;
    int value = w->last_value;
    bool crossed = w->last_crossed;
    w->last_exception = NULL;
    w->last_value = LUA_NOREF;
    ml_world_retain(w);
    ml_activation a;
    ml_activate(&a, fresh->L, w);
    int result = breathe();
    ml_lua_return(&a);
    if (!w->closed) ml_lthread_free(fresh);
    ml_error_forget(w);
    if (w->closed) {
        Py_XDECREF((PyObject *)exception);
    } else {
        w->last_exception = exception;
        w->last_value = value;
        w->last_crossed = crossed;
    }
    ml_world_release(w);
    if (result != 0) ml_error_raise(L, w);
}
