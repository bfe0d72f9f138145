/* A walk through the heap of a Lua state: what is reachable only from outside of Lua, and what it
   reaches.

   Values that something outside of Lua holds (sources) are anchored in Lua, so Lua takes them for
   alive. The walk finds the objects that are reachable from sources and in no other way, and the
   references among them. Lua's own rules hold: weak values are no references, an entry of a table
   with weak keys is one of its key. Userdata that stand for something outside (borders) are told
   apart, for it is from there that the path may lead back to a source. */

#ifndef ML_HEAP_H
#define ML_HEAP_H

#include "world.h"

#define ML_HEAP_NONE UINT32_MAX

typedef struct ml_heap_source {
    int ref;           /* of the value in the registry, which is no root then; or LUA_NOREF ... */
    lua_State *thread; /* ... and the Lua thread of an ml_lthread that is `loose` */
    uint32_t node;     /* out: its node; ML_HEAP_NONE: it reaches no border, or Lua needs it */
} ml_heap_source;

typedef struct ml_heap {
    /* In. `gather` sets the sources, and which Lua threads of greenlets are `loose`, when no more
       code of Lua runs until the walk is over: 0, or -1 to give up. */
    int (*gather)(struct ml_heap *h, ml_world *w);
    bool (*is_border)(const ml_handle *handle);
    ml_heap_source *sources; /* malloc'ed, the walk's to free */
    size_t source_count;

    /* Out: nodes, which all reach a border. The references of node n are to[first[n]] up to
       to[first[n + 1] - 1]. */
    uint32_t node_count;
    ml_handle **borders; /* by node: the handle in the userdata that it is, or NULL */
    size_t *first;
    uint32_t *to;
} ml_heap;

/* Walks. 0, or -1 when there is not enough memory, with nothing changed and nothing to free. The
   caller is on the world's OS thread, in no finalizer of Lua (see ml_in_finalizer). */
int ml_heap_walk(ml_world *w, ml_heap *h);

void ml_heap_free(ml_heap *h);

/* For the walk: a reference between nodes that were found; and what makes the outcome of them: drops
   the nodes that reach no border, renumbers the others and sorts their references. 0 or -1. */
typedef struct ml_heap_edge {
    uint32_t from, to;
} ml_heap_edge;
int ml_heap_finish(ml_heap *h, ml_heap_edge *edges, size_t edge_count);

/* Raises an error if the Lua that runs `L` is not laid out as the walk needs it: it reads a field
   of a struct that lua.h does not define. */
void ml_heap_check(lua_State *L);

#endif
