/* Reaching the code that runs in Lua: from a signal handler of its thread, its next step is made to
   call bridge->turn.

   Lua offers hooks for that (lua_sethook can be called by a signal handler: ldebug.c), but they are
   set per Lua thread, and nothing tells which one runs: the current greenlet's is known, but it may
   have resumed a coroutine. Nor may a signal handler look at the stack of a Lua thread that may be
   in the middle of a step. So this happens in rounds, one each time
   ml_reach_round is called:

   - The hook, for every step, call and return, is set on the thread that is known. If that runs,
     it is reached.
   - If the hook has not been called until a later round, though the OS thread has run for a while
     (STEADY), the Lua thread has been in the same C function all the time: a call from it, or the
     return, would have called the hook. Its stack is at rest then. If the function's first argument
     or first upvalue is a Lua thread, and still is a round later, then it resumes that (as
     coroutine.resume and what coroutine.wrap returns do), or at least keeps it alive: it is the
     next one.

   A hook on a thread that has resumed another stays, and is the proof that this has not changed.
   When it is called, the hook that was there before is put back, and called if that was due.

   Not reached are coroutines that C functions resume in another way, or that are resumed by a
   thread that has a hook of its own (debug.sethook); threads with a count hook for more than
   COUNT_MAX instructions, as its count begins again when the hook is put back; and finalizers
   (__gc), in which Lua calls no hooks. */

#ifndef ML_REACH_H
#define ML_REACH_H

#include "world.h"

/* Makes w->reach. `L` is a thread that the state's code may be run by. Raises Lua errors. */
void ml_reach_open(lua_State *L, ml_world *w);

/* Called by a signal handler of the world's thread, which has the lock that Lua runs under: goes
   one step further towards the code of `w` that runs. If none does, that is harmless. */
void ml_reach_round(ml_world *w);

/* How often code was reached, by the calling thread or others. For signal handlers, too. */
unsigned ml_reach_count(void);

/* Whether the host has asked `L` to stop: its signal handler has set a hook for every step, as that of
   lua.c does on Ctrl-C. */
bool ml_reach_is_stopped(lua_State *L);

/* A hook that runs no Lua code: one that waits for ours to be called is no obstacle. */
void ml_reach_pass(lua_Hook hook);

#endif
