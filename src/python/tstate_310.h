/* CPython 3.10. Fields: Include/cpython/pystate.h, struct _ts. Who touches them: Python/ceval.c
   (frame, cframe, exc_info, recursion), Objects/object.c (trash can). Frames are objects and there
   is no data stack. */

#include <frameobject.h>
#include <longintrepr.h>

#include "ints_310.h"

typedef struct ml_top {
    CFrame *cframe;       /* lives on the greenlet's C stack */
    PyFrameObject *frame; /* the innermost frame; the reference is that of the C stack */
    _PyErr_StackItem *exc_info;
    _PyErr_StackItem exc_state;
    PyObject **stack_end; /* of the innermost frame, if it is the one that switched; or NULL */
    PyObject *context;
    int recursion_depth;
    int tracing;
    int trash_delete_nesting;
    CFrame base; /* the outermost, while it runs */
} ml_top;

static inline PyThreadState *ml_tstate(void) { return _PyThreadState_UncheckedGet(); }

static inline void ml_top_init(void (*popped)(void)) { (void)popped; }

static inline void ml_top_popped(ml_top *top) { (void)top; }

/* A trace or profile function is for the whole thread, but the flag that ceval.c reads is in the
   cframe of each greenlet. */
static inline void ml_top_update_tracing(PyThreadState *ts) {
    ts->cframe->use_tracing = ts->tracing == 0 && (ts->c_tracefunc || ts->c_profilefunc);
}

/* Trace and profile functions are not called until it is undone. */
static inline void ml_tracing_pause(PyThreadState *ts) {
    ts->tracing++;
    ml_top_update_tracing(ts);
}

static inline void ml_tracing_resume(PyThreadState *ts) {
    ts->tracing--;
    ml_top_update_tracing(ts);
}

static inline bool ml_finalizing(void) { return _Py_IsFinalizing(); }

#define ML_HAS_TRASH_NESTING 1
static inline int ml_trash_nesting(const PyThreadState *ts) { return ts->trash_delete_nesting; }

static inline void ml_top_start(PyThreadState *ts, ml_top *top, void *loft) {
    (void)loft;
    top->base.previous = &ts->root_cframe;
    ts->cframe = &top->base;
    ts->frame = NULL;
    ts->exc_state = (_PyErr_StackItem){NULL, NULL, NULL, NULL};
    ts->exc_info = &ts->exc_state;
    ts->context = top->context;
    top->context = NULL;
    ts->context_ver++;
    ts->trash_delete_nesting = 0;
    ml_top_update_tracing(ts);
}

static inline void ml_top_save(const PyThreadState *ts, ml_top *top, PyObject **stack_end) {
    top->stack_end = stack_end;
    top->cframe = ts->cframe;
    top->frame = ts->frame;
    top->exc_info = ts->exc_info;
    top->exc_state = ts->exc_state;
    top->context = ts->context;
    top->recursion_depth = ts->recursion_depth;
    top->tracing = ts->tracing;
    top->trash_delete_nesting = ts->trash_delete_nesting;
}

static inline void ml_top_load(PyThreadState *ts, ml_top *top) {
    ts->cframe = top->cframe;
    ts->frame = top->frame;
    top->frame = NULL;
    ts->exc_info = top->exc_info;
    ts->exc_state = top->exc_state;
    top->exc_state = (_PyErr_StackItem){NULL, NULL, NULL, NULL};
    ts->context = top->context;
    ts->context_ver++; /* else ContextVar.get would trust its cache (Python/context.c) */
    top->context = NULL;
    ts->recursion_depth = top->recursion_depth;
    ts->tracing = top->tracing;
    ts->trash_delete_nesting = top->trash_delete_nesting;
    ml_top_update_tracing(ts);
}

static inline void ml_top_finish(PyThreadState *ts, ml_top *top) {
    top->context = ts->context; /* may still be asked for */
    ts->context = NULL;
    ts->context_ver++;
}

static inline size_t ml_top_loft_used(const ml_top *top, const void *loft) {
    (void)top, (void)loft;
    return 0;
}
static inline void ml_top_moved(ml_top *top, const char *from, size_t size, char *to) {
    (void)top, (void)from, (void)size, (void)to;
}

static inline void *ml_frame_now(const PyThreadState *ts) { return ts->frame; }
static inline PyObject *ml_frame_object(void *frame) { return Py_XNewRef((PyObject *)frame); }

static inline PyObject *ml_top_frame(const ml_top *top) {
    return Py_XNewRef((PyObject *)top->frame);
}

/* Where the values of `f` end that are surely there: its variables, or its temporaries if
   `stack_end` is among them. How many of these there are is not known otherwise, since ceval.c
   keeps that in a register. */
static inline PyObject **ml_values_end(const PyFrameObject *f, PyObject **stack_end,
                                       PyObject **const *ends) {
    PyObject **first = f->f_valuestack;
    PyObject **limit = first + f->f_code->co_stacksize;
    while (*ends && (stack_end < first || stack_end > limit)) stack_end = *ends++;
    return stack_end >= first && stack_end <= limit ? stack_end : first;
}

/* One reference to each frame is the C stack's (Python/ceval.c, _PyEval_Vector), which only then
   lets the collector see it; another the next inner frame's. Until then what it refers to counts as
   the greenlet's, unless there is one more reference: who has that can see all that the frame and
   the outer ones refer to. The frame of a generator is seen, and belongs to that. */
static inline int ml_top_traverse(const ml_top *top, PyObject **const *ends, visitproc visit,
                                  void *arg) {
    Py_VISIT(top->context);
    Py_VISIT(top->exc_state.exc_type);
    Py_VISIT(top->exc_state.exc_value);
    Py_VISIT(top->exc_state.exc_traceback);
    PyObject **stack_end = top->stack_end;
    for (PyFrameObject *f = top->frame; f; f = f->f_back, stack_end = NULL) {
        if (Py_REFCNT(f) > (f == top->frame ? 1 : 2)) break;
        if (f->f_gen || PyObject_GC_IsTracked((PyObject *)f)) continue;
        Py_VISIT(f->f_code);
        Py_VISIT(f->f_builtins);
        Py_VISIT(f->f_globals);
        Py_VISIT(f->f_locals);
        Py_VISIT(f->f_trace);
        PyObject **end = ml_values_end(f, stack_end, ends);
        for (PyObject **p = f->f_localsplus; p < end; p++) Py_VISIT(*p);
    }
    return 0;
}

/* Releases the C stack's reference to each frame, and the temporaries that are known. All else that
   C frames and temporaries refer to is leaked. A generator will be executing for ever. */
static inline void ml_top_drop(ml_top *top) {
    PyFrameObject *f = top->frame;
    PyObject **const unknown = NULL;
    PyObject **stack_end = top->stack_end;
    top->frame = NULL;
    Py_XINCREF(f);
    while (f) {
        PyFrameObject *back = f->f_back;
        Py_XINCREF(back);
        if (!f->f_gen) {
            PyObject **end = ml_values_end(f, stack_end, &unknown);
            for (PyObject **p = f->f_valuestack; p < end; p++) Py_CLEAR(*p);
            f->f_state = FRAME_RAISED;
            if (Py_REFCNT(f) > 2 && !PyObject_GC_IsTracked((PyObject *)f)) PyObject_GC_Track(f);
            Py_DECREF(f);
        }
        stack_end = NULL;
        Py_DECREF(f);
        f = back;
    }
    Py_CLEAR(top->context);
    Py_CLEAR(top->exc_state.exc_type);
    Py_CLEAR(top->exc_state.exc_value);
    Py_CLEAR(top->exc_state.exc_traceback);
}
