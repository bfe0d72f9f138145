/* moonlet.python: the functions through which Lua reaches Python. */

#include "bridge.h"

#include <string.h>

static const char kw_key; /* registry: the metatable of py.kw tables */

static ml_world *world(lua_State *L) { return lua_touserdata(L, lua_upvalueindex(1)); }

/* Runs `function` on L's arguments outside of Lua and returns what it gives as one value. */
static int value_of(lua_State *L, PyObject *(*function)(lua_State *L, ml_activation *a)) {
    ml_world *w = world(L);
    luaL_checkstack(L, 8, NULL);
    ml_activation a;
    ml_lua_leave(&a, L, w);
    PyObject *value = function(L, &a);
    ml_lua_return(&a);
    if (!value) return ml_error_raise(L, w);
    ml_to_lua_steal(L, w, value);
    return 1;
}

/* ----------------------------------------------------------------------------------- import */

static PyObject *import_name(lua_State *L, ml_activation *a) {
    PyObject *name = ml_name_to_python(L, 1);
    PyObject *module = NULL;
    if (name && !PyUnicode_Check(name)) {
        PyErr_SetString(PyExc_TypeError, "the name of a module must be UTF-8");
    } else if (name && ml_allowed(a, NULL, "import", name)) {
        module = PyImport_Import(name);
    }
    Py_XDECREF(name);
    return module;
}

/* The argument 1 is text that C functions of Python can take. */
static void check_text(lua_State *L, const char *what) {
    size_t length;
    const char *text = luaL_checklstring(L, 1, &length);
    if (strlen(text) != length) {
        luaL_argerror(L, 1, lua_pushfstring(L, "%s cannot contain null bytes", what));
    }
}

/* py.import(name): the module, of a dotted name the last one. */
static int import(lua_State *L) {
    check_text(L, "the name of a module");
    return value_of(L, import_name);
}

/* ------------------------------------------------------------------------------ eval and exec */

/* Statements without the indentation of their first line, as it comes from a long string in
   indented Lua code: a copy to be freed with PyMem_Free. NULL: MemoryError is set. */
static char *dedent(const char *code) {
    char *copy = PyMem_Malloc(strlen(code) + 1);
    if (!copy) {
        PyErr_NoMemory();
        return NULL;
    }
    const char *first = code + strspn(code, " \t\r\n"); /* of the first line that is not blank */
    const char *indent = first;
    while (indent > code && (indent[-1] == ' ' || indent[-1] == '\t')) indent--;
    size_t width = (size_t)(first - indent);
    char *to = copy;
    for (const char *line = code; *line;) {
        if (strncmp(line, indent, width) == 0) line += width;
        size_t length = strcspn(line, "\n");
        length += line[length] == '\n';
        memcpy(to, line, length);
        to += length;
        line += length;
    }
    *to = '\0';
    return copy;
}

/* The code at 1, compiled; named after the Lua line that brings it, so that tracebacks say where
   it is from. Line 1 of the code is line 1. */
static PyObject *compile(lua_State *L, int start) {
    lua_Debug ar;
    char name[LUA_IDSIZE + 40] = "<lua>";
    if (lua_getstack(L, 1, &ar) && lua_getinfo(L, "Sl", &ar) && ar.currentline > 0) {
        /* Without directories: SyntaxError shows what follows the last slash. */
        const char *slash = *ar.source == '@' ? strrchr(ar.short_src, '/') : NULL;
        snprintf(name, sizeof name, "<python at %s:%d>", slash ? slash + 1 : ar.short_src,
                 ar.currentline);
    }
    const char *code = lua_tostring(L, 1);
    char *statements = NULL;
    if (start == Py_eval_input) {
        code += strspn(code, " \t\r\n");
    } else {
        code = statements = dedent(code);
    }
    PyObject *compiled = code ? Py_CompileString(code, name, start) : NULL;
    PyMem_Free(statements);
    /* Without memory the parser may say nothing (_PyPegen_run_parser_from_string of
       Parser/pegen.c). */
    if (!compiled && !PyErr_Occurred()) PyErr_NoMemory();
    return compiled;
}

/* The dict at 2, or that of __main__: a new reference or NULL. */
static PyObject *get_globals(lua_State *L, ml_world *w) {
    if (lua_isnoneornil(L, 2)) {
        PyObject *main = PyImport_AddModule("__main__"); /* borrowed */
        return main ? Py_NewRef(PyModule_GetDict(main)) : NULL;
    }
    PyObject *globals = ml_to_python(L, w, 2);
    if (!globals || PyDict_Check(globals)) return globals;
    PyErr_Format(PyExc_TypeError, "globals must be a dict, not %s", Py_TYPE(globals)->tp_name);
    Py_DECREF(globals);
    return NULL;
}

static PyObject *run(lua_State *L, ml_activation *a, int start) {
    PyObject *text = ml_to_python(L, a->world, 1);
    bool allowed = text && ml_allowed(a, NULL, start == Py_eval_input ? "eval" : "exec", text);
    Py_XDECREF(text);
    PyObject *globals = allowed ? get_globals(L, a->world) : NULL;
    if (!globals) return NULL;
    PyObject *result = NULL;
    if (PyDict_GetItemString(globals, "__builtins__") ||
        PyDict_SetItemString(globals, "__builtins__", PyEval_GetBuiltins()) == 0) {
        PyObject *code = compile(L, start);
        if (code) result = PyEval_EvalCode(code, globals, globals);
        Py_XDECREF(code);
    }
    Py_DECREF(globals);
    return result;
}

static PyObject *run_expression(lua_State *L, ml_activation *a) {
    return run(L, a, Py_eval_input);
}
static PyObject *run_statements(lua_State *L, ml_activation *a) {
    return run(L, a, Py_file_input);
}

/* py.eval(expression [, globals]): its value. */
static int eval(lua_State *L) {
    check_text(L, "Python code");
    return value_of(L, run_expression);
}

/* py.exec(statements [, globals]) */
static int exec(lua_State *L) {
    check_text(L, "Python code");
    value_of(L, run_statements);
    return 0;
}

/* --------------------------------------------------------------------------- keyword arguments */

bool ml_is_kw(lua_State *L, const ml_world *w, int index) {
    if (!lua_istable(L, index) || !lua_checkstack(L, 1) || !lua_getmetatable(L, index)) {
        return false;
    }
    bool same = lua_topointer(L, -1) == w->kw_metatable;
    lua_pop(L, 1);
    return same;
}

Py_ssize_t ml_kw_spread(lua_State *L, int index) {
    int top = lua_gettop(L);
    Py_ssize_t count = 0;
    index = lua_absindex(L, index);
    if (!lua_checkstack(L, 4)) goto no_memory;
    lua_pushnil(L);
    for (; lua_next(L, index); count++) {
        if (!lua_checkstack(L, 4)) goto no_memory;
        lua_pushvalue(L, -2);
    }
    return count;

no_memory:
    lua_settop(L, top);
    PyErr_NoMemory();
    return -1;
}

PyObject *ml_kw_name(lua_State *L, int index) {
    PyObject *name = NULL;
    if (lua_type(L, index) == LUA_TSTRING) {
        name = ml_name_to_python(L, index);
        if (!name || PyUnicode_Check(name)) return name;
    }
    PyErr_Format(PyExc_TypeError, "keyword names must be strings, not %s",
                 name ? "bytes" : luaL_typename(L, index));
    Py_XDECREF(name);
    return NULL;
}

PyObject *ml_kw_to_python(lua_State *L, ml_world *w, int index) {
    int top = lua_gettop(L);
    PyObject *dict = PyDict_New();
    Py_ssize_t count = dict ? ml_kw_spread(L, index) : -1;
    bool done = count >= 0;
    for (int i = top + 1; done && i < top + 1 + 2 * count; i += 2) {
        PyObject *name = ml_kw_name(L, i);
        PyObject *value = name ? ml_to_python(L, w, i + 1) : NULL;
        done = value && PyDict_SetItem(dict, name, value) == 0;
        Py_XDECREF(name);
        Py_XDECREF(value);
    }
    lua_settop(L, top);
    if (!done) Py_CLEAR(dict);
    return dict;
}

static void set_kw_metatable(lua_State *L) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &kw_key);
    lua_setmetatable(L, -2);
}

void ml_kw_to_lua(lua_State *L, ml_world *w, PyObject *dict) {
    luaL_checkstack(L, 6, NULL);
    lua_createtable(L, 0, (int)PyDict_GET_SIZE(dict));
    Py_ssize_t position = 0;
    PyObject *key, *value;
    while (PyDict_Next(dict, &position, &key, &value)) {
        ml_to_lua(L, w, key);
        ml_to_lua(L, w, value);
        lua_rawset(L, -3);
    }
    set_kw_metatable(L);
}

/* py.kw(t): marks t, which it returns, as the keyword arguments of a call. */
static int kw(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    set_kw_metatable(L);
    return 1;
}

/* ------------------------------------------------------------------------------------ the rest */

static PyObject *make_bytes(lua_State *L, ml_world *w) {
    (void)w;
    size_t length;
    const char *text = lua_tolstring(L, 1, &length);
    return PyBytes_FromStringAndSize(text, (Py_ssize_t)length);
}

/* py.bytes(s): a bytes object, which as an argument stays one. */
static int bytes(lua_State *L) {
    luaL_checkstring(L, 1);
    ml_world *w = world(L);
    PyObject *o = make_bytes(L, w);
    if (!o) return ml_error_raise(L, w);
    ml_world_defer(w, (void (*)(void *))Py_DecRef, o);
    luaL_checkstack(L, 4, NULL);
    ml_pyproxy_push(L, w, o);
    return 1;
}

static PyObject *check_instance(lua_State *L, ml_activation *a) {
    PyObject *o = ml_to_python(L, a->world, 1);
    PyObject *type = o ? ml_to_python(L, a->world, 2) : NULL;
    int answer = type ? PyObject_IsInstance(o, type) : -1;
    Py_XDECREF(o);
    Py_XDECREF(type);
    return answer < 0 ? NULL : PyBool_FromLong(answer);
}

/* py.isinstance(o, class) */
static int isinstance(lua_State *L) {
    luaL_checkany(L, 1);
    luaL_checkany(L, 2);
    return value_of(L, check_instance);
}

static PyObject *attribute(lua_State *L, ml_activation *a) {
    PyObject *o = ml_to_python(L, a->world, 1);
    PyObject *name = o ? ml_to_python(L, a->world, 2) : NULL;
    PyObject *value = name && ml_allowed(a, o, "getattr", name) ? PyObject_GetAttr(o, name) : NULL;
    Py_XDECREF(o);
    Py_XDECREF(name);
    return value;
}

/* py.attr(o, name): the attribute, also where o.name would be an item of a mapping. */
static int attr(lua_State *L) {
    luaL_checkany(L, 1);
    luaL_checkstring(L, 2);
    return value_of(L, attribute);
}

void ml_python_module(lua_State *L, ml_world *w) {
    static const luaL_Reg functions[] = {{"import", import},
                                         {"eval", eval},
                                         {"exec", exec},
                                         {"kw", kw},
                                         {"bytes", bytes},
                                         {"iter", ml_pyoperators_iter},
                                         {"attr", attr},
                                         {"isinstance", isinstance},
                                         {"with", ml_context_with},
                                         {"memoryview", ml_luastring_memoryview},
                                         {NULL, NULL}};
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "keyword arguments");
    lua_setfield(L, -2, "__name");
    w->kw_metatable = lua_topointer(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &kw_key);

    lua_createtable(L, 0, 32);
    lua_pushlightuserdata(L, w);
    luaL_setfuncs(L, functions, 1);
    ml_access_register(L, w);
    ml_copy_register(L, w);
    ml_buffer_register(L, w);
    PyObject *builtins = PyImport_ImportModule("builtins");
    if (!builtins) ml_error_raise(L, w);
    ml_to_lua_steal(L, w, builtins);
    lua_setfield(L, -2, "builtins");
}
