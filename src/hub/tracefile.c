/* Files that become complete however the program ends: a list in JSON, of which the end is written when
   the file is closed, at the latest by exit(). */

#define _GNU_SOURCE /* getpid */
#include "hub.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct trace_file {
    FILE *file; /* NULL: closed */
    pid_t owner;
    bool begun; /* something is in the list */
    struct trace_file *next;
} trace_file;

static const char type_name[] = "moonlet.trace_file";

/* Those that are open, of all threads. */
static trace_file *all;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* 0, or the error. */
static int finish(trace_file *t) {
    FILE *file = t->file;
    t->file = NULL;
    if (!file) return 0;
    if (t->owner != getpid()) return 0; /* a child process: what it has buffered is its parent's */
    int error = fputs("\n]\n", file) < 0 ? errno : 0;
    if (fclose(file) != 0 && !error) error = errno;
    return error;
}

static int close_file(trace_file *t) {
    pthread_mutex_lock(&lock);
    trace_file **place = &all;
    while (*place && *place != t) place = &(*place)->next;
    if (*place) *place = t->next;
    int error = finish(t);
    pthread_mutex_unlock(&lock);
    return error;
}

static void at_exit(void) {
    pthread_mutex_lock(&lock);
    for (trace_file *t = all; t; t = t->next) finish(t);
    all = NULL;
    pthread_mutex_unlock(&lock);
}

static void prepare(void) { atexit(at_exit); }

static trace_file *check(lua_State *L) { return luaL_checkudata(L, 1, type_name); }

/* The results of an operation: true, or nil, the text of the error and its number. */
static int result(lua_State *L, int error) {
    if (error) {
        lua_pushnil(L);
        lua_pushstring(L, strerror(error));
        lua_pushinteger(L, error);
        return 3;
    }
    lua_pushboolean(L, 1);
    return 1;
}

/* file:add(text): one more item of the list. */
static int add(lua_State *L) {
    trace_file *t = check(L);
    size_t size;
    const char *text = luaL_checklstring(L, 2, &size);
    if (!t->file || t->owner != getpid()) return result(L, 0);
    errno = 0;
    bool done =
        fputs(t->begun ? ",\n" : "\n", t->file) >= 0 && fwrite(text, 1, size, t->file) == size;
    t->begun = true;
    return result(L, done ? 0 : errno ? errno : EIO);
}

/* file:close() */
static int close_method(lua_State *L) { return result(L, close_file(check(L))); }

static int collect(lua_State *L) {
    close_file(check(L));
    return 0;
}

/* trace_file(path): a new file with an empty list. Or nil, the text of the error and its number. */
static int trace_file_function(lua_State *L) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    const char *path = luaL_checkstring(L, 1);
    trace_file *t = lua_newuserdatauv(L, sizeof *t, 0);
    *t = (trace_file){.owner = getpid()};
    luaL_setmetatable(L, type_name);
    errno = 0;
    t->file = fopen(path, "we");
    if (!t->file) return result(L, errno);
    setvbuf(t->file, NULL, _IOFBF, 1 << 16);
    fputs("[", t->file);
    if (fflush(t->file) != 0) { /* as on a disk that is full */
        int error = errno;
        fclose(t->file);
        t->file = NULL;
        return result(L, error);
    }
    pthread_once(&once, prepare);
    pthread_mutex_lock(&lock);
    t->next = all;
    all = t;
    pthread_mutex_unlock(&lock);
    return 1;
}

void ml_tracefile_register(lua_State *L) {
    static const luaL_Reg methods[] = {{"add", add},
                                       {"close", close_method},
                                       {"__gc", collect},
                                       {"__close", collect},
                                       {NULL, NULL}};
    luaL_newmetatable(L, type_name);
    luaL_setfuncs(L, methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    lua_pushcfunction(L, trace_file_function);
    lua_setfield(L, -2, "trace_file");
}
