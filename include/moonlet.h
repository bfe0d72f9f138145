/* moonlet for C hosts: Lua scripts that run, switch and stop Python tasks, in a Lua 5.4 state of
   yours. Link with libmoonlet and your Lua.

   A state belongs to the thread that opens moonlet in it. Lua runs with Python's GIL held: if
   Python runs already, the thread must hold it when it opens moonlet; if moonlet starts Python,
   the thread holds it from then on. Release it where you wait (PyEval_SaveThread). */

#ifndef MOONLET_H
#define MOONLET_H

#include <lua.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define MOONLET_API __attribute__((visibility("default")))
#else
#define MOONLET_API
#endif

/* How Python is started. It happens once in a process, with the first state that opens moonlet;
   where Python runs already, moonlet attaches to it and these have no effect. */
typedef struct moonlet_options {
    /* An interpreter or a virtual environment (its directory) whose packages to use. NULL: the
       interpreter moonlet was built for. */
    const char *python;
    /* sys.argv, ended by NULL; NULL: empty. Copied. */
    char *const *argv;
    /* Non-zero: Python's handler for SIGINT is installed, which raises KeyboardInterrupt. */
    int handle_signals;
} moonlet_options;

/* Opens moonlet in `L`: afterwards `require "moonlet"` finds it. `options` may be NULL. Opening a
   state again is allowed and does nothing.
   Returns 0, or -1 and pushes a message on the stack of `L`. */
MOONLET_API int moonlet_open(lua_State *L, const moonlet_options *options);

/* Ends all greenlets that are suspended in `L` and releases what it holds of Python. Call it before
   lua_close to choose the moment; otherwise lua_close does it. Greenlets cannot be switched to any
   more afterwards. */
MOONLET_API void moonlet_close(lua_State *L);

/* Ends Python, if moonlet has started it: runs its exit handlers and flushes its files. All
   states must be closed. Without this call it happens when the process exits. Python cannot be
   started again. */
MOONLET_API void moonlet_finish(void);

/* The version, as "1.2.3". Static. */
MOONLET_API const char *moonlet_version(void);

/* For Lua's require, and for package.preload: opens moonlet with default options and returns the
   module. Raises a Lua error. */
MOONLET_API int luaopen_moonlet(lua_State *L);

#ifdef __cplusplus
}
#endif

#endif
