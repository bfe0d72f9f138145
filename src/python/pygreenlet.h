/* The Python type greenlet.greenlet. Every greenlet of a process that runs Python, whatever its
   body, is carried by one such object: its reference count is the greenlet's. All functions need
   the GIL. */

#ifndef ML_PYGREENLET_H
#define ML_PYGREENLET_H

#include "../core/core.h"
#include "tstate.h"

/* The layout that compiled clients of greenlet rely on (greenlet.h of greenlet >= 1.0). */
typedef struct PyGreenlet {
    PyObject_HEAD
    PyObject *weakreflist;
    PyObject *dict;
    struct ml_pygreenlet *pimpl;
} PyGreenlet;

typedef struct ml_pygreenlet {
    ml_greenlet core; /* first: the core's pointer is also a pointer to this */
    ml_top top;
    PyThreadState *ts; /* once started: that of its thread */
    PyObject *run;     /* until the start: what it was made with */
    PyObject *start;   /* from its preparation on: what the attribute `run` gave ... */
    PyObject *value;   /* ... and what it is called with, as in a parcel */
    PyObject *kwargs;
    struct ml_call *calls; /* see ml_py_begin_call */
    PyObject *beyond;      /* while the collector runs: see ml_py_beyond */
    bool garbage;          /* buried by the collector: others in its cycle refer to it */
    bool finalized;        /* the collector has found it once */
} ml_pygreenlet;

extern PyTypeObject ml_PyGreenlet_Type;
extern PyObject *ml_PyExc_GreenletExit;
extern PyObject *ml_PyExc_GreenletError;
extern PyObject *ml_py_empty; /* () */

static inline bool ml_is_pygreenlet(PyObject *o) {
    return PyObject_TypeCheck(o, &ml_PyGreenlet_Type);
}

static inline ml_greenlet *ml_py_core(PyObject *greenlet) {
    return &((PyGreenlet *)greenlet)->pimpl->core;
}

/* The object that carries `g` (borrowed). */
static inline PyObject *ml_py_object(const ml_greenlet *g) { return g->owner; }

/* How many main greenlets there are. */
extern Py_ssize_t ml_py_main_count;

/* Whether its stack can still run. */
static inline bool ml_py_active(const ml_greenlet *g) {
    return g->state == ML_ACTIVE && !ml_thread_exited(g->thread);
}

/* Replaces the parent as the attribute does. 0, or -1 with an exception. */
int ml_py_set_parent(PyObject *greenlet, PyObject *parent);

/* greenlet._C_API, a new capsule, or NULL with an exception. */
PyObject *ml_py_capsule(void);

/* Readies the type and the exceptions. 0, or -1 with an exception. */
int ml_pygreenlet_init(void);

/* A new greenlet with a body in C (new reference), or NULL with an exception. Its parent is
   `parent`, or the current greenlet if NULL. */
PyObject *ml_pygreenlet_new(ml_body body, ml_greenlet *parent);

/* A new greenlet that runs a callable (new reference), or NULL with an exception. */
PyObject *ml_pygreenlet_call(PyObject *callable, ml_greenlet *parent);

/* Ends a suspended greenlet that nobody will continue, or leaves that to its thread. */
void ml_pygreenlet_end(PyObject *self);

/* For a room that knows what else a suspended greenlet refers to: while Python's collector runs it
   may put an object here, which owns references to it. */
static inline PyObject **ml_py_beyond(ml_greenlet *g) { return &((ml_pygreenlet *)g)->beyond; }

/* On the C stack of a greenlet: a call of another language, innermost first. */
typedef struct ml_call {
    PyObject **end; /* of the arguments */
    struct ml_call *outer;
} ml_call;

/* Who is called by Python with arguments that end at `end`, and calls what may switch, says so: if
   they are among the temporaries of the frame that calls, these end there, and Python's collector can
   see them while `g` is suspended. */
static inline void ml_py_begin_call(ml_greenlet *g, ml_call *call, PyObject *const *end) {
    ml_pygreenlet *p = (ml_pygreenlet *)g;
    *call = (ml_call){(PyObject **)end, p->calls};
    p->calls = call;
}
static inline void ml_py_end_call(ml_greenlet *g, const ml_call *call) {
    ((ml_pygreenlet *)g)->calls = call->outer;
}

/* What another room puts here: visits what its C frames own on the stack of the suspended `g`. */
extern int (*ml_py_traverse_stack)(const ml_greenlet *g, visitproc visit, void *arg);

/* Whether Python's collector sees through `g` and may find it to be garbage: it is suspended or was
   not started. */
bool ml_py_can_collect(const ml_greenlet *g);

/* How often a stack was switched to, and how many suspended greenlets the collector has found, by
   all threads. */
extern uint64_t ml_py_switches, ml_py_buried;

/* The running greenlet of this thread (borrowed), or NULL with MemoryError. */
ml_greenlet *ml_py_current(void);

/* The same, as greenlet.getcurrent() gives it: a new reference, after those that have been dropped
   are ended; RuntimeError while the interpreter is being finalized. */
PyObject *ml_py_getcurrent(void);

/* Raises what `code` (ML_E...) of a switch to `g` says, in greenlet's words. */
void ml_py_raise(int code, const ml_greenlet *g);

/* ---------------------------------------------------------------------------------- parcels

   value: with count 1 the one argument, else a tuple (NULL: empty); extra: a dict of keyword
   arguments or NULL; more: the end of the arguments where the caller has them, if known, which is
   the end of its frame's temporaries. An error: value, extra and more are type, value and
   traceback. */
extern const ml_parcel_kind ml_py_parcel;

/* Sets a parcel to one value, stealing the reference. */
void ml_py_pack_value(ml_parcel *parcel, PyObject *value);
/* Sets a parcel to the arguments of a call, which it borrows; kwargs may be NULL. 0, or -1 with an
   exception. */
int ml_py_pack_call(ml_parcel *parcel, PyObject *args, PyObject *kwargs);
/* Moves the exception that is set into a parcel. */
void ml_py_pack_error(ml_parcel *parcel);
/* Gives what a parcel brought as the result of a call: a new reference, or NULL with the
   exception that it carries. Empties and settles the parcel. */
PyObject *ml_py_unpack(ml_parcel *parcel);
/* As ml_py_unpack, when ml_switch to `target` has returned `result`: if that is an error, the parcel is
   still the one that was to be sent, and is discarded. */
PyObject *ml_py_switched(int result, ml_greenlet *target, ml_parcel *parcel);
/* Switches and unpacks. Steals the parcel's values, also on failure. */
PyObject *ml_py_switch(ml_greenlet *target, ml_parcel *parcel);

/* Throws what greenlet's throw(type, value, traceback) means; value and traceback may be NULL or
   None. */
PyObject *ml_py_throw(ml_greenlet *g, PyObject *type, PyObject *value, PyObject *traceback);

/* What another room puts here when it brings parcels of its own: turns one into a Python parcel,
   in place. 0, or -1 with an exception and the parcel empty. */
extern int (*ml_py_import_parcel)(ml_parcel *parcel);

/* The same for a parcel that brings one simple value: true, with the value as a new reference, or NULL with
   an exception. False: it is something else, and nothing has been done. Looks at the parcel only at
   first. */
extern bool (*ml_py_import_simple)(const ml_parcel *parcel, PyObject **value);

/* What another room puts here when there are moments when its stack must not be left: whether
   the current greenlet may switch now. */
extern bool (*ml_py_may_switch)(const ml_greenlet *current);

/* A new module with what `greenlet` and `greenlet._greenlet` offer, or NULL with an exception. */
PyObject *ml_greenlet_module(void);

/* The module `greenlet`, for PyImport_AppendInittab, which can also be imported by its other name.
 */
PyObject *ml_PyInit_greenlet(void);

#endif
