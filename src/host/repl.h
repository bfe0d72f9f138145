/* The interactive mode, as that of `lua`. */

#ifndef ML_REPL_H
#define ML_REPL_H

#include <lua.h>

/* Reads, evaluates and prints until the end of input. */
void ml_repl(lua_State *L, const char *program);

#endif
