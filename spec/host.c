/* A C host of the public API, for plugin_spec.lua: linked with libmoonlet and liblua. Runs the
   scenario that its first argument names; prints what happens and returns 0 if all is well. */

#define _GNU_SOURCE /* RTLD_DEFAULT */
#include <moonlet.h>

#include <lauxlib.h>
#include <lualib.h>

#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static lua_State *new_state(const moonlet_options *options) {
    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
    if (moonlet_open(L, options) != 0) {
        printf("moonlet_open: %s\n", lua_tostring(L, -1));
        exit(1);
    }
    return L;
}

static void run(lua_State *L, const char *code) {
    static const char prelude[] =
        "moonlet = require 'moonlet' py = moonlet.python "
        "pause = function(...) return moonlet.current().parent:switch(...) "
        "end ";
    if (luaL_dostring(L, prelude) != LUA_OK || luaL_dostring(L, code) != LUA_OK) {
        printf("error: %s\n", luaL_tolstring(L, -1, NULL));
        lua_pop(L, 2);
    }
    fflush(stdout);
}

/* Greenlets of both languages, suspended in all kinds of places. */
static const char suspended[] =
    "local function closing(name)\n"
    "  return setmetatable({}, {__close = function() print('close ' .. name) end})\n"
    "end\n"
    "all = {}\n"
    "local function start(f, ...) all[#all + 1] = moonlet.greenlet(f) all[#all]:switch(...) end\n"
    "start(function() local _ <close> = closing 'simple' pause() end)\n"
    "start(function() local _ <close> = closing 'sort'\n"
    "  table.sort({3, 1, 2}, function() pause() return false end) end)\n"
    "start(function() local _ <close> = closing 'python'\n"
    "  py.builtins.sorted({2, 1}, py.kw{key = function() pause() return 1 end}) end)\n"
    "start(coroutine.wrap(function() local _ <close> = closing 'coroutine' pause() end))\n"
    "py.exec('from greenlet import getcurrent\\n'\n"
    "  .. 'def body(f):\\n try:\\n  f()\\n finally:\\n  print(\"finally\", flush=True)\\n'\n"
    "  .. 'def wait():\\n getcurrent().parent.switch()\\n')\n"
    "local main = py.import '__main__'\n"
    "start(main.body, main.wait)\n"
    "start(main.body, pause)\n"
    "all[#all + 1] = moonlet.greenlet(print)\n"
    "all[#all + 1] = moonlet.greenlet(main.body)\n";

/* lua_close ends what is suspended. */
static int close_suspended(void) {
    lua_State *L = new_state(NULL);
    run(L, suspended);
    lua_close(L);
    puts("closed");
    moonlet_finish();
    return 0;
}

/* The same with moonlet_close, after which the state still works without moonlet. */
static int close_early(void) {
    lua_State *L = new_state(NULL);
    run(L, suspended);
    moonlet_close(L);
    puts("closed");
    run(L, "print(pcall(all[1].switch, all[1]))");
    run(L, "print(pcall(py.eval, '1'))");
    run(L, "print(pcall(moonlet.greenlet, print))");
    moonlet_close(L);
    lua_close(L);
    moonlet_finish();
    return 0;
}

/* Python keeps a Lua greenlet and a Lua function beyond the end of their state. */
static int close_held(void) {
    lua_State *L = new_state(NULL);
    run(L, "m = py.import '__main__' m.g = moonlet.greenlet(pause) m.g:switch() m.f = print "
           "m.t = {} m.new = moonlet.greenlet(print) m.e = select(2, pcall(error, {}))");
    lua_close(L);
    puts("closed");
    L = new_state(NULL);
    run(L, "py.exec('def attempt(f):\\n try:\\n  print(f(), flush=True)\\n"
           " except BaseException as e:\\n  print(type(e).__name__, e, flush=True)')");
    run(L,
        "for _, code in ipairs {'g.dead', 'f()', 't.x', 'len(t)', 't == t', 'hash(t) == hash(t)',"
        "'repr(t)[:17]', 'new.switch()', 'new.dead', 'g.switch()', 't.x == f.y'} do\n"
        "py.import('__main__').attempt(py.eval('lambda: ' .. code)) end");
    run(L, "py.exec 'del g, f, t, new, e; import gc; gc.collect()'");
    lua_close(L);
    moonlet_finish();
    return 0;
}

/* Python sees Lua strings beyond the end of their state: its memory is not reused. */
static int strings_held(void) {
    lua_State *L = new_state(NULL);
    run(L,
        "m = py.import '__main__' local long = ('long'):rep(25000) local view = py.memoryview "
        "m.views = py.list {view 'short', view(long), view(long), view('dropped' .. 1), view ''} "
        "m.part = m.views[1][py.slice(4, 12)] m.string = m.views[0].obj");
    moonlet_close(L);
    run(L, "m = nil collectgarbage() for i = 1, 1000 do local _ = ('x'):rep(i) end "
           "py.exec 'del views[3]'");
    lua_close(L);
    puts("closed");
    L = new_state(NULL);
    run(L, "m = py.import '__main__' for i = 1, 10000 do local _ = ('x'):rep(i) end "
           "print(m.views[0]:tobytes(), m.views[1]:tobytes() == ('long'):rep(25000), "
           "m.views[1] == m.views[2], m.part:tobytes(), #m.views[3])");
    run(L, "print(py.builtins.bytes(py.eval 'memoryview(views[0].obj)'), "
           "py.builtins.repr(py.eval 'views[0].obj'))");
    run(L, "m.views:pop(1) print(m.views[1]:tobytes() == ('long'):rep(25000))");
    run(L, "py.exec 'del views, part, string' print(#py.import('gc').garbage)");
    lua_close(L);
    moonlet_finish();
    return 0;
}

/* An allocator that knows what it has given, and spoils what comes back. */
static void *spoil(void *context, void *block, size_t size, size_t wanted) {
    size_t *blocks = context;
    if (!wanted) {
        if (block) {
            memset(block, 0xdd, size);
            --*blocks;
        }
        free(block);
        return NULL;
    }
    void *result = realloc(block, wanted);
    if (result && !block) ++*blocks;
    return result;
}

/* A state with an allocator of its own gets all its memory back. */
static int strings_copied(void) {
    size_t blocks = 0;
    lua_State *L = lua_newstate(spoil, &blocks);
    luaL_openlibs(L);
    if (moonlet_open(L, NULL) != 0) return 1;
    run(L, "py.import('__main__').view = py.memoryview(('text'):rep(3))");
    lua_close(L);
    printf("%zu\n", blocks);
    L = new_state(NULL);
    run(L, "print(py.import('__main__').view:tobytes())");
    lua_close(L);
    moonlet_finish();
    return 0;
}

/* A Lua buffer lets go of its object when its state is closed. */
static int buffer_held(void) {
    lua_State *L = new_state(NULL);
    run(L, "py.exec 'held = bytearray(b\"xyz\")' b = py.buffer(py.eval 'held') "
           "print(pcall(py.exec, 'held.append(1)'))");
    moonlet_close(L);
    run(L, "print(pcall(function() return b[0] end))");
    lua_close(L);
    L = new_state(NULL);
    run(L, "py.exec 'held.append(33)' print(py.eval 'held')");
    run(L,
        "local f = function() local _ <close> = setmetatable({}, {__close = function() "
        "print(pcall(py.buffer, py.eval 'held')) print(py.memoryview('copied'):tobytes()) end}) "
        "pause() end g = moonlet.greenlet(f) g:switch()");
    lua_close(L);
    moonlet_finish();
    return 0;
}

/* Two states at once: values and switches between them. */
static int two_states(void) {
    lua_State *a = new_state(NULL);
    lua_State *b = new_state(NULL);
    run(a, "m = py.import '__main__' m.t = {x = 1} m.f = function(...) return ... end "
           "m.g = moonlet.greenlet(function(...) while true do pause('from a', ...) end end) "
           "m.bad = function() error {code = 5} end");
    run(b, "m = py.import '__main__' print(m.t.x, m.f(1, 'two', nil)) m.t.y = 2 "
           "print(select('#', m.f({}, print))) print(m.g:switch(1, 2)) print(m.g:switch({}) ) "
           "print(pcall(m.bad)) "
           "m.h = moonlet.greenlet(function(x) return 'from b', x, pause(x) end)");
    run(a, "print(m.t.y) print(m.h:switch(5)) print(m.h:switch(6)) "
           "print(rawequal(moonlet.current(), moonlet.current()))");
    lua_close(a);
    run(b, "print(pcall(function() return m.t.x end)) print(m.g.dead, m.h.dead)");
    lua_close(b);
    moonlet_finish();
    return 0;
}

/* One after the other, many times. */
static int many_states(void) {
    for (int i = 0; i < 20; i++) {
        lua_State *L = new_state(NULL);
        run(L, "local g = moonlet.greenlet(pause) g:switch() keep = g "
               "py.import('__main__').last = {}");
        lua_close(L);
    }
    puts("done");
    moonlet_finish();
    return 0;
}

/* Greenlets that try to stay: they catch GreenletExit, or switch away while they are ended. */
static int stubborn(void) {
    lua_State *L = new_state(NULL);
    run(L,
        "main = moonlet.current() "
        "a = moonlet.greenlet(function() while true do pcall(pause) end end) a:switch() "
        "b = moonlet.greenlet(function() pcall(pause) main:switch() end) b:switch() "
        "c = moonlet.greenlet(function() local _ <close> = setmetatable({}, {__close = function() "
        "error 'in close' end}) pause() end) c:switch() "
        "d = moonlet.greenlet(function() pcall(pause) e = moonlet.greenlet(pause) e:switch() end) "
        "d:switch()");
    lua_close(L);
    puts("closed");
    moonlet_finish();
    return 0;
}

/* A value on the stack of the host, below all calls, holds a cycle through both languages. */
static int collect_stack(void) {
    static const char look[] =
        "collectgarbage() moonlet.collect() collectgarbage() print(NAME, next(weak) ~= nil)";
    lua_State *L = new_state(NULL);
    run(L, "py.exec 'class Thing: pass' weak = setmetatable({}, {__mode = 'k'}) "
           "function cycle() local t = {} t.thing = py.eval 'Thing()' t.thing.t = t "
           "weak[t] = true return t end");
    lua_getglobal(L, "cycle");
    lua_call(L, 0, 1);
    run(L, "NAME = 'held'");
    run(L, look);
    lua_pop(L, 1);
    run(L, "NAME = 'released'");
    run(L, look);
    lua_close(L);
    moonlet_finish();
    return 0;
}

/* Tables of two states refer to each other by way of Python. */
static int collect_states(void) {
    static const char prelude[] =
        "py.exec 'import weakref\\nclass Thing: pass' m = py.import '__main__' "
        "weak = setmetatable({}, {__mode = 'k'}) "
        "function collect() moonlet.collect() collectgarbage() collectgarbage() end "
        "function alive() return next(weak) ~= nil end "
        "function make() local t = {py.eval 'Thing()'} weak[t] = true return t end";
    lua_State *a = new_state(NULL);
    lua_State *b = new_state(NULL);
    run(a, prelude);
    run(b, prelude);
    run(a, "local t = make() m.a = t m.alive_a = alive");
    run(b, "local t = make() m.alive_b = alive t[1].x = m.a m.a[1].x = t "
           "m.weak = py.eval '[weakref.ref(a[1]), weakref.ref(a[1].x[1])]' "
           "m.living = py.eval 'lambda: sum(r() is not None for r in weak)'");
    run(b, "collect() print(m.living(), m.alive_a(), m.alive_b()) m.a = nil");
    run(b, "collect()");
    run(a, "collect() print(m.living(), m.alive_a(), m.alive_b())");
    /* And what is garbage when the state is closed. */
    run(b, "local t = make() t[1].x = t m.weak = py.eval('lambda t: [weakref.ref(t[1])]')(t)");
    lua_close(b);
    run(a, "py.import('gc').collect() print(m.living())");
    lua_close(a);
    moonlet_finish();
    return 0;
}

/* The state is closed by a greenlet that runs in it: by os.exit(code, true). */
static int exit_inside(void) {
    lua_State *L = new_state(NULL);
    run(L, suspended);
    run(L, "moonlet.greenlet(function() os.exit(0, true) end):switch()");
    return 1;
}

static int options(void) {
    char *arguments[] = {"name", "argument", NULL};
    moonlet_options o = {.python = getenv("TEST_PYTHON"), .argv = arguments};
    lua_State *L = new_state(&o);
    run(L, "print(py.import('sys').argv)");
    printf("%s %d\n", moonlet_version(), moonlet_open(L, NULL));
    lua_close(L);
    return 0; /* Python ends at exit */
}

/* Lua code in a state that is closed by lua_close alone, as by most hosts. */
static int run_code(const char *code) {
    lua_State *L = new_state(NULL);
    run(L, code);
    lua_close(L);
    moonlet_finish();
    return 0;
}

/* A function of libpython, which libmoonlet has brought. POSIX lets the pointers be converted. */
static void call_python(const char *name) {
    void *address = dlsym(RTLD_DEFAULT, name);
    void (*function)(void);
    memcpy(&function, &address, sizeof function);
    function();
}

/* Two threads, each with a Lua state that works without Python, take turns. */

static _Atomic(const char *) last_worker;
static atomic_int changes;
static atomic_bool second_is_there;

/* In Lua: the state `name` works. How often it was another one before. */
static int works(lua_State *L) {
    const char *name = lua_tostring(L, 1);
    const char *last = last_worker;
    if (!last || *last != *name) changes++;
    last_worker = *name == 'a' ? "a" : "b";
    lua_pushinteger(L, changes);
    return 1;
}

static int is_there(lua_State *L) {
    lua_pushboolean(L, second_is_there);
    return 1;
}

static void work(const char *name) {
    lua_State *L = new_state(NULL);
    lua_pushstring(L, name);
    lua_setglobal(L, "name");
    lua_register(L, "works", works);
    lua_register(L, "is_there", is_there);
    run(L, "while not is_there() do py.eval 'None' end "
           "coroutine.wrap(function() repeat for _ = 1, 100000 do end until works(name) >= 10 "
           "end)() print 'done'");
    lua_close(L);
}

static void *work_second(void *nothing) {
    void *address = dlsym(RTLD_DEFAULT, "PyGILState_Ensure");
    int (*ensure)(void);
    memcpy(&ensure, &address, sizeof ensure);
    address = dlsym(RTLD_DEFAULT, "PyGILState_Release");
    void (*release)(int);
    memcpy(&release, &address, sizeof release);
    int state = ensure();
    second_is_there = true;
    work("b");
    release(state);
    return nothing;
}

static int two_threads(void) {
    lua_State *L = new_state(NULL); /* starts Python */
    pthread_t second;
    if (pthread_create(&second, NULL, work_second, NULL) != 0) return 1;
    work("a");
    void *address = dlsym(RTLD_DEFAULT, "PyEval_SaveThread");
    void *(*save)(void);
    memcpy(&save, &address, sizeof save);
    address = dlsym(RTLD_DEFAULT, "PyEval_RestoreThread");
    void (*restore)(void *);
    memcpy(&restore, &address, sizeof restore);
    void *thread = save();
    pthread_join(second, NULL);
    restore(thread);
    lua_close(L);
    moonlet_finish();
    return 0;
}

/* The host runs its script in a coroutine, whose loops give turns to Python's threads. */
static int script_in_coroutine(void) {
    static const char code[] =
        "local py = require('moonlet').python "
        "py.exec('import threading\\ncount = 0\\n'"
        "  .. 'def body():\\n global count\\n while True: count += 1\\n'"
        "  .. 'def start(): threading.Thread(target=body, daemon=True).start()') "
        "local main = py.import '__main__' main.start() "
        "local seen, turns = main.count, 0 "
        "while turns < 3 do for _ = 1, 10000000 do end "
        "  if main.count > seen then turns = turns + 1 end seen = main.count end "
        "print 'done'";
    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
    lua_State *script = lua_newthread(L);
    luaL_requiref(script, "moonlet", luaopen_moonlet, 0);
    lua_settop(script, 0);
    int results;
    if (luaL_loadstring(script, code) != LUA_OK || lua_resume(script, L, 0, &results) != LUA_OK) {
        printf("error: %s\n", luaL_tolstring(script, -1, NULL));
    }
    fflush(stdout);
    lua_close(L);
    moonlet_finish();
    return 0;
}

/* Python runs already. */
static int attach(void) {
    call_python("Py_Initialize");
    lua_State *L = new_state(NULL);
    run(L, "print(py.eval '6 * 7', moonlet.greenlet(py.builtins.len):switch 'abc')");
    moonlet_close(L);
    lua_close(L);
    moonlet_finish();
    call_python("Py_Finalize"); /* still the host's to end */
    puts("ended");
    return 0;
}

/* And its GIL is with nobody. */
static int attach_without_gil(void) {
    call_python("Py_Initialize");
    call_python("PyEval_SaveThread");
    new_state(NULL);
    return 0;
}

/* Python code that no Lua state has called. */
static void run_python(const char *code) {
    void *address = dlsym(RTLD_DEFAULT, "PyRun_SimpleString");
    int (*function)(const char *);
    memcpy(&function, &address, sizeof function);
    function(code);
}

/* Which of two states moonlet.lua works in. */
static int lua_module(void) {
    lua_State *a = new_state(NULL);
    lua_State *b = new_state(NULL);
    static const char python[] =
        "from moonlet import lua\n"
        "from greenlet import greenlet, getcurrent\n"
        "def name():\n"
        "    try:\n"
        "        return lua.eval('name')\n"
        "    except RuntimeError as e:\n"
        "        return str(e)\n"
        "def body():\n"
        "    getcurrent().parent.switch()\n"
        "    return name()\n"
        "def start():\n"
        "    global started\n"
        "    started = greenlet(body)\n"
        "    started.switch()\n"
        "def module():\n"
        "    from moonlet.lua import mod\n"
        "    return mod.name, lua.eval('rawequal(..., require \"mod\")', mod)\n";
    run_python(python);
    static const char prepare[] =
        "m = py.import '__main__' package.preload.mod = function() return {name = name} end";
    run(a, "name = 'a'");
    run(a, prepare);
    run(b, "name = 'b'");
    run(b, prepare);
    run(a, "print(m.name()) m.nested = function() return m.name() end m.start() "
           "m.new = moonlet.greenlet(m.name) g = moonlet.greenlet(m.body) g:switch() m.g = g");
    run(b, "print(m.name(), m.nested(), m.name())");
    run(b, "print(m.started:switch(), m.new:switch(), m.g:switch())");
    run(b, "print(m.module())");
    run(a, "print(m.module())");
    run_python("print(name(), flush=True)");
    moonlet_close(a);
    run_python("print(name(), flush=True)");
    run(b, "print(m.name())");
    lua_close(a);
    lua_close(b);
    run_python("print(name(), flush=True)");
    moonlet_finish();
    return 0;
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        int (*function)(void);
    } scenarios[] = {
        {"close_suspended", close_suspended},
        {"close_early", close_early},
        {"close_held", close_held},
        {"strings_held", strings_held},
        {"strings_copied", strings_copied},
        {"buffer_held", buffer_held},
        {"two_states", two_states},
        {"two_threads", two_threads},
        {"script_in_coroutine", script_in_coroutine},
        {"many_states", many_states},
        {"stubborn", stubborn},
        {"collect_stack", collect_stack},
        {"collect_states", collect_states},
        {"exit_inside", exit_inside},
        {"options", options},
        {"attach", attach},
        {"lua_module", lua_module},
        {"attach_without_gil", attach_without_gil},
    };
    for (size_t i = 0; argc > 1 && i < sizeof scenarios / sizeof *scenarios; i++) {
        if (strcmp(argv[1], scenarios[i].name) == 0) return scenarios[i].function();
    }
    return argc == 3 && strcmp(argv[1], "run") == 0 ? run_code(argv[2]) : 2;
}
