/* What happens at a signal, kept while luv handles it: libuv sets the default when it ends
   (uv__signal_unregister_handler), not what there was before, which may be Python's. */

#define _GNU_SOURCE /* sigaction */
#include "hub.h"

#include <signal.h>

/* save_signal(number): what is done at the signal now, for restore_signal; nil if there is no such
   signal. Second, whether that is the default. */
static int save(lua_State *L) {
    struct sigaction action;
    if (sigaction((int)luaL_checkinteger(L, 1), NULL, &action) != 0) return 0;
    struct sigaction *kept = lua_newuserdatauv(L, sizeof *kept, 0);
    *kept = action;
    lua_pushboolean(L, !(action.sa_flags & SA_SIGINFO) && action.sa_handler == SIG_DFL);
    return 2;
}

/* restore_signal(number, saved) */
static int restore(lua_State *L) {
    const struct sigaction *kept = lua_touserdata(L, 2);
    if (!kept || lua_rawlen(L, 2) != sizeof *kept) return luaL_typeerror(L, 2, "saved action");
    sigaction((int)luaL_checkinteger(L, 1), kept, NULL);
    return 0;
}

void ml_signals_register(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"save_signal", save}, {"restore_signal", restore}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
