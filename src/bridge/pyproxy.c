/* Python objects in Lua: the userdata, attributes, items and calls. */

#include "../lua/callsite.h"
#include "bridge.h"

static const char proxy_tag;

static ml_world *world(lua_State *L) { return lua_touserdata(L, lua_upvalueindex(1)); }

/* ---------------------------------------------------------------------------------- identity */

static void decref(void *o) { Py_DECREF((PyObject *)o); }

enum { WEIGHT = 256 }; /* of an object, about; see ml_world_weigh */

void ml_pyproxy_push(lua_State *L, ml_world *w, PyObject *o) {
    if (ml_identity_push(L, w, o)) return;
    ml_world_weigh(L, w, WEIGHT);
    ml_handle *h = ml_handle_push(L, w, &proxy_tag, w->proxies);
    ml_handle_set(h, Py_NewRef(o), decref);
    ml_identity_set(L, w, o);
}

PyObject *ml_handle_object(const ml_handle *h) {
    if (h->tag == &proxy_tag) return ml_handle_get(h);
    if (h->tag != &ml_greenlet_tag) return NULL;
    const ml_greenlet *g = ml_handle_get(h);
    return g ? ml_py_object(g) : NULL;
}

PyObject *ml_pyproxy_test(lua_State *L, int index) {
    const ml_handle *h = ml_handle_at(L, index);
    return h ? ml_handle_object(h) : NULL;
}

PyObject *ml_pyproxy_check(lua_State *L, const ml_world *w, int index) {
    PyObject *o = w->closed ? NULL : ml_pyproxy_test(L, index);
    if (o) return o;
    const ml_handle *h = ml_handle_at(L, index);
    if (h && h->tag == &proxy_tag) luaL_error(L, "the Python object has been released");
    luaL_typeerror(L, index, "Python object");
    return NULL;
}

PyObject *ml_pyproxy_self(lua_State *L, ml_world **w) {
    const ml_handle *h = ml_handle_at(L, 1);
    if (h && (h->tag == &proxy_tag || h->tag == &ml_greenlet_tag)) {
        *w = h->world; /* quicker to get than the upvalue */
        PyObject *o = (*w)->closed ? NULL : ml_handle_object(h);
        if (o) return o;
    }
    *w = world(L);
    return ml_pyproxy_check(L, *w, 1);
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

/* The attribute, or NULL; without an exception if it is only missing. */
static PyObject *get_attribute(ml_activation *a, PyObject *o, PyObject *key) {
    PyObject *value = NULL;
    if (ml_allowed(a, o, "getattr", key)) _PyObject_LookupAttr(o, key, &value);
    return value;
}

/* `o[key]` for a mapping: its item, else its attribute, so that d:items() works; else what a
   missing key gives. An attribute comes before __missing__, which may add the key. */
static PyObject *index_mapping(ml_activation *a, PyObject *o, PyObject *key) {
    PyObject *value = NULL;
    if (!ml_allowed(a, o, "getitem", key)) return NULL;
    if (!PyUnicode_CheckExact(key)) {
        value = get_item(o, key);
    } else if (PyDict_Check(o)) {
        value = Py_XNewRef(PyDict_GetItemWithError(o, key));
        if (!value && !PyErr_Occurred()) value = get_attribute(a, o, key);
        if (!value && !PyErr_Occurred() && !PyDict_CheckExact(o)) value = get_item(o, key);
    } else {
        value = get_item(o, key);
        if (!value && !PyErr_Occurred()) value = get_attribute(a, o, key);
    }
    return value || PyErr_Occurred() ? value : Py_NewRef(Py_None);
}

PyObject *ml_pyproxy_item_instead(ml_activation *a, PyObject *o, PyObject *key) {
    if (!has_items(o) || PyType_Check(o) || !PyErr_ExceptionMatches(PyExc_AttributeError)) {
        return NULL;
    }
    PyObject *type, *error, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    bool allowed = ml_allowed(a, o, "getitem", key);
    PyObject *value = allowed ? PyObject_GetItem(o, key) : NULL;
    if (value || !allowed) {
        Py_XDECREF(type);
        Py_XDECREF(error);
        Py_XDECREF(traceback);
        return value;
    }
    PyErr_Clear();
    PyErr_Restore(type, error, traceback);
    return NULL;
}

/* A string names an attribute, and only if there is none an item (a column, say). */
static PyObject *index_attribute(ml_activation *a, PyObject *o, PyObject *key) {
    if (!ml_allowed(a, o, "getattr", key)) return NULL;
    PyObject *value = PyObject_GetAttr(o, key);
    return value ? value : ml_pyproxy_item_instead(a, o, key);
}

static PyObject *index_key(lua_State *L, ml_activation *a, PyObject *o) {
    PyObject *key = ml_to_python(L, a->world, 2);
    if (!key) return NULL;
    PyObject *value = NULL;
    if (is_mapping(o)) {
        value = index_mapping(a, o, key);
    } else if (ml_allowed(a, o, "getitem", key)) {
        value = PyObject_GetItem(o, key);
    }
    Py_DECREF(key);
    return value;
}

static PyObject *index_text(lua_State *L, ml_activation *a, PyObject *o) {
    PyObject *name = ml_name_to_python(L, 2);
    if (!name) return NULL;
    PyObject *value = NULL;
    if (is_mapping(o)) {
        value = index_mapping(a, o, name);
    } else if (PyUnicode_CheckExact(name)) {
        value = index_attribute(a, o, name);
    } else if (ml_allowed(a, o, "getitem", name)) { /* bytes */
        value = PyObject_GetItem(o, name);
    }
    Py_DECREF(name);
    return value;
}

/* An item that is pushed without running any code of Python's: lists and tuples hold it meanwhile,
   and a scalar needs nobody to. */
static bool push_item(lua_State *L, PyObject *o) {
    bool list = PyList_CheckExact(o);
    if (!list && !PyTuple_CheckExact(o)) return false;
    if (!lua_isinteger(L, 2)) return false; /* 1.0 is no index in Python */
    lua_Integer i = lua_tointeger(L, 2);
    Py_ssize_t size = Py_SIZE(o);
    if (i < 0) i += size;
    if (i < 0 || i >= size) return false;
    return ml_scalar_to_lua(L, list ? PyList_GET_ITEM(o, i) : PyTuple_GET_ITEM(o, i));
}

int ml_pyproxy_index(lua_State *L) {
    ml_world *w;
    PyObject *o = ml_pyproxy_self(L, &w);
    int type = lua_type(L, 2);
    if (type == LUA_TNUMBER && !w->limits && push_item(L, o)) return 1;
    bool text = type == LUA_TSTRING;
    if (text && ml_is_method_lookup(L)) return ml_pycall_method(L, w, o);
    ml_activation a;
    ml_lua_leave(&a, L, w);
    PyObject *value = text ? index_text(L, &a, o) : index_key(L, &a, o);
    ml_lua_return(&a);
    return finish_value(L, w, value);
}

static int assign(lua_State *L, ml_activation *a, PyObject *o) {
    ml_world *w = a->world;
    bool text = lua_type(L, 2) == LUA_TSTRING;
    PyObject *key = text ? ml_name_to_python(L, 2) : ml_to_python(L, w, 2);
    PyObject *value = key ? ml_to_python(L, w, 3) : NULL;
    int result = -1;
    if (value) {
        bool item = is_mapping(o) || !PyUnicode_CheckExact(key);
        if (ml_allowed(a, o, item ? "setitem" : "setattr", key)) {
            result = item ? PyObject_SetItem(o, key, value) : PyObject_SetAttr(o, key, value);
        }
    }
    Py_XDECREF(key);
    Py_XDECREF(value);
    return result;
}

int ml_pyproxy_newindex(lua_State *L) {
    ml_world *w;
    PyObject *o = ml_pyproxy_self(L, &w);
    ml_activation a;
    ml_lua_leave(&a, L, w);
    int result = assign(L, &a, o);
    ml_lua_return(&a);
    return result == 0 ? 0 : ml_error_raise(L, w);
}

void ml_pyproxy_open(lua_State *L, ml_world *w) {
    static const luaL_Reg metamethods[] = {{"__index", ml_pyproxy_index},
                                           {"__newindex", ml_pyproxy_newindex},
                                           {"__call", ml_pycall},
                                           {"__gc", collect},
                                           {NULL, NULL}};
    lua_createtable(L, 0, 32);
    lua_pushlightuserdata(L, w);
    luaL_setfuncs(L, metamethods, 1);
    lua_pushliteral(L, "Python object");
    lua_setfield(L, -2, "__name");
    ml_pyoperators_register(L, w);
    w->proxies = luaL_ref(L, LUA_REGISTRYINDEX);
    ml_pycall_open(L, w);
}
