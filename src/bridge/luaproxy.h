/* What the files about Lua values in Python share; for them alone. */

#ifndef ML_LUAPROXY_H
#define ML_LUAPROXY_H

#include "bridge.h"

/* What a function that runs protected (ml_protect) gets: the value it is about and what else it
   needs, all borrowed; and what it gives, a new reference. */
typedef struct ml_task {
    ml_world *world;
    LuaObject *self;
    PyObject *key;
    PyObject *value;
    Py_ssize_t number;
    PyObject *result;
} ml_task;

/* Runs `function` for task->self and returns what it left in task->result. NULL with an exception,
   or without one if it left nothing. */
static inline PyObject *ml_perform(lua_CFunction function, ml_task *task) {
    task->world = task->self->world;
    task->result = NULL;
    if (ml_protect(task->world, function, task) != 0) Py_CLEAR(task->result);
    return task->result;
}

/* Whether it is of a class that is written in Python (ml_class_of_table): then its attributes are those
   of the class, and only its items are Lua's fields. */
static inline bool ml_has_class(PyObject *self) {
    return PyType_HasFeature(Py_TYPE(self), Py_TPFLAGS_HEAPTYPE);
}

/* Pushes the Lua value. Needs a stack slot; raises no error. */
static inline void ml_push_lua_object(lua_State *L, const LuaObject *o) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, o->ref);
}

/* Sets task->result to the value at `index`. May raise. */
static inline void ml_give(lua_State *L, ml_task *task, int index) {
    task->result = ml_to_python(L, task->world, index);
    if (!task->result) ml_error_raise(L, task->world);
}

/* 0, or -1 and a TypeError if a function got another number of arguments; max -1: any number. */
static inline int ml_check_count(const char *name, Py_ssize_t count, Py_ssize_t min,
                                 Py_ssize_t max) {
    if (count >= min && (count <= max || max < 0)) return 0;
    Py_ssize_t wanted = count < min ? min : max;
    PyErr_Format(PyExc_TypeError, "%s expected at %s %zd argument%s, got %zd", name,
                 count < min ? "least" : "most", wanted, wanted == 1 ? "" : "s", count);
    return -1;
}

/* Names with two underscores are Python's: protocols that ask for them must not get nil. */
static inline bool ml_is_special_name(PyObject *name) {
    Py_ssize_t n = PyUnicode_GET_LENGTH(name);
    return n > 4 && PyUnicode_READ_CHAR(name, 0) == '_' && PyUnicode_READ_CHAR(name, 1) == '_' &&
           PyUnicode_READ_CHAR(name, n - 1) == '_' && PyUnicode_READ_CHAR(name, n - 2) == '_';
}

/* ------------------------------------------------------------------------ luatable, luaiterator */

extern PyTypeObject ml_LuaTable_Type, ml_LuaIterator_Type;
extern PyMethodDef ml_luatable_methods[];
extern PySequenceMethods ml_luatable_as_sequence;

enum { ML_KEYS, ML_VALUES, ML_ITEMS, ML_RESULTS };

/* An iterator over the table, which goes on where it stopped: ML_KEYS, ML_VALUES or ML_ITEMS. New
   reference or NULL. */
PyObject *ml_luaiterator_of_table(PyObject *table, int kind);

/* An iterator over what for ... in function, state, control, closing of Lua gives; each may be None.
   New reference or NULL. */
PyObject *ml_luaiterator_of_function(ml_world *w, PyObject *const values[4]);
PyObject *ml_luatable_iter(PyObject *table);
PyObject *ml_luatable_repr(PyObject *table);

/* Assigns what is in a mapping or an iterable of pairs. 0 or -1. */
int ml_luatable_update(PyObject *table, PyObject *source);

/* A new table with the same metatable, and the same fields if `with_content`. New reference or
   NULL. */
PyObject *ml_luatable_copy(PyObject *table, bool with_content);

/* ---------------------------------------------------------------------------------- luaobject */

/* What Lua values of every type can do besides: `with`, dir(), copy. */
extern PyMethodDef ml_luaobject_methods[];
extern PyMethodDef ml_luafunction_methods[];

/* Calls the metamethod __close of `value`, with the exception that is set, which stays so, or with
   nil. -1 if that raises: then this is the exception, the other its context. */
int ml_close_value(ml_world *w, PyObject *value);

/* The exception that is set gets `context`, unless it has one. */
void ml_add_context(PyObject *context);

/* --------------------------------------------------------------------------------- luathread */

extern PyMethodDef ml_luathread_methods[];
extern PyGetSetDef ml_luathread_getset[];
extern PyMappingMethods ml_luathread_as_mapping;
PyObject *ml_luathread_next(PyObject *thread);

/* A coroutine that will call a Lua function with these arguments. New reference or NULL. */
PyObject *ml_luathread_new(PyObject *function, PyObject *const *args, Py_ssize_t count);

/* ------------------------------------------------------------------------- luamodule, luachunk */

/* The world that the calling code belongs to, or NULL and RuntimeError. */
ml_world *ml_world_of_caller(void);

/* moonlet.lua.eval, execute, load */
PyObject *ml_lua_eval(PyObject *module, PyObject *args, PyObject *kwargs);
PyObject *ml_lua_execute(PyObject *module, PyObject *args, PyObject *kwargs);
PyObject *ml_lua_load(PyObject *module, PyObject *args, PyObject *kwargs);

/* Adds LuaSyntaxError to the module `moonlet`. 0 or -1. */
int ml_luachunk_init(PyObject *moonlet);

/* ------------------------------------------------------------------------------------- source */

/* What of the bridge is written in Python. */
typedef struct ml_source {
    const char *name; /* of the file in src/bridge */
    const char *text;
    PyMethodDef *helpers; /* functions in its namespace, besides builtins */
    PyObject *namespace;  /* NULL until it was run */
} ml_source;

extern ml_source ml_tables_source, ml_modules_source;
extern PyMethodDef ml_tables_helpers[], ml_modules_helpers[];

/* What the source calls `name`; runs it when first asked. New reference or NULL. */
PyObject *ml_source_get(ml_source *source, const char *name);

#endif
