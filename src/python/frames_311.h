/* The frames of CPython 3.11, for frames.c: Include/internal/pycore_frame.h. No frame is on the C
   stack; whether one is its eval loop's first is told by is_entry. */

#include <internal/pycore_frame.h>

typedef _PyInterpreterFrame iframe;

enum { FRAMES_ON_C_STACK = 0 };

static inline bool on_c_stack(const iframe *f) {
    (void)f;
    return false;
}

static inline PyCodeObject *code_of(const iframe *f) { return f->f_code; }
static inline PyObject *function_of(const iframe *f) { return (PyObject *)f->f_func; }

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
