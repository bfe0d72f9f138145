/* moonlet.so, what `require "moonlet"` of any Lua 5.4 program loads: it brings libpython, with its
   symbols global, and libmoonlet, and hands over to that. It is linked with neither, so that a
   missing library is a Lua error that says what to install. */

#define _GNU_SOURCE /* dladdr, RTLD_DEFAULT */
#include "../../include/moonlet.h"

#include <lauxlib.h>

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* libmoonlet lies two directories above lua/5.4/moonlet.so. */
static int find_library(char *path, size_t size) {
    static const char marker;
    Dl_info info;
    if (!dladdr(&marker, &info) || !info.dli_fname) return -1;
    snprintf(path, size, "%s", info.dli_fname);
    for (int i = 0; i < 3; i++) {
        char *slash = strrchr(path, '/');
        if (!slash) return -1;
        *slash = '\0';
    }
    size_t length = strlen(path);
    return snprintf(path + length, size - length, "/libmoonlet.so") < (int)(size - length) ? 0
                                                                                           : -1;
}

static int load_python(lua_State *L) {
    if (dlsym(RTLD_DEFAULT, "Py_IsInitialized")) return 0;
    const char *name = getenv("MOONLET_LIBPYTHON");
    if (!name || !*name) name = MOONLET_LIBPYTHON;
    if (dlopen(name, RTLD_NOW | RTLD_GLOBAL)) return 0;
    return luaL_error(L,
                      "moonlet: cannot load Python: %s; install the package libpython%s, or set "
                      "MOONLET_LIBPYTHON to the path of the library",
                      dlerror(), MOONLET_PYTHON_VERSION);
}

MOONLET_API int luaopen_moonlet(lua_State *L) {
    char path[4096];
    load_python(L);
    if (find_library(path, sizeof path) != 0) {
        return luaL_error(L, "moonlet: cannot tell where moonlet.so was loaded from");
    }
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) return luaL_error(L, "moonlet: %s", dlerror());
    void *address = dlsym(library, "luaopen_moonlet");
    if (!address) return luaL_error(L, "moonlet: %s", dlerror());
    lua_CFunction open;
    memcpy(&open, &address, sizeof open);
    return open(L);
}
