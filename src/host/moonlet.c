/* The public C API. */

#define _GNU_SOURCE /* dladdr */
#include "../../include/moonlet.h"
#include "../bridge/bridge.h"
#include "../python/embed.h"
#include "pyenv.h"
#include "standard_output.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *moonlet_version(void) { return MOONLET_VERSION; }

/* Extensions of Python leave the symbols of libpython to be found globally. Where a plugin
   brought libpython in, they are not: make them so (notes of dlopen(3) on RTLD_NOLOAD). */
static void promote_libpython(void) {
    Dl_info info;
    int (*function)(void) = Py_IsInitialized;
    void *address;
    memcpy(&address, &function, sizeof address);
    if (dladdr(address, &info) && info.dli_fname) {
        dlopen(info.dli_fname, RTLD_NOW | RTLD_GLOBAL | RTLD_NOLOAD);
    }
}

static void *init_greenlet(void) { return ml_PyInit_greenlet(); }
static void *init_moonlet(void) { return ml_PyInit_moonlet(); }

static int start_python(const moonlet_options *options, char *error, size_t size) {
    static const ml_py_module modules[] = {
        {"greenlet", init_greenlet}, {"moonlet", init_moonlet}, {NULL, NULL}};
    if (ml_py_started()) return 0;
    char executable[4096];
    ml_py_options py = {.argv = options->argv, .signals = options->handle_signals != 0};
    if (options->python) {
        if (ml_pyenv_find(options->python, executable, sizeof executable, error, size) != 0) {
            return -1;
        }
        py.executable = executable;
    }
    promote_libpython();
    if (ml_py_start(&py, modules, error, size) != 0) return -1;
    if (ml_py_is_ours() && ml_share_stdout() != 0) {
        PyErr_Clear();
        snprintf(error, size, "cannot give Python its standard output");
        return -1;
    }
    atexit(moonlet_finish);
    return 0;
}

static int open_protected(lua_State *L) {
    ml_bridge_open(L);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_pushvalue(L, -2);
    lua_setfield(L, -2, "moonlet");
    return 0;
}

static int push_message(lua_State *L) {
    lua_pushstring(L, lua_touserdata(L, 1));
    return 1;
}

int moonlet_open(lua_State *L, const moonlet_options *options) {
    static const moonlet_options defaults;
    char error[1024];
    if (!lua_checkstack(L, 4)) return -1;
    if (start_python(options ? options : &defaults, error, sizeof error) != 0) {
        lua_pushcfunction(L, push_message);
        lua_pushlightuserdata(L, error);
        lua_pcall(L, 1, 1, 0); /* if that fails it is a message, too */
        return -1;
    }
    lua_pushcfunction(L, open_protected);
    return lua_pcall(L, 0, 0, 0) == LUA_OK ? 0 : -1;
}

void moonlet_close(lua_State *L) {
    ml_world *w = ml_world_get(L);
    if (w) ml_world_close(w);
}

void moonlet_finish(void) { ml_py_finish(); }

int luaopen_moonlet(lua_State *L) {
    static const moonlet_options defaults;
    char error[1024];
    if (start_python(&defaults, error, sizeof error) != 0) {
        return luaL_error(L, "moonlet: %s", error);
    }
    ml_bridge_open(L);
    return 1;
}
