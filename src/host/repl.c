#define _GNU_SOURCE /* getline */
#include "repl.h"
#include "interrupt.h"
#include "report.h"

#include <lauxlib.h>

#include <editline/readline.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef enum input { LINE, END, INTERRUPTED } input;

/* Pushes the next line, unless there is none: the input has ended, or Ctrl-C was typed. */
static input read_line(lua_State *L, bool first) {
    lua_getglobal(L, first ? "_PROMPT" : "_PROMPT2");
    const char *prompt = lua_isnil(L, -1) ? (first ? "> " : ">> ") : luaL_tolstring(L, -1, NULL);
    char *line = NULL;
    if (isatty(0)) {
        line = readline(prompt);
        if (!line) return ml_interrupt_was_idle() ? INTERRUPTED : END;
        if (*line) add_history(line);
        lua_pushstring(L, line);
    } else {
        fputs(prompt, stdout);
        fflush(stdout);
        size_t size = 0;
        ssize_t length = getline(&line, &size, stdin);
        if (length < 0) {
            free(line);
            return END;
        }
        if (length && line[length - 1] == '\n') length--;
        lua_pushlstring(L, line, (size_t)length);
        printf("%.*s\n", (int)length, line); /* a transcript, as `lua` with readline makes one */
    }
    free(line);
    return LINE;
}

static int load(lua_State *L, const char *code, size_t length) {
    return luaL_loadbuffer(L, code, length, "=stdin");
}

/* A statement that only lacks its end is to be continued. */
static bool is_incomplete(lua_State *L, int status) {
    static const char mark[] = "<eof>";
    if (status != LUA_ERRSYNTAX) return false;
    size_t length;
    const char *message = lua_tolstring(L, -1, &length);
    return length >= sizeof mark - 1 && strcmp(message + length - (sizeof mark - 1), mark) == 0;
}

enum { NO_MORE = -1, NOTHING = -2 };

/* Loads a statement of one or more lines, first as an expression. The status of the load, with
   the function or message on the stack; NO_MORE at the end of input, NOTHING after Ctrl-C. */
static int read_statement(lua_State *L) {
    lua_settop(L, 0);
    input got = read_line(L, true);
    if (got != LINE) return got == END ? NO_MORE : NOTHING;
    lua_replace(L, 1);
    lua_settop(L, 1);
    const char *line = lua_tostring(L, 1);
    if (line[0] == '=') { /* what `return` was in older versions of lua */
        lua_pushfstring(L, "return %s", line + 1);
        lua_replace(L, 1);
    }
    lua_pushfstring(L, "return %s", lua_tostring(L, 1));
    if (load(L, lua_tostring(L, 2), lua_rawlen(L, 2)) == LUA_OK) return LUA_OK;
    for (;;) {
        lua_settop(L, 1);
        size_t length;
        const char *code = lua_tolstring(L, 1, &length);
        int status = load(L, code, length);
        if (!is_incomplete(L, status)) return status;
        lua_settop(L, 1);
        got = read_line(L, false);
        if (got != LINE) return got == END ? NO_MORE : NOTHING;
        const char *more = lua_tostring(L, -1);
        lua_pushfstring(L, "%s\n%s", lua_tostring(L, 1), more);
        lua_replace(L, 1);
    }
}

static void print(lua_State *L, const char *program) {
    int count = lua_gettop(L);
    if (!count) return;
    luaL_checkstack(L, LUA_MINSTACK, "too many results to print");
    lua_getglobal(L, "print");
    lua_insert(L, 1);
    if (lua_pcall(L, count, 0, 0) != LUA_OK) {
        lua_pushfstring(L, "error calling 'print' (%s)", luaL_tolstring(L, -1, NULL));
        ml_report_error(L, program);
    }
}

void ml_repl(lua_State *L, const char *program) {
    int status;
    while ((status = read_statement(L)) != NO_MORE) {
        if (status == NOTHING) {
            fputs("\n", stdout);
            continue;
        }
        if (status == LUA_OK) {
            lua_replace(L, 1);
            lua_settop(L, 1);
            lua_pushcfunction(L, ml_report_handler);
            lua_insert(L, 1);
            ml_interrupt_watch(L);
            status = lua_pcall(L, 0, LUA_MULTRET, 1);
            ml_interrupt_watch(NULL);
            lua_remove(L, 1);
        }
        if (status == LUA_OK) {
            print(L, program);
        } else {
            ml_report_error(L, program);
        }
    }
    lua_settop(L, 0);
    fputs("\n", stdout);
    fflush(stdout);
}
