/* What the scheduler, which is written in Lua (lua/moonlet) and Python (src/hub), needs of C. */

#ifndef ML_HUB_H
#define ML_HUB_H

#include "../bridge/bridge.h"

/* Adds what requires the Lua files of the scheduler, by names that begin with "moonlet.", and what
   looks up the module's late names in them; the module is on top. May raise. */
void ml_hub_open(lua_State *L, ml_world *w);

/* The module moonlet.native for these files, as a lua_CFunction; upvalue 1 is the world. */
int ml_native_open(lua_State *L);

/* The spec of the module `fullname`, moonlet.`name`: new reference, None if there is none, or NULL. */
PyObject *ml_hub_find_spec(PyObject *fullname, const char *name);

/* The names that the Python module `moonlet` has of the scheduler: a new reference, or NULL with an
   exception (AttributeError if there is no such name). What is the same for all Lua states is added to
   the module, to be found there from now on. */
PyObject *ml_hub_attribute(PyObject *moonlet, PyObject *name);

/* All these names: a new list, or NULL with an exception. */
PyObject *ml_hub_names(void);

/* Adds what Python imports the embedded submodules of `moonlet` with. 0 or -1. */
int ml_hub_init(PyObject *module);

/* The embedded Lua or Python file of this name, or NULL. */
typedef struct ml_file {
    const char *name;
    const char *text;
    size_t size;
} ml_file;
const ml_file *ml_lua_file(const char *name);
const ml_file *ml_python_file(const char *name);

/* ------------------------------------------------------------------------------ catch.c

   pcall and xpcall that let a cancel pass. */

/* Makes them and adds them to the Python module. 0 or -1. */
int ml_catch_init(PyObject *module);

/* Replaces the global functions pcall and xpcall, and adds the exceptions' classes to the table on
   top. May raise. */
void ml_catch_open(lua_State *L, ml_world *w);

/* Adds pcall (Lua's own), is_cancel(v) and closed(text, index) to the table on top. */
void ml_catch_register(lua_State *L, ml_world *w);

/* ---------------------------------------------------------------------------- raw.c */

/* Adds `raw` to the Python module `moonlet._native`; see there. 0 or -1. */
int ml_raw_init(PyObject *module);

/* Adds unbox(...) and set_class(metatable, type) to the table on top. */
void ml_raw_register(lua_State *L, ml_world *w);

/* ------------------------------------------------------------------------------ timers.c */

/* Adds heap_new and what works on such a heap to the table on top. */
void ml_timers_register(lua_State *L);

/* --------------------------------------------------------------------------- others.c */

/* Adds `_idle_thread` to the Python module. 0 or -1. */
int ml_others_init(PyObject *module);

/* Adds other_threads() to the table on top. */
void ml_others_register(lua_State *L);

/* ------------------------------------------------------------------------------ luv.c */

/* Adds open_luv and run_luv to the table on top. */
void ml_luv_register(lua_State *L, ml_world *w);

/* ------------------------------------------------------------------------ loopstate.c */

/* Adds loop_state, put_aside and take_back to the table on top. */
void ml_loopstate_register(lua_State *L, ml_world *w);

/* -------------------------------------------------------------------------- stacks.c, tracefile.c */

/* Add stack_of and call_barred, and trace_file, to the table on top. */
void ml_stacks_register(lua_State *L, ml_world *w);
void ml_tracefile_register(lua_State *L);

/* ------------------------------------------------------------------------------ poll.c */

/* Adds new_poller, poller_arm, poller_remove and poller_take to the table on top. */
void ml_poll_register(lua_State *L);

/* ----------------------------------------------------------------------------- signals.c */

/* Adds save_signal and restore_signal to the table on top. */
void ml_signals_register(lua_State *L);

#endif
