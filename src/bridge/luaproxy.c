/* Lua values in Python: one base type, LuaObject, and a type for each kind of value. What they
   can do is what Lua can do with the value; Lua's own errors say what it cannot. */

#include "luaproxy.h"

#include <stddef.h>
#include <string.h>

/* What a protected function of this file works on. */
typedef struct request {
    ml_world *world;
    LuaObject *self;
    PyObject *key;   /* or the other operand */
    PyObject *value; /* to be assigned; NULL: nil */
    PyObject *const *args;
    Py_ssize_t count;
    PyObject *kwnames;
    int operation;
    PyObject *result;
} request;

static void push(lua_State *L, const LuaObject *o) { lua_rawgeti(L, LUA_REGISTRYINDEX, o->ref); }

/* Runs `function` and returns what it left in r->result. */
static PyObject *perform(lua_CFunction function, request *r) {
    r->world = r->self->world;
    r->result = NULL;
    if (ml_protect(r->world, function, r) != 0) Py_CLEAR(r->result);
    return r->result;
}

/* ---------------------------------------------------------------------------- life and identity */

static PyTypeObject LuaFunction_Type, LuaThread_Type, LuaUserdata_Type;
static PyObject *call_function(PyObject *self, PyObject *const *args, size_t nargsf,
                               PyObject *kwnames);

PyObject *ml_luaproxy_new(lua_State *L, ml_world *w, int index) {
    switch (lua_type(L, index)) {
        case LUA_TTABLE: {
            PyTypeObject *type = ml_class_of_table(L, index);
            return ml_luaobject_new(L, w, index, type ? type : &ml_LuaTable_Type, NULL);
        }
        case LUA_TFUNCTION: return ml_luaobject_new(L, w, index, &LuaFunction_Type, call_function);
        case LUA_TTHREAD: return ml_luaobject_new(L, w, index, &LuaThread_Type, NULL);
        default: return ml_luaobject_new(L, w, index, &LuaUserdata_Type, NULL);
    }
}

/* Calls the metamethod `event` of the Lua value `o` for the operands at 2 and 3, of which the other
   is a Python object. Its proxy has all metamethods, and these ask Python again, which asks `o`:
   so Lua's own choice would not end. Without a metamethod the answer is NotImplemented. */
static bool ask_metamethod(lua_State *L, request *r, const LuaObject *o, const char *event) {
    push(L, o);
    if (luaL_getmetafield(L, -1, event) == LUA_TNIL) {
        r->result = Py_NewRef(Py_NotImplemented);
        return false;
    }
    lua_pushvalue(L, 2);
    lua_pushvalue(L, 3);
    lua_call(L, 2, 1);
    return true;
}

static int do_compare(lua_State *L) {
    request *r = lua_touserdata(L, 1);
    bool swapped = r->operation == Py_GT || r->operation == Py_GE;
    bool strict = r->operation == Py_LT || r->operation == Py_GT;
    push(L, r->self);
    ml_to_lua(L, r->world, r->key);
    if (swapped) lua_insert(L, 2);
    int answer;
    if (r->operation == Py_EQ) {
        answer = lua_compare(L, 2, 3, LUA_OPEQ);
    } else if (r->operation == Py_NE) {
        answer = !lua_compare(L, 2, 3, LUA_OPEQ);
    } else if (ml_pyproxy_test(L, swapped ? 2 : 3)) {
        if (!ask_metamethod(L, r, r->self, strict ? "__lt" : "__le")) return 0;
        answer = lua_toboolean(L, -1);
    } else {
        answer = lua_compare(L, 2, 3, strict ? LUA_OPLT : LUA_OPLE);
    }
    r->result = PyBool_FromLong(answer);
    return 0;
}

static PyObject *compare(PyObject *self, PyObject *other, int operation) {
    bool equality = operation == Py_EQ || operation == Py_NE;
    if (equality && self == other) return PyBool_FromLong(operation == Py_EQ);
    if (equality &&
        (!ml_is_lua_object(other) || ((LuaObject *)other)->world != ((LuaObject *)self)->world)) {
        Py_RETURN_NOTIMPLEMENTED;
    }
    request r = {.self = (LuaObject *)self, .key = other, .operation = operation};
    return perform(do_compare, &r);
}

static int do_text(lua_State *L) {
    request *r = lua_touserdata(L, 1);
    push(L, r->self);
    size_t length;
    const char *text = luaL_tolstring(L, -1, &length);
    r->result = PyUnicode_DecodeUTF8(text, (Py_ssize_t)length, "backslashreplace");
    return 0;
}

static PyObject *str(PyObject *self) {
    request r = {.self = (LuaObject *)self};
    return perform(do_text, &r);
}

/* In every thread, for whoever wants to show what it has got. */
static PyObject *repr(PyObject *self) {
    const LuaObject *o = (LuaObject *)self;
    if (o->world->closed) {
        return PyUnicode_FromFormat("<%s of a closed Lua state>", Py_TYPE(self)->tp_name);
    }
    return PyUnicode_FromFormat("<%s at %p>", Py_TYPE(self)->tp_name, o->pointer);
}

static int always_true(PyObject *self) {
    (void)self;
    return 1; /* as in Lua, an empty table too */
}

/* --------------------------------------------------------------------- attributes and items */

static int do_get(lua_State *L) {
    request *r = lua_touserdata(L, 1);
    push(L, r->self);
    ml_to_lua(L, r->world, r->key);
    lua_gettable(L, -2);
    r->result = ml_to_python(L, r->world, -1);
    if (!r->result) ml_error_raise(L, r->world);
    return 0;
}

static int do_set(lua_State *L) {
    request *r = lua_touserdata(L, 1);
    push(L, r->self);
    ml_to_lua(L, r->world, r->key);
    if (r->value) {
        ml_to_lua(L, r->world, r->value);
    } else {
        lua_pushnil(L);
    }
    lua_settable(L, -3);
    return 0;
}

/* Pushes a table without metamethods, the key, and the field, where nothing can raise a Lua error.
   Returns the type of the field; LUA_TNONE: it is not that simple, and something was pushed. */
static int push_field(ml_entry *e, LuaObject *self, PyObject *key) {
    lua_State *L = e->L;
    push(L, self);
    if (!lua_istable(L, -1) || lua_getmetatable(L, -1) || !ml_simple_to_lua(L, e->world, key)) {
        return LUA_TNONE;
    }
    lua_pushvalue(L, -1);
    return lua_rawget(L, -3);
}

static PyObject *get(PyObject *self, PyObject *key) {
    request r = {.self = (LuaObject *)self, .key = key, .world = ((LuaObject *)self)->world};
    ml_entry e;
    if (ml_enter(r.world, &e) != 0) return NULL;
    int type = push_field(&e, r.self, key);
    if (type != LUA_TNONE) {
        r.result = ml_typed_to_python(e.L, r.world, -1, type);
    } else {
        lua_settop(e.L, e.top);
        ml_push_handler(e.L, r.world);
        lua_pushcfunction(e.L, do_get);
        lua_pushlightuserdata(e.L, &r);
        if (ml_pcall(&e, 1, 0) != 0) Py_CLEAR(r.result);
    }
    ml_leave(&e);
    return r.result;
}

static int set(PyObject *self, PyObject *key, PyObject *value) {
    request r = {.self = (LuaObject *)self, .key = key, .value = value};
    r.world = r.self->world;
    ml_entry e;
    int result = 0;
    if (ml_enter(r.world, &e) != 0) return -1;
    /* A field that is there is overwritten in place. */
    bool simple = push_field(&e, r.self, key) > LUA_TNIL;
    if (simple) {
        lua_pop(e.L, 1);
        simple = ml_simple_to_lua(e.L, r.world, value ? value : Py_None);
    }
    if (simple) {
        lua_rawset(e.L, -3);
    } else {
        lua_settop(e.L, e.top);
        ml_push_handler(e.L, r.world);
        lua_pushcfunction(e.L, do_set);
        lua_pushlightuserdata(e.L, &r);
        result = ml_pcall(&e, 1, 0);
    }
    ml_leave(&e);
    return result;
}

static int do_get_field(lua_State *L) {
    request *r = lua_touserdata(L, 1);
    push(L, r->self);
    bool has_fields = lua_istable(L, -1) || luaL_getmetafield(L, -1, "__index") != LUA_TNIL;
    if (!has_fields) return 0;
    return do_get(L);
}

/* The methods of the type, else the field of that name. Where Lua knows no fields, as in most
   functions, Python must see that there is none: libraries probe what they call. */
static PyObject *getattr(PyObject *self, PyObject *name) {
    if (ml_has_class(self) || _PyType_Lookup(Py_TYPE(self), name) || ml_is_special_name(name)) {
        return PyObject_GenericGetAttr(self, name);
    }
    if (PyType_IsSubtype(Py_TYPE(self), &ml_LuaTable_Type)) return get(self, name);
    request r = {.self = (LuaObject *)self, .key = name};
    PyObject *value = perform(do_get_field, &r);
    return value || PyErr_Occurred() ? value : PyObject_GenericGetAttr(self, name);
}

static int setattr(PyObject *self, PyObject *name, PyObject *value) {
    if (ml_has_class(self) || ml_is_special_name(name)) {
        return PyObject_GenericSetAttr(self, name, value);
    }
    return set(self, name, value);
}

static int do_length(lua_State *L) {
    request *r = lua_touserdata(L, 1);
    push(L, r->self);
    r->count = luaL_len(L, -1);
    return 0;
}

static Py_ssize_t length(PyObject *self) {
    request r = {.self = (LuaObject *)self};
    perform(do_length, &r);
    if (PyErr_Occurred()) return -1;
    if (r.count >= 0) return r.count;
    PyErr_Format(PyExc_ValueError, "the length of the %s is negative", Py_TYPE(self)->tp_name);
    return -1;
}

/* ------------------------------------------------------------------------------------- calls */

/* Pushes function and arguments, and calls. */
static int do_call(lua_State *L) {
    request *r = lua_touserdata(L, 1);
    ml_world *w = r->world;
    if (r->count > 1000000) return luaL_error(L, "stack overflow (too many arguments)");
    luaL_checkstack(L, (int)r->count + 8, "too many arguments");
    push(L, r->self);
    for (Py_ssize_t i = 0; i < r->count; i++) ml_to_lua(L, w, r->args[i]);
    if (r->key) ml_kw_to_lua(L, w, r->key);
    lua_call(L, (int)r->count + (r->key != NULL), LUA_MULTRET);
    return lua_gettop(L) - 1;
}

/* Pushes function and arguments, if that can be done where a Lua error could not be caught. */
static bool push_simple_call(lua_State *L, const LuaObject *self, PyObject *const *args,
                             Py_ssize_t count) {
    if (count > LUA_MINSTACK - 4) return false;
    push(L, self);
    for (Py_ssize_t i = 0; i < count; i++) {
        if (!ml_simple_to_lua(L, self->world, args[i])) return false;
    }
    return true;
}

static PyObject *call(LuaObject *self, PyObject *const *args, Py_ssize_t count, PyObject *kwargs) {
    ml_entry e;
    request r;
    if (ml_enter(self->world, &e) != 0) return NULL;
    ml_push_handler(e.L, self->world);
    int arguments = (int)count;
    if (kwargs || !push_simple_call(e.L, self, args, count)) {
        r = (request){
            .world = self->world, .self = self, .args = args, .count = count, .key = kwargs};
        lua_settop(e.L, e.top + 1);
        lua_pushcfunction(e.L, do_call);
        lua_pushlightuserdata(e.L, &r);
        arguments = 1;
    }
    PyObject *result = NULL;
    if (ml_pcall(&e, arguments, LUA_MULTRET) == 0) {
        result = ml_results_to_python(e.L, self->world, lua_gettop(e.L) - e.top - 1);
    }
    ml_leave(&e);
    return result;
}

static PyObject *call_function(PyObject *self, PyObject *const *args, size_t nargsf,
                               PyObject *kwnames) {
    Py_ssize_t count = PyVectorcall_NARGS(nargsf);
    PyObject *kwargs = NULL;
    if (kwnames && PyTuple_GET_SIZE(kwnames)) {
        kwargs = PyDict_New();
        if (!kwargs) return NULL;
        for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(kwnames); i++) {
            if (PyDict_SetItem(kwargs, PyTuple_GET_ITEM(kwnames, i), args[count + i]) != 0) {
                Py_DECREF(kwargs);
                return NULL;
            }
        }
    }
    ml_greenlet *g = ml_py_current();
    if (!g) return NULL;
    Py_ssize_t all = count + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0);
    ml_call here;
    ml_py_begin_call(g, &here, args + all);
    PyObject *result = call((LuaObject *)self, args, count, kwargs);
    ml_py_end_call(g, &here);
    Py_XDECREF(kwargs);
    return result;
}

/* Tables and userdata may have a metamethod for it. */
static PyObject *call_object(PyObject *self, PyObject *args, PyObject *kwargs) {
    return call((LuaObject *)self, &PyTuple_GET_ITEM(args, 0), PyTuple_GET_SIZE(args),
                kwargs && PyDict_GET_SIZE(kwargs) ? kwargs : NULL);
}

/* -------------------------------------------------------------------------------- arithmetic */

/* The metamethods in the order of LUA_OPADD ... LUA_OPBNOT. */
static const char *const events[] = {"__add", "__sub",  "__mul",  "__mod", "__pow",
                                     "__div", "__idiv", "__band", "__bor", "__bxor",
                                     "__shl", "__shr",  "__unm",  "__bnot"};

static int do_arithmetic(lua_State *L) {
    request *r = lua_touserdata(L, 1);
    ml_to_lua(L, r->world, r->args[0]);
    if (r->args[1]) ml_to_lua(L, r->world, r->args[1]);
    if (ml_pyproxy_test(L, 2) || (r->args[1] && ml_pyproxy_test(L, 3))) {
        if (!ask_metamethod(L, r, r->self, events[r->operation])) return 0;
    } else {
        lua_arith(L, r->operation);
    }
    r->result = ml_to_python(L, r->world, -1);
    if (!r->result) ml_error_raise(L, r->world);
    return 0;
}

static PyObject *arithmetic(PyObject *a, PyObject *b, int operation) {
    PyObject *args[] = {a, b};
    request r = {
        .self = (LuaObject *)(ml_is_lua_object(a) ? a : b), .args = args, .operation = operation};
    return perform(do_arithmetic, &r);
}

static PyObject *add(PyObject *a, PyObject *b) { return arithmetic(a, b, LUA_OPADD); }
static PyObject *subtract(PyObject *a, PyObject *b) { return arithmetic(a, b, LUA_OPSUB); }
static PyObject *multiply(PyObject *a, PyObject *b) { return arithmetic(a, b, LUA_OPMUL); }
static PyObject *divide(PyObject *a, PyObject *b) { return arithmetic(a, b, LUA_OPDIV); }
static PyObject *floor_divide(PyObject *a, PyObject *b) { return arithmetic(a, b, LUA_OPIDIV); }
static PyObject *modulo(PyObject *a, PyObject *b) { return arithmetic(a, b, LUA_OPMOD); }
static PyObject *bit_and(PyObject *a, PyObject *b) { return arithmetic(a, b, LUA_OPBAND); }
static PyObject *bit_or(PyObject *a, PyObject *b) { return arithmetic(a, b, LUA_OPBOR); }
static PyObject *bit_xor(PyObject *a, PyObject *b) { return arithmetic(a, b, LUA_OPBXOR); }
static PyObject *shift_left(PyObject *a, PyObject *b) { return arithmetic(a, b, LUA_OPSHL); }
static PyObject *shift_right(PyObject *a, PyObject *b) { return arithmetic(a, b, LUA_OPSHR); }
static PyObject *negative(PyObject *a) { return arithmetic(a, NULL, LUA_OPUNM); }
static PyObject *invert(PyObject *a) { return arithmetic(a, NULL, LUA_OPBNOT); }

static PyObject *power(PyObject *a, PyObject *b, PyObject *modulus) {
    if (modulus != Py_None) Py_RETURN_NOTIMPLEMENTED;
    return arithmetic(a, b, LUA_OPPOW);
}

static PyNumberMethods as_number = {
    .nb_add = add,
    .nb_subtract = subtract,
    .nb_multiply = multiply,
    .nb_true_divide = divide,
    .nb_floor_divide = floor_divide,
    .nb_remainder = modulo,
    .nb_power = power,
    .nb_and = bit_and,
    .nb_or = bit_or,
    .nb_xor = bit_xor,
    .nb_lshift = shift_left,
    .nb_rshift = shift_right,
    .nb_negative = negative,
    .nb_invert = invert,
    .nb_bool = always_true,
};

static PyMappingMethods as_mapping = {length, get, set};

/* ------------------------------------------------------------------------------------- types */

PyTypeObject ml_LuaObject_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "moonlet.LuaObject",
    .tp_doc = "A value of Lua. Operators, items and attributes do what Lua does with it.",
    .tp_basicsize = sizeof(LuaObject),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE |
                Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_dealloc = ml_luaobject_dealloc,
    .tp_traverse = ml_luaobject_traverse,
    .tp_clear = ml_luaobject_clear,
    .tp_free = PyObject_GC_Del,
    .tp_hash = ml_luaobject_hash,
    .tp_richcompare = compare,
    .tp_repr = repr,
    .tp_str = str,
    .tp_getattro = getattr,
    .tp_setattro = setattr,
    .tp_as_number = &as_number,
    .tp_as_mapping = &as_mapping,
    .tp_methods = ml_luaobject_methods,
    .tp_weaklistoffset = offsetof(LuaObject, weakreflist),
};

#define FLAGS (Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION)

PyTypeObject ml_LuaTable_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "moonlet.LuaTable",
    .tp_doc = "A Lua table. t[k] and t.k are its fields, None where there are none; len() is "
              "Lua's #, indices start at 1, iteration gives the keys.",
    .tp_base = &ml_LuaObject_Type,
    .tp_flags = FLAGS | Py_TPFLAGS_MAPPING | Py_TPFLAGS_BASETYPE,
    .tp_call = call_object,
    .tp_repr = ml_luatable_repr,
    .tp_iter = ml_luatable_iter,
    .tp_as_sequence = &ml_luatable_as_sequence,
    .tp_methods = ml_luatable_methods,
};

static PyTypeObject LuaFunction_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "moonlet.LuaFunction",
    .tp_doc = "A Lua function. Keyword arguments reach it as one table, its last argument.",
    .tp_base = &ml_LuaObject_Type,
    .tp_flags = FLAGS | Py_TPFLAGS_HAVE_VECTORCALL,
    .tp_call = PyVectorcall_Call,
    .tp_vectorcall_offset = offsetof(LuaObject, vectorcall),
    .tp_methods = ml_luafunction_methods,
};

static PyTypeObject LuaThread_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "moonlet.LuaThread",
    .tp_doc = "A Lua coroutine, with the protocol of generators.",
    .tp_base = &ml_LuaObject_Type,
    .tp_flags = FLAGS,
    .tp_iter = PyObject_SelfIter,
    .tp_iternext = ml_luathread_next,
    .tp_as_mapping = &ml_luathread_as_mapping,
    .tp_methods = ml_luathread_methods,
    .tp_getset = ml_luathread_getset,
};

static PyTypeObject LuaUserdata_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "moonlet.LuaUserdata",
    .tp_doc = "A Lua userdata.",
    .tp_base = &ml_LuaObject_Type,
    .tp_flags = FLAGS,
    .tp_call = call_object,
};

int ml_luaproxy_init(PyObject *module) {
    PyTypeObject *types[] = {&ml_LuaObject_Type, &ml_LuaTable_Type, &LuaFunction_Type,
                             &LuaThread_Type,    &LuaUserdata_Type, &ml_LuaIterator_Type};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (PyModule_AddType(module, types[i]) != 0) return -1;
    }
    /* collections.abc, without what else collections imports. */
    PyObject *abc = PyImport_ImportModule("_collections_abc");
    PyObject *mapping = abc ? PyObject_GetAttrString(abc, "MutableMapping") : NULL;
    PyObject *done =
        mapping ? PyObject_CallMethod(mapping, "register", "O", &ml_LuaTable_Type) : NULL;
    Py_XDECREF(abc);
    Py_XDECREF(mapping);
    Py_XDECREF(done);
    return done ? 0 : -1;
}
