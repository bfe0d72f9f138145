/* Looking at other greenlets, and calling what must not wait. */

#include "hub.h"

#include "../lua/lgreenlet.h"

static ml_world *world(lua_State *L) { return lua_touserdata(L, lua_upvalueindex(1)); }

/* stack_of(g): the stack of a greenlet as text, as moonlet.traceback gives it; empty if it has none. */
static int stack_of(lua_State *L) {
    const ml_greenlet *g = ml_lgreenlet_test(L, 1);
    if (!g) return luaL_typeerror(L, 1, "greenlet");
    lua_settop(L, 1);
    ml_traceback_push(L, world(L), g);
    return 1;
}

/* call_barred(reason, f, ...): as pcall, but f cannot switch, which is an error with the text `reason`;
   that lives on. */
static int call_barred(lua_State *L) {
    const char *reason = luaL_checkstring(L, 1);
    luaL_checkany(L, 2);
    const char *before = ml_bar(reason);
    int status = lua_pcall(L, lua_gettop(L) - 2, LUA_MULTRET, 0);
    ml_bar(before);
    lua_pushboolean(L, status == LUA_OK);
    lua_replace(L, 1);
    return lua_gettop(L);
}

void ml_stacks_register(lua_State *L, ml_world *w) {
    static const luaL_Reg functions[] = {
        {"stack_of", stack_of}, {"call_barred", call_barred}, {NULL, NULL}};
    lua_pushlightuserdata(L, w);
    luaL_setfuncs(L, functions, 1);
}
