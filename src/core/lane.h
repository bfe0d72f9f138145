/* Lanes: the stack regions of one thread, and who is on them. */

#ifndef ML_LANE_H
#define ML_LANE_H

#include "core.h"

/* The hostile build: one lane, everything is evicted at every switch, vacated bytes are
   poisoned and buffers have their exact size. What passes the tests so does not live on luck. */
#ifdef MOONLET_HOSTILE
enum { HOSTILE = 1 };
#else
enum { HOSTILE = 0 };
#endif

struct ml_lane {
    ml_greenlet *resident; /* whose bytes are in place, or NULL */
    char *base;            /* where its greenlets start and the loft is, 64-byte aligned */
    char *low;             /* the lowest usable address */
    ml_greenlet *guest;    /* an evicted greenlet of another lane, kept at `low`, or NULL */
    unsigned tenants;      /* the active greenlets that live here */
    unsigned index;
    ml_lane *next_free;
    char *map;
    size_t map_size;
};

typedef struct ml_lanes {
    ml_lane **all;
    unsigned count;
    unsigned capacity;
    unsigned hand;   /* how often a lane was chosen to be shared */
    size_t map_size; /* of every lane alike, so that each can take in what another one holds */
    ml_lane *free;   /* without tenants and guest; the most recently used first */
    uint64_t evictions;
} ml_lanes;

/* The lane for a new greenlet: a free one, a new one, else one with few tenants. It is not bound
   yet. NULL: there is none and no memory for the first. */
ml_lane *ml_lane_choose(ml_lanes *lanes);

/* Makes `g` a tenant of its lane, and ends that when it is dead. */
void ml_lane_bind(ml_lanes *lanes, ml_lane *lane, ml_greenlet *g);
void ml_lane_leave(ml_lanes *lanes, ml_greenlet *g);

/* Empties the lane: copies the bytes of its resident, or of the guest it holds, to the heap, or
   to the memory of `lender`, a lane that has neither (NULL: the heap only). 0 or ML_ENOMEM, then
   nothing has changed; with a lender it cannot fail. The caller stands on neither lane, unless the
   resident will never run again. */
int ml_lane_evict(ml_lanes *lanes, ml_lane *lane, ml_lane *lender);

/* Puts the bytes of the evicted `g` back on its lane, which has no resident. Needs no memory. */
void ml_lane_restore(ml_lanes *lanes, ml_greenlet *g);

/* Frees the evicted bytes of `g`, if it has any. */
void ml_lane_forget(ml_lanes *lanes, ml_greenlet *g);

/* Unmaps all lanes, but for those whose bytes find no memory to go to. */
void ml_lanes_fini(ml_lanes *lanes);

#endif
