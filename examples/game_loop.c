/* The game loop of game_loop.lua, driven by a host in C:

       cc examples/game_loop.c -o game_loop -lmoonlet $(pkg-config --cflags --libs lua5.4)
       ./game_loop [FRAMES]
*/

#define _POSIX_C_SOURCE 200809L
#include <moonlet.h>

#include <lauxlib.h>
#include <lualib.h>

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { RATE = 60, BUDGET = 4, BEHAVIOURS = 1000 }; /* frames a second, milliseconds */

static const char game[] = "local count = ...\n"
                           "local moonlet = require 'moonlet'\n"
                           "local py = moonlet.python\n"
                           "py.exec [[\n"
                           "import moonlet\n"
                           "frames = {}\n"
                           "def behave(number):\n"
                           "    while True:\n"
                           "        moonlet.next_frame()\n"
                           "        frames[number] = frames.get(number, 0) + 1\n"
                           "def progress():\n"
                           "    return len(frames), min(frames.values()), max(frames.values())\n"
                           "]]\n"
                           "local main = py.import '__main__'\n"
                           "for number = 1, count do moonlet.spawn(main.behave, number) end\n"
                           "return moonlet.step, main.progress\n";

static void check(lua_State *L, int status) {
    if (status == LUA_OK) return;
    fprintf(stderr, "%s\n", luaL_tolstring(L, -1, NULL));
    exit(1);
}

static void wait_until(struct timespec *next) {
    next->tv_nsec += 1000000000 / RATE;
    if (next->tv_nsec >= 1000000000) {
        next->tv_nsec -= 1000000000;
        next->tv_sec++;
    }
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, next, NULL);
}

int main(int argc, char **argv) {
    int frames = argc > 1 ? atoi(argv[1]) : 2 * RATE;
    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
    check(L, moonlet_open(L, NULL) == 0 ? LUA_OK : LUA_ERRRUN);
    check(L, luaL_loadstring(L, game));
    lua_pushinteger(L, BEHAVIOURS);
    check(L, lua_pcall(L, 1, 2, 0)); /* moonlet.step at -2, progress at -1 */

    struct timespec next;
    clock_gettime(CLOCK_MONOTONIC, &next);
    for (int i = 0; i < frames; i++) {
        lua_pushvalue(L, -2);
        lua_pushinteger(L, BUDGET);
        check(L, lua_pcall(L, 1, 0, 0));
        wait_until(&next); /* a game draws meanwhile */
    }

    check(L, lua_pcall(L, 0, 3, 0));
    long long behaviours = lua_tointeger(L, -3);
    long long least = lua_tointeger(L, -2), most = lua_tointeger(L, -1);
    printf("frames: %d, behaviours: %lld\n", frames, behaviours);
    printf("all moved: %s\n", least > 0 ? "true" : "false");
    printf("fair: %s\n", most - least <= 1 ? "true" : "false");
    moonlet_close(L);
    lua_close(L);
    moonlet_finish();
    return 0;
}
