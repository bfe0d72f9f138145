/* Lua code in Python: moonlet.lua.eval, execute and load. */

#include "luaproxy.h"

#include <string.h>

static PyObject *LuaSyntaxError;

int ml_luachunk_init(PyObject *moonlet) {
    if (!LuaSyntaxError) {
        PyObject *bases = PyTuple_Pack(2, ml_PyExc_LuaError, PyExc_SyntaxError);
        if (!bases) return -1;
        LuaSyntaxError = PyErr_NewExceptionWithDoc(
            "moonlet.LuaSyntaxError",
            "Lua code that cannot be compiled. `value` is Lua's message; `msg`, `filename`, `lineno` "
            "and `text` are as of every SyntaxError.",
            bases, NULL);
        Py_DECREF(bases);
    }
    return LuaSyntaxError ? PyModule_AddObjectRef(moonlet, "LuaSyntaxError", LuaSyntaxError) : -1;
}

typedef struct chunk {
    ml_world *world;
    const char *prefix; /* what the reader gives first, or NULL */
    const char *code;
    Py_ssize_t size;
    const char *name;
    PyObject *env;  /* or None: the globals */
    PyObject *args; /* a tuple; NULL: only load it */
    PyObject *result;
} chunk;

/* ------------------------------------------------------------------------------ syntax errors */

/* The line with this number, from 1 on: a new reference, None if there is none, or NULL. */
static PyObject *get_line(const chunk *c, long number) {
    const char *line = c->code;
    const char *end = c->code + c->size;
    for (long i = 1; i < number && line; i++) {
        line = memchr(line, '\n', (size_t)(end - line));
        if (line) line++;
    }
    if (!line || line == end) Py_RETURN_NONE;
    const char *stop = memchr(line, '\n', (size_t)(end - line));
    PyObject *text = ml_text_to_python(line, (size_t)((stop ? stop : end) - line));
    if (!text || PyUnicode_Check(text)) return text;
    Py_DECREF(text);
    Py_RETURN_NONE;
}

/* How much of a message the name of the chunk is (luaO_chunkid of lobject.c); the line follows. */
static size_t name_length(const chunk *c) {
    size_t length = strlen(c->name) - 1;
    return length < LUA_IDSIZE ? length : LUA_IDSIZE - 1;
}

/* A LuaSyntaxError for the message at `index`. New reference or NULL. */
static PyObject *new_syntax_error(lua_State *L, const chunk *c, int index) {
    size_t size;
    const char *message = lua_tolstring(L, index, &size);
    size_t length = name_length(c);
    char *rest = NULL;
    long number = 0;
    if (size > length && message[length] == ':') number = strtol(message + length + 1, &rest, 10);
    bool located = number > 0 && strncmp(rest, ": ", 2) == 0;
    PyObject *value = ml_text_to_python(message, size);
    PyObject *text = value && located ? get_line(c, number) : NULL;
    PyObject *error = NULL;
    if (text) {
        PyObject *file = PyUnicode_DecodeFSDefaultAndSize(message, (Py_ssize_t)length);
        error = file ? PyObject_CallFunction(LuaSyntaxError, "s(NlOO)", rest + 2, file, number,
                                             Py_None, text)
                     : NULL;
    } else if (value && !located) {
        error = PyObject_CallOneArg(LuaSyntaxError, value);
    }
    if (error && PyObject_SetAttrString(error, "value", value) != 0) Py_CLEAR(error);
    Py_XDECREF(value);
    Py_XDECREF(text);
    return error;
}

/* ------------------------------------------------------------------------------------ running */

static const char *read_chunk(lua_State *L, void *data, size_t *size) {
    (void)L;
    chunk *c = data;
    const char *part = c->prefix;
    if (part) {
        *size = strlen(part);
        c->prefix = NULL;
        return part;
    }
    part = c->code;
    *size = (size_t)c->size;
    c->size = 0;
    return *size ? part : NULL;
}

static int do_run(lua_State *L) {
    chunk *c = lua_touserdata(L, 1);
    Py_ssize_t size = c->size;
    int status = lua_load(L, read_chunk, c, c->name, "t");
    c->size = size;
    if (status == LUA_ERRSYNTAX && lua_type(L, 2) == LUA_TSTRING) {
        PyObject *error = new_syntax_error(L, c, 2);
        if (error) PyErr_SetObject(LuaSyntaxError, error);
        Py_XDECREF(error);
        return 0;
    }
    if (status != LUA_OK) return lua_error(L);
    if (c->env != Py_None) {
        ml_to_lua(L, c->world, c->env);
        lua_setupvalue(L, 2, 1);
    }
    int count = 1;
    if (c->args) {
        Py_ssize_t arguments = PyTuple_GET_SIZE(c->args);
        if (arguments > 1000000) return luaL_error(L, "stack overflow (too many arguments)");
        luaL_checkstack(L, (int)arguments + 8, "too many arguments");
        for (Py_ssize_t i = 0; i < arguments; i++) {
            ml_to_lua(L, c->world, PyTuple_GET_ITEM(c->args, i));
        }
        lua_call(L, (int)arguments, LUA_MULTRET);
        count = lua_gettop(L) - 1;
        luaL_checkstack(L, 4, NULL);
    }
    c->result = ml_results_to_python(L, c->world, count);
    return c->result ? 0 : ml_error_raise(L, c->world);
}

/* The name of a chunk without one: who brings it. New reference or NULL. */
static PyObject *caller_name(void) {
    PyFrameObject *frame = PyEval_GetFrame(); /* borrowed */
    if (!frame) return PyUnicode_FromString("=<lua>");
    PyCodeObject *code = PyFrame_GetCode(frame);
    PyObject *file = code->co_filename;
    /* Its end, that there is room for it in Lua's messages. */
    Py_ssize_t end = PyUnicode_GET_LENGTH(file);
    Py_ssize_t slash = PyUnicode_FindChar(file, '/', 0, end, -1);
    Py_ssize_t first = end - (LUA_IDSIZE - 24) > slash + 1 ? end - (LUA_IDSIZE - 24) : slash + 1;
    PyObject *base = PyUnicode_Substring(file, first, end);
    PyObject *name =
        base ? PyUnicode_FromFormat("=<lua at %U:%d>", base, PyFrame_GetLineNumber(frame)) : NULL;
    Py_XDECREF(base);
    Py_DECREF(code);
    return name;
}

/* As in Lua, "=..." and "@..." say what the rest is; any other name is that of a file. */
static PyObject *chunk_name(PyObject *name) {
    if (name == Py_None) return caller_name();
    if (!PyUnicode_Check(name)) {
        PyErr_Format(PyExc_TypeError, "name must be a str or None, not %s",
                     Py_TYPE(name)->tp_name);
        return NULL;
    }
    Py_UCS4 first = PyUnicode_GET_LENGTH(name) ? PyUnicode_READ_CHAR(name, 0) : 0;
    return first == '=' || first == '@' ? Py_NewRef(name) : PyUnicode_FromFormat("@%U", name);
}

/* The code as bytes that `code` keeps; 0 or -1. */
static int get_code(PyObject *code, chunk *c) {
    if (PyUnicode_Check(code)) {
        c->code = PyUnicode_AsUTF8AndSize(code, &c->size);
        return c->code ? 0 : -1;
    }
    if (PyBytes_Check(code)) return PyBytes_AsStringAndSize(code, (char **)&c->code, &c->size);
    PyErr_Format(PyExc_TypeError, "Lua code must be str or bytes, not %s", Py_TYPE(code)->tp_name);
    return -1;
}

/* Does what eval, execute (with `args`) and load have in common. */
static PyObject *run(const char *prefix, PyObject *code, PyObject *args, PyObject *options) {
    PyObject *name = Py_None;
    PyObject *env = Py_None;
    static char *words[] = {"name", "env", NULL};
    PyObject *none = PyTuple_New(0);
    int parsed = none && PyArg_ParseTupleAndKeywords(none, options, "|$OO", words, &name, &env);
    Py_XDECREF(none);
    if (!parsed) return NULL;
    chunk c = {.world = ml_world_of_caller(), .prefix = prefix, .env = env, .args = args};
    if (!c.world || get_code(code, &c) != 0) return NULL;
    PyObject *full = chunk_name(name);
    c.name = full ? PyUnicode_AsUTF8(full) : NULL;
    if (c.name && ml_protect(c.world, do_run, &c) != 0) Py_CLEAR(c.result);
    Py_XDECREF(full);
    return c.result;
}

/* The first argument is code, the others go to it. */
static PyObject *run_now(const char *what, const char *prefix, PyObject *args, PyObject *options) {
    if (ml_check_count(what, PyTuple_GET_SIZE(args), 1, -1) != 0) return NULL;
    PyObject *rest = PyTuple_GetSlice(args, 1, PyTuple_GET_SIZE(args));
    PyObject *result = rest ? run(prefix, PyTuple_GET_ITEM(args, 0), rest, options) : NULL;
    Py_XDECREF(rest);
    return result;
}

PyObject *ml_lua_eval(PyObject *module, PyObject *args, PyObject *kwargs) {
    (void)module;
    return run_now("eval", "return ", args, kwargs);
}

PyObject *ml_lua_execute(PyObject *module, PyObject *args, PyObject *kwargs) {
    (void)module;
    return run_now("execute", NULL, args, kwargs);
}

PyObject *ml_lua_load(PyObject *module, PyObject *args, PyObject *kwargs) {
    (void)module;
    if (ml_check_count("load", PyTuple_GET_SIZE(args), 1, 1) != 0) return NULL;
    return run(NULL, PyTuple_GET_ITEM(args, 0), NULL, kwargs);
}
