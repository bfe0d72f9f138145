/* Python calls into Lua. */

#include "bridge.h"

/* What is deferred waits for Lua to call Python. A loop of Python that calls Lua and catches its
   errors must not let it pile up: here no C function relies on what it has deferred. */
enum { MANY_DEFERRED = 256 };

static void drain(ml_world *w) {
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    ml_world_drain(w);
    PyErr_Restore(type, value, traceback);
}

int ml_enter(ml_world *w, ml_entry *e) {
    e->world = w;
    bool drains = w->deferred_count > MANY_DEFERRED || w->hurry;
    if (__builtin_expect(drains, 0) && ml_this_thread_or_null() == w->thread) drain(w);
    if (w->closed) {
        PyErr_SetString(PyExc_RuntimeError, "the Lua state is closed");
        return -1;
    }
    if (ml_thread_get() != w->thread) {
        PyErr_SetString(PyExc_RuntimeError,
                        "a Lua value can only be used in the thread that runs its Lua state");
        return -1;
    }
    ml_lua_touch(w);
    bool overflow;
    lua_State *L = e->L = ml_lua_state(w, &e->fresh, &overflow);
    if (__builtin_expect(!L || !lua_checkstack(L, LUA_MINSTACK), 0)) {
        if (overflow) {
            PyErr_SetString(PyExc_RecursionError, "stack overflow");
            return -1;
        }
        if (e->fresh) ml_lthread_free(e->fresh);
        PyErr_NoMemory();
        return -1;
    }
    e->top = lua_gettop(L);
    return 0;
}

void ml_leave(const ml_entry *e) {
    lua_settop(e->L, e->top);
    if (e->fresh) ml_lthread_free(e->fresh);
}

int ml_pcall(const ml_entry *e, int arguments, int results) {
    lua_State *L = e->L;
    ml_greenlet *g = ml_current();
    ml_activation *a = g->lua;
    lua_Debug ar;
    ar.i_ci = NULL; /* that alone: an initializer would clear it all */
    bool inside = false;
    const void *border = NULL;
    void *frame = NULL;
    if (a) {
        lua_getstack(a->L, 0, &ar);
        inside = a->inside;
        border = a->border;
        frame = a->frame;
        a->border = ar.i_ci;
        a->frame = ml_frame_now(ml_tstate());
        a->inside = true;
    } else {
        g->lua_frame = ml_frame_now(ml_tstate());
    }
    ml_lua_resumed(e->world);
    int status = lua_pcall(L, arguments, results, e->top + 1);
    if (a) {
        a->inside = inside;
        a->border = border;
        a->frame = frame;
    } else {
        g->lua_frame = NULL;
    }
    if (__builtin_expect(status == LUA_OK, 1)) return 0;
    ml_error_to_python(L, e->world, status);
    return -1;
}

int ml_protect(ml_world *w, lua_CFunction function, void *argument) {
    ml_entry e;
    if (ml_enter(w, &e) != 0) return -1;
    ml_push_handler(e.L, w);
    lua_pushcfunction(e.L, function);
    lua_pushlightuserdata(e.L, argument);
    int result = ml_pcall(&e, 1, 0);
    ml_leave(&e);
    return result;
}
