/* Lua on the core: one world per Lua state that has loaded moonlet.

   Every greenlet that runs Lua does so on a Lua thread of its own, at whose base is a protected
   call: an error then never looks for a handler on another greenlet's stack (luaD_throw of Lua's
   ldo.c falls back to the main thread's). A world belongs to the OS thread that opened it. */

#ifndef ML_WORLD_H
#define ML_WORLD_H

#include "../core/core.h"

#include <lauxlib.h>
#include <lua.h>
#include <stdatomic.h>
#include <string.h>

typedef struct ml_world ml_world;
typedef struct ml_lthread ml_lthread;
typedef struct ml_objects ml_objects;
typedef struct ml_posted ml_posted;
typedef struct ml_reach ml_reach;
typedef struct ml_ticks ml_ticks;

/* What a look at the calling thread, from a signal handler of its own, shows. */
enum {
    ML_RUNS = 1,   /* it has the lock that Lua runs under */
    ML_WANTED = 2, /* the other language wants to run here, or in another thread */
    ML_ALONE = 4,  /* there is no other thread */
};

/* What the values of a parcel are for. */
typedef enum ml_reception {
    ML_ARGUMENTS, /* of a function that is about to start */
    ML_SWITCHED,  /* by a switch */
    ML_OPAQUE,    /* to be passed on: a value that could not come back as it is comes in a box */
} ml_reception;

/* What the bridge puts in, so that this room need not know the other language. */
typedef struct ml_lua_bridge {
    /* A new greenlet (a new reference) with this parent (NULL: the current one). Its body is
       `body`, or with NULL what runs the other language's callable at index 1. NULL: an error of
       that language is set. */
    ml_greenlet *(*create)(lua_State *L, ml_body body, ml_greenlet *parent);
    /* Whether the value at index 1 belongs to the other language, and if so can be called. */
    bool (*is_foreign)(lua_State *L, bool *callable);
    /* Pushes the values of a parcel that another room or world sent, and releases them: returns
       how many. If they cannot be taken, sets parcel->error and pushes one value, the error. Raises
       no Lua error. */
    int (*receive)(lua_State *L, ml_world *w, ml_parcel *parcel, ml_reception as);
    /* The same if it cannot fail and runs no other code; -1 if it might, then nothing has been done. Needs a
       free stack slot, and checks for more. */
    int (*receive_simple)(lua_State *L, ml_world *w, const ml_parcel *parcel, ml_reception as);
    /* Pushes the error that the other language has set. May raise a Lua error. */
    void (*push_error)(lua_State *L, ml_world *w);
    /* Replaces the value on top by what is to be thrown for it; nil: what ends a greenlet
       quietly. May raise a Lua error. */
    void (*throwable)(lua_State *L, ml_world *w);
    /* Whether the error value on top is what ends a greenlet quietly. */
    bool (*is_exit)(lua_State *L);
    /* The message handler at the base of greenlets and calls. */
    lua_CFunction handler;
    /* Makes a parcel for a greenlet that cannot start because its Lua state is closed: an error. */
    void (*closed)(ml_parcel *parcel);
    /* Forgets w->last_exception. */
    void (*forget_error)(ml_world *w);
    /* Releases what the bridge keeps in the world, which is about to be closed. */
    void (*close)(ml_world *w);
    /* There are w->held_limit things that the other language holds, or more. */
    void (*crowded)(ml_world *w);
    /* The last user of the world has gone: frees w->objects. */
    void (*free_objects)(ml_world *w);
    /* The calling thread, as the other language knows it; and where there is a pointer (not to be
       followed) that is NULL unless other threads have come since. Until ml_ticks_end(t), which
       will be called, both are valid. NULL: no memory. */
    void *(*owner)(ml_ticks *t, const void **others);
    /* What `owner` is doing. Called by signal handlers of that thread only. */
    int (*look)(const void *owner);
    /* Called between two steps of the code that `L` runs, by a hook, soon after something was
       wanted or posted: sees to that. May raise a Lua error. */
    void (*turn)(lua_State *L, ml_world *w);
    /* Attribute access for what lgreenlet does not know; as metamethods. */
    lua_CFunction index;
    lua_CFunction newindex;
} ml_lua_bridge;

typedef struct ml_deferred {
    void (*function)(void *argument);
    void *argument;
} ml_deferred;

struct ml_world {
    lua_State *main;    /* the state's main thread */
    lua_State *service; /* a thread that runs nothing and has free stack slots */
    ml_thread *thread;  /* the OS thread it belongs to */
    const ml_lua_bridge *bridge;
    uint64_t id;    /* no other world of the process has had it */
    ml_world *next; /* in the list of those that are not closed */
    /* References in the registry: */
    int identity;  /* light userdata -> userdata of a handle, weak */
    int greenlets; /* the metatable of greenlets */
    int proxies;   /* for the bridge: that of its handles */
    int callers;   /* name -> the function that calls methods of that name, weak */
    bool closing;  /* its greenlets are being ended */
    bool closed;
    size_t users;          /* the state itself, and references from outside of it */
    ml_deferred *deferred; /* what must wait until no finalizer runs */
    size_t deferred_count;
    size_t deferred_capacity;
    bool hurry;            /* it should not wait until Lua calls the other language */
    size_t promised;       /* how much of that handles will need when they are finalized */
    ml_lthread *busy;      /* Lua threads of greenlets */
    ml_lthread *next_busy; /* while all are ended: which is the next */
    ml_lthread *idle;
    unsigned idle_count;
    uint64_t epoch;            /* counts the drains; see ml_handle */
    ml_posted *_Atomic posted; /* for the thread of this world: the first; see ml_world_post */
    ml_posted *last_posted;
    bool doing_posted;
    bool has_loop;          /* see ml_world_set_loop */
    ml_posted *loop_posted; /* what is left to it */
    ml_posted *last_loop_posted;
    void (*wake)(void *argument); /* for a loop: see ml_world_post; NULL: nobody waits */
    void *wake_argument;
    const void *others;       /* see ml_lua_resumed */
    ml_ticks *ticks;          /* see ticks.h; NULL: there are none */
    ml_world *next_ticking;   /* in the list there */
    ml_reach *reach;          /* see reach.h */
    const void *kw_metatable; /* for the bridge */
    void *texts;              /* for the bridge: what to_lua.c remembers */
    unsigned weight;          /* see ml_world_weigh */
    struct {
        void *object, *name, *function;
        unsigned version;
    } method;             /* for the bridge: the last one that was looked up */
    void *limits;         /* for the bridge: what scripts may do; NULL: everything */
    bool limited;         /* and that it has been said, memory included */
    ml_objects *objects;  /* for the bridge: what the other language has of this one */
    size_t held;          /* how many anchors it has, and busy Lua threads ... */
    size_t held_limit;    /* ... and with how many `crowded` is called */
    uint64_t finalized;   /* how many handles Lua's collector has found to be garbage */
    bool touched;         /* Lua ran since the bridge has set it to false: see ml_lua_touch */
    void *last_exception; /* for the bridge: the exception behind the last error value */
    int last_value;       /* and that value, a reference in the registry */
    bool last_crossed;    /* and whether it has passed a border: of languages, of greenlets */
};

/* The content of userdata that stand for something counted elsewhere. Their finalizer defers the
   release and leaves the pointer, as other finalizers may still use it; it is void when the next
   drain has begun. */
typedef struct ml_handle {
    const void *tag; /* the address of a constant of the room that made it: proves the type */
    void *pointer;
    ml_world *world;
    uint64_t dead_since; /* 0, or the world's epoch when it was finalized */
    unsigned lookups;    /* for the room: how often it was asked for a method */
    bool listed;         /* released by the world when it is closed, not by a finalizer */
} ml_handle;

/* Pushes a userdata with this tag that stands for nothing yet, with the metatable to which
   `metatable` is a reference, and sees to it that its finalizer will need no memory. May raise a Lua
   error. */
ml_handle *ml_handle_push(lua_State *L, ml_world *w, const void *tag, int metatable);

/* The userdata of handles are found again by what they stand for: the same thing is the same
   userdata. Pushes the one for `pointer`, or returns false and pushes nothing. */
bool ml_identity_push(lua_State *L, const ml_world *w, const void *pointer);
/* Makes the userdata on top the one to be found. May raise a Lua error. */
void ml_identity_set(lua_State *L, const ml_world *w, const void *pointer);

/* About to make a handle for something of that many bytes, which Lua does not see. Its collector is
   paced by the bytes that Lua allocates, and counts what it is about to finalize as alive: handles
   that are dropped as fast as they are made would pile up without limit, each with what it stands
   for. So they are given some weight. Finalizers may run. */
void ml_world_weigh(lua_State *L, ml_world *w, unsigned bytes);

/* Lets the handle stand for `pointer`, a reference that it takes over. Lua finalizes no userdata
   that are made while a state closes: the world releases those. */
void ml_handle_set(ml_handle *h, void *pointer, void (*release)(void *));

/* As __gc: defers `release` of what it stands for. */
void ml_handle_collect(lua_State *L, void (*release)(void *));

static inline void *ml_handle_get(const ml_handle *h) {
    if (__builtin_expect(!h->dead_since && !h->listed, 1)) return h->pointer;
    return h->listed ? (h->world->closed ? NULL : h->pointer)
                     : (h->dead_since == h->world->epoch ? h->pointer : NULL);
}

/* The value at `index` if it is a userdata as large as a handle, else NULL. Only a tag, compared
   by the caller, says what it is: quicker than a look at the metatable. */
static inline ml_handle *ml_handle_at(lua_State *L, int index) {
    ml_handle *h = lua_touserdata(L, index);
    return h && lua_rawlen(L, index) == sizeof *h ? h : NULL;
}

/* Nobody needs what the handle stands for any more: makes it void. The caller releases that. */
void ml_handle_clear(ml_handle *h);

/* Pushes the message handler. Raises no error. */
static inline void ml_push_handler(lua_State *L, const ml_world *w) {
    lua_pushcfunction(L, w->bridge->handler);
}

/* The Lua thread of one greenlet. */
struct ml_lthread {
    lua_State *L;
    ml_world *world;
    ml_greenlet *greenlet;
    ml_lthread *next, *previous; /* in `busy`; `next` alone in `idle` */
    ml_lthread *same_greenlet;   /* another world's thread of this greenlet */
    bool loose;                  /* for ml_heap_walk: no root, as its greenlet may be garbage */
};

/* registry[&ml_threads_key][light userdata L] = thread L, for each ml_lthread and the service */
extern const char ml_threads_key;

/* References that a C function owns while it has left Lua: all[1] ... all[count] of an array. */
typedef struct ml_owned {
    const void *all;
    ptrdiff_t count;
} ml_owned;

/* Where in Lua the current greenlet is: a chain through its C stack, innermost first. */
typedef struct ml_activation {
    lua_State *L;
    ml_world *world;
    struct ml_activation *previous;
    ml_greenlet *greenlet;
    const ml_owned *owned; /* for the collector of the other language; or NULL */
    const void *border;    /* inside: the CallInfo of L that called the other language, or NULL */
    void *frame;           /* inside: for the bridge, where the other language was then */
    unsigned depth;        /* how many activations of this greenlet are below */
    bool trusted;          /* what runs now decides itself what scripts may do */
    volatile bool inside; /* Lua runs (again), called by the other language; for signal handlers */
} ml_activation;

/* Declared for ml_lua_resumed; see ticks.h. */
void ml_ticks_on(const ml_world *w);

/* Makes the world of `L`, or returns the one it has. Raises Lua errors. Leaves the stack as it
   is. */
ml_world *ml_world_open(lua_State *L, const ml_lua_bridge *bridge);

/* The world of `L`, or NULL. */
ml_world *ml_world_get(lua_State *L);

/* The world that the running code belongs to: of the innermost Lua code that has called it in the
   current greenlet, or that has made the greenlet; else the only one of the thread. NULL: there is
   none, or several. Then and only then `*several` tells which. */
ml_world *ml_world_here(bool *several);

/* Ends the greenlets that are suspended in Lua, then does everything that was deferred. Called
   before the state is closed, at the latest by its last finalizer. A greenlet that does not end is
   abandoned: its stack refers to a state that is about to be freed. */
void ml_world_close(ml_world *w);

/* One user more or less. */
void ml_world_retain(ml_world *w);
void ml_world_release(ml_world *w);

/* What a thread leaves to the one that a world belongs to. */
struct ml_posted {
    ml_posted *next;
    /* Called once, by that thread, with the world; or, if the world is closed before, when that
       happens: then w->closed is set. Frees the struct. */
    void (*run)(ml_world *w, ml_posted *p);
};

/* Leaves `p` to the thread of `w`, which runs what it finds in the order it came, when next Lua
   leaves for the other language, switches, or has a turn. Called by any thread, under the lock that
   Lua runs under; the world is not closed. Runs no other code and cannot fail. Who wants a loop to
   hear of it calls `w->wake` afterwards. */
void ml_world_post(ml_world *w, ml_posted *p);

/* Runs what was posted up to now, unless that is going on, or a finalizer of Lua is. It is called
   as if by the running code: the innermost activation is that of who calls it here. Nothing that it
   runs can switch. */
void ml_world_run_posted(ml_world *w);

/* A loop runs that is woken (w->wake), and that asks for what was posted: meanwhile nothing else runs
   that. */
void ml_world_set_loop(ml_world *w, bool on);

/* As ml_world_run_posted, for the loop. */
void ml_world_run_loop_posted(ml_world *w);

/* Calls what was posted to a world that has been closed. */
void ml_world_discard_posted(ml_world *w);

/* The oldest world that is open, or NULL. */
ml_world *ml_world_first(void);

/* Calls `function(argument)` when next it is safe to run arbitrary code: not before Lua has left the
   C function that defers it, so that can use it till then. There always is room for some without
   memory. False: there is no more, and nothing will be done; now it would be too early. */
bool ml_world_defer(ml_world *w, void (*function)(void *), void *argument);
/* Does what was deferred; nothing inside a Lua finalizer, which may run within any function that
   makes something in Lua, between its deferring and its use of that. */
void ml_world_drain(ml_world *w);
/* The same, and what was posted, and forgets the last error: whoever caught it has gone on. */
void ml_world_tidy(ml_world *w);

/* Whether Lua runs a finalizer. Its collector stands still then: lua_gc (lapi.c) refuses. */
static inline bool ml_in_finalizer(const ml_world *w) {
    return lua_gc(w->main, LUA_GCISRUNNING) == -1;
}

/* To be called wherever the other language enters Lua, but for a switch: while a collection runs,
   it is to know whether references may have changed. */
static inline void ml_lua_touch(ml_world *w) { w->touched = true; }

static inline bool ml_has_posted(const ml_world *w) {
    return atomic_load_explicit(&w->posted, memory_order_relaxed) != NULL;
}

/* Lua goes on after the other language ran: where that has other threads, they get their turns; what
   one has left that has ended meanwhile, too. */
static inline void ml_lua_resumed(const ml_world *w) {
    void *others;
    memcpy(&others, w->others, sizeof others);
    if (__builtin_expect(others || ml_has_posted(w), 0)) ml_ticks_on(w);
}

/* The current greenlet is in `L` now. */
static inline void ml_activate(ml_activation *a, lua_State *L, ml_world *w) {
    ml_greenlet *g = ml_current();
    a->L = L;
    a->world = w;
    a->greenlet = g;
    a->inside = false;
    a->owned = NULL;
    a->border = NULL;
    a->previous = g->lua;
    a->depth = a->previous ? a->previous->depth + 1 : 0;
    a->trusted = a->previous && a->previous->trusted;
    atomic_signal_fence(memory_order_seq_cst); /* a signal handler may follow the chain */
    g->lua = a;
}

/* Leaving Lua for the other language, from a C function called by `L`; and back. Both are to be
   paired, with nothing in between that raises a Lua error. */
static inline void ml_lua_leave(ml_activation *a, lua_State *L, ml_world *w) {
    ml_activate(a, L, w);
    if (w->deferred_count || w->last_exception || ml_has_posted(w)) ml_world_tidy(w);
}
static inline void ml_lua_return(const ml_activation *a) {
    a->greenlet->lua = a->previous;
    ml_lua_resumed(a->world);
}

/* The Lua thread on which the current greenlet calls into `w`: the one it came from, else one of
   its own. A call that is nested deep gets a fresh one, `*fresh`, because Lua allows only some
   200 C calls in each (LUAI_MAXCCALLS); give it back with ml_lthread_free. NULL: out of memory, or
   with `*overflow` of stack. */
lua_State *ml_lua_state(ml_world *w, ml_lthread **fresh, bool *overflow);
void ml_lthread_free(ml_lthread *t);

/* What every world has; NULL before the first one. */
extern const ml_lua_bridge *ml_the_bridge;

/* A thread for `g` from the pool or a new one. NULL: out of memory. */
ml_lthread *ml_lthread_new(ml_world *w, ml_greenlet *g);

/* The greenlet is dead and its values were taken, or it never ran: gives its Lua threads back. */
void ml_lua_forget(ml_greenlet *g);

#endif
