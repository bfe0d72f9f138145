/* How the Lua code that is just being executed was written: o:m() or o.m. */

#ifndef ML_CALLSITE_H
#define ML_CALLSITE_H

#include <lua.h>
#include <stdbool.h>

/* In a C function that is an __index metamethod: whether Lua looks up the name of a method call.
   Leaves the stack as it is, raises no error. */
bool ml_is_method_lookup(lua_State *L);

/* Whether the above works in this Lua, which somebody may have changed. To be asked first. May raise
   a Lua error. Leaves the stack as it is. */
bool ml_callsite_open(lua_State *L);

#endif
