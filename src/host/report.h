/* Reporting an error that nobody has caught. */

#ifndef ML_REPORT_H
#define ML_REPORT_H

#include <lua.h>
#include <stdbool.h>

/* A message handler: adds the traceback of the Lua stack to a plain error message, and the Lua
   frames to a Python exception. */
int ml_report_handler(lua_State *L);

/* Prints the error on top of the stack, which it pops, to stderr: Python's exceptions and errors
   that came through Python with the frames of both languages in one list. Returns the status to
   exit with: 1; 130 for KeyboardInterrupt; for SystemExit, of which nothing is printed, what it
   asks for. */
int ml_report_error(lua_State *L, const char *program);

#endif
