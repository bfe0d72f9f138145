/* The order of timers: a binary heap by time and, for equal times, by the order in which they were
   added. What a timer is, timers.lua knows by its slot. */

#include "hub.h"

#include <math.h>
#include <stdlib.h>

typedef struct node {
    double when;
    uint64_t order;
    size_t slot;
} node;

typedef struct heap {
    node *nodes;   /* nodes[0] is the earliest */
    size_t *where; /* of a slot: its node's index; of a free one: the next free one */
    size_t count;
    size_t capacity; /* of both */
    size_t slots;    /* that have ever been used */
    size_t free;     /* the first free slot, or NONE */
    uint64_t order;
} heap;

#define NONE ((size_t)-1)
#define NAME "moonlet.timers"

static heap *get(lua_State *L) { return luaL_checkudata(L, 1, NAME); }

static bool is_before(const node *a, const node *b) {
    return a->when < b->when || (a->when == b->when && a->order < b->order);
}

static void place(heap *h, size_t i, node n) {
    h->nodes[i] = n;
    h->where[n.slot] = i;
}

static void sift_up(heap *h, size_t i, node n) {
    while (i > 0) {
        size_t parent = (i - 1) / 2;
        if (!is_before(&n, &h->nodes[parent])) break;
        place(h, i, h->nodes[parent]);
        i = parent;
    }
    place(h, i, n);
}

static void sift_down(heap *h, size_t i, node n) {
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= h->count) break;
        if (child + 1 < h->count && is_before(&h->nodes[child + 1], &h->nodes[child])) child++;
        if (!is_before(&h->nodes[child], &n)) break;
        place(h, i, h->nodes[child]);
        i = child;
    }
    place(h, i, n);
}

/* 0, or -1: no memory, nothing has changed. */
static int grow(heap *h) {
    size_t capacity = h->capacity ? 2 * h->capacity : 64;
    node *nodes = realloc(h->nodes, capacity * sizeof *nodes);
    if (!nodes) return -1;
    h->nodes = nodes;
    size_t *where = realloc(h->where, capacity * sizeof *where);
    if (!where) return -1;
    h->where = where;
    h->capacity = capacity;
    return 0;
}

/* heap_add(h, when): the slot of the new timer: a small integer that no other timer has now. */
static int add(lua_State *L) {
    heap *h = get(L);
    double when = luaL_checknumber(L, 2);
    if (isnan(when)) return luaL_argerror(L, 2, "time expected, got nan");
    if (h->count == h->capacity && grow(h) != 0) return luaL_error(L, "not enough memory");
    size_t slot = h->free;
    if (slot == NONE) {
        slot = h->slots++;
    } else {
        h->free = h->where[slot];
    }
    sift_up(h, h->count++, (node){.when = when, .order = h->order++, .slot = slot});
    lua_pushinteger(L, (lua_Integer)slot + 1);
    return 1;
}

static void remove_at(heap *h, size_t i) {
    size_t slot = h->nodes[i].slot;
    node last = h->nodes[--h->count];
    if (i < h->count) {
        if (i > 0 && is_before(&last, &h->nodes[(i - 1) / 2])) {
            sift_up(h, i, last);
        } else {
            sift_down(h, i, last);
        }
    }
    h->where[slot] = h->free;
    h->free = slot;
}

/* heap_remove(h, slot): the slot is that of a timer which is there. A state that is closed finalizes
   the heap before it ends the greenlets whose timers are removed then. */
static int remove_slot(lua_State *L) {
    heap *h = get(L);
    if (!h->where) return 0;
    lua_Integer slot = luaL_checkinteger(L, 2) - 1;
    if (slot < 0 || (size_t)slot >= h->slots) return luaL_argerror(L, 2, "no such timer");
    size_t i = h->where[slot];
    if (i >= h->count || h->nodes[i].slot != (size_t)slot) {
        return luaL_argerror(L, 2, "no such timer");
    }
    remove_at(h, i);
    return 0;
}

/* heap_first(h): when the first timer is due, or nil: there is none. */
static int first(lua_State *L) {
    const heap *h = get(L);
    if (h->count == 0) return 0;
    lua_pushnumber(L, h->nodes[0].when);
    return 1;
}

/* heap_take(h, now): removes the first timer that is due and returns its slot, or nil. */
static int take(lua_State *L) {
    heap *h = get(L);
    if (h->count == 0 || h->nodes[0].when > luaL_checknumber(L, 2)) return 0;
    lua_pushinteger(L, (lua_Integer)h->nodes[0].slot + 1);
    remove_at(h, 0);
    return 1;
}

/* heap_count(h) */
static int count(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)get(L)->count);
    return 1;
}

/* heap_shift(h, seconds): moves all timers. */
static int shift(lua_State *L) {
    heap *h = get(L);
    double seconds = luaL_checknumber(L, 2);
    for (size_t i = 0; i < h->count; i++) h->nodes[i].when += seconds;
    return 0;
}

static int collect(lua_State *L) {
    heap *h = get(L);
    free(h->nodes);
    free(h->where);
    *h = (heap){.free = NONE};
    return 0;
}

/* heap_new() */
static int new_heap(lua_State *L) {
    heap *h = lua_newuserdatauv(L, sizeof *h, 0);
    *h = (heap){.free = NONE};
    if (luaL_newmetatable(L, NAME)) {
        lua_pushcfunction(L, collect);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    return 1;
}

void ml_timers_register(lua_State *L) {
    static const luaL_Reg functions[] = {{"heap_new", new_heap},       {"heap_add", add},
                                         {"heap_remove", remove_slot}, {"heap_first", first},
                                         {"heap_take", take},          {"heap_count", count},
                                         {"heap_shift", shift},        {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
