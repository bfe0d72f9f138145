/* The program: `lua`'s command line, with moonlet built in. */

#include "../../include/moonlet.h"
#include "interrupt.h"
#include "repl.h"
#include "report.h"

#include <lauxlib.h>
#include <lualib.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct command {
    int argc;
    char **argv;
    int script; /* index of the script in argv, argc: none */
    bool interactive;
    bool version;
    bool no_environment;
    bool run_stdin;
    bool has_code; /* -e or -l */
    const char *python;
    const char *trace;
    int status; /* what the program exits with */
} command;

static const char *program = "moonlet";

static void print_usage(FILE *file) {
    fprintf(file,
            "usage: %s [options] [script [args]]\n"
            "Available options are:\n"
            "  -e stat   execute string 'stat'\n"
            "  -i        enter interactive mode after executing 'script'\n"
            "  -l mod    require library 'mod' into global 'mod'\n"
            "  -l g=mod  require library 'mod' into global 'g'\n"
            "  -v        show version information\n"
            "  -E        ignore environment variables\n"
            "  -W        turn warnings on\n"
            "  --python=PATH  use the packages of this interpreter or virtual environment\n"
            "  --trace=FILE   write a trace of the tasks, in the Chrome trace event format\n"
            "  --help         show this help\n"
            "  --        stop handling options\n"
            "  -         stop handling options and execute stdin\n",
            program);
}

static int unrecognized(const char *option) {
    fprintf(stderr, "%s: unrecognized option '%s'\n", program, option);
    print_usage(stderr);
    return 1;
}

static int needs_argument(const char *option) {
    fprintf(stderr, "%s: '%s' needs argument\n", program, option);
    print_usage(stderr);
    return 1;
}

/* Reads the options, without acting on them. -1: go on; else the status to exit with. */
static int read_options(command *c) {
    int i = 1;
    for (; i < c->argc && c->argv[i][0] == '-'; i++) {
        const char *option = c->argv[i];
        if (strcmp(option, "--") == 0) {
            i++;
            break;
        }
        if (strcmp(option, "-") == 0) {
            c->run_stdin = true;
            break;
        }
        if (strcmp(option, "--help") == 0) {
            print_usage(stdout);
            return 0;
        }
        if (strncmp(option, "--python", 8) == 0 && (option[8] == '=' || !option[8])) {
            c->python = option[8] ? option + 9 : i + 1 < c->argc ? c->argv[++i] : "";
            if (!*c->python) return needs_argument(option);
            continue;
        }
        if (strncmp(option, "--trace", 7) == 0 && (option[7] == '=' || !option[7])) {
            c->trace = option[7] ? option + 8 : i + 1 < c->argc ? c->argv[++i] : "";
            if (!*c->trace) return needs_argument(option);
            continue;
        }
        bool takes_value = option[1] == 'e' || option[1] == 'l';
        if (takes_value) {
            c->has_code = true;
            if (!option[2] && (i + 1 >= c->argc || c->argv[i + 1][0] == '-')) {
                return needs_argument(option);
            }
            if (!option[2]) i++;
            continue;
        }
        if (option[2]) return unrecognized(option);
        switch (option[1]) {
            case 'i': c->interactive = c->version = true; break;
            case 'v': c->version = true; break;
            case 'E': c->no_environment = true; break;
            case 'W': break;
            default: return unrecognized(option);
        }
    }
    c->script = i;
    return -1;
}

static void print_version(void) {
    printf("moonlet %s  %s\n", moonlet_version(), LUA_COPYRIGHT);
    fflush(stdout);
}

/* ------------------------------------------------------------------------------ running chunks */

/* Calls the function below `count` arguments; reports an error. The status of the call. */
static int call(lua_State *L, command *c, int count) {
    int base = lua_gettop(L) - count;
    lua_pushcfunction(L, ml_report_handler);
    lua_insert(L, base);
    ml_interrupt_watch(L);
    int status = lua_pcall(L, count, LUA_MULTRET, base);
    ml_interrupt_watch(NULL);
    lua_remove(L, base);
    if (status != LUA_OK) c->status = ml_report_error(L, program);
    return status;
}

/* Runs what luaL_load... pushed or complained about. Its results are dropped. */
static int run(lua_State *L, command *c, int loaded) {
    if (loaded != LUA_OK) {
        c->status = ml_report_error(L, program);
        return loaded;
    }
    int top = lua_gettop(L) - 1;
    int status = call(L, c, 0);
    lua_settop(L, top);
    return status;
}

static int run_string(lua_State *L, command *c, const char *code, const char *name) {
    return run(L, c, luaL_loadbuffer(L, code, strlen(code), name));
}

/* -l mod, -l g=mod */
static int require_library(lua_State *L, command *c, char *spec) {
    const char *name = spec;
    char *equals = strchr(spec, '=');
    if (equals) {
        *equals = '\0';
        name = equals + 1;
    }
    lua_getglobal(L, "require");
    lua_pushstring(L, name);
    int top = lua_gettop(L) - 2;
    int status = call(L, c, 1);
    if (status == LUA_OK) {
        lua_settop(L, top + 1);
        lua_setglobal(L, spec);
    }
    lua_settop(L, top);
    return status;
}

/* Does -e, -l and -W, in their order. */
static bool run_options(lua_State *L, command *c) {
    for (int i = 1; i < c->script; i++) {
        char *option = c->argv[i];
        if (strcmp(option, "--python") == 0 || strcmp(option, "--trace") == 0) {
            i++;
        } else if (option[1] == 'W') {
            lua_warning(L, "@on", 0);
        } else if (option[1] == 'e' || option[1] == 'l') {
            char *value = option[2] ? option + 2 : c->argv[++i];
            int status = option[1] == 'e' ? run_string(L, c, value, "=(command line)")
                                          : require_library(L, c, value);
            if (status != LUA_OK) return false;
        }
    }
    return true;
}

/* Pushes the script's arguments, which are those in the table `arg`, and returns how many. */
static int push_arguments(lua_State *L) {
    if (lua_getglobal(L, "arg") != LUA_TTABLE) luaL_error(L, "'arg' is not a table");
    int count = (int)luaL_len(L, -1);
    luaL_checkstack(L, count + 4, "too many arguments to script");
    for (int i = 1; i <= count; i++) lua_rawgeti(L, -i, i);
    lua_remove(L, -count - 1);
    return count;
}

static int run_script(lua_State *L, command *c) {
    const char *name = c->argv[c->script];
    if (strcmp(name, "-") == 0 && c->run_stdin) name = NULL;
    int loaded = luaL_loadfile(L, name);
    if (loaded != LUA_OK) return run(L, c, loaded);
    int top = lua_gettop(L) - 1;
    int status = call(L, c, push_arguments(L));
    lua_settop(L, top);
    return status;
}

static bool run_init(lua_State *L, command *c) {
    const char *name = "=LUA_INIT_5_4";
    const char *init = getenv(name + 1);
    if (!init) init = getenv((name = "=LUA_INIT") + 1);
    if (!init) return true;
    if (init[0] == '@') return run(L, c, luaL_loadfile(L, init + 1)) == LUA_OK;
    return run_string(L, c, init, name) == LUA_OK;
}

/* -------------------------------------------------------------------------------------- set-up */

static void set_arg(lua_State *L, const command *c) {
    int script = c->script < c->argc ? c->script : 0; /* as lua: without a script, from argv[0] */
    lua_createtable(L, c->argc, 1);
    for (int i = 0; i < c->argc; i++) {
        lua_pushstring(L, c->argv[i]);
        lua_rawseti(L, -2, i - script);
    }
    lua_setglobal(L, "arg");
}

/* Python starts when a script first asks for moonlet. Upvalue 1: the command. */
static int open_moonlet(lua_State *L) {
    const command *c = lua_touserdata(L, lua_upvalueindex(1));
    moonlet_options options = {.python = c->python,
                               .argv = c->script < c->argc ? c->argv + c->script : NULL,
                               .handle_signals = 1};
    /* Python installs its handler only where it finds the default one. */
    signal(SIGINT, SIG_DFL);
    int result = moonlet_open(L, &options);
    ml_interrupt_install();
    if (result != 0) return luaL_error(L, "moonlet: %s", lua_tostring(L, -1));
    ml_interrupt_install_dump();
    return luaopen_moonlet(L);
}

static void set_up(lua_State *L, command *c) {
    if (c->no_environment) {
        lua_pushboolean(L, 1);
        lua_setfield(L, LUA_REGISTRYINDEX, "LUA_NOENV");
    }
    luaL_openlibs(L);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    lua_pushlightuserdata(L, c);
    lua_pushcclosure(L, open_moonlet, 1);
    lua_setfield(L, -2, "moonlet");
    lua_pop(L, 1);
    set_arg(L, c);
    lua_gc(L, LUA_GCGEN, 0, 0); /* as lua 5.4 does */
}

/* --trace. Whether the file could be opened; if not it has been reported. */
static bool begin_trace(lua_State *L, command *c) {
    lua_getglobal(L, "require");
    lua_pushliteral(L, "moonlet");
    int status = lua_pcall(L, 1, 1, 0);
    if (status == LUA_OK) {
        lua_getfield(L, -1, "trace_to");
        lua_pushstring(L, c->trace);
        status = lua_pcall(L, 1, 1, 0);
    }
    if (status != LUA_OK) {
        fflush(stdout);
        fprintf(stderr, "%s: --trace: %s\n", program, luaL_tolstring(L, -1, NULL));
        c->status = 1;
        return false;
    }
    lua_setfield(L, LUA_REGISTRYINDEX, "moonlet.trace");
    lua_settop(L, 0);
    return true;
}

/* Ends it when nothing runs any more; os.exit does without. */
static int end_trace(lua_State *L) {
    if (lua_getfield(L, LUA_REGISTRYINDEX, "moonlet.trace") == LUA_TNIL) return 0;
    lua_getfield(L, -1, "close");
    lua_insert(L, -2);
    lua_call(L, 1, 0);
    return 0;
}

static int protected_main(lua_State *L) {
    command *c = lua_touserdata(L, 1);
    lua_settop(L, 0);
    ml_interrupt_install();
    set_up(L, c);
    if (c->python) { /* asked for, so started, and wrong ones are reported, at once */
        lua_getglobal(L, "require");
        lua_pushliteral(L, "moonlet");
        if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
            c->status = ml_report_error(L, program);
            return 0;
        }
    }
    if (c->trace && !begin_trace(L, c)) return 0;
    if (c->version) print_version();
    if (!c->no_environment && !run_init(L, c)) return 0;
    if (!run_options(L, c)) return 0;
    if (c->script < c->argc) {
        if (run_script(L, c) != LUA_OK && !c->interactive) return 0;
    }
    if (c->interactive) {
        ml_repl(L, program);
    } else if (c->script >= c->argc && !c->has_code && !c->version) {
        if (isatty(0)) {
            print_version();
            ml_repl(L, program);
        } else {
            run(L, c, luaL_loadfile(L, NULL));
        }
    }
    return 0;
}

int main(int argc, char **argv) {
    command c = {.argc = argc, .argv = argv, .script = argc};
    if (argc > 0 && argv[0][0]) program = argv[0];
    int done = read_options(&c);
    if (done >= 0) return done;
    lua_State *L = luaL_newstate();
    if (!L) {
        fprintf(stderr, "%s: cannot create state: not enough memory\n", program);
        return 1;
    }
    lua_pushcfunction(L, protected_main);
    lua_pushlightuserdata(L, &c);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) c.status = ml_report_error(L, program);
    lua_pushcfunction(L, end_trace);
    if (lua_pcall(L, 0, 0, 0) != LUA_OK) c.status = ml_report_error(L, program);
    signal(SIGINT,
           SIG_DFL); /* from here on it ends the program, threads that are waited for too */
    moonlet_close(L);
    lua_close(L);
    moonlet_finish();
    return c.status;
}
