/* Lua values as Python values. */

#include "bridge.h"

PyObject *ml_text_to_python(const char *text, size_t length) {
    PyObject *s = PyUnicode_DecodeUTF8(text, (Py_ssize_t)length, NULL);
    if (s || !PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) return s;
    PyErr_Clear();
    s = PyUnicode_DecodeUTF8(text, (Py_ssize_t)length, "surrogatepass");
    if (s || !PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) return s;
    PyErr_Clear();
    return PyBytes_FromStringAndSize(text, (Py_ssize_t)length);
}

PyObject *ml_to_python(lua_State *L, ml_world *w, int index) {
    switch (lua_type(L, index)) {
        case LUA_TNONE:
        case LUA_TNIL: return Py_NewRef(Py_None);
        case LUA_TBOOLEAN: return PyBool_FromLong(lua_toboolean(L, index));
        case LUA_TNUMBER:
            return lua_isinteger(L, index) ? PyLong_FromLongLong(lua_tointeger(L, index))
                                           : PyFloat_FromDouble(lua_tonumber(L, index));
        case LUA_TSTRING: {
            size_t length;
            const char *text = lua_tolstring(L, index, &length);
            return ml_text_to_python(text, length);
        }
        case LUA_TUSERDATA: {
            PyObject *o = ml_pyproxy_test(L, index);
            return o ? Py_NewRef(o) : ml_luaproxy_new(L, w, index);
        }
        default: return ml_luaproxy_new(L, w, index);
    }
}

PyObject *ml_results_to_python(lua_State *L, ml_world *w, int count) {
    if (count == 0) return Py_NewRef(Py_None);
    if (count == 1) return ml_to_python(L, w, -1);
    PyObject *tuple = PyTuple_New(count);
    if (!tuple) return NULL;
    for (int i = 0; i < count; i++) {
        PyObject *item = ml_to_python(L, w, i - count);
        if (!item) {
            Py_DECREF(tuple);
            return NULL;
        }
        PyTuple_SET_ITEM(tuple, i, item);
    }
    return tuple;
}
