/* The smallest language on the core: what every test here stands on.

   A greenlet is a counted C struct, its body a C function, a value a number. Every allocation of
   the core goes through here, is counted and can be made to fail. */

#ifndef HOST_H
#define HOST_H

#include "core.h"

#include <limits.h>

/* Ends the process with 1, naming the place, if `condition` does not hold. */
#define CHECK(condition) ((condition) ? (void)0 : host_fail(__FILE__, __LINE__, #condition))
_Noreturn void host_fail(const char *file, int line, const char *condition);

/* Slow builds take smaller numbers. */
#if defined(__SANITIZE_ADDRESS__)
enum { SANITIZED = 1 };
#elif defined(__clang__)
enum { SANITIZED = __has_feature(address_sanitizer) };
#else
enum { SANITIZED = 0 };
#endif

typedef struct host_greenlet {
    ml_greenlet core;
    int references;
    void **last;                       /* in use of its loft, wherever that is */
    bool evicted;                      /* its bytes are not in place ... */
    uint64_t bytes;                    /* ... and what they were */
    void *data;                        /* for the test */
    int (*prepare)(ml_greenlet *self); /* or NULL; to refuse, return host_refuse(...) */
} host_greenlet;

/* What ml_thread_tracer points to in these tests. */
typedef struct host_tracer {
    void (*call)(struct host_tracer *tracer, ml_greenlet *g, ml_parcel *parcel);
    int calls;
    ml_greenlet *origin; /* of the last call */
} host_tracer;

static inline host_greenlet *host(ml_greenlet *g) { return (host_greenlet *)g; }

/* Installs the hooks and the memory. Call it first. */
void host_install(void);

/* A new greenlet with one reference, the caller's. */
ml_greenlet *host_new(ml_greenlet *parent, ml_body body, void *data);

/* The last reference to a suspended greenlet kills it: HOST_EXIT is raised in it, and it must
   come to its end. If it belongs to another thread, that one does so at its next switch. */
void host_retain(ml_greenlet *g);
void host_release(ml_greenlet *g);

/* The calling thread leaves its main greenlet behind. */
void host_thread_exit(void);

/* --------------------------------------------------------------------------------- values */

#define HOST_EXIT LONG_MIN

/* A value to be sent, an error to be raised, and the value of what has arrived, an error's too;
   what came with the parcel is released. */
ml_parcel host_value(long value);
ml_parcel host_error(long value);
long host_open(ml_parcel *parcel);

/* A switch that must succeed: sends `value`, returns what comes back. */
long host_switch(ml_greenlet *target, long value);

/* For `prepare`: makes `value` the pending error, which the ending of a switch picks up. */
int host_refuse(long value);
extern _Thread_local long host_pending;

/* -------------------------------------------------------------------------------- failures */

/* The n-th allocation of this thread from now fails, 0 the next, with `forever` all later ones
   too; HOST_MAPS: only the mappings count. */
enum { HOST_ONCE, HOST_FOREVER, HOST_MAPS };
void host_fail_allocation(long n, int how);
/* No more failures. Returns how many there were since. */
long host_allow_allocation(void);

/* What is not released yet, of all threads: blocks and mappings of the core, and greenlets. Of
   this thread: parcels that nobody has opened. */
long host_memory(void);
long host_greenlets(void);
long host_parcels(void);

#endif
