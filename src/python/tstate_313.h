/* CPython 3.13, with the GIL. Fields: Include/cpython/pystate.h, struct _ts. Who touches them: Python/ceval.c
   (current_frame, exc_info, recursion, entry frames), Python/pystate.c (data stack), Objects/object.c (trash can). */

#include "datastack.h"
#include "frames.h"
#include "ints_312.h"

#define ML_FRAMES "frames_313.h"

typedef struct ml_top {
    struct _PyInterpreterFrame *frame; /* the innermost frame, for those who look from outside */
    _PyStackChunk *datastack_chunk;
    PyObject **datastack_top;
    PyObject **datastack_limit;
    struct _PyInterpreterFrame **border; /* see ml_frames_moved */
    const _PyStackChunk *root;           /* the first of the data stack, in the loft */
    _PyErr_StackItem *exc_info;
    _PyErr_StackItem exc_state;
    PyObject **stack_end; /* of the innermost frame, if it is the one that switched; or NULL */
    PyObject *context;
    int recursion_depth;
    int c_recursion_remaining;
    int tracing;
    int what_event;
} ml_top;

#include "tstate_datastack.h"

static inline PyThreadState *ml_tstate(void) { return PyThreadState_GetUnchecked(); }

/* Trace and profile functions are not called until it is undone. */
static inline void ml_tracing_pause(PyThreadState *ts) { PyThreadState_EnterTracing(ts); }
static inline void ml_tracing_resume(PyThreadState *ts) { PyThreadState_LeaveTracing(ts); }

static inline void *ml_frame_now(const PyThreadState *ts) { return ts->current_frame; }

static inline bool ml_finalizing(void) { return Py_IsFinalizing(); }

static inline void ml_top_start(PyThreadState *ts, ml_top *top, void *loft) {
    ts->current_frame = NULL;
    top->root = ml_datastack_start(ts, loft);
    ts->exc_state.exc_value = NULL;
    ts->exc_state.previous_item = NULL;
    ts->exc_info = &ts->exc_state;
    ts->context = top->context;
    top->context = NULL;
    ts->context_ver++;
    ts->c_recursion_remaining = Py_C_RECURSION_LIMIT; /* its C stack is its own */
    ts->what_event = -1;
}

static inline void ml_top_save(const PyThreadState *ts, ml_top *top, PyObject **stack_end) {
    top->stack_end = stack_end;
    top->frame = ts->current_frame;
    top->datastack_chunk = ts->datastack_chunk;
    top->datastack_top = ts->datastack_top;
    top->datastack_limit = ts->datastack_limit;
    top->exc_info = ts->exc_info;
    top->exc_state = ts->exc_state;
    top->context = ts->context;
    top->recursion_depth = ts->py_recursion_limit - ts->py_recursion_remaining;
    top->c_recursion_remaining = ts->c_recursion_remaining;
    top->tracing = ts->tracing;
    top->what_event = ts->what_event;
}

static inline void ml_top_load(PyThreadState *ts, ml_top *top) {
    ts->current_frame = top->frame;
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
    ts->py_recursion_remaining = ts->py_recursion_limit - top->recursion_depth;
    ts->c_recursion_remaining = top->c_recursion_remaining;
    ts->tracing = top->tracing;
    ts->what_event = top->what_event;
}
