/* What the host lets scripts do: moonlet.open{...}. */

#include "bridge.h"

#include <stdlib.h>
#include <string.h>

typedef struct limits {
    PyObject *filter;  /* a callable, or NULL */
    PyObject *modules; /* a frozenset of names, or NULL: all can be imported */
    bool eval;         /* py.eval and py.exec can be used */
} limits;

/* ------------------------------------------------------------------------------------ access */

/* Whether `name` or one of the packages it is in is listed. 1, 0 or -1. */
static int is_listed(PyObject *modules, PyObject *name) {
    int found = PySet_Contains(modules, name);
    if (found != 0) return found;
    Py_ssize_t dot = PyUnicode_FindChar(name, '.', 0, PyUnicode_GET_LENGTH(name), -1);
    if (dot < 0) return dot == -1 ? 0 : -1;
    PyObject *package = PyUnicode_Substring(name, 0, dot);
    found = package ? is_listed(modules, package) : -1;
    Py_XDECREF(package);
    return found;
}

static bool refuse(PyObject *o, const char *access, PyObject *name) {
    if (name && PyUnicode_Check(name) && o) {
        PyErr_Format(PyExc_PermissionError, "%s of '%U' of a '%s' object is not permitted", access,
                     name, Py_TYPE(o)->tp_name);
    } else if (o) {
        PyErr_Format(PyExc_PermissionError, "%s of a '%s' object is not permitted", access,
                     Py_TYPE(o)->tp_name);
    } else {
        PyErr_Format(PyExc_PermissionError, "%s of '%S' is not permitted", access, name);
    }
    return false;
}

bool ml_ask(ml_activation *a, PyObject *o, const char *access, PyObject *name) {
    const limits *l = a->world->limits;
    if (a->trusted) return true;
    if (l->modules && strcmp(access, "import") == 0) {
        int listed = is_listed(l->modules, name);
        if (listed <= 0) return listed < 0 ? false : refuse(o, access, name);
    }
    if (!l->eval && (strcmp(access, "eval") == 0 || strcmp(access, "exec") == 0)) {
        PyErr_Format(PyExc_PermissionError, "py.%s is turned off by moonlet.open", access);
        return false;
    }
    if (!l->filter) return true;
    PyObject *word = PyUnicode_InternFromString(access);
    if (!word) return false;
    PyObject *filter = Py_NewRef(l->filter);
    a->trusted = true;
    PyObject *answer =
        PyObject_CallFunctionObjArgs(filter, o ? o : Py_None, word, name ? name : Py_None, NULL);
    a->trusted = false;
    int allowed = answer ? PyObject_IsTrue(answer) : -1;
    Py_XDECREF(answer);
    Py_DECREF(filter);
    Py_DECREF(word);
    return allowed == 0 ? refuse(o, access, name) : allowed > 0;
}

/* ------------------------------------------------------------------------------------ memory */

/* Counts what a state has allocated. */
typedef struct meter {
    lua_Alloc allocate;
    void *argument;
    size_t used, limit;
} meter;

static void *allocate(void *argument, void *block, size_t old, size_t new) {
    meter *m = argument;
    if (!block) old = 0; /* it is the kind of object then */
    if (new > old && (new - old > m->limit || m->used > m->limit - (new - old))) return NULL;
    void *result = m->allocate(m->argument, block, old, new);
    if (new && !result) return NULL;
    m->used += new - old;
    if (m->used == 0) free(m); /* that was the state itself (close_state of lstate.c) */
    return result;
}

static void set_memory_limit(lua_State *L, size_t limit) {
    void *argument;
    lua_Alloc before = lua_getallocf(L, &argument);
    if (before == allocate) {
        ((meter *)argument)->limit = limit;
        return;
    }
    meter *m = malloc(sizeof *m);
    if (!m) {
        luaL_error(L, "not enough memory");
        return;
    }
    size_t used = ((size_t)lua_gc(L, LUA_GCCOUNT) << 10) + (size_t)lua_gc(L, LUA_GCCOUNTB);
    *m = (meter){before, argument, used, limit};
    lua_setallocf(L, allocate, m);
}

/* -------------------------------------------------------------------------------------- open */

void ml_limits_close(ml_world *w) {
    limits *l = w->limits;
    w->limits = NULL;
    if (!l) return;
    Py_XDECREF(l->filter);
    Py_XDECREF(l->modules);
    PyMem_Free(l);
}

static ml_world *world(lua_State *L) { return lua_touserdata(L, lua_upvalueindex(1)); }

static const char *const settings[] = {"filter", "modules", "eval", "memory", NULL};

/* How many settings there are. */
static int check_names(lua_State *L) {
    int count = 0;
    lua_pushnil(L);
    for (; lua_next(L, 1); count++) {
        lua_pop(L, 1);
        const char *name = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
        const char *const *s = settings;
        while (*s && strcmp(*s, name) != 0) s++;
        if (!*s) {
            luaL_error(L, "moonlet.open has no setting '%s'", luaL_tolstring(L, -1, NULL));
        }
    }
    return count;
}

static int bad_setting(lua_State *L, const char *name, const char *expected) {
    return luaL_error(L, "bad value for '%s' (%s expected, got %s)", name, expected,
                      luaL_typename(L, -1));
}

/* The values of the list on top as a frozenset of str. New reference or NULL. */
static PyObject *names_to_python(lua_State *L) {
    PyObject *set = PyFrozenSet_New(NULL);
    lua_Unsigned count = lua_rawlen(L, -1);
    for (lua_Unsigned i = 1; set && i <= count; i++) {
        PyObject *name = NULL;
        if (lua_rawgeti(L, -1, (lua_Integer)i) == LUA_TSTRING) {
            name = ml_name_to_python(L, -1);
        } else {
            PyErr_Format(PyExc_TypeError, "names in 'modules' must be strings, not %s",
                         luaL_typename(L, -1));
        }
        lua_pop(L, 1);
        if (!name || PySet_Add(set, name) != 0) Py_CLEAR(set);
        Py_XDECREF(name);
    }
    return set;
}

/* Whether `filter` and `modules`, at 3 and 4, could be taken; else an exception is set. */
static bool take(lua_State *L, ml_world *w, limits *l) {
    if (!lua_isnil(L, 3) && !(l->filter = ml_to_python(L, w, 3))) return false;
    lua_pushvalue(L, 4);
    if (!lua_isnil(L, 4) && !(l->modules = names_to_python(L))) return false;
    if (!l->filter || PyCallable_Check(l->filter)) return true;
    PyErr_Format(PyExc_TypeError, "filter must be callable, not %s", Py_TYPE(l->filter)->tp_name);
    return false;
}

/* moonlet.open(settings): sets, once, what scripts of this state may do. Returns the module. */
int ml_limits_open(lua_State *L) {
    ml_world *w = world(L);
    lua_settop(L, 1);
    lua_pushvalue(L, lua_upvalueindex(2));
    if (lua_isnoneornil(L, 1)) return 1;
    luaL_checktype(L, 1, LUA_TTABLE);
    if (check_names(L) == 0) return 1;
    if (w->limited) return luaL_error(L, "moonlet.open has been called with settings before");
    lua_getfield(L, 1, "filter");
    if (lua_getfield(L, 1, "modules") != LUA_TNIL && !lua_istable(L, -1)) {
        return bad_setting(L, "modules", "list of names");
    }
    if (lua_getfield(L, 1, "eval") != LUA_TNIL && !lua_isboolean(L, -1)) {
        return bad_setting(L, "eval", "boolean");
    }
    int is_integer = 1;
    lua_Integer memory = -1;
    if (lua_getfield(L, 1, "memory") != LUA_TNIL) memory = lua_tointegerx(L, -1, &is_integer);
    if (!is_integer || (!lua_isnil(L, -1) && memory <= 0)) {
        return bad_setting(L, "memory", "positive number of bytes");
    }
    limits *l = NULL;
    if (!lua_isnil(L, 3) || !lua_isnil(L, 4) || !lua_isnil(L, 5)) {
        l = PyMem_Calloc(1, sizeof *l);
        if (!l) return luaL_error(L, "not enough memory");
        l->eval = lua_isnil(L, 5) ? lua_isnil(L, 4) || !lua_isnil(L, 3) : lua_toboolean(L, 5);
        if (!take(L, w, l)) {
            Py_XDECREF(l->filter);
            Py_XDECREF(l->modules);
            PyMem_Free(l);
            return ml_error_raise(L, w);
        }
        w->limits = l;
    }
    w->limited = true;
    if (memory > 0) set_memory_limit(L, (size_t)memory);
    lua_settop(L, 2);
    return 1;
}
