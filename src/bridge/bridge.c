/* How greenlets of the two languages meet: parcels from the one in the other. And opening. */

#include "../hub/hub.h"
#include "luaproxy.h"

#include <string.h>

/* ------------------------------------------------------------------------------ Python to Lua */

enum { FEW = 16 }; /* values, for which nothing but the stack is asked */

typedef struct delivery {
    ml_world *world;
    ml_parcel *parcel;
    ml_reception as;
} delivery;

/* Whether the value of a Python parcel is a tuple of several. */
static bool is_several(const ml_parcel *p, ml_reception as) {
    return p->count != 1 || (as == ML_SWITCHED && PyTuple_CheckExact((PyObject *)p->value));
}

/* Pushes `value`, or if it is `several` its items, and returns how many; or -1, with nothing pushed: that
   could raise a Lua error. Needs a free stack slot. Then no Python code runs when it is released. */
static int push_simple(lua_State *L, ml_world *w, PyObject *value, bool several) {
    if (!several) return ml_simple_to_lua(L, w, value) ? 1 : -1;
    int count = (int)PyTuple_GET_SIZE(value);
    if (PyTuple_GET_SIZE(value) > FEW || !lua_checkstack(L, count)) return -1;
    for (int i = 0; i < count; i++) {
        if (ml_simple_to_lua(L, w, PyTuple_GET_ITEM(value, i))) continue;
        lua_pop(L, i);
        return -1;
    }
    return count;
}

/* Pushes the values of the Python parcel; runs protected. They were deferred to be released. */
static int push_values(lua_State *L) {
    const delivery *d = lua_touserdata(L, 1);
    ml_world *w = d->world;
    const ml_parcel *p = d->parcel;
    lua_settop(L, 0);
    if (p->error) {
        PyErr_Restore(Py_XNewRef(p->value), Py_XNewRef(p->extra), Py_XNewRef(p->more));
        ml_error_push(L, w);
        return 1;
    }
    PyObject *value = p->value;
    if (value && is_several(p, d->as)) {
        ml_results_to_lua(L, w, Py_NewRef(value));
    } else if (value && d->as == ML_OPAQUE) {
        ml_boxed_to_lua(L, w, value, true);
    } else if (value) {
        ml_to_lua(L, w, value);
    }
    if (p->extra) ml_kw_to_lua(L, w, p->extra);
    return lua_gettop(L);
}

static int receive_simple(lua_State *L, ml_world *w, const ml_parcel *parcel, ml_reception as) {
    if (parcel->kind != &ml_py_parcel || parcel->error || parcel->extra) return -1;
    PyObject *value = parcel->value;
    int count = value ? push_simple(L, w, value, is_several(parcel, as)) : 0;
    if (count >= 0) Py_XDECREF(value);
    return count;
}

static int receive(lua_State *L, ml_world *w, ml_parcel *parcel, ml_reception as) {
    if (parcel->kind == &ml_lua_parcel) {
        /* From another Lua state: by way of Python. */
        if (ml_py_import_parcel(parcel) != 0) ml_py_pack_error(parcel);
    }
    int count = receive_simple(L, w, parcel, as);
    if (count >= 0) return count;
    if (!lua_checkstack(L, 4)) return ml_lgreenlet_overflow(L, parcel);
    int top = lua_gettop(L);
    delivery d = {w, parcel, as};
    lua_pushcfunction(L, push_values);
    lua_pushlightuserdata(L, &d);
    int status = lua_pcall(L, 1, LUA_MULTRET, 0);
    ml_py_parcel.discard(parcel);
    if (status != LUA_OK) parcel->error = true;
    return lua_gettop(L) - top;
}

/* nil is GreenletExit, an exception class becomes an instance. */
static void throwable(lua_State *L, ml_world *w) {
    PyObject *type = lua_isnil(L, -1) ? ml_PyExc_GreenletExit : ml_pyproxy_test(L, -1);
    if (!type || !PyExceptionClass_Check(type)) return;
    ml_activation a;
    ml_lua_leave(&a, L, w);
    PyObject *exception = PyObject_CallNoArgs(type);
    ml_lua_return(&a);
    if (!exception) {
        ml_error_raise(L, w);
        return;
    }
    ml_to_lua_steal(L, w, exception);
    lua_replace(L, -2);
}

static bool is_exit(lua_State *L) {
    PyObject *o = ml_pyproxy_test(L, -1);
    return o && PyErr_GivenExceptionMatches(o, ml_PyExc_GreenletExit);
}

static bool is_foreign(lua_State *L, bool *callable) {
    PyObject *o = ml_pyproxy_test(L, 1);
    if (o) *callable = PyCallable_Check(o);
    return o != NULL;
}

static PyObject *create_foreign(lua_State *L, ml_greenlet *parent) {
    PyObject *callable = ml_pyproxy_test(L, 1);
    ml_activation a;
    ml_lua_leave(&a, L, ml_world_get(L));
    bool allowed = ml_allowed(&a, callable, "call", NULL);
    ml_lua_return(&a);
    return allowed ? ml_pygreenlet_call(callable, parent) : NULL;
}

static ml_greenlet *create(lua_State *L, ml_body body, ml_greenlet *parent) {
    PyObject *g = body ? ml_pygreenlet_new(body, parent) : create_foreign(L, parent);
    return g ? ml_py_core(g) : NULL;
}

static void closed(ml_parcel *parcel) {
    ml_greenlet *origin = parcel->origin;
    PyErr_SetString(PyExc_RuntimeError, "the Lua state is closed");
    ml_py_pack_error(parcel);
    parcel->origin = origin;
}

static void close_world(ml_world *w) {
    ml_forget_texts(w);
    ml_limits_close(w);
    ml_luastring_close(w); /* the last one: nothing runs afterwards that makes more of them */
}

const ml_lua_bridge ml_bridge = {
    .create = create,
    .is_foreign = is_foreign,
    .receive = receive,
    .receive_simple = receive_simple,
    .push_error = ml_error_push,
    .throwable = throwable,
    .is_exit = is_exit,
    .handler = ml_error_handler,
    .closed = closed,
    .forget_error = ml_error_forget,
    .close = close_world,
    .crowded = ml_collect_request,
    .free_objects = ml_objects_free,
    .owner = ml_threads_owner,
    .look = ml_threads_look,
    .turn = ml_threads_turn,
    .index = ml_pyproxy_index,
    .newindex = ml_pyproxy_newindex,
};

/* ------------------------------------------------------------------------------ Lua to Python */

static int import_parcel(ml_parcel *parcel) {
    lua_State *from = parcel->value;
    ml_world *w = parcel->extra;
    int count = parcel->count;
    if (parcel->error) {
        ml_error_to_python(from, w, LUA_ERRRUN);
        return -1;
    }
    PyObject *kwargs = NULL;
    PyObject *value = NULL;
    bool failed = false;
    int type = count > 0 ? lua_type(from, -1) : LUA_TNIL;
    if (type == LUA_TTABLE && !parcel->results && ml_is_kw(from, w, -1)) {
        kwargs = ml_kw_to_python(from, w, lua_gettop(from));
        failed = !kwargs;
        lua_pop(from, 1);
        count--;
    }
    if (!failed && (count || parcel->results)) {
        value = ml_results_to_python(from, w, count);
        failed = !value;
    }
    lua_settop(from, -count - 1);
    if (failed) {
        Py_XDECREF(kwargs);
        return -1;
    }
    ml_greenlet *origin = parcel->origin;
    *parcel = (ml_parcel){.kind = &ml_py_parcel, .value = value, .extra = kwargs};
    parcel->count = value && count == 0 ? 1 : count; /* no results are one None */
    parcel->origin = origin;
    return 0;
}

static bool import_simple(const ml_parcel *parcel, PyObject **value) {
    if (parcel->count != 1 || parcel->error || parcel->results) return false;
    lua_State *from = parcel->value;
    int type = lua_type(from, -1);
    if (type > LUA_TSTRING || type == LUA_TLIGHTUSERDATA) return false;
    *value = ml_typed_to_python(from, parcel->extra, -1, type);
    lua_pop(from, 1);
    return true;
}

/* Inside a Lua finalizer the collector stands still, and would while its stack is left. */
static bool may_switch(const ml_greenlet *current) {
    const ml_activation *a = current->lua;
    if (ml_barred()) return false;
    return !a || a->world->closed || a->world->closing || lua_gc(a->L, LUA_GCISRUNNING) != -1;
}

/* ------------------------------------------------------------------------------------- opening */

static int get_config(lua_State *L) {
    const char *key = luaL_checkstring(L, 2);
    if (strcmp(key, "lanes") != 0) return luaL_error(L, "moonlet.config has no '%s'", key);
    lua_pushinteger(L, ml_lane_limit());
    return 1;
}

static int set_config(lua_State *L) {
    const char *key = luaL_checkstring(L, 2);
    if (strcmp(key, "lanes") != 0) return luaL_error(L, "moonlet.config has no '%s'", key);
    int is_integer;
    lua_Integer lanes = lua_tointegerx(L, 3, &is_integer);
    if (!is_integer || lua_type(L, 3) != LUA_TNUMBER || lanes < 1 || lanes > ML_LANES_MAX) {
        return luaL_error(L, "bad value for 'lanes' (integer from 1 to %d expected, got %s)",
                          ML_LANES_MAX, luaL_tolstring(L, 3, NULL));
    }
    ml_set_lane_limit((unsigned)lanes);
    return 0;
}

static void push_config(lua_State *L) {
    static const luaL_Reg metamethods[] = {
        {"__index", get_config}, {"__newindex", set_config}, {NULL, NULL}};
    lua_newtable(L);
    luaL_newlib(L, metamethods);
    lua_setmetatable(L, -2);
}

static const char module_key; /* registry: the module table */

void ml_bridge_open(lua_State *L) {
    luaL_checkstack(L, 16, NULL);
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &module_key) == LUA_TTABLE) return;
    lua_pop(L, 1);
    ml_py_import_parcel = import_parcel;
    ml_py_import_simple = import_simple;
    ml_py_may_switch = may_switch;
    ml_world *w = ml_world_open(L, &ml_bridge);
    if (ml_objects_open(w) != 0) luaL_error(L, "not enough memory");
    ml_lgreenlet_open(L, w);
    ml_pyproxy_open(L, w);
    lua_createtable(L, 0, 8);
    ml_lgreenlet_register(L, w);
    ml_traceback_register(L, w);
    ml_copy_register_table(L, w);
    ml_collect_register(L, w);
    ml_threads_register(L, w);
    ml_python_module(L, w);
    lua_setfield(L, -2, "python");
    ml_to_lua(L, w, ml_PyExc_GreenletExit);
    lua_setfield(L, -2, "GreenletExit");
    push_config(L);
    lua_setfield(L, -2, "config");
    lua_pushlightuserdata(L, w);
    lua_pushvalue(L, -2);
    lua_pushcclosure(L, ml_limits_open, 2);
    lua_setfield(L, -2, "open");
    lua_pushliteral(L, "moonlet " MOONLET_VERSION);
    lua_setfield(L, -2, "_VERSION");
    ml_searcher_open(L, w);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &module_key);
    ml_collect_open(L, w);
    ml_hub_open(L, w);
    ml_world_drain(w);
}

/* ------------------------------------------------------------------------- the Python module */

/* For programs that also run on the package moonlet, where it has something to do. */
static PyObject *install(PyObject *module, PyObject *args) {
    (void)module, (void)args;
    Py_RETURN_NONE;
}

static PyObject *collect(PyObject *module, PyObject *nothing) {
    (void)module, (void)nothing;
    return PyLong_FromSsize_t(ml_collect());
}

/* moonlet.LuaSequence and the names of the scheduler, which are made when they are first asked for.
   Only then is this called. */
static PyObject *get_late(PyObject *module, PyObject *name) {
    const char *text = PyUnicode_Check(name) ? PyUnicode_AsUTF8(name) : "";
    if (!text) return NULL;
    if (strcmp(text, "LuaSequence") != 0) return ml_hub_attribute(module, name);
    PyObject *value = ml_source_get(&ml_tables_source, text);
    if (value && PyModule_AddObjectRef(module, text, value) != 0) Py_CLEAR(value);
    return value;
}

/* dir(moonlet): these names, too. */
static PyObject *list_names(PyObject *module, PyObject *nothing) {
    (void)nothing;
    PyObject *names = PyDict_Keys(PyModule_GetDict(module));
    PyObject *late = names ? ml_hub_names() : NULL;
    PyObject *all = late ? PySet_New(names) : NULL;
    PyObject *sequence = all ? PyUnicode_FromString("LuaSequence") : NULL;
    if (sequence && (PySet_Add(all, sequence) != 0 || _PySet_Update(all, late) != 0)) {
        Py_CLEAR(sequence);
    }
    PyObject *result = sequence ? PySequence_List(all) : NULL; /* dir() sorts it */
    Py_XDECREF(names);
    Py_XDECREF(late);
    Py_XDECREF(all);
    Py_XDECREF(sequence);
    return result;
}

static PyMethodDef functions[] = {
    {"__getattr__", get_late, METH_O, NULL},
    {"__dir__", list_names, METH_NOARGS, NULL},
    {"collect", collect, METH_NOARGS,
     "collect()\n--\n\n"
     "Collects garbage of Python and Lua together. Returns the number of unreachable objects that\n"
     "Python's collector has found, as gc.collect() does; 0 while a collection runs."},
    {"call_soon_threadsafe", (PyCFunction)(void (*)(void))ml_call_soon_threadsafe, METH_FASTCALL,
     "call_soon_threadsafe($module, f, /, *args)\n--\n\n"
     "Leave the call f(*args) to the thread that runs Lua: that of the Lua state of f, or for\n"
     "other callables that of the oldest one. May be called by any thread. Calls are made in\n"
     "their order, when Lua next leaves for Python or switches, or between two of its steps;\n"
     "they cannot switch to other greenlets. Errors go to sys.unraisablehook. What is left when\n"
     "the Lua state is closed is dropped."},
    {"install", install, METH_NOARGS, "install()\n--\n\nNothing: greenlet is moonlet's here."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "moonlet",
    .m_doc = "Lua beside Python: the types of Lua's values and errors.",
    .m_size = -1,
    .m_methods = functions,
};

PyObject *ml_PyInit_moonlet(void) {
    PyObject *module = PyModule_Create(&definition);
    if (!module) return NULL;
    if (ml_threads_init() != 0 || ml_error_init(module) != 0 || ml_luaproxy_init(module) != 0 ||
        ml_luastring_init(module) != 0 || ml_luamodule_init(module) != 0 ||
        ml_collect_init() != 0 || ml_hub_init(module) != 0 ||
        PyModule_AddStringConstant(module, "__version__", MOONLET_VERSION) != 0) {
        Py_CLEAR(module);
    }
    return module;
}
