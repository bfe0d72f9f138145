#define _GNU_SOURCE /* sigaction, SA_NODEFER */
#include "interrupt.h"
#include "../bridge/bridge.h"
#include "../lua/reach.h"
#include "../lua/ticks.h"
#include "../python/embed.h"

#include <signal.h>

static lua_State *volatile watched;
static volatile sig_atomic_t idle;  /* it came while nothing was watched */
static volatile sig_atomic_t armed; /* hooks are set and none has been called yet */
static volatile unsigned reached;   /* ml_reach_count() then */

/* Runs in Lua soon after the signal: hooks are called between instructions. */
static void stop(lua_State *L, lua_Debug *ar) {
    (void)ar;
    armed = 0;
    lua_sethook(L, NULL, 0, 0);
    if (!ml_py_started()) {
        lua_pushliteral(L, "interrupted!"); /* no position: report.c knows it by this text */
        lua_error(L);
    }
    ml_world *w = ml_world_get(L);
    /* Python may have raised it already, or handled it otherwise. */
    if (w && PyErr_CheckSignals() != 0) ml_error_raise(L, w);
}

static void set_hook(lua_State *L) {
    /* lua_sethook may be called by a signal handler (Lua 5.4, ldebug.c). */
    lua_sethook(L, stop, LUA_MASKCALL | LUA_MASKRET | LUA_MASKLINE | LUA_MASKCOUNT, 1);
}

/* Interrupts both languages where they may be running: Python by its own way, Lua by a hook in
   the watched thread, those of the current greenlet and where it left Lua. In another coroutine it
   takes a few ticks to reach the code that runs. Where that takes no hooks the second SIGINT ends
   the program, as under `lua`; and a loop in a coroutine before Python has started. Activations are
   on the greenlet's stack, which may be on its way to its place just now: then its Lua threads
   have to do. */
static void handle(int signum) {
    lua_State *L = watched;
    if (!L) {
        idle = 1;
        return;
    }
    const ml_greenlet *g = ml_py_started() && ml_this_thread_or_null() ? ml_current() : NULL;
    const ml_activation *a = g && ml_in_place(g) ? g->lua : NULL;
    bool in_lua = !a || a->inside;
    if (armed && in_lua && ml_reach_count() == reached) {
        signal(signum, SIG_DFL);
        raise(signum);
        return;
    }
    if (ml_py_started()) {
        PyErr_SetInterruptEx(signum);
        ml_ticks_urge();
    }
    armed = in_lua;
    reached = ml_reach_count();
    set_hook(L);
    if (!g) return;
    for (const ml_lthread *t = g->lua_threads; t; t = t->same_greenlet) set_hook(t->L);
    for (; a; a = a->previous) set_hook(a->L);
}

void ml_interrupt_install(void) {
    ml_reach_pass(stop);
    ml_ticks_prepare();
    struct sigaction action = {.sa_handler = handle, .sa_flags = SA_NODEFER};
    sigaction(SIGINT, &action, NULL);
}

/* ------------------------------------------------------------------------------------ SIGQUIT */

static int do_dump(lua_State *L) {
    lua_getglobal(L, "require");
    lua_pushliteral(L, "moonlet.inspect");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "dump_on_signal");
    lua_call(L, 0, 0);
    return 0;
}

/* Python's handler: called between two steps of whatever runs, or where that waits. */
static PyObject *dump(PyObject *self, PyObject *args) {
    (void)self;
    (void)args;
    ml_world *w = ml_world_first();
    if (w && ml_protect(w, do_dump, NULL) != 0) PyErr_WriteUnraisable(NULL);
    Py_RETURN_NONE;
}

static PyMethodDef dump_method = {"dump", dump, METH_VARARGS, NULL};

static void handle_quit(int signum) {
    PyErr_SetInterruptEx(signum);
    ml_ticks_urge();
}

void ml_interrupt_install_dump(void) {
    PyObject *function = PyCFunction_New(&dump_method, NULL);
    /* The module `signal` is this one with enums, which take longer than all else here. */
    PyObject *module = function ? PyImport_ImportModule("_signal") : NULL;
    PyObject *before =
        module ? PyObject_CallMethod(module, "signal", "iO", SIGQUIT, function) : NULL;
    Py_XDECREF(function);
    Py_XDECREF(module);
    Py_XDECREF(before);
    if (!before) {
        PyErr_Clear();
        return;
    }
    ml_ticks_prepare();
    /* Reads and writes go on: it is not to disturb. */
    struct sigaction action = {.sa_handler = handle_quit, .sa_flags = SA_RESTART | SA_ONSTACK};
    sigaddset(&action.sa_mask, SIGINT);
    sigaction(SIGQUIT, &action, NULL);
}

bool ml_interrupt_was_idle(void) {
    bool was = idle;
    idle = 0;
    return was;
}

void ml_interrupt_watch(lua_State *L) {
    watched = L;
    armed = idle = 0;
    if (L && !ml_py_started()) ml_interrupt_install();
}
