/* Python objects in Lua: operators, comparison, length, text and iteration. */

#include "bridge.h"

#include <string.h>

static ml_world *world(lua_State *L) { return lua_touserdata(L, lua_upvalueindex(1)); }

bool ml_may_operate(lua_State *L, ml_activation *a, const char *event, int count) {
    if (__builtin_expect(!a->world->limits, 1) || !event) return true;
    PyObject *name = PyUnicode_FromString(event);
    bool allowed = name != NULL;
    for (int i = 1; allowed && i <= count; i++) {
        PyObject *o = ml_pyproxy_test(L, i);
        if (o) allowed = ml_ask(a, o, "operator", name);
    }
    Py_XDECREF(name);
    return allowed;
}

/* The operands at 1 and 2 as Python objects (new references). 0 or -1. */
static int operands(lua_State *L, ml_world *w, PyObject **a, PyObject **b) {
    *a = ml_to_python(L, w, 1);
    *b = *a ? ml_to_python(L, w, 2) : NULL;
    if (*b) return 0;
    Py_XDECREF(*a);
    return -1;
}

/* -------------------------------------------------------------------------------- arithmetic */

static PyObject *power(PyObject *a, PyObject *b) { return PyNumber_Power(a, b, Py_None); }

/* Lua's `..` joins text, and sequences of one kind. */
static PyObject *concat(PyObject *a, PyObject *b) {
    if (!PyUnicode_Check(a) && !PyUnicode_Check(b)) return PySequence_Concat(a, b);
    PyObject *left = PyObject_Str(a);
    PyObject *right = left ? PyObject_Str(b) : NULL;
    PyObject *text = right ? PyUnicode_Concat(left, right) : NULL;
    Py_XDECREF(left);
    Py_XDECREF(right);
    return text;
}

static PyObject *negative(PyObject *a, PyObject *b) {
    (void)b;
    return PyNumber_Negative(a);
}

static PyObject *invert(PyObject *a, PyObject *b) {
    (void)b;
    return PyNumber_Invert(a);
}

typedef struct operator{
    const char *event;
    PyObject *(*function)(PyObject * a, PyObject * b);
}
operator;

static const operator operators[] = {
    {"__add", PyNumber_Add},
    {"__sub", PyNumber_Subtract},
    {"__mul", PyNumber_Multiply},
    {"__div", PyNumber_TrueDivide},
    {"__mod", PyNumber_Remainder},
    {"__pow", power},
    {"__idiv", PyNumber_FloorDivide},
    {"__band", PyNumber_And},
    {"__bor", PyNumber_Or},
    {"__bxor", PyNumber_Xor},
    {"__shl", PyNumber_Lshift},
    {"__shr", PyNumber_Rshift},
    {"__unm", negative},
    {"__bnot", invert},
    {"__concat", concat},
    {NULL, NULL},
};

/* Upvalue 2 is the operator. */
static int arithmetic(lua_State *L) {
    ml_world *w = world(L);
    const operator* op = lua_touserdata(L, lua_upvalueindex(2));
    PyObject *a, *b;
    PyObject *result = NULL;
    ml_activation activation;
    ml_lua_leave(&activation, L, w);
    if (ml_may_operate(L, &activation, op->event, 2) && operands(L, w, &a, &b) == 0) {
        result = op->function(a, b);
        Py_DECREF(a);
        Py_DECREF(b);
    }
    ml_lua_return(&activation);
    if (!result) return ml_error_raise(L, w);
    ml_to_lua_steal(L, w, result);
    return 1;
}

static int compare(lua_State *L, const char *event, int operation) {
    ml_world *w = world(L);
    PyObject *a, *b;
    int result = -1;
    ml_activation activation;
    ml_lua_leave(&activation, L, w);
    if (ml_may_operate(L, &activation, event, 2) && operands(L, w, &a, &b) == 0) {
        PyObject *answer = PyObject_RichCompare(a, b, operation);
        if (answer) result = PyObject_IsTrue(answer);
        Py_XDECREF(answer);
        Py_DECREF(a);
        Py_DECREF(b);
    }
    ml_lua_return(&activation);
    if (result < 0) return ml_error_raise(L, w);
    lua_pushboolean(L, result);
    return 1;
}

static int equal(lua_State *L) { return compare(L, "__eq", Py_EQ); }
static int less_than(lua_State *L) { return compare(L, "__lt", Py_LT); }
static int less_equal(lua_State *L) { return compare(L, "__le", Py_LE); }

/* ------------------------------------------------------------------------------- length, text */

/* Calls `function` with the object at 1, which is one by construction of the metatable unless the
   user took the metamethod out of it. */
static PyObject *apply(lua_State *L, const char *event, PyObject *(*function)(PyObject *)) {
    ml_world *w;
    PyObject *o = ml_pyproxy_self(L, &w);
    ml_activation activation;
    ml_lua_leave(&activation, L, w);
    PyObject *result = ml_may_operate(L, &activation, event, 1) ? function(o) : NULL;
    ml_lua_return(&activation);
    return result;
}

static PyObject *length(PyObject *o) {
    Py_ssize_t size = PyObject_Size(o);
    return size < 0 ? NULL : PyLong_FromSsize_t(size);
}

static int len(lua_State *L) { return ml_finish_call(L, world(L), apply(L, "__len", length)); }

/* The name of a class as Python's tracebacks have it: with its module, unless that is obvious. */
static PyObject *class_name(PyTypeObject *type) {
    PyObject *name = PyObject_GetAttrString((PyObject *)type, "__qualname__");
    PyObject *module = name ? PyObject_GetAttrString((PyObject *)type, "__module__") : NULL;
    PyObject *full = NULL;
    if (module && PyUnicode_Check(module) &&
        PyUnicode_CompareWithASCIIString(module, "builtins") != 0 &&
        PyUnicode_CompareWithASCIIString(module, "__main__") != 0) {
        full = PyUnicode_FromFormat("%U.%S", module, name);
    } else if (module) {
        full = Py_NewRef(name);
    }
    Py_XDECREF(name);
    Py_XDECREF(module);
    if (full && PyUnicode_Check(full)) return full;
    PyErr_Clear(); /* a metaclass of a kind */
    Py_XDECREF(full);
    return PyUnicode_FromString(type->tp_name);
}

/* Exceptions as Python's last line of a traceback has them, all else as str(). */
static PyObject *text(PyObject *o) {
    PyObject *s = PyObject_Str(o);
    if (!PyExceptionInstance_Check(o)) return s;
    if (!s) { /* as Python/pythonrun.c does: an error must not hide the error */
        PyErr_Clear();
        s = PyUnicode_FromString("<exception str() failed>");
        if (!s) return NULL;
    }
    PyObject *name = class_name(Py_TYPE(o));
    PyObject *line = name;
    if (name && PyUnicode_GET_LENGTH(s)) {
        line = PyUnicode_FromFormat("%S: %U", name, s);
        Py_DECREF(name);
    }
    Py_DECREF(s);
    return line;
}

static int to_string(lua_State *L) {
    ml_world *w = world(L);
    PyObject *o = ml_pyproxy_test(L, 1); /* without their text, errors would tell nothing */
    PyObject *s = apply(L, o && PyExceptionInstance_Check(o) ? NULL : "__tostring", text);
    if (!s) return ml_error_raise(L, w);
    if (PyUnicode_CheckExact(s)) {
        ml_to_lua_steal(L, w, s);
    } else { /* a subclass of str, which would be a proxy */
        PyObject *exact = PyUnicode_FromObject(s);
        Py_DECREF(s);
        if (!exact) return ml_error_raise(L, w);
        ml_to_lua_steal(L, w, exact);
    }
    return 1;
}

/* --------------------------------------------------------------------------------- iteration */

/* Pushes an item (stolen), a tuple as several values. `for` ends at nil: None comes as py.none, and
   an empty tuple as itself. */
static int finish_item(lua_State *L, ml_world *w, PyObject *item) {
    if (__builtin_expect(item != Py_None && !PyTuple_CheckExact(item), 1)) {
        ml_to_lua_steal(L, w, item);
        return 1;
    }
    if (item == Py_None || PyTuple_GET_SIZE(item) == 0) {
        ml_world_defer(w, (void (*)(void *))Py_DecRef, item);
        ml_pyproxy_push(L, w, item);
        return 1;
    }
    int count = ml_results_to_lua(L, w, item);
    if (lua_isnil(L, -count)) {
        ml_pyproxy_push(L, w, Py_None);
        lua_replace(L, -count - 1);
    }
    return count;
}

int ml_pyoperators_next(lua_State *L) {
    ml_world *w = world(L);
    PyObject *iterator = ml_pyproxy_test(L, 1);
    if (!iterator) return luaL_typeerror(L, 1, "Python iterator");
    if (!PyIter_Check(iterator)) {
        return luaL_error(L, "'%s' object is not an iterator", Py_TYPE(iterator)->tp_name);
    }
    ml_activation activation;
    ml_lua_leave(&activation, L, w);
    PyObject *item = ml_may_operate(L, &activation, "next", 1) ? PyIter_Next(iterator) : NULL;
    ml_lua_return(&activation);
    if (item) return finish_item(L, w, item);
    if (PyErr_Occurred()) return ml_error_raise(L, w);
    lua_pushnil(L);
    return 1;
}

/* pairs(o): keys and values of a mapping, indices (from 0) and items of everything else. */
static PyObject *pairs_iterator(PyObject *o) {
    PyObject *pairs;
    if (PyType_HasFeature(Py_TYPE(o), Py_TPFLAGS_MAPPING)) {
        PyObject *items = PyMapping_Items(o);
        pairs = items ? PyObject_GetIter(items) : NULL;
        Py_XDECREF(items);
    } else {
        pairs = PyObject_CallOneArg((PyObject *)&PyEnum_Type, o);
    }
    return pairs;
}

static int iterate(lua_State *L, const char *event, PyObject *(*function)(PyObject *)) {
    ml_world *w = world(L);
    PyObject *iterator = apply(L, event, function);
    if (!iterator) return ml_error_raise(L, w);
    lua_settop(L, 1);
    ml_to_lua_steal(L, w, iterator);
    lua_pushlightuserdata(L, w);
    lua_pushcclosure(L, ml_pyoperators_next, 1);
    lua_insert(L, -2);
    return 2;
}

static int pairs(lua_State *L) { return iterate(L, "__pairs", pairs_iterator); }

/* py.iter(o) */
int ml_pyoperators_iter(lua_State *L) { return iterate(L, "iter", PyObject_GetIter); }

void ml_pyoperators_register(lua_State *L, ml_world *w) {
    static const luaL_Reg metamethods[] = {{"__eq", equal},
                                           {"__lt", less_than},
                                           {"__le", less_equal},
                                           {"__len", len},
                                           {"__close", ml_context_close},
                                           {"__tostring", to_string},
                                           {"__pairs", pairs},
                                           {NULL, NULL}};
    lua_pushlightuserdata(L, w);
    luaL_setfuncs(L, metamethods, 1);
    for (const operator* op = operators; op->event; op++) {
        lua_pushlightuserdata(L, w);
        lua_pushlightuserdata(L, (void *)op);
        lua_pushcclosure(L, arithmetic, 2);
        lua_setfield(L, -2, op->event);
    }
}
