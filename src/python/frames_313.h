/* The frames of CPython 3.13, for frames.c: Include/internal/pycore_frame.h. */

#include <internal/pycore_frame.h>

typedef _PyInterpreterFrame iframe;

enum { FRAMES_ON_C_STACK = 1 };

static inline bool on_c_stack(const iframe *f) { return f->owner == FRAME_OWNED_BY_CSTACK; }
static inline PyCodeObject *code_of(const iframe *f) { return (PyCodeObject *)f->f_executable; }
static inline PyObject *function_of(const iframe *f) { return f->f_funcobj; }

/* The frame object of `f` (a new reference, NULL if there is no memory) by way of a thread state
   that is in `f`. */
static inline PyFrameObject *object_of(iframe *f) {
    PyThreadState *ts = PyThreadState_GetUnchecked();
    iframe *mine = ts->current_frame;
    ts->current_frame = f;
    PyFrameObject *object = PyThreadState_GetFrame(ts);
    ts->current_frame = mine;
    return object;
}
