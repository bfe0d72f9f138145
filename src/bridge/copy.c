/* Deep copies of Lua tables as Python containers. */

#include "copy.h"

static ml_world *world(lua_State *L) { return lua_touserdata(L, lua_upvalueindex(1)); }

int ml_copy_fail(lua_State *L) {
    lua_pushnil(L);
    return lua_error(L);
}

int ml_copy_raise(lua_State *L, ml_world *w) {
    return PyErr_Occurred() ? ml_error_raise(L, w) : lua_error(L);
}

lua_Integer ml_copy_add(lua_State *L, ml_copy *c, PyObject *o, ml_form form) {
    if (o && c->count == c->capacity) {
        size_t capacity = c->capacity ? 2 * c->capacity : 16;
        ml_pair *pairs = PyMem_Realloc(c->pairs, capacity * sizeof *pairs);
        if (pairs) {
            c->pairs = pairs;
            c->capacity = capacity;
        } else {
            Py_CLEAR(o);
            PyErr_NoMemory();
        }
    }
    if (!o) return ml_copy_fail(L);
    c->pairs[c->count++] = (ml_pair){.o = o, .form = form};
    return (lua_Integer)c->count;
}

bool ml_copy_run(lua_State *L, ml_copy *c, lua_CFunction work, int source, PyObject **result) {
    luaL_checkstack(L, 8, NULL);
    ml_activation a;
    ml_lua_leave(&a, L, c->world);
    c->activation = &a;
    lua_pushcfunction(L, work);
    lua_pushlightuserdata(L, c);
    lua_pushvalue(L, source);
    bool done = lua_pcall(L, 2, 1, 0) == LUA_OK;
    if (done && result) *result = Py_NewRef(c->pairs[0].o);
    PyObject *type, *value, *traceback; /* what is released may run Python code */
    PyErr_Fetch(&type, &value, &traceback);
    while (c->count) Py_DECREF(c->pairs[--c->count].o);
    PyMem_Free(c->pairs);
    Py_XDECREF(c->key);
    Py_XDECREF(c->value);
    Py_XDECREF(c->user_string);
    PyErr_Restore(type, value, traceback);
    ml_lua_return(&a);
    return done;
}

/* -------------------------------------------------------------------------- the shape of tables */

/* What table.pack can make: Lua has no more stack than that (LUAI_MAXSTACK). */
enum { MAX_HOLES = 1000000 };

typedef struct shape {
    lua_Integer integers; /* how many keys are integers from 1 on */
    lua_Integer largest;  /* of these */
    lua_Integer n;        /* the field n, if it is an integer that is not less; else -1 */
    bool other;           /* there are other keys: the first one is on the stack */
} shape;

/* Looks at the keys of the table at `index`, as they are: metamethods are not asked. */
static shape look_at(lua_State *L, int index) {
    shape s = {.n = -1};
    bool has_n = false;
    lua_pushnil(L);
    while (lua_next(L, index)) {
        if (lua_isinteger(L, -2) && lua_tointeger(L, -2) > 0) {
            lua_Integer key = lua_tointeger(L, -2);
            s.integers++;
            if (key > s.largest) s.largest = key;
        } else if (!has_n && lua_isinteger(L, -1) && lua_type(L, -2) == LUA_TSTRING &&
                   *lua_tostring(L, -2) == 'n' && lua_rawlen(L, -2) == 1) {
            has_n = true;
            s.n = lua_tointeger(L, -1);
        } else {
            s.other = true;
            lua_pop(L, 1);
            return s;
        }
        lua_pop(L, 1);
    }
    if (has_n && s.n < s.largest) {
        s.other = true;
        lua_pushliteral(L, "n");
    }
    return s;
}

/* Its length as a list: as table.pack says it, else the largest key. */
static lua_Integer length_of(const shape *s) { return s->n >= 0 ? s->n : s->largest; }

static bool has_too_many_holes(const shape *s) { return length_of(s) - s->integers > MAX_HOLES; }

/* A nested table is a list if its keys are 1 to n, n > 0, or if it is what table.pack makes of
   values that are not all nil; otherwise a dict. */
static ml_form form_of_table(lua_State *L, int index, lua_Integer *size) {
    shape s = look_at(L, index);
    if (s.other) lua_pop(L, 1);
    *size = length_of(&s);
    bool list =
        !s.other && s.integers && !has_too_many_holes(&s) && (s.n >= 0 || s.integers == s.largest);
    return list ? LIST : DICT;
}

/* The table at 1 is to be a list; its length. May raise. */
static lua_Integer check_sequence(lua_State *L) {
    shape s = look_at(L, 1);
    if (s.other) {
        bool text = lua_type(L, -1) == LUA_TSTRING;
        const char *key = luaL_tolstring(L, -1, NULL);
        key = lua_pushfstring(L,
                              text ? "sequence expected, got a table with the key '%s'"
                                   : "sequence expected, got a table with the key %s",
                              key);
        luaL_argerror(L, 1, key);
    }
    if (has_too_many_holes(&s)) {
        luaL_argerror(L, 1, lua_pushfstring(L, "more than %d holes", (int)MAX_HOLES));
    }
    return length_of(&s);
}

/* Whether all values of the table at 1 are true: then its keys are a set. */
static bool is_set(lua_State *L) {
    lua_pushnil(L);
    while (lua_next(L, 1)) {
        bool is_true = lua_isboolean(L, -1) && lua_toboolean(L, -1);
        lua_pop(L, 1);
        if (!is_true) {
            lua_pop(L, 1);
            return false;
        }
    }
    return true;
}

/* ---------------------------------------------------------------------------- tables to Python */

static PyObject *new_container(ml_form form, lua_Integer size) {
    switch (form) {
        case LIST: return PyList_New(0);
        case TUPLE: return PyTuple_New((Py_ssize_t)size);
        case SET:
        case KEYS: return PySet_New(NULL);
        default: return PyDict_New();
    }
}

/* A new container for the table on top, which is remembered (borrowed). Raises. */
static PyObject *new_pair(lua_State *L, ml_copy *c, ml_form form, lua_Integer size) {
    lua_Integer number = ml_copy_add(L, c, new_container(form, size), form);
    c->pairs[number - 1].size = size;
    lua_pushvalue(L, -1);
    lua_rawseti(L, TABLES, number);
    lua_pushvalue(L, -1);
    lua_pushinteger(L, number);
    lua_rawset(L, MEMO);
    return c->pairs[number - 1].o;
}

/* The value on top as a Python object, into *slot, which is empty: tables as what they become, all
   else as it crosses. Raises. */
static void take(lua_State *L, ml_copy *c, PyObject **slot) {
    if (!lua_istable(L, -1)) {
        *slot = ml_to_python(L, c->world, -1);
        if (!*slot) ml_copy_fail(L);
        return;
    }
    lua_pushvalue(L, -1);
    if (lua_rawget(L, MEMO) == LUA_TNIL) {
        lua_pop(L, 1);
        lua_Integer size;
        ml_form form = form_of_table(L, lua_gettop(L), &size);
        *slot = Py_NewRef(new_pair(L, c, form, size));
    } else {
        *slot = Py_NewRef(c->pairs[lua_tointeger(L, -1) - 1].o);
        lua_pop(L, 1);
    }
}

/* The same for what Python has to hash: a table becomes nothing that can be. */
static void take_key(lua_State *L, ml_copy *c) {
    if (lua_istable(L, -1)) {
        lua_Integer size;
        PyErr_Format(PyExc_TypeError, "unhashable type: '%s'",
                     form_of_table(L, lua_gettop(L), &size) == LIST ? "list" : "dict");
        ml_copy_fail(L);
    }
    take(L, c, &c->key);
}

/* Fills the list or tuple `o` from the table on top. */
static void fill_sequence(lua_State *L, ml_copy *c, PyObject *o, lua_Integer size) {
    bool list = PyList_CheckExact(o);
    for (lua_Integer i = 1; i <= size; i++) {
        lua_rawgeti(L, -1, i);
        take(L, c, &c->value);
        lua_pop(L, 1);
        if (list) {
            if (PyList_Append(o, c->value) != 0) ml_copy_fail(L);
            Py_CLEAR(c->value);
        } else if (c->value == o) { /* hash() of it would never end (Objects/tupleobject.c) */
            PyErr_SetString(PyExc_ValueError, "a tuple cannot contain itself");
            ml_copy_fail(L);
        } else {
            PyTuple_SET_ITEM(o, i - 1, c->value);
            c->value = NULL;
        }
    }
}

/* Adds key and value, which it releases, to a dict. */
static void add_to_dict(lua_State *L, ml_copy *c, PyObject *dict) {
    Py_ssize_t size = PyDict_GET_SIZE(dict);
    if (PyDict_SetItem(dict, c->key, c->value) != 0) ml_copy_fail(L);
    if (PyDict_GET_SIZE(dict) <= size) {
        PyErr_Format(PyExc_ValueError, "two keys of the table are equal in Python: %R", c->key);
        ml_copy_fail(L);
    }
    Py_CLEAR(c->key);
    Py_CLEAR(c->value);
}

/* Fills the dict or set `o` from the pairs of the table on top. */
static void fill_hashed(lua_State *L, ml_copy *c, PyObject *o) {
    int table = lua_gettop(L);
    bool dict = PyDict_CheckExact(o);
    lua_pushnil(L);
    while (lua_next(L, table)) {
        if (dict) take(L, c, &c->value);
        lua_pop(L, 1);
        take_key(L, c);
        if (dict) {
            add_to_dict(L, c, o);
        } else {
            if (PySet_Add(o, c->key) != 0) ml_copy_fail(L);
            Py_CLEAR(c->key);
        }
    }
}

/* Fills the set `o` from the values of the table on top. */
static void fill_set(lua_State *L, ml_copy *c, PyObject *o, lua_Integer size) {
    for (lua_Integer i = 1; i <= size; i++) {
        lua_rawgeti(L, -1, i);
        take_key(L, c);
        lua_pop(L, 1);
        if (PySet_Add(o, c->key) != 0) ml_copy_fail(L);
        Py_CLEAR(c->key);
    }
}

static int work_to_python(lua_State *L) {
    ml_copy *c = lua_touserdata(L, STATE);
    luaL_checkstack(L, 16, NULL);
    lua_newtable(L);
    lua_newtable(L);
    lua_pushvalue(L, SOURCE);
    new_pair(L, c, c->top, c->size);
    lua_pop(L, 1);
    for (size_t i = 0; i < c->count; i++) {
        ml_pair p = c->pairs[i];
        if (PyErr_CheckSignals() != 0) ml_copy_fail(L);
        lua_rawgeti(L, TABLES, (lua_Integer)i + 1);
        switch (p.form) {
            case LIST:
            case TUPLE: fill_sequence(L, c, p.o, p.size); break;
            case SET: fill_set(L, c, p.o, p.size); break;
            default: fill_hashed(L, c, p.o); break;
        }
        lua_pop(L, 1);
    }
    return 0;
}

/* Copies the table at 1. */
static int table_to_python(lua_State *L, ml_form top, lua_Integer size) {
    ml_world *w = world(L);
    ml_copy c = {.world = w, .top = top, .size = size};
    PyObject *result = NULL;
    if (!ml_copy_run(L, &c, work_to_python, 1, &result)) return ml_copy_raise(L, w);
    ml_to_lua_steal(L, w, result);
    return 1;
}

/* The same as calling the class, without arguments or with the Python object at 1. */
static int call_class(lua_State *L, const char *name, PyTypeObject *class) {
    ml_world *w = world(L);
    PyObject *o = lua_gettop(L) ? ml_pyproxy_test(L, 1) : NULL;
    if (lua_gettop(L) && !o) luaL_typeerror(L, 1, "table or Python object");
    luaL_checkstack(L, 8, NULL);
    ml_activation a;
    ml_lua_leave(&a, L, w);
    PyObject *result = NULL;
    if (!o) {
        result = PyObject_CallNoArgs((PyObject *)class);
    } else if (ml_may_operate(L, &a, name, 1)) {
        result = PyObject_CallOneArg((PyObject *)class, o);
    }
    ml_lua_return(&a);
    if (!result) return ml_error_raise(L, w);
    ml_to_lua_steal(L, w, result);
    return 1;
}

/* The four functions copy a Lua table and the tables in it: those whose keys are 1 to n, n > 0,
   become lists, as do those of table.pack, and all others dicts, the empty one too (for an empty
   list there, write py.list()). Fields are taken as they are: metamethods are not asked. What is
   not a table crosses as anywhere else, py.none as None. Tables cannot be keys: TypeError. Two keys
   that are equal in Python (1 and true): ValueError. A Python object instead of a table, or
   nothing, is what Python's class of that name takes. */

/* py.dict([t]): the pairs of t. */
static int dict(lua_State *L) {
    if (!lua_istable(L, 1)) return call_class(L, "dict", &PyDict_Type);
    return table_to_python(L, DICT, 0);
}

/* py.list([t]): the items t[1] to t[n], nil as None; n is t.n if there is that field, else the
   largest key. Any other key is an error. */
static int list(lua_State *L) {
    if (!lua_istable(L, 1)) return call_class(L, "list", &PyList_Type);
    return table_to_python(L, LIST, check_sequence(L));
}

/* py.tuple([t]): the same as a tuple. */
static int tuple(lua_State *L) {
    if (!lua_istable(L, 1)) return call_class(L, "tuple", &PyTuple_Type);
    return table_to_python(L, TUPLE, check_sequence(L));
}

/* py.set([t]): the keys of t if all values are true; else the items that py.list gives. */
static int set(lua_State *L) {
    if (!lua_istable(L, 1)) return call_class(L, "set", &PySet_Type);
    if (is_set(L)) return table_to_python(L, KEYS, 0);
    return table_to_python(L, SET, check_sequence(L));
}

void ml_copy_register(lua_State *L, ml_world *w) {
    static const luaL_Reg functions[] = {
        {"dict", dict}, {"list", list}, {"tuple", tuple}, {"set", set}, {NULL, NULL}};
    lua_pushlightuserdata(L, w);
    luaL_setfuncs(L, functions, 1);
}
