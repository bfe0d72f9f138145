/* CPython 3.11. Fields: Include/cpython/pystate.h, struct _ts. Who touches them: Python/ceval.c
   (cframe, exc_info, recursion), Python/pystate.c (data stack), Objects/object.c (trash can). */

#include "datastack.h"
#include "frames.h"
#include "ints_310.h"

#define ML_FRAMES "frames_311.h"
#define ML_BREAKER "breaker_311.h"

/* Neighbours of PyThreadState are neighbours here, in the same order: they are copied in pairs. */
typedef struct ml_top {
    _PyCFrame *cframe;                 /* lives on the greenlet's C stack */
    struct _PyInterpreterFrame *frame; /* the innermost frame, for those who look from outside */
    _PyStackChunk *datastack_chunk;
    PyObject **datastack_top;
    PyObject **datastack_limit;
    _PyErr_StackItem exc_state;
    _PyErr_StackItem *exc_info;
    int recursion_depth;
    int tracing;
    int tracing_what;
    int trash_delete_nesting;
    PyObject *context;
    PyObject **stack_end; /* of the innermost frame, if it is the one that switched; or NULL */
    _PyCFrame base;       /* the outermost, while it runs */
    struct _PyInterpreterFrame **border; /* see ml_frames_moved */
    const _PyStackChunk *root;           /* the first of the data stack, in the loft */
} ml_top;

#include "tstate_datastack.h"

static inline PyThreadState *ml_tstate(void) { return _PyThreadState_UncheckedGet(); }

/* A trace or profile function is for the whole thread, but the flag that ceval.c reads is in the
   cframe of each greenlet. */
static inline void ml_top_update_tracing(PyThreadState *ts) {
    bool use = ts->tracing == 0 && (ts->c_tracefunc || ts->c_profilefunc);
    ts->cframe->use_tracing = use ? 255 : 0;
}

/* Trace and profile functions are not called until it is undone. */
static inline void ml_tracing_pause(PyThreadState *ts) { PyThreadState_EnterTracing(ts); }
static inline void ml_tracing_resume(PyThreadState *ts) { PyThreadState_LeaveTracing(ts); }

static inline void *ml_frame_now(const PyThreadState *ts) { return ts->cframe->current_frame; }

static inline bool ml_finalizing(void) { return _Py_IsFinalizing(); }

#define ML_HAS_TRASH_NESTING 1
static inline int ml_trash_nesting(const PyThreadState *ts) { return ts->trash_delete_nesting; }

static inline void ml_top_start(PyThreadState *ts, ml_top *top, void *loft) {
    top->base.current_frame = NULL;
    top->base.previous = &ts->root_cframe;
    ts->cframe = &top->base;
    top->root = ml_datastack_start(ts, loft);
    ts->exc_state.exc_value = NULL;
    ts->exc_state.previous_item = NULL;
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
    top->frame = ts->cframe->current_frame;
    top->datastack_chunk = ts->datastack_chunk;
    top->datastack_top = ts->datastack_top;
    top->datastack_limit = ts->datastack_limit;
    top->exc_info = ts->exc_info;
    top->exc_state = ts->exc_state;
    top->context = ts->context;
    top->recursion_depth = ts->recursion_limit - ts->recursion_remaining;
    top->tracing = ts->tracing;
    top->tracing_what = ts->tracing_what;
    top->trash_delete_nesting = ts->trash_delete_nesting;
}

static inline void ml_top_load(PyThreadState *ts, ml_top *top) {
    ts->cframe = top->cframe;
    ts->datastack_chunk = top->datastack_chunk;
    ts->datastack_top = top->datastack_top;
    ts->datastack_limit = top->datastack_limit;
    top->datastack_chunk = NULL;
    top->frame = NULL;
    ts->exc_info = top->exc_info;
    ts->exc_state = top->exc_state;
    top->exc_state.exc_value = NULL;
    ts->context = top->context;
    ts->context_ver++; /* else ContextVar.get would trust its cache (Python/context.c) */
    top->context = NULL;
    ts->recursion_remaining = ts->recursion_limit - top->recursion_depth;
    ts->tracing = top->tracing;
    ts->tracing_what = top->tracing_what;
    ts->trash_delete_nesting = top->trash_delete_nesting;
    ml_top_update_tracing(ts);
}
