/* Turns for others while Lua runs: a clock for each OS thread that has a world.

   While it is on, the thread gets a signal every few milliseconds of its own processor time.
   The handler looks whether the other language wants something, or something was posted; if so,
   the Lua code that runs is reached (reach.h). Where nobody wants anything, nothing happens to
   it.

   The clock is on while the other language has several threads, and until what was posted by
   the thread itself is done. It counts processor time, so that a thread that waits gets no
   signals: a system call that is about to wait when one comes is the only one that it can
   interrupt, and SA_RESTART lets most of these go on.

   The signal is SIGURG, which is ignored by default, so it does no harm where the handler has
   been taken away; and by debuggers. A handler that is there when the clock starts gets all
   signals that are not ours. Where the kernel has no such clock, there are no turns. */

#ifndef ML_TICKS_H
#define ML_TICKS_H

#include "world.h"

/* The clock of the calling thread gets another world, or has one less; w->closed is not yet set.
   Without memory the world has none. */
void ml_ticks_open(ml_world *w);
void ml_ticks_close(ml_world *w);

/* ml_ticks_on(w), in world.h: the clock of w's thread, the calling one, goes if it can. Cheap if it
   does. It stops by itself. */

/* The same for the calling thread, in a signal handler; but it must have gone before, or have been
   prepared, else nothing happens. */
void ml_ticks_urge(void);
void ml_ticks_prepare(void);

/* What `t` was made for (bridge->owner) is about to end. */
void ml_ticks_end(ml_ticks *t);

#endif
