/* The part of the scheduler that is written in Lua and Python, and how it is found: by Lua's require
   as moonlet.NAME, by Python's import as moonlet.NAME, and by the names of both modules. */

#include "../bridge/luaproxy.h"
#include "hub.h"

#include <string.h>

#include "files.inc"

static const ml_file *find_file(const ml_file *files, const char *name) {
    for (const ml_file *f = files; f->name; f++) {
        if (strcmp(f->name, name) == 0) return f;
    }
    return NULL;
}

const ml_file *ml_lua_file(const char *name) { return find_file(lua_files, name); }

const ml_file *ml_python_file(const char *name) { return find_file(python_files, name); }

/* ---------------------------------------------------------------------------------------- Lua */

#define LOADED "moonlet.files" /* registry: what the files have returned, by name */

/* The loader of package.preload. There is one scheduler in a state, also where package.loaded was
   cleared meanwhile, as busted does. */
static int load(lua_State *L) {
    const char *name = lua_tostring(L, lua_upvalueindex(1));
    if (luaL_getsubtable(L, LUA_REGISTRYINDEX, LOADED) && lua_getfield(L, -1, name) != LUA_TNIL) {
        return 1;
    }
    lua_settop(L, 1);
    const ml_file *file = ml_lua_file(name);
    char chunk[80];
    snprintf(chunk, sizeof chunk, "@moonlet/%s.lua", name);
    if (luaL_loadbufferx(L, file->text, file->size, chunk, "t") != LUA_OK) return lua_error(L);
    lua_insert(L, 1);
    lua_call(L, 1, 1);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LOADED);
    lua_pushvalue(L, -2);
    lua_setfield(L, -2, name);
    lua_pop(L, 1);
    return 1;
}

/* The same for moonlet.native. Upvalue 1: the world. */
static int open_native(lua_State *L) {
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LOADED);
    if (lua_getfield(L, -1, "native") != LUA_TNIL) return 1;
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushcclosure(L, ml_native_open, 1);
    lua_call(L, 0, 1);
    lua_pushvalue(L, -1);
    lua_setfield(L, -4, "native");
    return 1;
}

void ml_hub_open(lua_State *L, ml_world *w) {
    ml_catch_open(L, w);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    lua_pushlightuserdata(L, w);
    lua_pushcclosure(L, open_native, 1);
    lua_setfield(L, -2, "moonlet.native");
    for (const ml_file *f = lua_files; f->name; f++) {
        lua_pushfstring(L, "moonlet.%s", f->name);
        lua_pushstring(L, f->name);
        lua_pushcclosure(L, load, 1);
        lua_rawset(L, -3);
    }
    lua_pop(L, 1);
    /* names.lua gets the module's table. */
    lua_pushliteral(L, "names");
    lua_pushcclosure(L, load, 1);
    lua_pushvalue(L, -2);
    lua_call(L, 1, 0);
}

/* ------------------------------------------------------------------------------------- Python */

static const char *text_of(PyObject *name) {
    return PyUnicode_Check(name) ? PyUnicode_AsUTF8(name) : "";
}

static PyObject *source(PyObject *module, PyObject *name) {
    (void)module;
    const char *text = text_of(name);
    if (!text) return NULL;
    const ml_file *file = ml_python_file(text);
    if (!file) Py_RETURN_NONE;
    return PyUnicode_FromStringAndSize(file->text, (Py_ssize_t)file->size);
}

static PyMethodDef helpers[] = {{"source", source, METH_O, NULL}, {NULL, NULL, 0, NULL}};

PyObject *ml_hub_find_spec(PyObject *fullname, const char *name) {
    static ml_source finder = {.name = "finder.py", .helpers = helpers};
    const ml_file *file = ml_python_file("finder");
    if (!ml_python_file(name)) Py_RETURN_NONE;
    finder.text = file->text;
    PyObject *function = ml_source_get(&finder, "find_spec");
    PyObject *spec = function ? PyObject_CallOneArg(function, fullname) : NULL;
    Py_XDECREF(function);
    return spec;
}

PyObject *ml_hub_attribute(PyObject *moonlet, PyObject *name) {
    const char *text = text_of(name);
    if (!text) return NULL;
    PyObject *module = *text == '_' ? NULL : PyImport_ImportModule("moonlet._scheduler");
    if (!module && PyErr_Occurred()) return NULL;
    PyObject *value = module ? PyObject_GetAttr(module, name) : NULL;
    if (value && PyDict_Contains(PyModule_GetDict(module), name) == 1 &&
        PyObject_SetAttr(moonlet, name, value) != 0) {
        Py_CLEAR(value);
    }
    Py_XDECREF(module);
    if (!value && (!module || PyErr_ExceptionMatches(PyExc_AttributeError))) {
        PyErr_Clear();
        PyErr_Format(PyExc_AttributeError, "module 'moonlet' has no attribute %R", name);
    }
    return value;
}

PyObject *ml_hub_names(void) {
    PyObject *module = PyImport_ImportModule("moonlet._scheduler");
    PyObject *names = module ? PyObject_GetAttrString(module, "__all__") : NULL;
    Py_XDECREF(module);
    return names;
}

int ml_hub_init(PyObject *module) {
    PyObject *path = PyList_New(0);
    int result = path ? PyModule_AddObjectRef(module, "__path__", path) : -1;
    Py_XDECREF(path);
    if (result != 0 || ml_catch_init(module) != 0 || ml_others_init(module) != 0) return -1;
    return ml_raw_init(module);
}
