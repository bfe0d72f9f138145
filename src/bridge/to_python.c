/* Lua values as Python values. */

#include "bridge.h"

#include <string.h>

PyObject *ml_text_to_python(const char *text, size_t length) {
    PyObject *s = PyUnicode_DecodeUTF8(text, (Py_ssize_t)length, NULL);
    if (s || !PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) return s;
    PyErr_Clear();
    s = PyUnicode_DecodeUTF8(text, (Py_ssize_t)length, "surrogatepass");
    if (s || !PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) return s;
    PyErr_Clear();
    return PyBytes_FromStringAndSize(text, (Py_ssize_t)length);
}

/* Short text that Lua has shown lately, as str, by its address: Lua keeps short strings once. An
   entry proves itself by its content, as the address may be another string's by now. Only ASCII. */
enum { CACHE_SIZE = 1024, SHORT_TEXT = 40 /* LUAI_MAXSHORTLEN of llimits.h */ };

typedef struct cached {
    const char *text;
    PyObject *str;
} cached;

static cached cache[CACHE_SIZE];

static cached *entry_of(const char *text) {
    uintptr_t address = (uintptr_t)text;
    return &cache[(address >> 4 ^ address >> 14) % CACHE_SIZE];
}

/* memcmp for names, most of which are not worth a call. */
static inline bool is_same(const char *a, const char *b, size_t length) {
    for (; length >= 8; a += 8, b += 8, length -= 8) {
        uint64_t x, y;
        memcpy(&x, a, 8);
        memcpy(&y, b, 8);
        if (x != y) return false;
    }
    while (length > 0 && a[length - 1] == b[length - 1]) length--;
    return length == 0;
}

static inline bool is_cached(const cached *entry, const char *text, size_t length) {
    return entry->text == text && PyUnicode_GET_LENGTH(entry->str) == (Py_ssize_t)length &&
           is_same((const char *)PyUnicode_1BYTE_DATA(entry->str), text, length);
}

static PyObject *remember(cached *entry, const char *text, PyObject *str) {
    if (str && PyUnicode_CheckExact(str) && PyUnicode_IS_ASCII(str)) {
        entry->text = text;
        Py_INCREF(str);
        Py_XSETREF(entry->str, str);
    }
    return str;
}

static PyObject *string_to_python(lua_State *L, int index) {
    size_t length;
    const char *text = lua_tolstring(L, index, &length);
    if (length > SHORT_TEXT) return ml_text_to_python(text, length);
    cached *entry = entry_of(text);
    if (is_cached(entry, text, length)) return Py_NewRef(entry->str);
    return remember(entry, text, ml_text_to_python(text, length));
}

/* CPython looks up attributes faster by strings that are interned (type_lookup's method cache and
   dict keys compare addresses first). */
PyObject *ml_name_to_python(lua_State *L, int index) {
    size_t length;
    const char *text = lua_tolstring(L, index, &length);
    cached *entry = length > SHORT_TEXT ? NULL : entry_of(text);
    if (entry && is_cached(entry, text, length) && PyUnicode_CHECK_INTERNED(entry->str)) {
        return Py_NewRef(entry->str);
    }
    PyObject *name = ml_text_to_python(text, length);
    if (name && PyUnicode_CheckExact(name)) PyUnicode_InternInPlace(&name);
    return entry ? remember(entry, text, name) : name;
}

PyObject *ml_typed_to_python(lua_State *L, ml_world *w, int index, int type) {
    switch (type) {
        case LUA_TNONE:
        case LUA_TNIL: return Py_NewRef(Py_None);
        case LUA_TBOOLEAN: return PyBool_FromLong(lua_toboolean(L, index));
        case LUA_TNUMBER:
            return lua_isinteger(L, index) ? PyLong_FromLongLong(lua_tointeger(L, index))
                                           : PyFloat_FromDouble(lua_tonumber(L, index));
        case LUA_TSTRING: return string_to_python(L, index);
        case LUA_TUSERDATA: {
            PyObject *o = ml_pyproxy_test(L, index);
            if (!o) return ml_luaproxy_new(L, w, index);
            return Py_NewRef(Py_TYPE(o) == &ml_Box_Type ? ml_box_content(o) : o);
        }
        default: return ml_luaproxy_new(L, w, index);
    }
}

PyObject *ml_to_python(lua_State *L, ml_world *w, int index) {
    return ml_typed_to_python(L, w, index, lua_type(L, index));
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
