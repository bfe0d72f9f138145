/* Memory runs out at each allocation in turn: of Lua, of Python, of our own. Every case
   of oom.lua then succeeds or fails with the error of its language for that, and is repeated with
   memory, after which everything is as before.

   usage: spec_oom oom.lua [case ...]
   MOONLET_OOM_STRIDE=n tries every n-th allocation only. MOONLET_OOM_STOP="attributes (Python, one,
   allocation 10)", what was printed of a problem, stops there in a debugger. MOONLET_OOM_EACH=1 looks
   for leaks after each allocation, instead of after all. */

#define _GNU_SOURCE
#include "../include/moonlet.h"
#include "../src/bridge/bridge.h"

#include <lualib.h>

#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ----------------------------------------------------------------------------- failing allocators */

enum { LUA = 1, PYTHON = 2, OURS = 4 };

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *old, size_t size);

/* How many allocations in a row fail. Lua tries twice: it collects its garbage in between. */
enum { ONCE = 1, TWICE = 2, FOREVER = 1 << 30 };

static int armed;      /* which allocators may fail */
static long countdown; /* to the first one that fails */
static long to_fail;   /* how many then fail */
static long failed;
static bool stop; /* in a debugger, where memory runs out */

static bool fails(int which) {
    if (!(armed & which) || --countdown > 0) return false;
    if (to_fail-- <= 0) {
        armed = 0;
        return false;
    }
    failed++;
    if (stop) raise(SIGTRAP);
    return true;
}

static void *lua_allocate(void *unused, void *block, size_t old, size_t size) {
    (void)unused;
    if (size == 0) {
        free(block);
        return NULL;
    }
    if ((!block || size > old) && fails(LUA)) return NULL;
    return __real_realloc(block, size);
}

static long blocks; /* of Python */

static void *py_malloc(void *unused, size_t size) {
    (void)unused;
    void *block = fails(PYTHON) ? NULL : __real_malloc(size ? size : 1);
    blocks += block != NULL;
    return block;
}
static void *py_calloc(void *unused, size_t n, size_t size) {
    (void)unused;
    void *block = fails(PYTHON) ? NULL : n && size ? __real_calloc(n, size) : __real_calloc(1, 1);
    blocks += block != NULL;
    return block;
}
static void *py_realloc(void *unused, void *old, size_t size) {
    (void)unused;
    bool larger = !old || size > malloc_usable_size(old);
    void *block = larger && fails(PYTHON) ? NULL : __real_realloc(old, size ? size : 1);
    blocks += block && !old;
    return block;
}
static void py_free(void *unused, void *block) {
    (void)unused;
    free(block);
    blocks -= block != NULL;
}

/* In place of pymalloc, which would hide from sanitizers what happens to its blocks. */
static void set_python_allocators(void) {
    PyMemAllocatorEx ours = {NULL, py_malloc, py_calloc, py_realloc, py_free};
    PyMem_SetAllocator(PYMEM_DOMAIN_OBJ, &ours);
    PyMem_SetAllocator(PYMEM_DOMAIN_MEM, &ours);
}

/* What our own code calls (see CMakeLists.txt). */
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *old, size_t size);

void *__wrap_malloc(size_t size) { return fails(OURS) ? NULL : __real_malloc(size); }
void *__wrap_calloc(size_t n, size_t size) { return fails(OURS) ? NULL : __real_calloc(n, size); }
void *__wrap_realloc(void *old, size_t size) {
    return fails(OURS) ? NULL : __real_realloc(old, size);
}

static void *(*map_before)(size_t size, size_t guard);

static void *map(size_t size, size_t guard) {
    return fails(OURS) ? NULL : map_before(size, guard);
}

static void set_map(void) {
    map_before = ml_the_memory.map;
    ml_the_memory.map = map;
}

/* ------------------------------------------------------------------------------------- reporting */

static char now[200]; /* what is being tried, for the one that crashes */

static void died(int signal_number) {
    ssize_t written = write(STDERR_FILENO, now, strlen(now));
    (void)written;
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

static int problems;

static void report(const char *what, const char *text) {
    if (++problems <= 50) fprintf(stderr, "%s: %s: %s\n", now, what, text ? text : "?");
}

/* ------------------------------------------------------------------------------------------ cases */

static lua_State *L;
static int module; /* the index of what oom.lua returned */

/* Calls module[name](), which returns a string or nothing; in `text`. */
static void call(const char *name, char *text, size_t size) {
    int top = lua_gettop(L);
    lua_getfield(L, module, name);
    if (lua_pcall(L, 0, 1, 0) != LUA_OK) report(name, luaL_tolstring(L, -1, NULL));
    if (text) snprintf(text, size, "%s", lua_tostring(L, -1) ? lua_tostring(L, -1) : "");
    lua_settop(L, top);
}

typedef struct counts {
    char text[500];
    size_t users, threads;
    long blocks;
} counts;

static void count(counts *c) {
    ml_world *w = ml_world_get(L);
    call("snapshot", c->text, sizeof c->text);
    lua_gc(L, LUA_GCCOLLECT);
    c->users = w->users;
    c->threads = 0;
    for (const ml_lthread *t = w->busy; t; t = t->next) c->threads++;
    c->blocks = blocks;
}

static bool same(const counts *a, const counts *b) {
    return strcmp(a->text, b->text) == 0 && a->users == b->users && a->threads == b->threads;
}

/* Runs the function on top, which it leaves, once. Whether it succeeded. */
static bool run(bool may_fail) {
    int top = lua_gettop(L);
    lua_pushvalue(L, -1);
    int status = lua_pcall(L, 0, 0, 0);
    bool by_armed = armed != 0;
    armed = 0;
    if (ml_current() != ml_thread_main(ml_thread_get())) {
        report("returned to", "another greenlet");
        abort();
    }
    if (status != LUA_OK) {
        lua_getfield(L, module, "is_memory");
        lua_pushvalue(L, top + 1);
        if (lua_pcall(L, 1, 1, 0) != LUA_OK || !lua_toboolean(L, -1) || !may_fail) {
            report(by_armed ? "fails" : "fails later", luaL_tolstring(L, top + 1, NULL));
        }
    } else if (lua_gettop(L) != top) {
        report("leaves", "values on the stack");
    }
    lua_settop(L, top);
    if (PyErr_Occurred()) {
        PyErr_Clear();
        report("leaves", "a Python exception set");
    }
    return status == LUA_OK;
}

/* Whether module[set][name]. */
static bool is_in(const char *set, const char *name) {
    lua_getfield(L, module, set);
    lua_getfield(L, -1, name);
    bool found = lua_toboolean(L, -1);
    lua_pop(L, 2);
    return found;
}

static long runs;

/* Whether everything is as it was when `first` was counted, which is replaced. */
static void compare(counts *first) {
    counts second;
    count(&second);
    if (!same(first, &second)) {
        char text[1200];
        snprintf(text, sizeof text,
                 "%s, users %zu, threads %zu; before: %s, users %zu, threads %zu", second.text,
                 second.users, second.threads, first->text, first->users, first->threads);
        report("leaves something behind", text);
    }
    *first = second;
}

/* Tries the function on top with the n-th allocation failing, for each n. */
static void sweep(const char *name, int which, int how_many, long stride) {
    static const char *const kinds[] = {"", "Lua", "Python", "", "ours"};
    const char *wanted = getenv("MOONLET_OOM_STOP");
    bool each = getenv("MOONLET_OOM_EACH") != NULL;
    bool leaks = which == PYTHON && is_in("leaks_in_python", name);
    counts before;
    count(&before);
    for (long n = 1;; n += stride) {
        snprintf(now, sizeof now, "%s (%s, %s, allocation %ld)", name, kinds[which],
                 how_many == ONCE    ? "one"
                 : how_many == TWICE ? "two"
                                     : "all from then on",
                 n);
        countdown = n;
        to_fail = how_many;
        failed = 0;
        stop = wanted && strcmp(wanted, now) == 0;
        armed = which;
        run(true);
        long failures = failed;
        runs++;
        call("reset", NULL, 0);
        snprintf(now + strlen(now), sizeof now - strlen(now), ", again");
        run(false);
        call("reset", NULL, 0);
        if ((each || failures == 0) && !leaks) compare(&before);
        if (failures == 0) return;
    }
}

static void try_case(const char *name, long stride) {
    int top = lua_gettop(L);
    static const int kinds[] = {LUA, PYTHON, OURS};
    static const int numbers[] = {ONCE, TWICE, FOREVER};
    lua_getfield(L, module, "cases");
    lua_getfield(L, -1, name);
    for (int i = 0; i < 3; i++) {
        snprintf(now, sizeof now, "%s, with memory", name);
        bool succeeded = run(false);
        call("reset", NULL, 0);
        if (!succeeded) {
            lua_settop(L, top);
            return;
        }
    }
    for (int k = 0; k < 3; k++) {
        if (kinds[k] == PYTHON && is_in("not_in_python", name)) continue;
        for (int i = 0; i < 3; i++) {
            if (i == 2 && is_in("not_forever", name)) continue;
            if (i == 2 && kinds[k] == PYTHON && is_in("not_forever_in_python", name)) continue;
            sweep(name, kinds[k], numbers[i], stride);
        }
    }
    if (getenv("MOONLET_OOM_VERBOSE")) printf("%s: %ld runs, %ld blocks\n", name, runs, blocks);
    lua_settop(L, top);
}

static int fail_to_start(void) {
    fprintf(stderr, "%s\n", lua_tostring(L, -1));
    return 1;
}

int main(int argc, char **argv) {
    const char *stride = getenv("MOONLET_OOM_STRIDE");
    signal(SIGSEGV, died);
    signal(SIGABRT, died);
    if (getenv("MOONLET_OOM_VERBOSE")) setvbuf(stdout, NULL, _IOLBF, 0);
    set_python_allocators();
    L = lua_newstate(lua_allocate, NULL);
    luaL_openlibs(L);
    if (argc < 2 || moonlet_open(L, NULL) != 0) return fail_to_start();
    if (luaL_dofile(L, argv[1]) != LUA_OK) return fail_to_start();
    set_map();
    module = lua_gettop(L);
    lua_getfield(L, module, "names");
    int names = lua_gettop(L);
    for (lua_Integer i = 1; i <= (lua_Integer)lua_rawlen(L, names); i++) {
        lua_rawgeti(L, names, i);
        const char *name = lua_tostring(L, -1);
        bool wanted = argc == 2;
        for (int a = 2; a < argc; a++) wanted = wanted || strcmp(argv[a], name) == 0;
        if (wanted) try_case(name, stride ? atol(stride) : 1);
        lua_pop(L, 1);
    }
    snprintf(now, sizeof now, "at the end");
    lua_close(L);
    moonlet_finish();
    printf("%ld runs, %d problems\n", runs, problems);
    return problems != 0;
}
