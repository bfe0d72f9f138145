#define _GNU_SOURCE /* sigaction */
#include "interrupt.h"
#include "../bridge/bridge.h"
#include "../python/embed.h"

#include <signal.h>

static lua_State *volatile watched;

/* Runs in Lua soon after the signal, wherever Lua is: hooks are called between instructions. */
static void stop(lua_State *L, lua_Debug *ar) {
    (void)ar;
    lua_sethook(L, NULL, 0, 0);
    if (!ml_py_started()) {
        luaL_error(L, "interrupted!");
        return;
    }
    ml_world *w = ml_world_get(L);
    /* Python may have raised it already, or handled it otherwise. */
    if (w && PyErr_CheckSignals() != 0) ml_error_raise(L, w);
}

static void set_hook(lua_State *L) {
    /* lua_sethook may be called by a signal handler (Lua 5.4, ldebug.c). */
    lua_sethook(L, stop, LUA_MASKCALL | LUA_MASKRET | LUA_MASKLINE | LUA_MASKCOUNT, 1);
}

/* Interrupts the Lua threads that may be running: those of greenlets, and where each greenlet
   left Lua. A coroutine in a loop of its own is stopped when it comes back. */
static void handle(int signum) {
    lua_State *L = watched;
    struct sigaction again = {.sa_handler = SIG_DFL};
    if (!ml_py_started()) {
        sigaction(signum, &again, NULL); /* the second one ends the program */
        if (L) set_hook(L);
        return;
    }
    PyErr_SetInterruptEx(signum);
    if (!L) return;
    set_hook(L);
    ml_thread *t = ml_this_thread_or_null();
    const ml_greenlet *g = t ? ml_current() : NULL;
    if (!g) return;
    for (const ml_lthread *lt = g->lua_threads; lt; lt = lt->same_greenlet) set_hook(lt->L);
    for (const ml_activation *a = g->lua; a; a = a->previous) set_hook(a->L);
}

void ml_interrupt_install(void) {
    struct sigaction action = {.sa_handler = handle, .sa_flags = SA_NODEFER};
    sigaction(SIGINT, &action, NULL);
}

void ml_interrupt_watch(lua_State *L) {
    watched = L;
    if (L && !ml_py_started()) ml_interrupt_install();
}
