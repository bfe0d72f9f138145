/* Python objects in Lua: the userdata, attributes, items and calls. */

#include "bridge.h"

#include <string.h>

static const char proxy_tag; /* registry: the metatable */

static ml_world *world(lua_State *L) { return lua_touserdata(L, lua_upvalueindex(1)); }

/* ---------------------------------------------------------------------------------- identity */

static void decref(void *o) { Py_DECREF((PyObject *)o); }

void ml_pyproxy_push(lua_State *L, ml_world *w, PyObject *o) {
    if (ml_identity_push(L, o)) return;
    ml_handle *h = ml_handle_push(L, w, &proxy_tag);
    ml_handle_set(h, Py_NewRef(o), decref);
    ml_identity_set(L, o);
}

PyObject *ml_pyproxy_test(lua_State *L, int index) {
    const ml_handle *h = ml_handle_at(L, index);
    if (!h) return NULL;
    if (h->tag == &proxy_tag) return ml_handle_get(h);
    if (h->tag != &ml_greenlet_tag) return NULL;
    const ml_greenlet *g = ml_handle_get(h);
    return g ? ml_py_object(g) : NULL;
}

/* The object at `index`, or an error: it was finalized, or is no Python object. */
static PyObject *check(lua_State *L, const ml_world *w, int index) {
    PyObject *o = w->closed ? NULL : ml_pyproxy_test(L, index);
    if (o) return o;
    const ml_handle *h = ml_handle_at(L, index);
    if (h && h->tag == &proxy_tag) luaL_error(L, "the Python object has been released");
    luaL_typeerror(L, index, "Python object");
    return NULL;
}

static int collect(lua_State *L) {
    ml_handle_collect(L, decref);
    return 0;
}

int ml_finish_call(lua_State *L, ml_world *w, PyObject *result) {
    if (!result) return ml_error_raise(L, w);
    return ml_results_to_lua(L, w, result);
}

/* One value, as it is: what attributes and items give. */
static int finish_value(lua_State *L, ml_world *w, PyObject *value) {
    if (!value) return ml_error_raise(L, w);
    ml_to_lua_steal(L, w, value);
    return 1;
}

/* --------------------------------------------------------------------- attributes and items */

static bool is_mapping(PyObject *o) { return PyType_HasFeature(Py_TYPE(o), Py_TPFLAGS_MAPPING); }

static bool has_items(PyObject *o) {
    const PyMappingMethods *m = Py_TYPE(o)->tp_as_mapping;
    return m && m->mp_subscript && !PyType_HasFeature(Py_TYPE(o), Py_TPFLAGS_SEQUENCE);
}

/* The item of a mapping, or NULL; without an exception if it is only missing. */
static PyObject *get_item(PyObject *o, PyObject *key) {
    PyObject *value = PyObject_GetItem(o, key);
    if (!value && PyErr_ExceptionMatches(PyExc_KeyError)) PyErr_Clear();
    return value;
}

static PyObject *get_attribute(PyObject *o, PyObject *key) {
    PyObject *value = PyObject_GetAttr(o, key);
    if (!value && PyErr_ExceptionMatches(PyExc_AttributeError)) PyErr_Clear();
    return value;
}

/* `o[key]` for a mapping: its item, else its attribute, so that d:items() works; else what a
   missing key gives. An attribute comes before __missing__, which may add the key. */
static PyObject *index_mapping(PyObject *o, PyObject *key) {
    PyObject *value = NULL;
    if (!PyUnicode_CheckExact(key)) {
        value = get_item(o, key);
    } else if (PyDict_Check(o)) {
        value = Py_XNewRef(PyDict_GetItemWithError(o, key));
        if (!value && !PyErr_Occurred()) value = get_attribute(o, key);
        if (!value && !PyErr_Occurred() && !PyDict_CheckExact(o)) value = get_item(o, key);
    } else {
        value = get_item(o, key);
        if (!value && !PyErr_Occurred()) value = get_attribute(o, key);
    }
    return value || PyErr_Occurred() ? value : Py_NewRef(Py_None);
}

/* A string names an attribute, and only if there is none an item (a column, say). */
static PyObject *index_attribute(PyObject *o, PyObject *key) {
    PyObject *value = PyObject_GetAttr(o, key);
    if (value || !has_items(o) || !PyErr_ExceptionMatches(PyExc_AttributeError)) return value;
    PyObject *type, *error, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    value = PyType_Check(o) ? NULL : PyObject_GetItem(o, key);
    if (value) {
        Py_XDECREF(type);
        Py_XDECREF(error);
        Py_XDECREF(traceback);
        return value;
    }
    PyErr_Clear();
    PyErr_Restore(type, error, traceback);
    return NULL;
}

static PyObject *index_any(lua_State *L, ml_world *w, PyObject *o) {
    PyObject *key = ml_to_python(L, w, 2);
    if (!key) return NULL;
    PyObject *value;
    if (is_mapping(o)) {
        value = index_mapping(o, key);
    } else if (PyUnicode_CheckExact(key)) {
        value = index_attribute(o, key);
    } else {
        value = PyObject_GetItem(o, key);
    }
    Py_DECREF(key);
    return value;
}

int ml_pyproxy_index(lua_State *L) {
    ml_world *w = world(L);
    PyObject *o = check(L, w, 1);
    ml_activation a;
    ml_lua_leave(&a, L, w);
    PyObject *value = index_any(L, w, o);
    ml_lua_return(&a);
    return finish_value(L, w, value);
}

static int assign(lua_State *L, ml_world *w, PyObject *o) {
    PyObject *key = ml_to_python(L, w, 2);
    PyObject *value = key ? ml_to_python(L, w, 3) : NULL;
    int result = -1;
    if (value) {
        if (is_mapping(o) || !PyUnicode_CheckExact(key)) {
            result = PyObject_SetItem(o, key, value);
        } else {
            result = PyObject_SetAttr(o, key, value);
        }
    }
    Py_XDECREF(key);
    Py_XDECREF(value);
    return result;
}

int ml_pyproxy_newindex(lua_State *L) {
    ml_world *w = world(L);
    PyObject *o = check(L, w, 1);
    ml_activation a;
    ml_lua_leave(&a, L, w);
    int result = assign(L, w, o);
    ml_lua_return(&a);
    return result == 0 ? 0 : ml_error_raise(L, w);
}

/* ------------------------------------------------------------------------------------- calls */

enum { SMALL = 8 };

/* Calls `callable` with the arguments at first ... top of L. */
static PyObject *call(lua_State *L, ml_world *w, PyObject *callable, int first) {
    int count = lua_gettop(L) - first + 1;
    PyObject *kwargs = NULL;
    if (count > 0 && ml_is_kw(L, w, -1)) {
        kwargs = ml_kw_to_python(L, w, lua_gettop(L));
        if (!kwargs) return NULL;
        count--;
    }
    PyObject *small[SMALL + 1];
    PyObject **args = small; /* args[0] is the callee's to use (PEP 590) */
    PyObject *result = NULL;
    int done = 0;
    if (count > SMALL) {
        args = PyMem_Malloc(((size_t)count + 1) * sizeof *args);
        if (!args) {
            PyErr_NoMemory();
            goto end;
        }
    }
    for (; done < count; done++) {
        if (__builtin_expect(ml_is_kw(L, w, first + done), 0)) {
            PyErr_SetString(PyExc_TypeError, "py.kw must be the last argument");
            goto end;
        }
        args[done + 1] = ml_to_python(L, w, first + done);
        if (!args[done + 1]) goto end;
    }
    size_t n = (size_t)count | PY_VECTORCALL_ARGUMENTS_OFFSET;
    result = kwargs ? PyObject_VectorcallDict(callable, args + 1, n, kwargs)
                    : PyObject_Vectorcall(callable, args + 1, n, NULL);
end:
    while (done > 0) Py_DECREF(args[done--]);
    if (args && args != small) PyMem_Free(args);
    Py_XDECREF(kwargs);
    return result;
}

/* o:m(...) is o.m(o, ...) to Lua, but o.m is bound already: the call says how it was written. */
static bool is_method_call(lua_State *L) {
    lua_Debug ar;
    return lua_type(L, 2) == LUA_TUSERDATA && ml_pyproxy_test(L, 2) && lua_getstack(L, 0, &ar) &&
           lua_getinfo(L, "n", &ar) && strcmp(ar.namewhat, "method") == 0;
}

static int call_method(lua_State *L) {
    ml_world *w = world(L);
    PyObject *callable = check(L, w, 1);
    int first = is_method_call(L) ? 3 : 2;
    luaL_checkstack(L, 8, NULL);
    ml_activation a;
    ml_lua_leave(&a, L, w);
    PyObject *result = call(L, w, callable, first);
    ml_lua_return(&a);
    return ml_finish_call(L, w, result);
}

void ml_pyproxy_open(lua_State *L, ml_world *w) {
    static const luaL_Reg metamethods[] = {{"__index", ml_pyproxy_index},
                                           {"__newindex", ml_pyproxy_newindex},
                                           {"__call", call_method},
                                           {"__gc", collect},
                                           {NULL, NULL}};
    lua_createtable(L, 0, 32);
    lua_pushlightuserdata(L, w);
    luaL_setfuncs(L, metamethods, 1);
    lua_pushliteral(L, "Python object");
    lua_setfield(L, -2, "__name");
    ml_pyoperators_register(L, w);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &proxy_tag);
}
