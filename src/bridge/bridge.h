/* The bridge: Lua values in Python, Python values in Lua, errors across.

   Who may fail how: a function that takes a lua_State and says "may raise" leaves by a Lua error
   (a longjmp), so its caller owns no Python reference at that moment. All others report failure
   as CPython does, with an exception set. The GIL is held throughout. */

#ifndef ML_BRIDGE_H
#define ML_BRIDGE_H

#include "../lua/lgreenlet.h"
#include "../lua/world.h"
#include "../python/pygreenlet.h"

extern const ml_lua_bridge ml_bridge;

/* ------------------------------------------------------------------------ to_lua, to_python */

/* Pushes `o` (borrowed) as a Lua value. May raise. Needs a free stack slot, and checks for more. */
void ml_to_lua(lua_State *L, ml_world *w, PyObject *o);

/* The same for a reference that it takes over, however it ends. */
void ml_to_lua_steal(lua_State *L, ml_world *w, PyObject *o);

/* Pushes what a call or switch gave (stolen): an exact tuple as its items. Returns the number of
   values. May raise. */
int ml_results_to_lua(lua_State *L, ml_world *w, PyObject *result);

/* Pushes `o` (borrowed) if it is a scalar that cannot fail: None, a bool, an int of 64 bits or a
   float. Otherwise false, and nothing is pushed. Needs a free stack slot. */
bool ml_scalar_to_lua(lua_State *L, PyObject *o);

/* The same for strings, too, that have been pushed lately. */
bool ml_simple_to_lua(lua_State *L, ml_world *w, PyObject *o);

/* Forgets those strings. */
void ml_forget_texts(ml_world *w);

/* The value at `index` as a Python object: a new reference, or NULL with an exception. Raises no
   Lua error. */
PyObject *ml_to_python(lua_State *L, ml_world *w, int index);

/* The same for one whose lua_type is known. */
PyObject *ml_typed_to_python(lua_State *L, ml_world *w, int index, int type);

/* The string at `index` as an attribute's name: as ml_to_python, but interned. */
PyObject *ml_name_to_python(lua_State *L, int index);

/* The topmost `count` values as the result of a call: none is None, one is itself, several are a
   tuple. They stay on the stack. New reference or NULL. */
PyObject *ml_results_to_python(lua_State *L, ml_world *w, int count);

/* Text for Python: UTF-8 (lone surrogates too) as str, else bytes. New reference or NULL. */
PyObject *ml_text_to_python(const char *text, size_t length);

/* ------------------------------------------------------------------- pyproxy: Python in Lua */

void ml_pyproxy_open(lua_State *L, ml_world *w);

/* Pushes the proxy of `o`, the same for the same object. May raise. */
void ml_pyproxy_push(lua_State *L, ml_world *w, PyObject *o);

/* The Python object that the userdata at `index` stands for, a greenlet's too (borrowed), or NULL
   if it is something else. Sets no exception. */
PyObject *ml_pyproxy_test(lua_State *L, int index);

/* The same, or a Lua error that says what was expected. */
PyObject *ml_pyproxy_check(lua_State *L, const ml_world *w, int index);

/* The same at index 1 of a metamethod, whose upvalue 1 is the world; and the world. */
PyObject *ml_pyproxy_self(lua_State *L, ml_world **w);

/* As ml_pyproxy_test for the userdata's content, of which the first field is known to be a tag. */
PyObject *ml_handle_object(const ml_handle *h);

/* Metamethods for greenlets, too. */
int ml_pyproxy_index(lua_State *L);
int ml_pyproxy_newindex(lua_State *L);

/* With an exception set for an attribute that is missing: the item of that name (a new reference),
   else NULL and that exception. */
PyObject *ml_pyproxy_item_instead(ml_activation *a, PyObject *o, PyObject *key);

/* Ends a function that Lua called: pushes results, or raises what Python has set. */
int ml_finish_call(lua_State *L, ml_world *w, PyObject *result);

/* pycall: calls. Prepares a state for them; may raise. */
void ml_pycall_open(lua_State *L, ml_world *w);

/* The metamethod. */
int ml_pycall(lua_State *L);

/* In the __index of `o`, for the o:m of o:m(...), m being the string at 2: pushes what is then
   called with `o`. Returns 1. May raise. */
int ml_pycall_method(lua_State *L, ml_world *w, PyObject *o);

/* Python's protocols as metamethods besides index and call, into the table on top. */
void ml_pyoperators_register(lua_State *L, ml_world *w);

/* py.iter(o): for item in py.iter(o) do ... end */
int ml_pyoperators_iter(lua_State *L);

/* The next item of the iterator at 1, nil after the last. */
int ml_pyoperators_next(lua_State *L);

/* ------------------------------------------------------------- what Lua code needs besides */

/* context: the metamethod __close of Python objects, and py.with. */
int ml_context_close(lua_State *L);
int ml_context_with(lua_State *L);

/* access: items, attributes, slices and None by functions, into the table on top. */
void ml_access_register(lua_State *L, ml_world *w);

/* copy: deep copies. To Python, py.dict and others, into the table on top; from Python, into the
   module. */
void ml_copy_register(lua_State *L, ml_world *w);
void ml_copy_register_table(lua_State *L, ml_world *w);

/* buffer: py.buffer, into the table on top. */
void ml_buffer_register(lua_State *L, ml_world *w);

/* luastring: py.memoryview, and its type for the Python module. 0 or -1. */
int ml_luastring_memoryview(lua_State *L);
int ml_luastring_init(PyObject *module);
/* The world is about to be closed. */
void ml_luastring_close(ml_world *w);

/* ------------------------------------------------------------------ luaproxy: Lua in Python */

typedef struct LuaObject {
    PyObject_HEAD
    vectorcallfunc vectorcall; /* of functions; NULL in the others */
    PyObject *weakreflist;
    ml_world *world;     /* counted */
    int ref;             /* in the registry */
    int kind;            /* of the value: LUA_T..., */
    const void *pointer; /* and lua_topointer of it */
    PyObject *shadow;    /* while a joint collection runs, or NULL */
} LuaObject;

extern PyTypeObject ml_LuaObject_Type;

static inline bool ml_is_lua_object(PyObject *o) {
    return PyObject_TypeCheck(o, &ml_LuaObject_Type);
}

/* Readies the types and adds them to the module. 0 or -1. */
int ml_luaproxy_init(PyObject *module);

/* A proxy of the table, function, userdata or thread at `index`. New reference or NULL. */
PyObject *ml_luaproxy_new(lua_State *L, ml_world *w, int index);

/* Adds what finds modules of Python for Lua's require. May raise. */
void ml_searcher_open(lua_State *L, ml_world *w);

/* The module moonlet.lua: adds it to `moonlet` and to sys.modules. 0 or -1. */
int ml_luamodule_init(PyObject *moonlet);

/* If `o` is a module that Python has imported from Lua, and Lua has it in this state, pushes the
   value of the module and returns true. May raise. */
bool ml_luamodule_push(lua_State *L, ml_world *w, PyObject *o);

/* A proxy of the value at `index`: the one there is, or a new one of this type, in which what it has
   besides LuaObject is zero. New reference or NULL. Starts no collection. */
PyObject *ml_luaobject_new(lua_State *L, ml_world *w, int index, PyTypeObject *type,
                           vectorcallfunc call);

/* Slots of the types. Values that are the same have the same hash, in any thread, also when the
   state is closed. */
void ml_luaobject_dealloc(PyObject *self);
int ml_luaobject_traverse(PyObject *self, visitproc visit, void *arg);
int ml_luaobject_clear(PyObject *self);
Py_hash_t ml_luaobject_hash(PyObject *self);

/* ------------------------------------------------------------- enter: Python calls into Lua */

typedef struct ml_entry {
    ml_world *world;
    lua_State *L; /* where the current greenlet is in Lua; LUA_MINSTACK slots are free */
    int top;
    ml_lthread *fresh;
} ml_entry;

/* Goes into Lua; on success to be paired with ml_leave. Between them only what raises no Lua error
   may be called. 0, or -1 with an exception: the state is closed, or another thread's. */
int ml_enter(ml_world *w, ml_entry *e);

/* Pops what is left on the stack, and goes back. */
void ml_leave(const ml_entry *e);

/* lua_pcall; errors become exceptions. The message handler is the first thing that was pushed after
   ml_enter; results begin at e->top + 2. 0 or -1. */
int ml_pcall(const ml_entry *e, int arguments, int results);

/* All at once: calls `function` with a pointer to `argument` as light userdata. 0 or -1. */
int ml_protect(ml_world *w, lua_CFunction function, void *argument);

/* ------------------------------------------------------------------- boxes, for the scheduler

   What keeps a value as it is on its way through Lua: see raw.c of src/hub. */

extern PyTypeObject ml_Box_Type;

/* Borrowed. */
PyObject *ml_box_content(PyObject *box);

/* As ml_to_lua, but bytes, and a tuple if it is a `result`, come in a box. May raise. */
void ml_boxed_to_lua(lua_State *L, ml_world *w, PyObject *o, bool result);

/* The type for tables like the one at `index` (borrowed), or NULL. Raises no error. */
PyTypeObject *ml_class_of_table(lua_State *L, int index);

/* ------------------------------------------------------------------------------------ errors */

/* Whether an exception is moonlet.Cancelled. */
bool ml_is_cancel(PyObject *exception);

extern PyObject *ml_PyExc_LuaError; /* moonlet.LuaError, with the attribute `value` */

int ml_error_init(PyObject *module);

/* Pushes the exception that is set as a Lua error value: a LuaError as its value, every other one
   as a proxy. Clears it. May raise. */
void ml_error_push(lua_State *L, ml_world *w);

/* Pushes and raises it. */
int ml_error_raise(lua_State *L, ml_world *w);

/* Sets the exception for the Lua error value on top, which it pops; `status` as of lua_pcall. */
void ml_error_to_python(lua_State *L, ml_world *w, int status);

/* Sets the exception for the error that has ended `co`, the value of which is on top of it, with the
   frames of `co` in its traceback; `status` as of lua_resume. Pushes the value on L, too. */
void ml_error_of_coroutine(lua_State *L, ml_world *w, lua_State *co, int status);

/* The message handler: adds the Lua frames of the stack to the traceback of the exception that
   the error value is or becomes. Upvalue 1 is the world. */
int ml_error_handler(lua_State *L);

/* traceback: adds an entry for each Lua function on the stack, innermost first, from the level `first`
   up to where Python called Lua, to the exception that is set. */
void ml_traceback_add(lua_State *L, int first);

/* Pushes the stack of `g` as moonlet.traceback gives that of the running code: the frames of both
   languages, the innermost first; empty if it does not run, or another thread runs it. May raise. */
void ml_traceback_push(lua_State *L, ml_world *w, const ml_greenlet *g);

/* Adds moonlet.traceback to the table on top. May raise. */
void ml_traceback_register(lua_State *L, ml_world *w);

/* The exception behind the error value at `index` (borrowed) if its traceback tells more than
   that of the Lua stack: it is Python's, or has passed a border. Else NULL. */
PyObject *ml_error_exception(lua_State *L, ml_world *w, int index);

/* The exception that the error value at `index` is or stands for (borrowed), or NULL. */
PyObject *ml_error_find(lua_State *L, ml_world *w, int index);

/* A new exception for the error value at `index`, which stands for none: an instance of the
   exception class, else a LuaError. New reference or NULL. Outside of Lua. */
PyObject *ml_error_new(lua_State *L, ml_world *w, int index);

/* Remembers that the error value at `index` stands for `exception`, a reference that it takes over.
   `crossed`: ml_error_exception finds it. May raise. */
void ml_error_keep(lua_State *L, ml_world *w, int index, PyObject *exception, bool crossed);

/* Forgets the exception behind the last error value. */
void ml_error_forget(ml_world *w);

/* ------------------------------------------------------------------ limits: what scripts may do */

/* Asks the host's settings. See ml_allowed. */
bool ml_ask(ml_activation *a, PyObject *o, const char *access, PyObject *name);

/* Whether a script that has left Lua at `a` may do `access` ("getattr", "call", ...) to `o`, with
   `name` as attribute, key, module or code; each may be NULL. If not, an exception is set. May run
   arbitrary code. */
static inline bool ml_allowed(ml_activation *a, PyObject *o, const char *access, PyObject *name) {
    return __builtin_expect(!a->world->limits, 1) || ml_ask(a, o, access, name);
}

/* The same for an operator, a metamethod or function of that name, on all Python objects among the
   first `count` values. */
bool ml_may_operate(lua_State *L, ml_activation *a, const char *event, int count);

/* moonlet.open; upvalues: the world, the module. */
int ml_limits_open(lua_State *L);

void ml_limits_close(ml_world *w);

/* ------------------------------------------------------------------------ collecting garbage */

/* What Python has of a Lua state: w->objects. */
struct ml_objects {
    ml_world *world;
    LuaObject **slots; /* the live proxies; see luaidentity.c */
    size_t mask;
    size_t count;
    int *free_anchors; /* refs in the registry that hold nothing */
    size_t free_anchor_count;
    size_t anchor_count; /* in all */

    ml_objects *next; /* of another Lua state */
    struct ml_shadow **shadows;
    size_t shadow_count;
    size_t shadows_gone;                /* how many the collector has found */
    uint64_t switches;                  /* ml_py_switches and ... */
    uint64_t buried;                    /* ... ml_py_buried when the collection started */
    uint64_t started, ended, walk_time; /* ns */
    size_t heap_limit;                  /* KiB: when Lua's heap is so large, collect */
    bool active;                        /* a joint collection runs */
    bool requested;
    bool again; /* it has left something to the next one */
};

/* Makes w->objects. 0 or -1. */
int ml_objects_open(ml_world *w);
void ml_objects_free(ml_world *w);

/* Collects garbage of both languages, in all Lua states of the calling thread: also cycles that run
   through both, by way of tables, closures, coroutines, instances, bound methods, suspended
   greenlets and whatever else the collectors of Python and Lua see through. Returns the number of
   objects that Python's collector has found, as gc.collect() does. Does nothing, and returns 0,
   while a collection of either language runs already (in __del__, in __gc) and in a thread without
   a Lua state. May run any code.

   The same happens by itself. Each full collection of Python's (gc.collect(), too) is a joint one,
   unless the Lua heap is large (16 MiB) and to walk it would take more than a tenth of the time.
   One is started when twice as many Lua values and greenlets are held by Python as have survived
   the last one, and when the Lua heap has doubled; not so while gc.disable() or
   collectgarbage("stop") is in force.

   First Python's finalizers run (__del__, callbacks of weak references), with everything intact, and
   may bring anything back to life; after that Lua's (__gc), for which Python objects that were
   garbage too may have been released already. If Python's finalizers have used Lua, another
   collection follows that frees the objects.

   Not seen through are references that C code has: objects with such references count as held. */
Py_ssize_t ml_collect(void);

/* A collection is due: it will run when it is safe. */
void ml_collect_request(ml_world *w);

int ml_collect_init(void);
/* May raise. */
void ml_collect_open(lua_State *L, ml_world *w);
void ml_collect_forget(ml_objects *o);

/* moonlet.collect, into the table on top. May raise. */
void ml_collect_register(lua_State *L, ml_world *w);
/* ------------------------------------------------------------------- threads: those of Python */

/* moonlet.call_soon_threadsafe(f, *args) in Python, from any thread: leaves the call f(*args) to the
   thread of a Lua state, which is that of `f` if that is a Lua value, else the oldest one that is
   open. METH_FASTCALL.

   Calls are made in the order in which they came, each once, in whatever greenlet runs, as a signal
   handler would be: when Lua next leaves for Python or switches, or between two of its steps. They
   cannot switch to other greenlets. Their results are dropped; errors go to sys.unraisablehook.
   When the state closes, what is left is dropped.

   Returns None. TypeError: `f` is not callable; RuntimeError: its state is closed, there is none. */
PyObject *ml_call_soon_threadsafe(PyObject *module, PyObject *const *args, Py_ssize_t count);

/* Adds moonlet.call_soon_threadsafe(f, ...), the same in Lua for its own state, to the table on top.
   May raise. */
void ml_threads_register(lua_State *L, ml_world *w);

/* Once, before the first world is opened. 0, or -1 with an exception. */
int ml_threads_init(void);

/* See `owner`, `look` and `turn` of ml_lua_bridge. */
void *ml_threads_owner(ml_ticks *t, const void **others);
int ml_threads_look(const void *owner);
void ml_threads_turn(lua_State *L, ml_world *w);

/* ---------------------------------------------------------------------------- the Lua module */

/* Pushes the table moonlet.python. May raise. */
void ml_python_module(lua_State *L, ml_world *w);

/* The table at `index` was made by py.kw. */
bool ml_is_kw(lua_State *L, const ml_world *w, int index);

/* Pushes the pairs of the kw table at `index`, each as key and value: no conversion of theirs can
   change it then. Returns how many, or -1 with an exception. */
Py_ssize_t ml_kw_spread(lua_State *L, int index);

/* The key at `index` as a keyword's name. New reference or NULL. */
PyObject *ml_kw_name(lua_State *L, int index);

/* The pairs of the kw table at `index` as a dict. New reference or NULL. */
PyObject *ml_kw_to_python(lua_State *L, ml_world *w, int index);

/* Pushes a kw table of a dict. May raise. */
void ml_kw_to_lua(lua_State *L, ml_world *w, PyObject *dict);

/* Opens the bridge in a state whose process runs Python, and pushes the module. May raise. */
void ml_bridge_open(lua_State *L);

/* The module `moonlet` of Python, for PyImport_AppendInittab. */
PyObject *ml_PyInit_moonlet(void);

#endif
