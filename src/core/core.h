/* The greenlet core: C stacks that are switched in place, or copied aside and put back.

   A thread has one main greenlet, the stack it came with, and a set of lanes: reserved stack
   regions on which all other greenlets run. A greenlet stays on its lane for life. The lane's
   resident is the greenlet whose bytes are in place; the others wait on the heap.

   A language may have a stack of its own beside that of C (CPython's frames are on one). For that
   a lane has a loft above its base: what a greenlet has there moves with its C stack.

   The core knows no language. What carries a greenlet in a language (its owner), what a switch
   transports (its parcel) and what happens around a switch (the hooks) is opaque here.

   Functions that can fail return 0, or a negative ML_E... code with nothing changed. */

#ifndef ML_CORE_H
#define ML_CORE_H

#include "sanitize.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct ml_greenlet ml_greenlet;
typedef struct ml_lane ml_lane;
typedef struct ml_thread ml_thread;

enum {
    ML_ENOMEM = -1,    /* no memory for a stack or for the bytes of one */
    ML_ETHREAD = -2,   /* the target belongs to another thread */
    ML_EEXITED = -3,   /* the target belongs to a thread that has ended */
    ML_EORPHAN = -4,   /* the target is dead and has no ancestor left that could run */
    ML_ECYCLE = -5,    /* the parent is a descendant of the greenlet */
    ML_EMAIN = -6,     /* a main greenlet has no parent */
    ML_ELANGUAGE = -7, /* a hook failed and has set its language's error */
    ML_EBARRED = -8,   /* the thread must not switch now: see ml_bar */
};

/* The text for a code above, without a final stop; never NULL. */
const char *ml_error_text(int code);

typedef struct ml_parcel ml_parcel;

/* What a room calls its own among parcels: one constant each. */
typedef struct ml_parcel_kind {
    void (*discard)(ml_parcel *parcel); /* releases the values of a parcel nobody wants */
} ml_parcel_kind;

/* What a switch carries. Only the room that owns the kind knows what the fields mean. The core
   moves a parcel, whole, from sender to receiver. */
struct ml_parcel {
    const ml_parcel_kind *kind; /* NULL: it brings nothing, and all below are 0 or not looked at */
    void *value;
    void *extra;
    void *more;
    int count;
    bool error;   /* to be raised at the receiver, not returned */
    bool results; /* what a finished body returned, not what a switch passed */
    /* Set by the core on arrival: who sent it, a reference that the receiver must release (see
       ml_settle) once it has taken the values, which may live on the sender's stack. */
    ml_greenlet *origin;
};

/* What a greenlet runs. `parcel` brings what the first switch passed (an error: leave at once)
   and takes away what goes to the parent. */
typedef void (*ml_body)(ml_greenlet *g, ml_parcel *parcel);

typedef enum ml_state { ML_NEW, ML_ACTIVE, ML_DEAD } ml_state;

struct ml_greenlet {
    void *sp; /* while suspended and resident: where to continue */
    ml_lane *lane;
    ml_thread *thread; /* NULL until started */
    ml_state state;
    bool kill_queued;
    bool stays; /* dead without an end, its bytes still in place: there was no memory for them */
    ml_greenlet *parent; /* a counted reference */
    ml_body body;
    void *owner;       /* the object that carries this greenlet in the owning language */
    void *lua;         /* for the Lua room: where in Lua this greenlet is */
    void *lua_threads; /* and the Lua threads it has */
    void *lua_home;    /* and the Lua state of who made it */
    void *lua_frame;   /* for the bridge: what has called Lua first, while Lua has not returned */
    char *saved;       /* while evicted: its bytes, from sp to the last in use of the loft */
    uint32_t saved_size;
    uint32_t saved_capacity;
    ml_lane *guest_of;      /* the lane that lends its memory for `saved`, or NULL: the heap */
    ml_greenlet *next_kill; /* in the thread's graveyard */
#ifdef ML_SANITIZE
    void *fake_stack; /* while suspended by ml_go */
#endif
};

/* ---------------------------------------------------------------------------------- hooks

   What the room that owns greenlets defines for the core to call, bound when the program is
   linked: a switch is short enough to feel a call through a pointer. */

/* Counted references to a greenlet. Releasing may run arbitrary code. */
void ml_hook_retain(ml_greenlet *g);
void ml_hook_release(ml_greenlet *g);

/* Makes the main greenlet of a new thread, with one reference, which becomes the thread's. NULL:
   no memory. */
ml_greenlet *ml_hook_create_main(void);

/* `g` is new and about to be started by the current greenlet: a last chance to refuse. May run
   arbitrary code, switches too. 0, or ML_ELANGUAGE and the language's error set. */
int ml_hook_prepare(ml_greenlet *g);

/* Takes the error that ml_hook_prepare has set into `parcel`. */
void ml_hook_take_error(ml_parcel *parcel);

/* Before the stack of `g`, the current greenlet, is left with `parcel`. May not switch. */
void ml_hook_leave(ml_greenlet *g, const ml_parcel *parcel);

/* On the stack of `g` again. Retains `g`: the current greenlet holds a reference to itself, which
   passes to the next one's parcel as its `origin`. May not switch. */
void ml_hook_enter(ml_greenlet *g);

/* On a new stack: does what ml_hook_enter does, then calls g->body. Arbitrary code may still run after
   that, up to the last ml_hook_leave. */
void ml_hook_run(ml_greenlet *g, ml_parcel *parcel);

/* How much of the loft of the suspended `g` is in use, from its start. Its bytes are in place. */
size_t ml_hook_loft_used(const ml_greenlet *g);

/* The `size` bytes of the suspended `g`, those in its loft included, were copied from `from` to `to`:
   what points into them and is followed while it is suspended must point into the copy. May not fail,
   allocate or switch. */
void ml_hook_moved(ml_greenlet *g, const char *from, size_t size, char *to);

/* `g`, the current greenlet, was switched to and its thread has a tracer (ml_thread_tracer): tells
   it, and may replace what `parcel` brings. May run arbitrary code. */
void ml_hook_trace(ml_greenlet *g, ml_parcel *parcel);

/* `g` lost its last reference while suspended, and was buried: ends it and drops the reference that
   ml_bury was given. */
void ml_hook_kill(ml_greenlet *g);

/* Throws into the suspended `g` what ends a greenlet, and comes back. */
void ml_hook_end(ml_greenlet *g);

/* `g` has `lua_threads` and will not use them any more. Set by the Lua room where there is one. */
extern void (*ml_forget_lua)(ml_greenlet *g);

/* The current greenlet has made `g`: sets its `lua_home`. Set by the Lua room where there is one. */
extern void (*ml_adopt_lua)(ml_greenlet *g);

/* -------------------------------------------------------------------------------- functions */

/* The calling thread, made on first use. NULL: no memory. */
ml_thread *ml_thread_get(void);

/* The same, or NULL if the thread has never used greenlets. */
ml_thread *ml_this_thread_or_null(void);

/* The running greenlet of the calling thread (borrowed). NULL: no memory for its thread. */
ml_greenlet *ml_current(void);

ml_greenlet *ml_thread_main(const ml_thread *t);

/* Who is told of every switch on `t`, or NULL: a place that the language owns. */
void **ml_thread_tracer(ml_thread *t);
bool ml_thread_exited(const ml_thread *t);

/* The thread `t` has ended or is about to: its suspended greenlets can never run again, its
   reference to its main greenlet is released. Its lanes are unmapped if it is the calling thread
   and on its main greenlet; otherwise somebody may stand on them, and they stay. */
void ml_thread_exit(ml_thread *t);

/* The thread a greenlet belongs to: its own once started, before that its parent's. NULL when
   the chain of parents is broken. */
ml_thread *ml_greenlet_thread(const ml_greenlet *g);

/* Makes `g` (zeroed memory of the caller's) a new greenlet. Retains `parent`. */
void ml_greenlet_init(ml_greenlet *g, void *owner, ml_greenlet *parent, ml_body body);

/* Releases what a greenlet that will never run again holds, the bytes of its stack, too; not the
   struct itself. For one of another thread the callers see to it that nobody else does the same
   (the GIL does). */
void ml_greenlet_fini(ml_greenlet *g);

/* The suspended `g` will never run again, nor be unwound: it is dead. Its bytes stay where they can
   be read up to ml_greenlet_fini. Called by the thread of `g`. */
void ml_greenlet_abandon(ml_greenlet *g);

bool ml_is_main(const ml_greenlet *g);

/* Whether `g` is the current greenlet of some thread. */
bool ml_is_running(const ml_greenlet *g);

/* How many bytes of stack the suspended `g` has, in place or copied aside. 0 for all others, and
   for the main greenlet of another thread. */
size_t ml_stack_size(const ml_greenlet *g);

/* How many bytes the current greenlet has left of its stack, about, and in `*size` how large that is;
   SIZE_MAX if that is not known. */
size_t ml_stack_left(size_t *size);

/* Whether the stack of `g` can be read where it is: not while it is evicted, or on its way. For
   signal handlers, too. */
bool ml_in_place(const ml_greenlet *g);

/* Where the byte at `address`, an address that code on the stack of the suspended `g` knows, is now:
   if it is on that stack or in its loft, perhaps copied aside. */
const void *ml_stack_view(const ml_greenlet *g, const void *address);

/* The loft of `g`, which runs on a lane: ML_LOFT_SIZE bytes, aligned to 64, of any content. */
#define ML_LOFT_SIZE 4096
void *ml_loft(const ml_greenlet *g);

/* ML_ECYCLE, ML_EMAIN or ML_ETHREAD if refused. */
int ml_set_parent(ml_greenlet *g, ml_greenlet *parent);

/* Switches to `target`, or where its death forwards to, with `parcel`. Returns 0 when somebody
   switches back, with what they sent in `*parcel`. On failure the parcel is still the caller's. */
int ml_switch(ml_greenlet *target, ml_parcel *parcel);

/* Releases the reference to the sender that came with `parcel`. May run arbitrary code. */
void ml_settle(ml_parcel *parcel);

/* Releases all that came with a parcel nobody wants. */
void ml_discard(ml_parcel *parcel);

/* Queues `g`, which its thread must kill at its next switch or ml_tidy. The graveyard takes over
   one reference. Callable from every thread. */
void ml_bury(ml_greenlet *g);

/* Kills what is queued for the calling thread, if it may switch. Switches, and may run arbitrary code. */
void ml_tidy(void);

/* With a text (static), until it is called with what it returned, no greenlet of the calling thread
   can be switched to: ml_switch fails with ML_EBARRED, for which ml_error_text is that text, and
   what was buried waits. NULL allows it. Returns what was in force before. */
const char *ml_bar(const char *reason);
/* What is in force. */
const char *ml_barred(void);

/* Settings, process-wide. The lane limit is at first what MOONLET_LANES in the environment says,
   else the default. */
#define ML_LANES_DEFAULT 256
#define ML_LANES_MAX 16384
unsigned ml_lane_limit(void);
/* Clamped to 1 ... ML_LANES_MAX. Lanes in use beyond a lower limit stay until they are free. */
void ml_set_lane_limit(unsigned limit);

/* How often bytes were copied aside, and lanes reserved now, by the calling thread. */
typedef struct ml_counts {
    uint64_t evictions;
    unsigned lanes;
} ml_counts;
ml_counts ml_thread_counts(void);

/* Every allocation of the core, so that tests can make each one fail. `map` reserves a zeroed
   stack region with a guard below it. */
typedef struct ml_memory {
    void *(*allocate)(size_t size);
    void (*release)(void *memory);
    void *(*map)(size_t size, size_t guard);
    void (*unmap)(void *memory, size_t size);
} ml_memory;

extern ml_memory ml_the_memory;

#endif
