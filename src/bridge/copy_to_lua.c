/* Deep copies of Python containers as Lua tables. */

#include "copy.h"

#include <limits.h>

static ml_world *world(lua_State *L) { return lua_touserdata(L, lua_upvalueindex(1)); }

/* Text that is no str but a Sequence, whose items are such text again. */
static bool is_user_string(ml_copy *c, PyObject *o) {
    if (!c->user_string) {
        PyObject *name = PyUnicode_FromString("collections");
        PyObject *module = name ? PyImport_GetModule(name) : NULL; /* not imported: no instances */
        if (module) c->user_string = PyObject_GetAttrString(module, "UserString");
        Py_XDECREF(name);
        Py_XDECREF(module);
        PyErr_Clear();
    }
    return c->user_string && PyType_Check(c->user_string) &&
           PyObject_TypeCheck(o, (PyTypeObject *)c->user_string);
}

/* What becomes a table wherever it is. */
static ml_form form_of_object(ml_copy *c, PyObject *o) {
    PyTypeObject *type = Py_TYPE(o);
    if (PyDict_CheckExact(o)) return DICT;
    if (PyList_Check(o)) return LIST;
    if (PyTuple_Check(o)) return TUPLE;
    if (PyAnySet_Check(o)) return SET;
    if (ml_is_lua_object(o) && ((LuaObject *)o)->world == c->world) return OTHER;
    if (PyType_HasFeature(type, Py_TPFLAGS_MAPPING) || PyDict_Check(o)) return MAPPING;
    if (PyType_HasFeature(type, Py_TPFLAGS_SEQUENCE) && !is_user_string(c, o)) return ITERABLE;
    return OTHER;
}

/* What the top object is copied as; OTHER, with an exception, if it is no container. */
static ml_form form_of_top(ml_copy *c, PyObject *o) {
    ml_form form = form_of_object(c, o);
    if (form != OTHER) return form;
    if (!PyUnicode_Check(o) && !PyBytes_Check(o) && !is_user_string(c, o)) return ITERABLE;
    PyErr_Format(PyExc_TypeError, "cannot make a table of a '%s' object", Py_TYPE(o)->tp_name);
    return OTHER;
}

static int clamp(Py_ssize_t size) { return size < INT_MAX ? (int)size : INT_MAX; }

/* Pushes a new table for `o`, which is remembered. Raises. */
static void push_table(lua_State *L, ml_copy *c, PyObject *o, ml_form form) {
    lua_Integer number = ml_copy_add(L, c, Py_NewRef(o), form);
    switch (form) {
        case LIST:
        case TUPLE: lua_createtable(L, clamp(Py_SIZE(o)), 0); break;
        case SET: lua_createtable(L, 0, clamp(PySet_GET_SIZE(o))); break;
        case DICT: lua_createtable(L, 0, clamp(PyDict_GET_SIZE(o))); break;
        default: lua_newtable(L);
    }
    lua_pushvalue(L, -1);
    lua_rawseti(L, TABLES, number);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, MEMO, o);
}

/* Pushes an item or a value: containers as their table, None as what stands for it. Raises. */
static void push_value(lua_State *L, ml_copy *c, PyObject *o) {
    if (o == Py_None) {
        lua_pushvalue(L, SOURCE);
        return;
    }
    ml_form form = form_of_object(c, o);
    if (form == OTHER) {
        ml_to_lua(L, c->world, o);
    } else if (lua_rawgetp(L, MEMO, o) == LUA_TNIL) {
        lua_pop(L, 1);
        push_table(L, c, o, form);
    }
}

/* Pushes a key, which is never copied: a tuple is found by its identity alone. Raises if no table
   can have it, or the one on top has. */
static void push_key(lua_State *L, ml_copy *c, PyObject *o) {
    int table = lua_gettop(L);
    if (o == Py_None) {
        lua_pushvalue(L, SOURCE);
    } else {
        ml_to_lua(L, c->world, o);
    }
    bool is_nan = lua_type(L, -1) == LUA_TNUMBER && !lua_rawequal(L, -1, -1);
    if (lua_isnil(L, -1) || is_nan) {
        PyErr_Format(PyExc_ValueError, "%R cannot be a key of a Lua table", o);
        ml_copy_fail(L);
    }
    lua_pushvalue(L, -1);
    if (lua_rawget(L, table) != LUA_TNIL) { /* text, as str and as bytes */
        PyErr_Format(PyExc_ValueError, "two keys are equal in Lua: %R", o);
        ml_copy_fail(L);
    }
    lua_pop(L, 1);
}

/* Sets the pair c->key and c->value, which it releases, in the table on top. */
static void set_pair(lua_State *L, ml_copy *c) {
    push_key(L, c, c->key);
    push_value(L, c, c->value);
    lua_rawset(L, -3);
    Py_CLEAR(c->key);
    Py_CLEAR(c->value);
}

/* Iterates with care: whatever Lua's collector runs meanwhile may change the dict. */
static void fill_from_dict(lua_State *L, ml_copy *c, PyObject *o) {
    Py_ssize_t position = 0;
    PyObject *key, *value;
    while (PyDict_Next(o, &position, &key, &value)) {
        c->key = Py_NewRef(key);
        c->value = Py_NewRef(value);
        set_pair(L, c);
    }
}

static void fill_from_mapping(lua_State *L, ml_copy *c, PyObject *o) {
    lua_Integer number = ml_copy_add(L, c, PyMapping_Items(o), OTHER); /* keeps it */
    PyObject *items = c->pairs[number - 1].o;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(items); i++) {
        PyObject *item = PyList_GET_ITEM(items, i);
        if (!PyTuple_Check(item) || PyTuple_GET_SIZE(item) != 2) {
            PyErr_Format(PyExc_TypeError, "items() of '%s' gave no pairs", Py_TYPE(o)->tp_name);
            ml_copy_fail(L);
        }
        c->key = Py_NewRef(PyTuple_GET_ITEM(item, 0));
        c->value = Py_NewRef(PyTuple_GET_ITEM(item, 1));
        set_pair(L, c);
    }
}

/* Sets item i of the table on top. Returns whether it is nil. */
static bool set_item(lua_State *L, ml_copy *c, lua_Integer i) {
    push_value(L, c, c->value);
    Py_CLEAR(c->value);
    bool hole = lua_isnil(L, -1);
    if (hole) {
        lua_pop(L, 1);
    } else {
        lua_rawseti(L, -2, i);
    }
    return hole;
}

/* A table with holes tells its length as that of table.pack does. */
static void set_length(lua_State *L, lua_Integer count, bool holes) {
    if (!holes) return;
    lua_pushliteral(L, "n");
    lua_pushinteger(L, count);
    lua_rawset(L, -3);
}

static void fill_from_sequence(lua_State *L, ml_copy *c, PyObject *o) {
    bool list = PyList_Check(o);
    bool holes = false;
    Py_ssize_t i = 0;
    while (i < Py_SIZE(o)) {
        c->value = Py_NewRef(list ? PyList_GET_ITEM(o, i) : PyTuple_GET_ITEM(o, i));
        holes |= set_item(L, c, ++i);
    }
    set_length(L, i, holes);
}

static void fill_from_iterable(lua_State *L, ml_copy *c, PyObject *o, bool set) {
    lua_Integer number = ml_copy_add(L, c, PyObject_GetIter(o), OTHER);
    bool holes = false;
    lua_Integer i = 0;
    for (;;) {
        c->value = PyIter_Next(c->pairs[number - 1].o);
        if (!c->value) break;
        if (set) {
            push_key(L, c, c->value);
            lua_pushboolean(L, true);
            lua_rawset(L, -3);
            Py_CLEAR(c->value);
        } else {
            holes |= set_item(L, c, ++i);
        }
    }
    if (PyErr_Occurred()) ml_copy_fail(L);
    set_length(L, i, holes);
}

/* Whether the script may copy `o`. If not, an exception is set. */
static bool may_copy(ml_copy *c, PyObject *o) {
    if (!c->world->limits) return true;
    PyObject *name = PyUnicode_InternFromString("table");
    bool allowed = name && ml_ask(c->activation, o, "operator", name);
    Py_XDECREF(name);
    return allowed;
}

static int work_to_lua(lua_State *L) {
    ml_copy *c = lua_touserdata(L, STATE);
    luaL_checkstack(L, 16, NULL);
    lua_newtable(L);
    lua_newtable(L);
    ml_form top = form_of_top(c, c->object);
    if (top == OTHER) ml_copy_fail(L);
    push_table(L, c, c->object, top);
    for (size_t i = 0; i < c->count; i++) {
        ml_pair p = c->pairs[i];
        if (PyErr_CheckSignals() != 0) ml_copy_fail(L);
        if (p.form == OTHER) continue;
        if (!may_copy(c, p.o)) ml_copy_fail(L);
        lua_rawgeti(L, TABLES, (lua_Integer)i + 1);
        switch (p.form) {
            case DICT: fill_from_dict(L, c, p.o); break;
            case MAPPING: fill_from_mapping(L, c, p.o); break;
            case LIST:
            case TUPLE: fill_from_sequence(L, c, p.o); break;
            default: fill_from_iterable(L, c, p.o, p.form == SET); break;
        }
        lua_pop(L, 1);
    }
    lua_rawgeti(L, TABLES, 1);
    return 1;
}

/* moonlet.table(o [, none]): a table of a Python container, and of the containers in it. Mappings
   become tables with their pairs, sets tables with true for each element; lists, tuples and all
   other sequences but text tables from index 1 on. Any iterable can be `o`. None becomes `none`;
   where that is nil, pairs with this value are left out, and a list with such a hole gets a field n
   with its length. Keys and elements of sets are not copied (they would not be found any more). All
   else crosses as anywhere else. ValueError for a key that no Lua table can have (None, nan) and for
   two that are equal in Lua ("a" and b"a"); TypeError for what is no container. */
static int make_table(lua_State *L) {
    ml_world *w = world(L);
    PyObject *o = ml_pyproxy_test(L, 1);
    if (!o) return luaL_typeerror(L, 1, "Python object");
    lua_settop(L, 2);
    ml_copy c = {.world = w, .object = o};
    return ml_copy_run(L, &c, work_to_lua, 2, NULL) ? 1 : ml_copy_raise(L, w);
}

void ml_copy_register_table(lua_State *L, ml_world *w) {
    lua_pushlightuserdata(L, w);
    lua_pushcclosure(L, make_table, 1);
    lua_setfield(L, -2, "table");
}
