/* Other threads of Python: what they leave to the one that runs Lua, and their turns. */

#include "../lua/ticks.h"
#include "../python/breaker.h"
#include "bridge.h"

/* ------------------------------------------------------------------- call_soon_threadsafe */

typedef struct call {
    ml_posted posted;
    PyObject *function;
    Py_ssize_t count;
    PyObject *args[];
} call;

static void free_call(call *c) {
    Py_DECREF(c->function);
    for (Py_ssize_t i = 0; i < c->count; i++) Py_XDECREF(c->args[i]);
    PyMem_Free(c);
}

/* A call of `function` (not yet taken) with room for arguments, or NULL with an exception. */
static call *new_call(PyObject *function, Py_ssize_t count) {
    call *c = PyMem_Calloc(1, sizeof *c + (size_t)count * sizeof *c->args);
    if (!c) {
        PyErr_NoMemory();
        return NULL;
    }
    c->function = Py_NewRef(function);
    c->count = count;
    return c;
}

static void interrupt_again(void *w) {
    PyErr_SetInterrupt();
    ml_ticks_on(w);
}

/* Nobody has asked for this call, so nobody can handle its error. Only Ctrl-C was not meant for it,
   and happens again. */
static void report(ml_world *w, PyObject *function) {
    bool interrupted = PyErr_ExceptionMatches(PyExc_KeyboardInterrupt);
    PyErr_WriteUnraisable(function);
    if (interrupted) ml_world_defer(w, interrupt_again, w);
}

static void run_call(ml_world *w, ml_posted *p) {
    call *c = (call *)p;
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (!w->closed) {
        PyObject *result = PyObject_Vectorcall(c->function, c->args, (size_t)c->count, NULL);
        if (!result) report(w, c->function);
        Py_XDECREF(result);
    }
    free_call(c);
    PyErr_Restore(type, value, traceback);
}

/* 0, or -1 with an exception. */
static int check_open(const ml_world *w) {
    if (w && !w->closed && !w->closing) return 0;
    PyErr_SetString(PyExc_RuntimeError,
                    w ? "the Lua state is closed" : "no Lua state has loaded moonlet");
    return -1;
}

static void post(ml_world *w, call *c) {
    c->posted.run = run_call;
    ml_world_post(w, &c->posted);
    if (w->wake) w->wake(w->wake_argument);
}

PyObject *ml_call_soon_threadsafe(PyObject *module, PyObject *const *args, Py_ssize_t count) {
    (void)module;
    if (count == 0) {
        PyErr_SetString(PyExc_TypeError,
                        "call_soon_threadsafe() missing 1 required argument: a callable");
        return NULL;
    }
    PyObject *function = args[0];
    if (!PyCallable_Check(function)) {
        PyErr_Format(PyExc_TypeError,
                     "call_soon_threadsafe() argument 1 must be callable, not '%s'",
                     Py_TYPE(function)->tp_name);
        return NULL;
    }
    ml_world *w = ml_is_lua_object(function) ? ((LuaObject *)function)->world : ml_world_first();
    if (check_open(w) != 0) return NULL;
    call *c = new_call(function, count - 1);
    if (!c) return NULL;
    for (Py_ssize_t i = 0; i < c->count; i++) c->args[i] = Py_NewRef(args[i + 1]);
    post(w, c);
    Py_RETURN_NONE;
}

/* The call that the stack of `L` describes. NULL with an exception. */
static call *call_of(lua_State *L, ml_activation *a) {
    ml_world *w = a->world;
    PyObject *foreign = ml_pyproxy_test(L, 1);
    if (foreign && !ml_allowed(a, foreign, "call", NULL)) return NULL;
    if (check_open(w) != 0) return NULL;
    PyObject *function = ml_to_python(L, w, 1);
    call *c = function ? new_call(function, lua_gettop(L) - 1) : NULL;
    Py_XDECREF(function);
    for (Py_ssize_t i = 0; c && i < c->count; i++) {
        c->args[i] = ml_to_python(L, w, (int)i + 2);
        if (c->args[i]) continue;
        free_call(c);
        return NULL;
    }
    return c;
}

static bool is_callable(lua_State *L) {
    const PyObject *o = ml_pyproxy_test(L, 1);
    if (o) return PyCallable_Check((PyObject *)o);
    if (lua_isfunction(L, 1)) return true;
    if (luaL_getmetafield(L, 1, "__call") == LUA_TNIL) return false;
    lua_pop(L, 1);
    return true;
}

/* moonlet.call_soon_threadsafe(f, ...) */
static int call_soon_threadsafe(lua_State *L) {
    ml_world *w = lua_touserdata(L, lua_upvalueindex(1));
    if (!is_callable(L)) return luaL_typeerror(L, 1, "function or Python callable");
    luaL_checkstack(L, 8, NULL);
    ml_activation a;
    ml_lua_leave(&a, L, w);
    call *c = call_of(L, &a);
    ml_lua_return(&a);
    if (!c) return ml_error_raise(L, w);
    post(w, c);
    return 0;
}

void ml_threads_register(lua_State *L, ml_world *w) {
    lua_pushlightuserdata(L, w);
    lua_pushcclosure(L, call_soon_threadsafe, 1);
    lua_setfield(L, -2, "call_soon_threadsafe");
}

/* ----------------------------------------------------------------------------------- turns */

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
    bool finalizing = lua_gc(L, LUA_GCISRUNNING) == -1;
    ml_world_retain(w);
    ml_activation a;
    ml_activate(&a, fresh->L, w);
    int result = breathe();
    if (result == 0 && !finalizing && !w->closed) ml_world_run_posted(w);
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
