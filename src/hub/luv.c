/* luv for the scheduler: opened where its callbacks can always run, its errors not fatal. */

#define _GNU_SOURCE /* dladdr */
#include "hub.h"

#include <dlfcn.h>
#include <string.h>

static const char handler_key; /* registry: what is called with the error of a callback */

/* ---------------------------------------------------------------------------------- callbacks */

/* As luv_cfpcall of luv.c (1.44), but an error goes to the scheduler's handler, where luv would print
   it and exit. Returns the number of results, or the negative status. */
static int call(lua_State *L, int arguments, int results, int flags) {
    (void)flags;
    int top = lua_gettop(L) - arguments - 1;
    ml_world *w = ml_world_get(L);
    if (w) {
        ml_push_handler(L, w);
        lua_insert(L, top + 1);
    }
    int status = lua_pcall(L, arguments, results, w ? top + 1 : 0);
    if (w) lua_remove(L, top + 1);
    if (status == LUA_OK) return lua_gettop(L) - top;
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &handler_key) == LUA_TFUNCTION) {
        lua_insert(L, -2);
        if (lua_pcall(L, 1, 0, 0) != LUA_OK) lua_pop(L, 1); /* it is not to fail */
    } else {
        lua_pop(L, 2);
    }
    return -status;
}

/* Gives luv the function above. It exports the way (luv.h), in the library that `function` is in. */
static void set_callback(lua_State *L, lua_CFunction function) {
    Dl_info info;
    void *address;
    memcpy(&address, &function, sizeof address);
    if (!dladdr(address, &info) || !info.dli_fname) return;
    void *library = dlopen(info.dli_fname, RTLD_NOW | RTLD_NOLOAD);
    void *symbol = library ? dlsym(library, "luv_set_callback") : NULL;
    if (library) dlclose(library); /* Lua holds it, too */
    if (!symbol) return;
    void (*set)(lua_State *, int (*)(lua_State *, int, int, int));
    memcpy(&set, &symbol, sizeof set);
    set(L, call);
}

/* ------------------------------------------------------------------------------------ opening */

static int require_luv(lua_State *L) {
    lua_getglobal(L, "require");
    lua_pushliteral(L, "luv");
    lua_call(L, 1, 1);
    return 1;
}

/* open_luv(handler): the module. luv calls back on the Lua thread that has loaded it (luaopen_luv in
   luv.c keeps that): this must be the main one, which lasts. */
static int open_luv(lua_State *L) {
    ml_world *w = lua_touserdata(L, lua_upvalueindex(1));
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_settop(L, 1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &handler_key);
    lua_State *M = w->main;
    if (!lua_checkstack(M, 4)) return luaL_error(L, "stack overflow");
    lua_pushcfunction(M, require_luv);
    int status = lua_pcall(M, 0, 1, 0);
    if (M != L) lua_xmove(M, L, 1);
    if (status != LUA_OK) return lua_error(L);
    if (lua_istable(L, -1) && lua_getfield(L, -1, "run") == LUA_TFUNCTION) {
        lua_CFunction run = lua_tocfunction(L, -1);
        if (run) set_callback(L, run);
    }
    lua_settop(L, 1);
    return 1;
}

/* run_luv(run): run("nowait") while nothing can switch: callbacks run on the stack of whatever Lua
   thread has loaded luv, and uv_run (libuv) must not be entered twice. */
static int run_luv(lua_State *L) {
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_settop(L, 1);
    lua_pushliteral(L, "nowait");
    const char *barred =
        ml_bar("cannot wait or switch inside a callback of luv: spawn a task there");
    int status = lua_pcall(L, 1, 0, 0);
    ml_bar(barred);
    return status == LUA_OK ? 0 : lua_error(L);
}

void ml_luv_register(lua_State *L, ml_world *w) {
    static const luaL_Reg functions[] = {
        {"open_luv", open_luv}, {"run_luv", run_luv}, {NULL, NULL}};
    lua_pushlightuserdata(L, w);
    luaL_setfuncs(L, functions, 1);
}
