/* Deep copies on request: what both directions share.

   A copy works through a list of pairs, a container and its copy, which grows as containers are
   found inside. So depth costs no stack; and as the copy exists before it is filled, what refers
   to one container in two places, or to itself, does so in the copy.

   The work is done in a protected call of Lua's, outside of which are all references that it owns:
   Python code can run in it (the hash of a key, say), and a Lua error can end it. */

#ifndef ML_COPY_H
#define ML_COPY_H

#include "bridge.h"

typedef enum ml_form { OTHER, LIST, TUPLE, SET, KEYS, DICT, MAPPING, ITERABLE } ml_form;

typedef struct ml_pair {
    PyObject *o; /* the Python container: source or copy; owned */
    ml_form form;
    lua_Integer size; /* of a LIST or TUPLE to be made */
} ml_pair;

typedef struct ml_copy {
    ml_world *world;
    ml_activation *activation; /* while it runs */
    ml_form top;               /* what is to be made, */
    lua_Integer size;          /* of this size; */
    PyObject *object;          /* or of what (borrowed) */
    ml_pair *pairs; /* the Lua side of each is at the same place, from 1, in the table at TABLES */
    size_t count, capacity;
    PyObject *key, *value; /* owned: what the work holds while a Lua error may end it */
    PyObject *user_string; /* collections.UserString or NULL; owned */
} ml_copy;

/* The stack of the work. SOURCE is the table to copy or, of a copy to Lua, what stands for None.
   MEMO finds what was copied already. */
enum { STATE = 1, SOURCE, TABLES, MEMO };

/* Runs `work` on `c` and the value at `source`. If it fails, the Lua error is on top or an
   exception is set; else its result is on top, and the Python container of the first pair in
   *result (a new reference) unless that is NULL. Empties c. May raise before it has begun. */
bool ml_copy_run(lua_State *L, ml_copy *c, lua_CFunction work, int source, PyObject **result);

/* Raises what made the work fail. */
int ml_copy_raise(lua_State *L, ml_world *w);

/* Of the work: ends it because of the exception that is set. */
int ml_copy_fail(lua_State *L);

/* Of the work: adds a pair with `o`, a reference that it takes over, and gives its number. Raises;
   also if `o` is NULL, with its exception. */
lua_Integer ml_copy_add(lua_State *L, ml_copy *c, PyObject *o, ml_form form);

#endif
