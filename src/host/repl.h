/* The interactive mode, as that of `lua`. */

#ifndef ML_REPL_H
#define ML_REPL_H

#include <lua.h>

/* Reads, evaluates and prints until the end of input. */
void ml_repl(lua_State *L, const char *program);

/* Adds to package.path and package.cpath what is installed beside the program. */
void ml_add_paths(lua_State *L, const char *argv0);

#endif
