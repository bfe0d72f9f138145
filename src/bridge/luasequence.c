/* What tables.py needs of C: many accesses to a table in one protected call. */

#include "luaproxy.h"

static PyObject *none_or_error(void) {
    if (PyErr_Occurred()) return NULL;
    Py_RETURN_NONE;
}

static bool check(PyObject *table) {
    if (Py_IS_TYPE(table, &ml_LuaTable_Type)) return true;
    PyErr_Format(PyExc_TypeError, "expected a moonlet.LuaTable, not %s", Py_TYPE(table)->tp_name);
    return false;
}

static PyObject *check_table(PyObject *module, PyObject *table) {
    (void)module;
    return check(table) ? Py_NewRef(Py_None) : NULL;
}

/* --------------------------------------------------------------------------------- iteration */

static PyObject *iterate_values(PyObject *module, PyObject *table) {
    (void)module;
    return check(table) ? ml_luaiterator_of_table(table, ML_VALUES) : NULL;
}

static PyObject *iterate_items(PyObject *module, PyObject *table) {
    (void)module;
    return check(table) ? ml_luaiterator_of_table(table, ML_ITEMS) : NULL;
}

static int do_count(lua_State *L) {
    ml_task *task = lua_touserdata(L, 1);
    ml_push_lua_object(L, task->self);
    task->number = 0;
    if (luaL_getmetafield(L, 2, "__pairs") == LUA_TNIL) {
        lua_pushnil(L);
        for (; lua_next(L, 2); lua_pop(L, 1)) task->number++;
        return 0;
    }
    lua_insert(L, 2);
    lua_call(L, 1, 3); /* 2: function, 3: state, 4: control variable */
    for (;; task->number++) {
        lua_pushvalue(L, 2);
        lua_insert(L, 4);
        lua_pushvalue(L, 3);
        lua_insert(L, 5);
        lua_call(L, 2, 1);
        if (lua_isnil(L, 4)) return 0;
    }
}

/* count(table): how many keys it has. */
static PyObject *count(PyObject *module, PyObject *table) {
    (void)module;
    if (!check(table)) return NULL;
    ml_task task = {.self = (LuaObject *)table};
    ml_perform(do_count, &task);
    return PyErr_Occurred() ? NULL : PyLong_FromSsize_t(task.number);
}

/* ------------------------------------------------------------------------------------ splice */

typedef struct change {
    ml_world *world;
    const LuaObject *table;
    Py_ssize_t start, removed;
    PyObject *values;
} change;

static void move(lua_State *L, lua_Integer from, lua_Integer to) {
    lua_geti(L, 2, from);
    lua_seti(L, 2, to);
}

static int do_splice(lua_State *L) {
    const change *c = lua_touserdata(L, 1);
    ml_push_lua_object(L, c->table);
    lua_Integer size = luaL_len(L, 2);
    lua_Integer more = PyTuple_GET_SIZE(c->values) - c->removed;
    lua_Integer rest = c->start + c->removed + 1; /* the first item that stays behind the change */
    if (more > 0) {
        for (lua_Integer i = size; i >= rest; i--) move(L, i, i + more);
    } else if (more < 0) {
        for (lua_Integer i = rest; i <= size; i++) move(L, i, i + more);
        for (lua_Integer i = size; i > size + more; i--) {
            lua_pushnil(L);
            lua_seti(L, 2, i);
        }
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(c->values); i++) {
        ml_to_lua(L, c->world, PyTuple_GET_ITEM(c->values, i));
        lua_seti(L, 2, c->start + 1 + i);
    }
    return 0;
}

/* splice(table, start, removed, values): replaces so many items after the first `start` ones by
   those of a tuple. */
static PyObject *splice(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *table;
    change c;
    if (!PyArg_ParseTuple(args, "OnnO!", &table, &c.start, &c.removed, &PyTuple_Type, &c.values) ||
        !check(table)) {
        return NULL;
    }
    c.table = (LuaObject *)table;
    c.world = c.table->world;
    ml_protect(c.world, do_splice, &c);
    return none_or_error();
}

/* -------------------------------------------------------------------------------------- copy */

static int do_copy(lua_State *L) {
    ml_task *task = lua_touserdata(L, 1);
    ml_push_lua_object(L, task->self);
    lua_newtable(L);
    if (task->number) {
        lua_pushnil(L);
        while (lua_next(L, 2)) {
            lua_pushvalue(L, -2);
            lua_insert(L, -2);
            lua_rawset(L, 3);
        }
    }
    if (lua_getmetatable(L, 2)) lua_setmetatable(L, 3);
    ml_give(L, task, 3);
    return 0;
}

PyObject *ml_luatable_copy(PyObject *table, bool with_content) {
    ml_task task = {.self = (LuaObject *)table, .number = with_content};
    return ml_perform(do_copy, &task);
}

/* copy_empty(table): a new table with the same metatable. */
static PyObject *copy_empty(PyObject *module, PyObject *table) {
    (void)module;
    return check(table) ? ml_luatable_copy(table, false) : NULL;
}

static int do_raw_items(lua_State *L) {
    ml_task *task = lua_touserdata(L, 1);
    ml_push_lua_object(L, task->self);
    task->result = PyList_New(0);
    lua_pushnil(L);
    while (task->result && lua_next(L, 2)) {
        PyObject *key = ml_to_python(L, task->world, -2);
        PyObject *value = key ? ml_to_python(L, task->world, -1) : NULL;
        PyObject *pair = value ? PyTuple_Pack(2, key, value) : NULL;
        if (!pair || PyList_Append(task->result, pair) != 0) Py_CLEAR(task->result);
        Py_XDECREF(key);
        Py_XDECREF(value);
        Py_XDECREF(pair);
        lua_pop(L, 1);
    }
    return 0;
}

/* raw_items(table): a list of pairs, without metamethods. */
static PyObject *raw_items(PyObject *module, PyObject *table) {
    (void)module;
    if (!check(table)) return NULL;
    ml_task task = {.self = (LuaObject *)table};
    return ml_perform(do_raw_items, &task);
}

static int do_raw_set(lua_State *L) {
    ml_task *task = lua_touserdata(L, 1);
    ml_push_lua_object(L, task->self);
    ml_to_lua(L, task->world, task->key);
    ml_to_lua(L, task->world, task->value);
    lua_rawset(L, 2);
    return 0;
}

/* raw_set(table, key, value): assigns without metamethods. */
static PyObject *raw_set(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *table;
    ml_task task = {0};
    if (!PyArg_ParseTuple(args, "OOO", &table, &task.key, &task.value) || !check(table)) {
        return NULL;
    }
    task.self = (LuaObject *)table;
    ml_perform(do_raw_set, &task);
    return none_or_error();
}

static int do_address(lua_State *L) {
    ml_task *task = lua_touserdata(L, 1);
    ml_push_lua_object(L, task->self);
    task->result = PyLong_FromVoidPtr((void *)lua_topointer(L, 2));
    return 0;
}

/* address(table): an int, the same for the same table. */
static PyObject *address(PyObject *module, PyObject *table) {
    (void)module;
    if (!check(table)) return NULL;
    ml_task task = {.self = (LuaObject *)table};
    return ml_perform(do_address, &task);
}

PyMethodDef ml_tables_helpers[] = {
    {"check_table", check_table, METH_O, NULL},
    {"iterate_values", iterate_values, METH_O, NULL},
    {"iterate_items", iterate_items, METH_O, NULL},
    {"count", count, METH_O, NULL},
    {"splice", splice, METH_VARARGS, NULL},
    {"copy_empty", copy_empty, METH_O, NULL},
    {"raw_items", raw_items, METH_O, NULL},
    {"raw_set", raw_set, METH_VARARGS, NULL},
    {"address", address, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};
