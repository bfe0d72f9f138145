/* Lua tables as mappings of Python. A missing key and a nil are the same: None. Reading and writing
   do what Lua does, metamethods included. */

#include "luaproxy.h"

/* ------------------------------------------------------------------------------------- views */

PyObject *ml_luatable_iter(PyObject *table) { return ml_luaiterator_of_table(table, ML_KEYS); }

static PyObject *view(PyObject *table, const char *name) {
    PyObject *type = ml_source_get(&ml_tables_source, name);
    PyObject *o = type ? PyObject_CallOneArg(type, table) : NULL;
    Py_XDECREF(type);
    return o;
}

static PyObject *keys(PyObject *self, PyObject *unused) {
    (void)unused;
    return view(self, "LuaKeys");
}

static PyObject *values(PyObject *self, PyObject *unused) {
    (void)unused;
    return view(self, "LuaValues");
}

static PyObject *items(PyObject *self, PyObject *unused) {
    (void)unused;
    return view(self, "LuaItems");
}

/* ----------------------------------------------------------------------------------- one key */

static PyObject *get_default(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    if (ml_check_count("get", count, 1, 2) != 0) return NULL;
    PyObject *value = PyObject_GetItem(self, args[0]);
    if (value != Py_None || count == 1) return value;
    Py_DECREF(value);
    return Py_NewRef(args[1]);
}

static int contains(PyObject *self, PyObject *key) {
    PyObject *value = PyObject_GetItem(self, key);
    if (!value) return -1;
    Py_DECREF(value);
    return value != Py_None;
}

PySequenceMethods ml_luatable_as_sequence = {.sq_contains = contains};

static PyObject *set_default(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    if (ml_check_count("setdefault", count, 1, 2) != 0) return NULL;
    PyObject *value = PyObject_GetItem(self, args[0]);
    if (value != Py_None || count == 1) return value;
    Py_DECREF(value);
    return PyObject_SetItem(self, args[0], args[1]) == 0 ? Py_NewRef(args[1]) : NULL;
}

static int do_pop(lua_State *L) {
    ml_task *task = lua_touserdata(L, 1);
    ml_push_lua_object(L, task->self);
    ml_to_lua(L, task->world, task->key);
    lua_pushvalue(L, 3);
    if (lua_gettable(L, 2) == LUA_TNIL) return 0;
    ml_give(L, task, 4);
    lua_pushvalue(L, 3);
    lua_pushnil(L);
    lua_settable(L, 2);
    return 0;
}

static PyObject *pop(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    if (ml_check_count("pop", count, 1, 2) != 0) return NULL;
    ml_task task = {.self = (LuaObject *)self, .key = args[0]};
    PyObject *value = ml_perform(do_pop, &task);
    if (value || PyErr_Occurred()) return value;
    if (count == 2) return Py_NewRef(args[1]);
    PyErr_SetObject(PyExc_KeyError, args[0]);
    return NULL;
}

static PyObject *pop_item(PyObject *self, PyObject *unused) {
    (void)unused;
    PyObject *iterator = ml_luaiterator_of_table(self, ML_ITEMS);
    PyObject *pair = iterator ? PyIter_Next(iterator) : NULL;
    if (iterator && !pair && !PyErr_Occurred()) {
        PyErr_SetString(PyExc_KeyError, "popitem(): the table is empty");
    }
    Py_XDECREF(iterator);
    if (pair && PyObject_DelItem(self, PyTuple_GET_ITEM(pair, 0)) != 0) Py_CLEAR(pair);
    return pair;
}

/* ---------------------------------------------------------------------------------- all keys */

/* Without __pairs it takes what is in the table itself, and needs no memory. */
static int do_clear(lua_State *L) {
    ml_task *task = lua_touserdata(L, 1);
    ml_push_lua_object(L, task->self);
    lua_pushnil(L);
    while (lua_next(L, 2)) {
        lua_pop(L, 1);
        lua_pushvalue(L, -1);
        lua_pushnil(L);
        lua_rawset(L, 2);
    }
    return 0;
}

static int do_look_for_pairs(lua_State *L) {
    ml_task *task = lua_touserdata(L, 1);
    ml_push_lua_object(L, task->self);
    task->number = luaL_getmetafield(L, 2, "__pairs") != LUA_TNIL;
    return 0;
}

static PyObject *clear(PyObject *self, PyObject *unused) {
    (void)unused;
    ml_task task = {.self = (LuaObject *)self};
    ml_perform(do_look_for_pairs, &task);
    if (PyErr_Occurred()) return NULL;
    if (!task.number) {
        ml_perform(do_clear, &task);
        if (PyErr_Occurred()) return NULL;
        Py_RETURN_NONE;
    }
    PyObject *all = PySequence_List(self);
    Py_ssize_t count = all ? PyList_GET_SIZE(all) : 0;
    int result = all ? 0 : -1;
    for (Py_ssize_t i = 0; i < count && result == 0; i++) {
        result = PyObject_DelItem(self, PyList_GET_ITEM(all, i));
    }
    Py_XDECREF(all);
    if (result != 0) return NULL;
    Py_RETURN_NONE;
}

/* A tuple of keys and values in turn, of a mapping or of an iterable of pairs: as
   dict(source) would read it. */
static PyObject *flatten(PyObject *source) {
    PyObject *keys_method = PyObject_GetAttrString(source, "keys");
    if (!keys_method && !PyErr_ExceptionMatches(PyExc_AttributeError)) return NULL;
    PyErr_Clear();
    PyObject *all = keys_method ? PyMapping_Items(source) : PySequence_List(source);
    Py_XDECREF(keys_method);
    Py_ssize_t count = all ? PyList_GET_SIZE(all) : 0;
    PyObject *flat = all ? PyTuple_New(2 * count) : NULL;
    for (Py_ssize_t i = 0; i < count && flat; i++) {
        PyObject *pair = PySequence_Tuple(PyList_GET_ITEM(all, i));
        if (pair && PyTuple_GET_SIZE(pair) == 2) {
            PyTuple_SET_ITEM(flat, 2 * i, Py_NewRef(PyTuple_GET_ITEM(pair, 0)));
            PyTuple_SET_ITEM(flat, 2 * i + 1, Py_NewRef(PyTuple_GET_ITEM(pair, 1)));
        } else {
            if (pair) {
                PyErr_Format(PyExc_ValueError,
                             "item %zd has length %zd, where a key and a value are expected", i,
                             PyTuple_GET_SIZE(pair));
            }
            Py_CLEAR(flat);
        }
        Py_XDECREF(pair);
    }
    Py_XDECREF(all);
    return flat;
}

static int do_update(lua_State *L) {
    ml_task *task = lua_touserdata(L, 1);
    ml_push_lua_object(L, task->self);
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(task->value); i += 2) {
        ml_to_lua(L, task->world, PyTuple_GET_ITEM(task->value, i));
        ml_to_lua(L, task->world, PyTuple_GET_ITEM(task->value, i + 1));
        lua_settable(L, 2);
    }
    return 0;
}

int ml_luatable_update(PyObject *table, PyObject *source) {
    PyObject *flat = flatten(source);
    if (!flat) return -1;
    ml_task task = {.self = (LuaObject *)table, .value = flat};
    ml_perform(do_update, &task);
    Py_DECREF(flat);
    return PyErr_Occurred() ? -1 : 0;
}

static PyObject *update(PyObject *self, PyObject *args, PyObject *kwargs) {
    if (ml_check_count("update", PyTuple_GET_SIZE(args), 0, 1) != 0) return NULL;
    if (PyTuple_GET_SIZE(args) && ml_luatable_update(self, PyTuple_GET_ITEM(args, 0)) != 0) {
        return NULL;
    }
    if (kwargs && ml_luatable_update(self, kwargs) != 0) return NULL;
    Py_RETURN_NONE;
}

/* ------------------------------------------------------------------------------ text and copies */

enum { MOST_SHOWN = 8, LONGEST_SHOWN = 40 };

/* A scalar as Python writes it, of all else the type: no code of the user runs. New reference or
   NULL. */
static PyObject *describe(lua_State *L, ml_world *w, int index) {
    int type = lua_type(L, index);
    if (type > LUA_TSTRING || type == LUA_TLIGHTUSERDATA) {
        PyObject *o = ml_pyproxy_test(L, index);
        return PyUnicode_FromFormat("<%s>", o ? Py_TYPE(o)->tp_name : lua_typename(L, type));
    }
    if (type == LUA_TSTRING && lua_rawlen(L, index) > LONGEST_SHOWN) {
        PyObject *start =
            PyUnicode_DecodeUTF8(lua_tostring(L, index), LONGEST_SHOWN, "backslashreplace");
        PyObject *text = start ? PyUnicode_FromFormat("%R...", start) : NULL;
        Py_XDECREF(start);
        return text;
    }
    PyObject *value = ml_to_python(L, w, index);
    PyObject *text = value ? PyObject_Repr(value) : NULL;
    Py_XDECREF(value);
    return text;
}

/* Sets task->result to a list of texts "key: value". */
static int do_describe(lua_State *L) {
    ml_task *task = lua_touserdata(L, 1);
    ml_push_lua_object(L, task->self);
    task->result = PyList_New(0);
    lua_pushnil(L);
    while (task->result && lua_next(L, 2)) {
        bool enough = PyList_GET_SIZE(task->result) == MOST_SHOWN;
        PyObject *key = describe(L, task->world, -2);
        PyObject *value = key ? describe(L, task->world, -1) : NULL;
        PyObject *entry = NULL;
        if (value) {
            entry =
                enough ? PyUnicode_FromString("...") : PyUnicode_FromFormat("%U: %U", key, value);
        }
        if (!entry || PyList_Append(task->result, entry) != 0) Py_CLEAR(task->result);
        Py_XDECREF(key);
        Py_XDECREF(value);
        Py_XDECREF(entry);
        if (enough) return 0;
        lua_pop(L, 1);
    }
    return 0;
}

PyObject *ml_luatable_repr(PyObject *self) {
    PyObject *plain = ml_LuaObject_Type.tp_repr(self);
    const ml_world *w = ((LuaObject *)self)->world;
    if (!plain || w->closed || ml_this_thread_or_null() != w->thread) return plain;
    ml_task task = {.self = (LuaObject *)self};
    PyObject *entries = ml_perform(do_describe, &task);
    PyObject *comma = entries ? PyUnicode_FromString(", ") : NULL;
    PyObject *content = comma ? PyUnicode_Join(comma, entries) : NULL;
    PyObject *start =
        content ? PyUnicode_Substring(plain, 0, PyUnicode_GET_LENGTH(plain) - 1) : NULL;
    PyObject *text = start ? PyUnicode_FromFormat("%U {%U}>", start, content) : NULL;
    Py_DECREF(plain);
    Py_XDECREF(entries);
    Py_XDECREF(comma);
    Py_XDECREF(content);
    Py_XDECREF(start);
    return text;
}

/* An object of the scheduler has one life: what would a copy of a task be? 0, or -1 and a TypeError. */
static int check_copy(PyObject *self) {
    if (!ml_has_class(self)) return 0;
    PyErr_Format(PyExc_TypeError, "cannot copy '%s' object", Py_TYPE(self)->tp_name);
    return -1;
}

static PyObject *copy(PyObject *self, PyObject *unused) {
    (void)unused;
    if (check_copy(self) != 0) return NULL;
    return ml_luatable_copy(self, true);
}

static PyObject *deep_copy(PyObject *self, PyObject *memo) {
    if (check_copy(self) != 0) return NULL;
    PyObject *function = ml_source_get(&ml_tables_source, "deepcopy");
    PyObject *args[] = {self, memo};
    PyObject *result = function ? PyObject_Vectorcall(function, args, 2, NULL) : NULL;
    Py_XDECREF(function);
    return result;
}

PyMethodDef ml_luatable_methods[] = {
    {"__copy__", copy, METH_NOARGS,
     "A new table with the same fields and metatable, for copy.copy()."},
    {"__deepcopy__", deep_copy, METH_O,
     "The same with copies of what it contains, for copy.deepcopy()."},
    {"keys", keys, METH_NOARGS,
     "keys($self, /)\n--\n\nA live view of the keys, as Lua's pairs() gives them."},
    {"values", values, METH_NOARGS, "values($self, /)\n--\n\nA live view of the values."},
    {"items", items, METH_NOARGS,
     "items($self, /)\n--\n\nA live view of the pairs of key and value."},
    {"get", (PyCFunction)(void (*)(void))get_default, METH_FASTCALL,
     "get($self, key, default=None, /)\n--\n\nThe value, or default if it is nil."},
    {"setdefault", (PyCFunction)(void (*)(void))set_default, METH_FASTCALL,
     "setdefault($self, key, default=None, /)\n--\n\n"
     "The value; if it is nil, default, which becomes the value."},
    {"pop", (PyCFunction)(void (*)(void))pop, METH_FASTCALL,
     "pop($self, key, default=..., /)\n--\n\n"
     "Removes the key and returns its value. If it is nil: default, or KeyError without one."},
    {"popitem", pop_item, METH_NOARGS,
     "popitem($self, /)\n--\n\nRemoves a key and returns the pair. KeyError if the table is empty."},
    {"clear", clear, METH_NOARGS, "clear($self, /)\n--\n\nRemoves all keys."},
    {"update", (PyCFunction)(void (*)(void))update, METH_VARARGS | METH_KEYWORDS,
     "update($self, source=(), /, **fields)\n--\n\n"
     "Assigns what is in a mapping or in an iterable of pairs, then the keyword arguments."},
    {NULL, NULL, 0, NULL},
};
