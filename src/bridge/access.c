/* Items and attributes by name of the operation, where Lua's syntax says something else; slices,
   membership, and None as an object. */

#include "bridge.h"

static ml_world *world(lua_State *L) { return lua_touserdata(L, lua_upvalueindex(1)); }

enum { MAX_ARGUMENTS = 3 };

/* Converts `count` arguments, calls `function` with them and pushes what it gives as one value; if
   the script may do `access`. */
static int perform(lua_State *L, int count, const char *access,
                   PyObject *(*function)(PyObject **args)) {
    ml_world *w = world(L);
    for (int i = 1; i <= count; i++) luaL_checkany(L, i);
    luaL_checkstack(L, 8, NULL);
    PyObject *args[MAX_ARGUMENTS] = {NULL};
    PyObject *value = NULL;
    int done = 0;
    ml_activation a;
    ml_lua_leave(&a, L, w);
    while (done < count && (args[done] = ml_to_python(L, w, done + 1))) done++;
    if (done == count && ml_allowed(&a, args[0], access, args[1])) value = function(args);
    while (done > 0) Py_DECREF(args[--done]);
    ml_lua_return(&a);
    if (!value) return ml_error_raise(L, w);
    ml_to_lua_steal(L, w, value);
    return 1;
}

static PyObject *none_if(int result) { return result == 0 ? Py_NewRef(Py_None) : NULL; }

static PyObject *get_item(PyObject **args) { return PyObject_GetItem(args[0], args[1]); }

static PyObject *set_item(PyObject **args) {
    return none_if(PyObject_SetItem(args[0], args[1], args[2]));
}

static PyObject *delete_item(PyObject **args) {
    return none_if(PyObject_DelItem(args[0], args[1]));
}

static PyObject *set_attribute(PyObject **args) {
    return none_if(PyObject_SetAttr(args[0], args[1], args[2]));
}

static PyObject *delete_attribute(PyObject **args) {
    return none_if(PyObject_SetAttr(args[0], args[1], NULL));
}

static PyObject *find(PyObject **args) {
    int answer = PySequence_Contains(args[0], args[1]);
    return answer < 0 ? NULL : PyBool_FromLong(answer);
}

/* py.item(o, key): Python's o[key], also where o[key] or o.key in Lua would be an attribute. What
   is missing raises KeyError or IndexError. */
static int item(lua_State *L) { return perform(L, 2, "getitem", get_item); }

/* py.setitem(o, key, value): Python's o[key] = value. */
static int setitem(lua_State *L) {
    perform(L, 3, "setitem", set_item);
    return 0;
}

/* py.delitem(o, key): Python's del o[key]; the key can be a slice. */
static int delitem(lua_State *L) {
    perform(L, 2, "delitem", delete_item);
    return 0;
}

/* py.setattr(o, name, value): the attribute, also where o.name = value would be an item. */
static int set_attr(lua_State *L) {
    luaL_checkstring(L, 2);
    perform(L, 3, "setattr", set_attribute);
    return 0;
}

/* py.delattr(o, name): Python's del o.name. */
static int del_attr(lua_State *L) {
    luaL_checkstring(L, 2);
    perform(L, 2, "delattr", delete_attribute);
    return 0;
}

/* py.contains(o, x): whether Python's `x in o`. */
static int contains(lua_State *L) { return perform(L, 2, "contains", find); }

void ml_access_register(lua_State *L, ml_world *w) {
    static const luaL_Reg functions[] = {
        {"item", item},        {"setitem", setitem},   {"delitem", delitem}, {"setattr", set_attr},
        {"delattr", del_attr}, {"contains", contains}, {NULL, NULL}};
    lua_pushlightuserdata(L, w);
    luaL_setfuncs(L, functions, 1);
    /* py.slice(stop), py.slice(start, stop [, step]): the class, as a key for o[...]. */
    ml_to_lua(L, w, (PyObject *)&PySlice_Type);
    lua_setfield(L, -2, "slice");
    /* None as a value that a Lua table can hold; from Python it is nil again. */
    ml_pyproxy_push(L, w, Py_None);
    lua_setfield(L, -2, "none");
}
