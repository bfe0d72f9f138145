/* Lua coroutines in Python, with the protocol of generators: what they yield is iterated, what they
   return is the value of StopIteration. */

#include "luaproxy.h"

/* As coroutine.status has them (auxstatus in lcorolib.c). */
enum { NEW, SUSPENDED, RUNNING, NORMAL, DEAD };
static const char *const names[] = {"suspended", "suspended", "running", "normal", "dead"};

static int status_of(const ml_world *w, lua_State *co) {
    const ml_activation *a = ml_current()->lua;
    while (a && a->world != w) a = a->previous;
    if (a && a->L == co) return RUNNING;
    lua_Debug ar;
    switch (lua_status(co)) {
        case LUA_YIELD: return SUSPENDED;
        case LUA_OK:
            /* The main thread is no coroutine, whatever a host has on its stack. */
            if (co == w->main || lua_getstack(co, 0, &ar)) return NORMAL;
            return lua_gettop(co) == 0 ? DEAD : NEW;
        default: return DEAD;
    }
}

/* Pushes the coroutine. */
static lua_State *push_thread(lua_State *L, const LuaObject *self) {
    ml_push_lua_object(L, self);
    return lua_tothread(L, -1);
}

/* Ends `co` and closes its to-be-closed variables. Returns a status; if it is not LUA_OK the error
   value is on top of L. lua_closethread would do the same, from Lua 5.4.6 on. */
static int reset(lua_State *L, lua_State *co) {
    int status = lua_resetthread(co);
    if (status != LUA_OK) lua_xmove(co, L, 1);
    lua_settop(co, 0);
    return status;
}

/* --------------------------------------------------------------------------- throwing errors in

   Lua cannot resume a coroutine with an error. But one that is resumed returns from the C function
   that has yielded, and for that a hook is called (rethook in ldo.c): it raises the error there,
   where pcall and to-be-closed variables see it. */

typedef struct injection {
    lua_State *from; /* has the error value on top */
    lua_Hook hook;   /* what the coroutine had before */
    int mask, count;
    bool done;
} injection;

/* The registry has the injection under a key that no other library would use. */
static const void *key_of(const lua_State *co) { return (const char *)co + 1; }

static void inject(lua_State *co, lua_Debug *ar);

static void prepare_injection(lua_State *L, lua_State *co, injection *i) {
    *i = (injection){L, lua_gethook(co), lua_gethookmask(co), lua_gethookcount(co), false};
    lua_pushlightuserdata(L, i);
    lua_rawsetp(L, LUA_REGISTRYINDEX, key_of(co));
    lua_sethook(co, inject, LUA_MASKRET, 0);
}

/* Allocates nothing, so cannot fail. */
static void finish_injection(lua_State *co, injection *i) {
    if (i->done) return;
    i->done = true;
    lua_pushnil(i->from);
    lua_rawsetp(i->from, LUA_REGISTRYINDEX, key_of(co));
    if (lua_gethook(co) == inject) lua_sethook(co, i->hook, i->mask, i->count);
}

static void inject(lua_State *co, lua_Debug *ar) {
    (void)ar;
    lua_rawgetp(co, LUA_REGISTRYINDEX, key_of(co));
    injection *i = lua_touserdata(co, -1);
    if (!i) { /* it is over, but another hook has put this one back */
        lua_pop(co, 1);
        lua_sethook(co, NULL, 0, 0);
        return;
    }
    finish_injection(co, i);
    lua_pushvalue(i->from, -1);
    lua_xmove(i->from, co, 1);
    lua_error(co);
}

/* ---------------------------------------------------------------------------------- resuming */

typedef struct resumption {
    ml_world *world;
    LuaObject *self;
    PyObject *const *args;
    Py_ssize_t count;
    PyObject *error; /* to be raised where the coroutine has yielded, or NULL */
    bool over;       /* it has returned `result`; or it was dead: then that is NULL */
    PyObject *result;
} resumption;

/* Sets the exception for the error that has ended `co`, the value of which is on top of it. */
static void take_error(lua_State *L, ml_world *w, lua_State *co, int status) {
    PyObject *type, *error, *traceback;
    ml_error_of_coroutine(L, w, co, status); /* leaves the value on top of L, too */
    int original = lua_gettop(L);
    PyErr_Fetch(&type, &error, &traceback);
    status = reset(L, co);
    if (status == LUA_OK || lua_rawequal(L, original, -1)) {
        PyErr_Restore(type, error, traceback);
        return;
    }
    ml_error_to_python(L, w, status); /* of a to-be-closed variable */
    PyErr_NormalizeException(&type, &error, &traceback);
    ml_add_context(error);
    Py_XDECREF(type);
    Py_XDECREF(error);
    Py_XDECREF(traceback);
}

static void push_arguments(lua_State *L, lua_State *co, const resumption *r) {
    if (r->count > 1000000 || !lua_checkstack(co, (int)r->count)) {
        luaL_error(L, "too many arguments to resume");
    }
    luaL_checkstack(L, (int)r->count + 8, "too many arguments to resume");
    for (Py_ssize_t i = 0; i < r->count; i++) ml_to_lua(L, r->world, r->args[i]);
    lua_xmove(L, co, (int)r->count);
}

static void push_error(lua_State *L, const resumption *r) {
    PyErr_Restore(Py_NewRef((PyObject *)Py_TYPE(r->error)), Py_NewRef(r->error),
                  PyException_GetTraceback(r->error));
    ml_error_push(L, r->world);
}

static int do_resume(lua_State *L) {
    resumption *r = lua_touserdata(L, 1);
    lua_State *co = push_thread(L, r->self);
    lua_copy(L, -1, 1); /* the first argument: by that it is found (reach.h) */
    int status = status_of(r->world, co);
    if (status == RUNNING || status == NORMAL) {
        return luaL_error(L, "cannot resume non-suspended coroutine");
    }
    r->over = status == DEAD || (status == NEW && r->error);
    if (status == NEW && r->error) reset(L, co);
    if (r->over) return 0;
    injection i = {.done = true};
    if (r->error) {
        push_error(L, r);
        prepare_injection(L, co, &i);
    } else {
        push_arguments(L, co, r);
    }
    int count = 0;
    status = lua_resume(co, L, (int)r->count, &count);
    finish_injection(co, &i);
    if (status == LUA_OK || status == LUA_YIELD) {
        if (!lua_checkstack(L, count + 4)) {
            lua_pop(co, count);
            return luaL_error(L, "too many results to resume");
        }
        lua_xmove(co, L, count);
        r->over = status == LUA_OK;
        r->result = ml_results_to_python(L, r->world, count);
        return r->result ? 0 : ml_error_raise(L, r->world);
    }
    if (lua_status(co) == LUA_OK || lua_status(co) == LUA_YIELD) {
        lua_xmove(co, L, 1); /* it was not even resumed: "C stack overflow" */
        return lua_error(L);
    }
    take_error(L, r->world, co, status);
    return 0;
}

/* What the coroutine yields next. NULL with r->over if it has ended instead, else with an
   exception. */
static PyObject *resume(PyObject *self, resumption *r) {
    r->self = (LuaObject *)self;
    r->world = r->self->world;
    if (ml_protect(r->world, do_resume, r) != 0) {
        Py_CLEAR(r->result);
        r->over = false;
    }
    return r->over ? NULL : r->result;
}

/* Raises StopIteration with what the coroutine has returned. */
static PyObject *stop(resumption *r) {
    PyObject *value = r->result ? r->result : Py_NewRef(Py_None);
    PyObject *exception = PyObject_CallOneArg(PyExc_StopIteration, value);
    if (exception) PyErr_SetObject(PyExc_StopIteration, exception);
    Py_XDECREF(exception);
    Py_DECREF(value);
    return NULL;
}

/* ----------------------------------------------------------------------------------- methods */

PyObject *ml_luathread_next(PyObject *self) {
    resumption r = {0};
    PyObject *value = resume(self, &r);
    if (value || !r.over) return value;
    return r.result ? stop(&r) : NULL;
}

static PyObject *send(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    resumption r = {.args = args, .count = count};
    PyObject *value = resume(self, &r);
    return value || !r.over ? value : stop(&r);
}

/* The exception that the arguments of throw(), of any generator, mean: a new reference or NULL. */
static PyObject *make_exception(PyObject *const *args, Py_ssize_t count) {
    PyObject *type = args[0];
    PyObject *value = count > 1 && args[1] != Py_None ? args[1] : NULL;
    PyObject *traceback = count > 2 && args[2] != Py_None ? args[2] : NULL;
    if (traceback && !PyTraceBack_Check(traceback)) {
        PyErr_SetString(PyExc_TypeError, "throw() third argument must be a traceback object");
        return NULL;
    }
    if (PyExceptionInstance_Check(type)) {
        if (value) {
            PyErr_SetString(PyExc_TypeError, "instance exception may not have a separate value");
            return NULL;
        }
        value = type;
        type = (PyObject *)Py_TYPE(value);
    } else if (!PyExceptionClass_Check(type)) {
        PyErr_Format(PyExc_TypeError,
                     "exceptions must be classes or instances deriving from BaseException, not %s",
                     Py_TYPE(type)->tp_name);
        return NULL;
    }
    Py_INCREF(type);
    Py_XINCREF(value);
    Py_XINCREF(traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback) PyException_SetTraceback(value, traceback);
    Py_XDECREF(type);
    Py_XDECREF(traceback);
    return value;
}

static PyObject *throw(PyObject * self, PyObject *const *args, Py_ssize_t count) {
    if (ml_check_count("throw", count, 1, 3) != 0) return NULL;
    PyObject *exception = make_exception(args, count);
    if (!exception) return NULL;
    resumption r = {.error = exception};
    PyObject *value = resume(self, &r);
    if (r.over && r.result) {
        stop(&r);
    } else if (r.over) {
        PyErr_Restore(Py_NewRef((PyObject *)Py_TYPE(exception)), Py_NewRef(exception),
                      PyException_GetTraceback(exception));
    }
    Py_DECREF(exception);
    return value;
}

static int do_close(lua_State *L) {
    const ml_task *task = lua_touserdata(L, 1);
    lua_State *co = push_thread(L, task->self);
    int status = status_of(task->world, co);
    if (status == RUNNING || status == NORMAL) {
        return luaL_error(L, "cannot close a %s coroutine", names[status]);
    }
    return status == DEAD || reset(L, co) == LUA_OK ? 0 : lua_error(L);
}

static PyObject *close_thread(PyObject *self, PyObject *unused) {
    (void)unused;
    ml_task task = {.self = (LuaObject *)self};
    if (task.self->world->closed) Py_RETURN_NONE; /* all coroutines have ended with the state */
    ml_perform(do_close, &task);
    if (PyErr_Occurred()) return NULL;
    Py_RETURN_NONE;
}

static int do_status(lua_State *L) {
    ml_task *task = lua_touserdata(L, 1);
    task->number = status_of(task->world, push_thread(L, task->self));
    return 0;
}

static PyObject *get_status(PyObject *self, void *unused) {
    (void)unused;
    ml_task task = {.self = (LuaObject *)self};
    ml_perform(do_status, &task);
    return PyErr_Occurred() ? NULL : PyUnicode_FromString(names[task.number]);
}

PyMethodDef ml_luathread_methods[] = {
    {"send", (PyCFunction)(void (*)(void))send, METH_FASTCALL,
     "send($self, /, *values)\n--\n\n"
     "Resumes the coroutine: its yield gives the values; the first time they are arguments of its\n"
     "function. Returns what it yields next; raises StopIteration with what it returns."},
    {"throw", (PyCFunction)(void (*)(void)) throw, METH_FASTCALL,
     "throw($self, type, value=None, traceback=None, /)\n--\n\n"
     "The same, but its yield raises the exception: of a LuaError, the value."},
    {"close", close_thread, METH_NOARGS,
     "close($self, /)\n--\n\nEnds the coroutine, as coroutine.close() does: its variables that are to be\n"
     "closed are closed."},
    {NULL, NULL, 0, NULL},
};

PyGetSetDef ml_luathread_getset[] = {
    {"status", get_status, NULL, "\"suspended\", \"running\", \"normal\" or \"dead\", as in Lua.",
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

/* What makes a list of an iterator asks for its length, and goes on after a TypeError only. */
static Py_ssize_t no_length(PyObject *self) {
    PyErr_Format(PyExc_TypeError, "object of type '%s' has no len()", Py_TYPE(self)->tp_name);
    return -1;
}

PyMappingMethods ml_luathread_as_mapping = {.mp_length = no_length};

/* ---------------------------------------------------------------------------------- creation */

static int finish_start(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    return lua_gettop(L);
}

/* Calls a function with arguments that were given before. Upvalues: how many, function, arguments. */
static int start(lua_State *L) {
    int count = (int)lua_tointeger(L, lua_upvalueindex(1));
    int more = lua_gettop(L);
    luaL_checkstack(L, count + 1, "too many arguments");
    for (int i = 0; i <= count; i++) {
        lua_pushvalue(L, lua_upvalueindex(2 + i));
        lua_insert(L, 1 + i);
    }
    lua_callk(L, count + more, LUA_MULTRET, 0, finish_start);
    return finish_start(L, LUA_OK, 0);
}

static int do_create(lua_State *L) {
    resumption *r = lua_touserdata(L, 1);
    lua_State *co = lua_newthread(L);
    luaL_checkstack(L, (int)r->count + 8, "too many arguments");
    if (r->count) lua_pushinteger(L, r->count);
    ml_push_lua_object(L, r->self);
    for (Py_ssize_t i = 0; i < r->count; i++) ml_to_lua(L, r->world, r->args[i]);
    if (r->count) lua_pushcclosure(L, start, (int)r->count + 2);
    lua_xmove(L, co, 1);
    r->result = ml_to_python(L, r->world, -1);
    return r->result ? 0 : ml_error_raise(L, r->world);
}

enum { MOST_ARGUMENTS = 253 }; /* of the 255 upvalues that a C function can have */

PyObject *ml_luathread_new(PyObject *function, PyObject *const *args, Py_ssize_t count) {
    if (!ml_is_lua_object(function) || !((LuaObject *)function)->vectorcall) {
        PyErr_Format(PyExc_TypeError, "a coroutine needs a Lua function, not %s",
                     Py_TYPE(function)->tp_name);
        return NULL;
    }
    if (count > MOST_ARGUMENTS) {
        PyErr_Format(PyExc_ValueError, "a coroutine takes at most %d arguments, not %zd",
                     MOST_ARGUMENTS, count);
        return NULL;
    }
    resumption r = {.self = (LuaObject *)function, .args = args, .count = count};
    r.world = r.self->world;
    if (ml_protect(r.world, do_create, &r) != 0) Py_CLEAR(r.result);
    return r.result;
}
