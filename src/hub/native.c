/* The module moonlet.native: what the hub needs of the operating system, of Python and of the core. */

#define _GNU_SOURCE /* ppoll */
#include "hub.h"

#include "../lua/lgreenlet.h"
#include "../lua/reach.h"
#include "../python/pygreenlet.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

static ml_world *world(lua_State *L) { return lua_touserdata(L, lua_upvalueindex(1)); }

/* clock(): seconds that have passed since some time, never fewer than before. */
static int clock_function(lua_State *L) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    lua_pushnumber(L, (lua_Number)t.tv_sec + 1e-9 * (lua_Number)t.tv_nsec);
    return 1;
}

/* ------------------------------------------------------------------------------- greenlets */

/* id(): which greenlet runs, as a light userdata; an error if it cannot wait here. */
static int id(lua_State *L) {
    const char *barred = ml_barred();
    if (barred) return luaL_error(L, "%s", barred);
    if (lua_gc(L, LUA_GCISRUNNING) == -1) {
        return luaL_error(L, "cannot wait inside a finalizer (__gc)");
    }
    lua_pushlightuserdata(L, ml_current());
    return 1;
}

/* may_wait(): whether id() would not fail. */
static int may_wait(lua_State *L) {
    lua_pushboolean(L, !ml_barred() && lua_gc(L, LUA_GCISRUNNING) != -1);
    return 1;
}

/* id_of(g) */
static int id_of(lua_State *L) {
    ml_greenlet *g = ml_lgreenlet_test(L, 1);
    if (!g) return luaL_typeerror(L, 1, "greenlet");
    lua_pushlightuserdata(L, g);
    return 1;
}

/* new_greenlet(f, parent): a greenlet, for the hub alone, and its address; it runs in a copy of the contextvars.Context of
   the running code, if that has one. */
static int new_greenlet(lua_State *L) {
    ml_world *w = world(L);
    ml_greenlet *g = ml_lgreenlet_new(L, w);
    if (ml_tstate()->context) {
        PyObject *context = PyContext_CopyCurrent();
        if (!context) return ml_error_raise(L, w);
        Py_XSETREF(((ml_pygreenlet *)g)->top.context, context);
    }
    lua_pushlightuserdata(L, g);
    return 2;
}

/* ------------------------------------------------------------------------------------ waiting */

typedef struct ml_waker {
    int fd; /* an eventfd */
} ml_waker;

static const char waker_key; /* registry: the userdata */

static void wake(void *argument) {
    const ml_waker *waker = argument;
    uint64_t one = 1;
    while (write(waker->fd, &one, sizeof one) < 0 && errno == EINTR) continue;
}

static int close_waker(lua_State *L) {
    ml_waker *waker = lua_touserdata(L, 1);
    ml_world *w = world(L);
    if (!w->closed && w->wake_argument == waker) w->wake = NULL;
    if (waker->fd >= 0) close(waker->fd);
    waker->fd = -1;
    return 0;
}

static void make_waker(lua_State *L, ml_world *w) {
    ml_waker *waker = lua_newuserdatauv(L, sizeof *waker, 0);
    waker->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (waker->fd < 0) luaL_error(L, "eventfd: %s", strerror(errno));
    lua_createtable(L, 0, 1);
    lua_pushlightuserdata(L, w);
    lua_pushcclosure(L, close_waker, 1);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &waker_key);
    w->wake_argument = waker;
    w->wake = wake;
}

/* Waits without the lock of Python, so that its other threads run. 0, or -1 with an exception. */
static int wait_unlocked(struct pollfd *fds, nfds_t count, const struct timespec *timeout) {
    /* A signal that comes before it waits must end the wait, too. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int ready = -1;
    int error = EINTR;
    if (PyErr_CheckSignals() == 0) {
        PyThreadState *ts = PyEval_SaveThread();
        ready = ppoll(fds, count, timeout, &before);
        error = errno;
        PyEval_RestoreThread(ts);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (PyErr_Occurred()) return -1;
    if (ready < 0) {
        if (error == EINTR) return PyErr_CheckSignals();
        errno = error;
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    return ready;
}

/* wait(fd, seconds): waits until the file descriptor `fd` (-1: none) can be read, something is posted,
   a signal comes, or so much time has passed (math.huge: forever). Returns whether the host wants the
   main Lua thread to stop, as lua5.4 does on Ctrl-C. */
static int wait_function(lua_State *L) {
    ml_world *w = world(L);
    struct pollfd fds[2] = {{.events = POLLIN}, {.events = POLLIN}};
    fds[0].fd = ((const ml_waker *)w->wake_argument)->fd;
    fds[1].fd = (int)luaL_checkinteger(L, 1);
    lua_Number seconds = luaL_checknumber(L, 2);
    if (seconds < 0) seconds = 0;
    bool forever = !(seconds < 1e9);
    struct timespec timeout = {.tv_sec = forever ? 0 : (time_t)seconds};
    timeout.tv_nsec = forever ? 0 : (long)((seconds - (lua_Number)timeout.tv_sec) * 1e9);
    int result = 0;
    ml_activation a;
    ml_lua_leave(&a, L, w);
    if (!ml_reach_is_stopped(w->main))
        result = wait_unlocked(fds, fds[1].fd < 0 ? 1 : 2, forever ? NULL : &timeout);
    ml_lua_return(&a);
    if (result < 0) return ml_error_raise(L, w);
    lua_pushboolean(L, ml_reach_is_stopped(w->main));
    return 1;
}

/* take_posted(): does what other threads have left to the loop; before, they are told to wake it
   again. */
static int take_posted(lua_State *L) {
    ml_world *w = world(L);
    if (!w->loop_posted) return 0;
    uint64_t count;
    while (read(((const ml_waker *)w->wake_argument)->fd, &count, sizeof count) < 0 &&
           errno == EINTR) {
        continue;
    }
    ml_activation a;
    ml_activate(&a, L, w);
    ml_world_run_loop_posted(w);
    ml_lua_return(&a);
    return 0;
}

/* wake_fd(): the file descriptor that can be read when something is posted. */
static int wake_fd(lua_State *L) {
    lua_pushinteger(L, ((const ml_waker *)world(L)->wake_argument)->fd);
    return 1;
}

/* set_loop(on): whether what other threads post is left to take_posted. */
static int set_loop(lua_State *L) {
    ml_world_set_loop(world(L), lua_toboolean(L, 1));
    return 0;
}

/* closing(): whether the Lua state is being closed. */
static int closing(lua_State *L) {
    lua_pushboolean(L, world(L)->closing || world(L)->closed);
    return 1;
}

/* duplicate(fd): another descriptor for the same, or nil. */
static int duplicate(lua_State *L) {
    int fd = fcntl((int)luaL_checkinteger(L, 1), F_DUPFD_CLOEXEC, 3);
    if (fd < 0) return 0;
    lua_pushinteger(L, fd);
    return 1;
}

/* python(module, name): an attribute of a module of Python. */
static int python(lua_State *L) {
    ml_world *w = world(L);
    const char *module_name = luaL_checkstring(L, 1);
    const char *name = luaL_checkstring(L, 2);
    ml_activation a;
    ml_lua_leave(&a, L, w);
    PyObject *module = PyImport_ImportModule(module_name);
    PyObject *value = module ? PyObject_GetAttrString(module, name) : NULL;
    Py_XDECREF(module);
    ml_lua_return(&a);
    if (!value) return ml_error_raise(L, w);
    ml_to_lua_steal(L, w, value);
    return 1;
}

/* exception_of(err): the exception that the error value is or becomes in Python. */
static int exception_of(lua_State *L) {
    ml_world *w = world(L);
    luaL_checkany(L, 1);
    lua_settop(L, 1);
    PyObject *o = ml_pyproxy_test(L, 1);
    PyObject *known = o && PyExceptionInstance_Check(o) ? o : ml_error_find(L, w, 1);
    PyObject *exception = Py_XNewRef(known);
    if (!exception) {
        ml_activation a;
        ml_lua_leave(&a, L, w);
        exception = ml_error_new(L, w, 1);
        ml_lua_return(&a);
    }
    if (!exception) return ml_error_raise(L, w);
    ml_world_defer(w, (void (*)(void *))Py_DecRef, exception);
    luaL_checkstack(L, 4, NULL);
    ml_pyproxy_push(L, w, exception);
    return 1;
}

int ml_native_open(lua_State *L) {
    ml_world *w = world(L);
    static const luaL_Reg functions[] = {{"clock", clock_function},
                                         {"id", id},
                                         {"id_of", id_of},
                                         {"may_wait", may_wait},
                                         {"new_greenlet", new_greenlet},
                                         {"wait", wait_function},
                                         {"set_loop", set_loop},
                                         {"take_posted", take_posted},
                                         {"wake_fd", wake_fd},
                                         {"python", python},
                                         {"duplicate", duplicate},
                                         {"closing", closing},
                                         {"exception_of", exception_of},
                                         {NULL, NULL}};
    if (!w->wake_argument) make_waker(L, w);
    lua_createtable(L, 0, 32);
    lua_pushlightuserdata(L, w);
    luaL_setfuncs(L, functions, 1);
    ml_lgreenlet_register_native(L, w);
    ml_catch_register(L, w);
    ml_raw_register(L, w);
    ml_others_register(L);
    ml_luv_register(L, w);
    ml_timers_register(L);
    ml_loopstate_register(L, w);
    ml_stacks_register(L, w);
    ml_tracefile_register(L);
    ml_poll_register(L);
    ml_signals_register(L);
    return 1;
}
