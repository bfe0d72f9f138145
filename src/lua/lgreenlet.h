/* Greenlets as Lua userdata. The same greenlet is always the same userdata. */

#ifndef ML_LGREENLET_H
#define ML_LGREENLET_H

#include "world.h"

/* Makes the metatable. Raises Lua errors. */
void ml_lgreenlet_open(lua_State *L, ml_world *w);

/* Pushes the userdata for `g`, retaining it. May raise a Lua error. */
void ml_lgreenlet_push(lua_State *L, ml_world *w, ml_greenlet *g);

/* The greenlet at `index` (borrowed), or NULL if the value there is something else. */
ml_greenlet *ml_lgreenlet_test(lua_State *L, int index);

/* The tag of greenlets' handles. */
extern const char ml_greenlet_tag;

/* Pushes a userdata for a new greenlet (returned, borrowed) that will run the function at index 1, with
   the parent at 2. The userdata is not yet the one that the greenlet is known by: ml_identity_set makes
   it so. May raise a Lua error. */
ml_greenlet *ml_lgreenlet_new(lua_State *L, ml_world *w);

/* Adds resume and throw to the table on top. May raise. */
void ml_lgreenlet_register_native(lua_State *L, ml_world *w);

/* The functions `greenlet` and `current` of the module, which is on top of the stack. */
void ml_lgreenlet_register(lua_State *L, ml_world *w);

/* Parcels from Lua: `value` is the lua_State whose topmost `count` values they are (an error:
   one), `extra` the world. */
extern const ml_parcel_kind ml_lua_parcel;

/* The values that `parcel` brought to L do not fit on its stack: discards them and all that is on that
   stack, and pushes an error value, without memory. Returns 1; parcel->error is set. */
int ml_lgreenlet_overflow(lua_State *L, ml_parcel *parcel);

#endif
