#include "heap.h"

#include <stdlib.h>
#include <string.h>

/* What of struct CallInfo is the same in all of Lua 5.4 (lstate.h): lua_getstack goes from frame to
   frame, too, but begins at the top each time, and leaves out the outermost one. */
typedef struct frame {
    void *func;
    void *top;
    struct frame *previous;
} frame;

typedef struct visited {
    uintptr_t key; /* 0: free */
    uint32_t node;
} visited;

/* What a visited object is if it is no node: needed by Lua itself. */
#define ROOT (ML_HEAP_NONE - 1)

typedef struct walk {
    lua_State *L;
    ml_world *world;
    ml_heap *h;
    visited *slots; /* open addressing */
    size_t mask;
    size_t count;
    lua_Integer waiting;     /* objects to be scanned, in the table at WORK ... */
    uint32_t *waiting_nodes; /* ... and which nodes they are */
    size_t waiting_capacity;
    lua_Integer ephemerons; /* tables with weak keys, in the table at EPHEMERONS */
    uint32_t current;       /* what is being scanned: ROOT or a node; or NONE: a source */
    bool rooted;            /* phase 1: what is visited is needed by Lua */
    size_t node_capacity;
    ml_heap_edge *edges;
    size_t edge_count;
    size_t edge_capacity;
    bool *is_anchor; /* by ref */
    int anchor_limit;
} walk;

/* Where the protected function has what. */
enum { ARGUMENT = 1, WORK, EPHEMERONS, MODE, THREADS, FIRST_FREE };

static void no_memory(const walk *k) { luaL_error(k->L, "not enough memory"); }

/* ------------------------------------------------------------------------------ what was visited

   Nothing here allocates in Lua but the growth of the two tables, and nothing at all may start its
   collector: a finalizer could change what has been seen. Only functions of lapi.c without
   luaC_checkGC are called once the walk has begun. */

/* Neighbours in memory are neighbours here: most were made, and are visited, together. */
static size_t slot_of(const walk *k, uintptr_t key) {
    size_t block = (size_t)((key >> 10) * UINT64_C(0x9E3779B97F4A7C15) >> 32);
    size_t i = (block << 6 | (key >> 4 & 63)) & k->mask;
    while (k->slots[i].key && k->slots[i].key != key) i = (i + 1) & k->mask;
    return i;
}

static void grow(walk *k) {
    walk old = *k;
    size_t size = k->slots ? 2 * (k->mask + 1) : 4096;
    k->slots = calloc(size, sizeof *k->slots);
    if (!k->slots) {
        k->slots = old.slots;
        no_memory(k);
    }
    k->mask = size - 1;
    for (size_t i = 0; old.slots && i <= old.mask; i++) {
        if (old.slots[i].key) k->slots[slot_of(k, old.slots[i].key)] = old.slots[i];
    }
    free(old.slots);
}

/* Whether the value at `index` is one that refers to others, as light C functions do not. */
static bool is_object(lua_State *L, int index) {
    int type = lua_type(L, index);
    if (type != LUA_TFUNCTION) return type >= LUA_TTABLE;
    return !lua_iscfunction(L, index) || lua_upvalueid(L, index, 1);
}

/* The memory of an empty userdata may end where another object begins. */
static uintptr_t key_of(lua_State *L, int index) {
    return (uintptr_t)lua_topointer(L, index) | (lua_type(L, index) == LUA_TUSERDATA);
}

/* What the object at `index` is: ROOT, a node, or ML_HEAP_NONE if it was not visited. */
static uint32_t find(const walk *k, int index) {
    const visited *v = &k->slots[slot_of(k, key_of(k->L, index))];
    return v->key ? v->node : ML_HEAP_NONE;
}

static void insert(walk *k, uintptr_t key, uint32_t node) {
    if (4 * k->count >= 3 * k->mask) grow(k);
    k->slots[slot_of(k, key)] = (visited){key, node};
    k->count++;
}

static void add_edge(walk *k, uint32_t from, uint32_t to) {
    if (k->edge_count == k->edge_capacity) {
        size_t capacity = k->edge_capacity ? 2 * k->edge_capacity : 1024;
        ml_heap_edge *edges = realloc(k->edges, capacity * sizeof *edges);
        if (!edges) {
            no_memory(k);
            return;
        }
        k->edges = edges;
        k->edge_capacity = capacity;
    }
    k->edges[k->edge_count++] = (ml_heap_edge){from, to};
}

/* A new node for the object on top. */
static uint32_t add_node(walk *k) {
    ml_heap *h = k->h;
    if (h->node_count == k->node_capacity) {
        size_t capacity = k->node_capacity ? 2 * k->node_capacity : 1024;
        ml_handle **borders =
            capacity < ROOT ? realloc(h->borders, capacity * sizeof *borders) : NULL;
        if (!borders) {
            no_memory(k);
            return ML_HEAP_NONE;
        }
        h->borders = borders;
        k->node_capacity = capacity;
    }
    ml_handle *handle = lua_type(k->L, -1) == LUA_TUSERDATA ? ml_handle_at(k->L, -1) : NULL;
    bool border = handle && h->is_border(handle) && handle->world == k->world && handle->pointer &&
                  !handle->dead_since && !handle->listed;
    h->borders[h->node_count] = border ? handle : NULL;
    return h->node_count++;
}

/* The object on top, which it pops, is to be scanned. */
static void push_work(walk *k, uint32_t node) {
    if (!k->rooted) {
        if ((size_t)k->waiting == k->waiting_capacity) {
            size_t capacity = k->waiting_capacity ? 2 * k->waiting_capacity : 1024;
            uint32_t *nodes = realloc(k->waiting_nodes, capacity * sizeof *nodes);
            if (!nodes) {
                no_memory(k);
                return;
            }
            k->waiting_nodes = nodes;
            k->waiting_capacity = capacity;
        }
        k->waiting_nodes[k->waiting] = node;
    }
    lua_rawseti(k->L, WORK, ++k->waiting);
}

/* Takes note of a reference from the current object to the value on top, which it pops. */
static void visit(walk *k) {
    lua_State *L = k->L;
    if (!is_object(L, -1)) {
        lua_pop(L, 1);
        return;
    }
    uint32_t node = find(k, -1);
    bool fresh = node == ML_HEAP_NONE;
    if (fresh) {
        node = k->rooted ? ROOT : add_node(k);
        insert(k, key_of(L, -1), node);
    }
    if (node != ROOT && k->current < ROOT) add_edge(k, k->current, node);
    if (fresh) {
        push_work(k, node);
    } else {
        lua_pop(L, 1);
    }
}

/* ---------------------------------------------------------------------------------- scanning */

static void scan_table(walk *k, int t) {
    lua_State *L = k->L;
    bool weak_keys = false;
    bool weak_values = false;
    if (lua_getmetatable(L, t)) {
        lua_pushvalue(L, MODE);
        if (lua_rawget(L, -2) == LUA_TSTRING) {
            const char *mode = lua_tostring(L, -1);
            weak_keys = strchr(mode, 'k') != NULL;
            weak_values = strchr(mode, 'v') != NULL;
        }
        lua_pop(L, 1);
        visit(k);
    }
    if (weak_keys && weak_values) return;
    if (weak_keys) {
        lua_pushvalue(L, t);
        lua_rawseti(L, EPHEMERONS, ++k->ephemerons);
    }
    lua_pushnil(L);
    while (lua_next(L, t)) {
        bool object = is_object(L, -2);
        /* A weak key that may turn out to be garbage: see converge. */
        bool open = weak_keys && object && (k->rooted || find(k, -2) != ROOT);
        if (weak_values || open) {
            lua_pop(L, 1);
        } else {
            visit(k);
        }
        if (object && !weak_keys) {
            lua_pushvalue(L, -1);
            visit(k);
        }
    }
}

static void scan_function(walk *k, int f) {
    /* In the midst of its being loaded a function has no upvalues yet. */
    for (int n = 1; lua_upvalueid(k->L, f, n) && lua_getupvalue(k->L, f, n); n++) visit(k);
}

static void scan_userdata(walk *k, int u) {
    lua_State *L = k->L;
    if (lua_getmetatable(L, u)) visit(k);
    for (int n = 1; lua_getiuservalue(L, u, n) != LUA_TNONE; n++) visit(k);
    lua_pop(L, 1);
}

/* All stack slots of a frame, also those that are no variables. What a function with variable
   arguments got is below it, so among the temporaries of its caller. */
static void scan_frame(walk *k, lua_State *thread, const lua_Debug *ar) {
    for (int n = 1; lua_getlocal(thread, ar, n); n++) {
        lua_xmove(thread, k->L, 1);
        visit(k);
    }
}

static void scan_thread(walk *k, lua_State *thread) {
    if (thread == k->L) return;
    if (!lua_checkstack(thread, 2)) no_memory(k);
    lua_Debug ar;
    if (!lua_getstack(thread, 0, &ar)) {
        int top = lua_gettop(thread);
        for (int i = 1; i <= top; i++) {
            lua_pushvalue(thread, i);
            lua_xmove(thread, k->L, 1);
            visit(k);
        }
        return;
    }
    for (const frame *f = (frame *)ar.i_ci; f; f = f->previous) {
        ar.i_ci = (struct CallInfo *)f;
        if (f->previous) {
            lua_getinfo(thread, "f", &ar);
            lua_xmove(thread, k->L, 1);
            visit(k);
        }
        scan_frame(k, thread, &ar);
    }
}

/* Scans what is waiting. */
static void scan_all(walk *k) {
    lua_State *L = k->L;
    while (k->waiting) {
        int type = lua_rawgeti(L, WORK, k->waiting--);
        int index = lua_gettop(L);
        k->current = k->rooted ? ROOT : k->waiting_nodes[k->waiting];
        switch (type) {
            case LUA_TTABLE: scan_table(k, index); break;
            case LUA_TFUNCTION: scan_function(k, index); break;
            case LUA_TUSERDATA: scan_userdata(k, index); break;
            case LUA_TTHREAD: scan_thread(k, lua_tothread(L, index)); break;
        }
        lua_settop(L, index - 1);
    }
    k->current = ML_HEAP_NONE;
}

/* ------------------------------------------------------------------------------- ephemerons

   A value in a table with weak keys lives if both the table and its key do. Among nodes this is
   made a reference of the key, which is a little more than there is if the table is a node, too:
   once that has been collected, it is exact. */

/* The entries of the table at `t` whose keys were visited: visits their values. With `complete`
   adds a reference from each key that is a node to its value, if that is one. Whether anything was
   new. */
static bool scan_ephemeron(walk *k, int t, bool complete) {
    lua_State *L = k->L;
    bool changed = false;
    lua_pushnil(L);
    while (lua_next(L, t)) {
        uint32_t key = is_object(L, -2) ? find(k, -2) : ML_HEAP_NONE;
        uint32_t value = is_object(L, -1) ? find(k, -1) : ROOT;
        if (key != ML_HEAP_NONE && value == ML_HEAP_NONE) {
            k->current = key;
            visit(k);
            changed = true;
        } else {
            if (complete && key < ROOT && value < ROOT) add_edge(k, key, value);
            lua_pop(L, 1);
        }
    }
    return changed;
}

static void converge(walk *k) {
    lua_State *L = k->L;
    bool changed;
    do {
        changed = false;
        for (lua_Integer i = 1; i <= k->ephemerons; i++) {
            lua_rawgeti(L, EPHEMERONS, i);
            changed = scan_ephemeron(k, lua_gettop(L), false) || changed;
            lua_pop(L, 1);
            scan_all(k);
        }
    } while (changed);
}

static void complete_ephemerons(walk *k) {
    for (lua_Integer i = 1; i <= k->ephemerons; i++) {
        lua_rawgeti(k->L, EPHEMERONS, i);
        scan_ephemeron(k, lua_gettop(k->L), true);
        lua_pop(k->L, 1);
    }
}

/* ------------------------------------------------------------------------------------ phases */

static void note_anchors(walk *k) {
    const ml_heap *h = k->h;
    for (size_t i = 0; i < h->source_count; i++) {
        if (h->sources[i].ref >= k->anchor_limit) k->anchor_limit = h->sources[i].ref + 1;
    }
    k->is_anchor = calloc((size_t)k->anchor_limit + 1, 1);
    if (!k->is_anchor) no_memory(k);
    for (size_t i = 0; i < h->source_count; i++) {
        if (h->sources[i].ref > 0) k->is_anchor[h->sources[i].ref] = true;
    }
}

static bool is_root_entry(const walk *k) {
    lua_State *L = k->L;
    if (lua_isinteger(L, -2)) {
        lua_Integer key = lua_tointeger(L, -2);
        return key < 1 || key >= k->anchor_limit || !k->is_anchor[key];
    }
    return lua_touserdata(L, -2) != &ml_threads_key;
}

static void scan_registry(walk *k) {
    lua_State *L = k->L;
    /* Who has the registry or the table of threads as a value does not hold what is in them. */
    insert(k, key_of(L, LUA_REGISTRYINDEX), ROOT);
    insert(k, key_of(L, THREADS), ROOT);
    if (lua_getmetatable(L, LUA_REGISTRYINDEX)) visit(k);
    lua_pushnil(L);
    while (lua_next(L, LUA_REGISTRYINDEX)) {
        if (is_root_entry(k)) {
            visit(k);
        } else {
            lua_pop(L, 1);
        }
        if (is_object(L, -1)) {
            lua_pushvalue(L, -1);
            visit(k);
        }
    }
}

static int light(lua_State *L) {
    (void)L;
    return 0;
}

/* The metatables of types, with a value of each on the stack. */
static void scan_basic_types(walk *k) {
    lua_State *L = k->L;
    int base = lua_gettop(L);
    lua_pushnil(L);
    lua_pushboolean(L, 0);
    lua_pushlightuserdata(L, k);
    lua_pushinteger(L, 0);
    lua_pushvalue(L, MODE);
    lua_pushcfunction(L, light);
    lua_pushthread(L);
    for (int i = base + 1, top = lua_gettop(L); i <= top; i++) {
        if (lua_getmetatable(L, i)) visit(k);
    }
    lua_settop(L, base);
}

static void scan_roots(walk *k) {
    k->rooted = true;
    k->current = ROOT;
    scan_registry(k);
    scan_basic_types(k);
    for (const ml_lthread *t = k->world->busy; t; t = t->next) {
        if (t->loose) continue;
        lua_rawgetp(k->L, THREADS, t->L);
        visit(k);
    }
    scan_all(k);
    converge(k);
}

static void scan_sources(walk *k) {
    lua_State *L = k->L;
    k->rooted = false;
    k->current = ML_HEAP_NONE;
    for (size_t i = 0; i < k->h->source_count; i++) {
        ml_heap_source *source = &k->h->sources[i];
        source->node = ML_HEAP_NONE;
        if (source->ref > 0) {
            lua_rawgeti(L, LUA_REGISTRYINDEX, source->ref);
        } else {
            lua_rawgetp(L, THREADS, source->thread);
        }
        if (!is_object(L, -1)) {
            lua_pop(L, 1);
            continue;
        }
        lua_pushvalue(L, -1);
        visit(k);
        source->node = find(k, -1);
        if (source->node == ROOT) source->node = ML_HEAP_NONE;
        lua_pop(L, 1);
    }
    scan_all(k);
    converge(k);
    complete_ephemerons(k);
}

static int do_walk(lua_State *L) {
    walk *k = lua_touserdata(L, ARGUMENT);
    k->L = L;
    luaL_checkstack(L, 20, NULL);
    lua_newtable(L);
    lua_newtable(L);
    lua_pushliteral(L, "__mode");
    lua_rawgetp(L, LUA_REGISTRYINDEX, &ml_threads_key);
    /* From here on no collector. */
    if (k->h->gather(k->h, k->world) != 0) no_memory(k);
    if (k->h->source_count == 0) return 0;
    grow(k);
    note_anchors(k);
    scan_roots(k);
    scan_sources(k);
    return 0;
}

/* ------------------------------------------------------------------------------------ the walk */

int ml_heap_walk(ml_world *w, ml_heap *h) {
    lua_State *L = w->service;
    int top = lua_gettop(L);
    if (!lua_checkstack(L, 4)) return -1;
    walk k = {.world = w, .h = h, .current = ML_HEAP_NONE};
    lua_pushcfunction(L, do_walk);
    lua_pushlightuserdata(L, &k);
    int result = lua_pcall(L, 1, 0, 0) == LUA_OK ? ml_heap_finish(h, k.edges, k.edge_count) : -1;
    lua_settop(L, top);
    free(k.slots);
    free(k.edges);
    free(k.waiting_nodes);
    free(k.is_anchor);
    if (result != 0) ml_heap_free(h);
    return result;
}

/* ------------------------------------------------------------------------------------ checking */

/* On a thread with one value in its outermost frame, called there by another C function. */
static int check_frames(lua_State *L) {
    lua_Debug inner, outer;
    bool *good = lua_touserdata(L, 1);
    if (!lua_getstack(L, 0, &inner) || !lua_getstack(L, 1, &outer)) return 0;
    const frame *f = (frame *)inner.i_ci;
    if ((void *)f->previous != (void *)outer.i_ci) return 0;
    const frame *base = f->previous->previous;
    if (!base || base->previous) return 0;
    outer.i_ci = (struct CallInfo *)base;
    *good = lua_getlocal(L, &outer, 1) && lua_touserdata(L, -1) == good;
    return 0;
}

static int call_check(lua_State *L) {
    lua_pushcfunction(L, check_frames);
    lua_insert(L, 1);
    lua_call(L, 1, 0);
    return 0;
}

void ml_heap_check(lua_State *L) {
    bool good = false;
    lua_State *thread = lua_newthread(L);
    lua_pushlightuserdata(thread, &good);
    lua_pushcfunction(thread, call_check);
    lua_pushvalue(thread, 1);
    int status = lua_pcall(thread, 1, 0, 0);
    lua_pop(L, 1);
    if (status != LUA_OK || !good) {
        luaL_error(L, "this build of Lua keeps its stack frames in another way than Lua 5.4");
    }
}
