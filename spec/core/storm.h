/* Random switching at random depths: the test that finds most mistakes.

   A few dozen greenlets, and the main one, recurse to random depths through frames with canaries
   of random size. At the bottom they create, drop and reparent each other, switch to anybody, the
   dead too, or finish. Whoever arrives checks that it was meant, that it got what was sent, and,
   on its way up, that every frame's memory, registers and rounding mode are as it left them. */

#ifndef STORM_H
#define STORM_H

#include <stdint.h>

/* Makes `switches` switches in the calling thread, on its main greenlet, and drops all greenlets
   that are left. */
void storm(uint64_t seed, long switches);

#endif
