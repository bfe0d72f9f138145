/* What asyncio keeps per thread of the event loop that runs: put aside while the greenlet that runs it
   is suspended, so that others of the thread see none, and can run one.

   No Python function is called here: a signal handler of Python, which may raise, would run in it. */

#include "hub.h"

#define STATE "moonlet.loop_state"

typedef struct loop_state {
    ml_world *world;
    PyObject *loop;                  /* or NULL: nothing is put aside */
    PyObject *firstiter, *finalizer; /* see sys.set_asyncgen_hooks; or NULL */
    int origin_depth;                /* see sys.set_coroutine_origin_tracking_depth */
} loop_state;

/* Calls a function of asyncio.events. New reference, or NULL with an exception. */
static PyObject *call(const char *name, PyObject *argument) {
    PyObject *module = PyImport_ImportModule("asyncio.events");
    PyObject *function = module ? PyObject_GetAttrString(module, name) : NULL;
    PyObject *result = NULL;
    if (function) {
        result =
            argument ? PyObject_CallOneArg(function, argument) : PyObject_CallNoArgs(function);
    }
    Py_XDECREF(function);
    Py_XDECREF(module);
    return result;
}

/* A state that is closed finalizes this before it ends the greenlet that may ask for it. */
static int collect(lua_State *L) {
    loop_state *s = lua_touserdata(L, 1);
    PyObject **const places[] = {&s->loop, &s->firstiter, &s->finalizer};
    for (int i = 0; i < 3; i++) {
        PyObject *object = *places[i];
        *places[i] = NULL;
        if (object) ml_world_defer(s->world, (void (*)(void *))Py_DecRef, object);
    }
    return 0;
}

/* loop_state(): a place for it. */
static int new_state(lua_State *L) {
    loop_state *s = lua_newuserdatauv(L, sizeof *s, 0);
    *s = (loop_state){.world = lua_touserdata(L, lua_upvalueindex(1))};
    if (luaL_newmetatable(L, STATE)) {
        lua_pushcfunction(L, collect);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    return 1;
}

/* put_aside(state): no loop runs any more. */
static int put_aside(lua_State *L) {
    loop_state *s = luaL_checkudata(L, 1, STATE);
    if (s->loop) return 0;
    ml_activation a;
    ml_lua_leave(&a, L, s->world);
    PyObject *loop = call("_get_running_loop", NULL);
    PyObject *done = loop ? call("_set_running_loop", Py_None) : NULL;
    if (done) {
        PyThreadState *ts = ml_tstate();
        s->loop = Py_NewRef(loop);
        s->firstiter = ts->async_gen_firstiter;
        s->finalizer = ts->async_gen_finalizer;
        s->origin_depth = ts->coroutine_origin_tracking_depth;
        ts->async_gen_firstiter = ts->async_gen_finalizer = NULL;
        ts->coroutine_origin_tracking_depth = 0;
    }
    Py_XDECREF(loop);
    Py_XDECREF(done);
    ml_lua_return(&a);
    return done ? 0 : ml_error_raise(L, s->world);
}

/* take_back(state): the loop runs again. */
static int take_back(lua_State *L) {
    loop_state *s = luaL_checkudata(L, 1, STATE);
    if (!s->loop) return 0;
    ml_activation a;
    ml_lua_leave(&a, L, s->world);
    PyObject *done = call("_set_running_loop", s->loop);
    if (done) {
        PyThreadState *ts = ml_tstate();
        PyObject *firstiter = ts->async_gen_firstiter, *finalizer = ts->async_gen_finalizer;
        ts->async_gen_firstiter = s->firstiter;
        ts->async_gen_finalizer = s->finalizer;
        ts->coroutine_origin_tracking_depth = s->origin_depth;
        s->firstiter = s->finalizer = NULL;
        Py_CLEAR(s->loop);
        Py_XDECREF(firstiter);
        Py_XDECREF(finalizer);
    }
    Py_XDECREF(done);
    ml_lua_return(&a);
    return done ? 0 : ml_error_raise(L, s->world);
}

void ml_loopstate_register(lua_State *L, ml_world *w) {
    static const luaL_Reg functions[] = {{"loop_state", new_state},
                                         {"put_aside", put_aside},
                                         {"take_back", take_back},
                                         {NULL, NULL}};
    lua_pushlightuserdata(L, w);
    luaL_setfuncs(L, functions, 1);
}
