/* The module moonlet.lua: Lua for Python code. */

#include "../hub/hub.h"
#include "luaproxy.h"

#include <string.h>

ml_world *ml_world_of_caller(void) {
    bool several;
    ml_world *w = ml_world_here(&several);
    if (!w) {
        PyErr_SetString(PyExc_RuntimeError,
                        several ? "several Lua states run in this thread, and none of them has "
                                  "called this code"
                                : "no Lua state runs in this thread");
    }
    return w;
}

/* What a protected function works on. */
typedef struct call {
    ml_world *world;
    const char *text;
    Py_ssize_t length;
    PyObject *items; /* a tuple */
    int count;       /* how many results are wanted */
    PyObject *result;
} call;

static PyObject *perform(lua_CFunction function, call *c) {
    c->world = ml_world_of_caller();
    if (!c->world) return NULL;
    if (ml_protect(c->world, function, c) != 0) Py_CLEAR(c->result);
    return c->result;
}

/* The topmost `count` values. */
static int give(lua_State *L, call *c, int count) {
    c->result = ml_results_to_python(L, c->world, count);
    return c->result ? 0 : ml_error_raise(L, c->world);
}

/* ----------------------------------------------------------------------------- globals, require */

static int do_globals(lua_State *L) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
    return give(L, lua_touserdata(L, 1), 1);
}

static PyObject *globals(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    call c = {0};
    return perform(do_globals, &c);
}

static int do_require(lua_State *L) {
    call *c = lua_touserdata(L, 1);
    lua_getglobal(L, "require");
    lua_pushlstring(L, c->text, (size_t)c->length);
    lua_call(L, 1, c->count);
    return give(L, c, c->count);
}

static PyObject *require_values(PyObject *name, int count) {
    call c = {.count = count};
    if (!PyUnicode_Check(name)) {
        PyErr_Format(PyExc_TypeError, "the name of a Lua module must be a str, not %s",
                     Py_TYPE(name)->tp_name);
        return NULL;
    }
    c.text = PyUnicode_AsUTF8AndSize(name, &c.length);
    return c.text ? perform(do_require, &c) : NULL;
}

static PyObject *require(PyObject *module, PyObject *name) {
    (void)module;
    return require_values(name, 1);
}

/* --------------------------------------------------------------------------------------- table */

static int do_table(lua_State *L) {
    call *c = lua_touserdata(L, 1);
    Py_ssize_t size = c->items ? PyTuple_GET_SIZE(c->items) : 0;
    lua_createtable(L, size < 1 << 20 ? (int)size : 1 << 20, 0);
    for (Py_ssize_t i = 0; i < size; i++) {
        ml_to_lua(L, c->world, PyTuple_GET_ITEM(c->items, i));
        lua_rawseti(L, 2, i + 1);
    }
    return give(L, c, 1);
}

static int has_keys(PyObject *o) {
    PyObject *keys = PyObject_GetAttrString(o, "keys");
    if (!keys && !PyErr_ExceptionMatches(PyExc_AttributeError)) return -1;
    PyErr_Clear();
    Py_XDECREF(keys);
    return keys != NULL;
}

static PyObject *make_table(PyObject *module, PyObject *args, PyObject *fields) {
    (void)module;
    if (ml_check_count("table", PyTuple_GET_SIZE(args), 0, 1) != 0) return NULL;
    PyObject *source = PyTuple_GET_SIZE(args) ? PyTuple_GET_ITEM(args, 0) : NULL;
    int mapping = source ? has_keys(source) : 0;
    if (mapping < 0) return NULL;
    call c = {0};
    if (source && !mapping && !(c.items = PySequence_Tuple(source))) return NULL;
    PyObject *table = perform(do_table, &c);
    Py_XDECREF(c.items);
    if (table && ((mapping && ml_luatable_update(table, source) != 0) ||
                  (fields && ml_luatable_update(table, fields) != 0))) {
        Py_CLEAR(table);
    }
    return table;
}

/* -------------------------------------------------------------------------- coroutine, iterate */

static PyObject *coroutine(PyObject *module, PyObject *const *args, Py_ssize_t count) {
    (void)module;
    if (ml_check_count("coroutine", count, 1, -1) != 0) return NULL;
    return ml_luathread_new(args[0], args + 1, count - 1);
}

static PyObject *iterate(PyObject *module, PyObject *const *args, Py_ssize_t count) {
    (void)module;
    if (count == 1 &&
        PyTuple_CheckExact(args[0])) { /* as a Lua function like pairs() returns them */
        count = PyTuple_GET_SIZE(args[0]);
        args = &PyTuple_GET_ITEM(args[0], 0);
    }
    if (ml_check_count("iterate", count, 1, 4) != 0) return NULL;
    PyObject *values[4];
    for (int i = 0; i < 4; i++) values[i] = i < count ? args[i] : Py_None;
    ml_world *w = ml_is_lua_object(args[0]) ? ((LuaObject *)args[0])->world : ml_world_of_caller();
    return w ? ml_luaiterator_of_function(w, values) : NULL;
}

/* ----------------------------------------------------------------------- helpers of modules.py */

/* require(name): what Lua's require gives, always two values. */
static PyObject *require_both(PyObject *module, PyObject *name) {
    (void)module;
    return require_values(name, 2);
}

static int do_package(lua_State *L) {
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_getfield(L, -1, "package");
    return give(L, lua_touserdata(L, 1), 1);
}

/* package(): Lua's table `package`. */
static PyObject *get_package(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    call c = {0};
    return perform(do_package, &c);
}

/* state(): a number, the same as long as the same Lua state runs here. */
static PyObject *state(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    const ml_world *w = ml_world_of_caller();
    return w ? PyLong_FromUnsignedLongLong(w->id) : NULL;
}

/* ------------------------------------------------------------------------- modules from Lua */

static PyTypeObject *module_type; /* LuaModule of modules.py */
static PyObject *values_name;     /* of the dict in its dict: number of a state -> value */
static PyObject *get_slowly;      /* what gets an attribute that is not found at once */

/* set_module_type(type, values_name, get_slowly) */
static PyObject *set_module_type(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *type, *name, *function;
    if (!PyArg_ParseTuple(args, "O!UO", &PyType_Type, &type, &name, &function)) return NULL;
    Py_XSETREF(module_type, (PyTypeObject *)Py_NewRef(type));
    Py_XSETREF(values_name, Py_NewRef(name));
    Py_XSETREF(get_slowly, Py_NewRef(function));
    Py_RETURN_NONE;
}

/* The value of the module in this state (borrowed), or NULL if it was not loaded there yet. */
static PyObject *value_in(const ml_world *w, PyObject *module) {
    PyObject *key = PyLong_FromUnsignedLongLong(w->id);
    PyObject *values = key ? PyDict_GetItem(PyModule_GetDict(module), values_name) : NULL;
    PyObject *value = values ? PyDict_GetItem(values, key) : NULL;
    Py_XDECREF(key);
    return value;
}

bool ml_luamodule_push(lua_State *L, ml_world *w, PyObject *o) {
    if (Py_TYPE(o) != module_type) return false;
    PyObject *value = value_in(w, o);
    if (value) ml_to_lua(L, w, value);
    return value != NULL;
}

/* The field of a module that is a table and was loaded in this state; all else is not found. New
   reference, or NULL with or without an exception. */
static PyObject *find_field(PyObject *module, PyObject *name) {
    bool several;
    const ml_world *w = ml_world_here(&several);
    PyObject *value = w ? value_in(w, module) : NULL;
    if (!value || !Py_IS_TYPE(value, &ml_LuaTable_Type)) return NULL;
    Py_INCREF(value); /* a metamethod may reload the module */
    PyObject *field = PyObject_GetItem(value, name);
    Py_DECREF(value);
    if (field == Py_None) Py_CLEAR(field);
    return field;
}

/* Names with two underscores are Python's. Of others those in the dict are submodules. */
static PyObject *get_attribute(PyObject *self, PyObject *name) {
    PyObject *value;
    if (ml_is_special_name(name)) {
        value = PyModule_Type.tp_getattro(self, name);
        if (value || !PyErr_ExceptionMatches(PyExc_AttributeError) ||
            PyUnicode_CompareWithASCIIString(name, "__all__") != 0) {
            return value;
        }
        PyErr_Clear();
    } else {
        value = Py_XNewRef(PyDict_GetItemWithError(PyModule_GetDict(self), name));
        if (!value && !PyErr_Occurred()) value = find_field(self, name);
        if (value || PyErr_Occurred()) return value;
    }
    PyObject *args[] = {self, name};
    return PyObject_Vectorcall(get_slowly, args, 2, NULL);
}

static PyTypeObject ModuleBase_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "moonlet.LuaModuleBase",
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .tp_getattro = get_attribute,
};

/* module_base(): the class that LuaModule is made from. */
static PyObject *module_base(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    ModuleBase_Type.tp_base = &PyModule_Type;
    return PyType_Ready(&ModuleBase_Type) == 0 ? Py_NewRef((PyObject *)&ModuleBase_Type) : NULL;
}

PyMethodDef ml_modules_helpers[] = {
    {"module_base", module_base, METH_NOARGS, NULL},
    {"package", get_package, METH_NOARGS, NULL},
    {"require", require_both, METH_O, NULL},
    {"set_module_type", set_module_type, METH_VARARGS, NULL},
    {"state", state, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

/* ------------------------------------------------------------------------------------ the finder */

#define PREFIX "moonlet.lua."

/* What sys.meta_path asks for every module; only ours need modules.py. */
static PyObject *find_spec(PyObject *unused, PyObject *args, PyObject *kwargs) {
    (void)unused;
    PyObject *name, *path = Py_None, *target = Py_None;
    static char *words[] = {"fullname", "path", "target", NULL};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "U|OO:find_spec", words, &name, &path,
                                     &target)) {
        return NULL;
    }
    const char *text = PyUnicode_AsUTF8(name);
    if (!text) return NULL;
    if (strncmp(text, "moonlet.", 8) != 0) Py_RETURN_NONE;
    if (strncmp(text, PREFIX, strlen(PREFIX)) != 0) return ml_hub_find_spec(name, text + 8);
    PyObject *function = ml_source_get(&ml_modules_source, "find_spec");
    PyObject *spec = function ? PyObject_CallOneArg(function, name) : NULL;
    Py_XDECREF(function);
    return spec;
}

static PyMethodDef finder_methods[] = {
    {"find_spec", (PyCFunction)(void (*)(void))find_spec,
     METH_VARARGS | METH_KEYWORDS | METH_STATIC,
     "find_spec(fullname, path=None, target=None)\n--\n\nThe spec of a module below moonlet.lua."},
    {NULL, NULL, 0, NULL},
};

static PyTypeObject LuaFinder_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "moonlet.LuaFinder",
    .tp_doc = "Finds Lua's modules for Python's import: moonlet.lua.NAME is require \"NAME\".",
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_methods = finder_methods,
};

/* ------------------------------------------------------------------------------------ the module */

static PyMethodDef functions[] = {
    {"eval", (PyCFunction)(void (*)(void))ml_lua_eval, METH_VARARGS | METH_KEYWORDS,
     "eval($module, expression, /, *args, name=None, env=None)\n--\n\n"
     "The value of a Lua expression, or a tuple of several. `...` in it is args."},
    {"execute", (PyCFunction)(void (*)(void))ml_lua_execute, METH_VARARGS | METH_KEYWORDS,
     "execute($module, chunk, /, *args, name=None, env=None)\n--\n\n"
     "Runs Lua statements, in which `...` is args, and returns what they return. Error messages\n"
     "call the code `name`, a file's name, or tell who has called execute; its global variables\n"
     "are in env, a table or mapping. Raises LuaSyntaxError if it cannot be compiled."},
    {"load", (PyCFunction)(void (*)(void))ml_lua_load, METH_VARARGS | METH_KEYWORDS,
     "load($module, chunk, /, *, name=None, env=None)\n--\n\n"
     "A Lua function that does what execute would do."},
    {"globals", globals, METH_NOARGS,
     "globals($module, /)\n--\n\nThe table of Lua's globals, _G."},
    {"require", require, METH_O,
     "require($module, name, /)\n--\n\nWhat Lua's require gives: the value of a Lua module."},
    {"table", (PyCFunction)(void (*)(void))make_table, METH_VARARGS | METH_KEYWORDS,
     "table($module, source=(), /, **fields)\n--\n\n"
     "A new Lua table with the keys and values of a mapping, or with the items of any other\n"
     "iterable from 1 on; and with the keyword arguments as fields."},
    {"coroutine", (PyCFunction)(void (*)(void))coroutine, METH_FASTCALL,
     "coroutine($module, function, /, *args)\n--\n\n"
     "A new Lua coroutine, a LuaThread, that will call a Lua function with args."},
    {"iterate", (PyCFunction)(void (*)(void))iterate, METH_FASTCALL,
     "iterate($module, function, state=None, control=None, closing=None, /)\n--\n\n"
     "An iterator over what `for ... in function, state, control, closing` of Lua gives; several\n"
     "values are a tuple. The four can be one tuple, as Lua functions return them."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "moonlet.lua",
    .m_doc =
        "Lua for Python code, in the Lua state that has called it. Below it Lua's modules can "
        "be imported.",
    .m_size = -1,
    .m_methods = functions,
};

/* Makes it a package, of which the submodules are in no directory. */
static int make_package(PyObject *module) {
    PyObject *bootstrap = PyImport_ImportModule("_frozen_importlib");
    PyObject *type = bootstrap ? PyObject_GetAttrString(bootstrap, "ModuleSpec") : NULL;
    PyObject *spec = type ? PyObject_CallFunction(type, "sO", definition.m_name, Py_None) : NULL;
    PyObject *path = spec ? PyList_New(0) : NULL;
    int result = -1;
    if (path && PyObject_SetAttrString(spec, "submodule_search_locations", path) == 0 &&
        PyModule_AddObjectRef(module, "__spec__", spec) == 0 &&
        PyModule_AddObjectRef(module, "__path__", path) == 0 &&
        PyModule_AddStringConstant(module, "__package__", definition.m_name) == 0) {
        result = 0;
    }
    Py_XDECREF(bootstrap);
    Py_XDECREF(type);
    Py_XDECREF(spec);
    Py_XDECREF(path);
    return result;
}

static int add_finder(void) {
    PyObject *finders = PySys_GetObject("meta_path"); /* borrowed */
    if (PyType_Ready(&LuaFinder_Type) != 0) return -1;
    if (finders && PyList_Check(finders)) {
        return PyList_Append(finders, (PyObject *)&LuaFinder_Type);
    }
    PyErr_SetString(PyExc_RuntimeError, "sys.meta_path is not a list");
    return -1;
}

int ml_luamodule_init(PyObject *moonlet) {
    PyObject *module = PyModule_Create(&definition);
    int result = -1;
    if (module && make_package(module) == 0 && ml_luachunk_init(moonlet) == 0 &&
        PyModule_AddObjectRef(moonlet, "lua", module) == 0 &&
        PyDict_SetItemString(PyImport_GetModuleDict(), definition.m_name, module) == 0) {
        result = add_finder();
    }
    Py_XDECREF(module);
    return result;
}
