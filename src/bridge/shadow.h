/* Shadows of Lua objects, for collect.c alone. */

#ifndef ML_SHADOW_H
#define ML_SHADOW_H

#include "bridge.h"

/* Readies their type. 0 or -1. */
int ml_shadows_init(void);

/* Walks the Lua heap and makes the shadows, if any are needed, which Python's collector sees from here
   on. 0, or -1 when that cannot be done: nothing has changed. Called when a full collection of
   Python's is about to begin, on the world's OS thread, not in a finalizer of Lua. */
int ml_shadows_make(ml_objects *o);

/* Whether no reference in Lua can have changed since. */
bool ml_shadows_valid(const ml_objects *o);

/* How many of them the collector has found to be garbage. */
size_t ml_shadows_gone(const ml_objects *o);

/* Releases what userdata own that are garbage, as long as the shadows are valid, if nothing else
   refers to it. Returns how many. May run arbitrary code. */
size_t ml_shadows_release(ml_objects *o);

/* Takes all of them away. Runs no code of others. */
void ml_shadows_drop(ml_objects *o);

#endif
