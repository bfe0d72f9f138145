/* The frames of CPython 3.12, for frames.c: Include/internal/pycore_frame.h. */

#include <internal/pycore_frame.h>

typedef _PyInterpreterFrame iframe;

enum { FRAMES_ON_C_STACK = 1 };

static inline bool on_c_stack(const iframe *f) { return f->owner == FRAME_OWNED_BY_CSTACK; }
static inline PyCodeObject *code_of(const iframe *f) { return f->f_code; }
static inline PyObject *function_of(const iframe *f) { return f->f_funcobj; }

/* The frame object of `f` (a new reference, NULL if there is no memory) by way of a thread state
   that is in `f`. */
static inline PyFrameObject *object_of(iframe *f) {
    PyThreadState *ts = _PyThreadState_UncheckedGet();
    _PyCFrame *mine = ts->cframe;
    _PyCFrame theirs = {.current_frame = f};
    ts->cframe = &theirs;
    PyFrameObject *object = PyThreadState_GetFrame(ts);
    ts->cframe = mine;
    return object;
}
