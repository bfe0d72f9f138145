/* What is the same in every CPython with a data stack (>= 3.11). Included by their tstate_3XX.h,
   after struct ml_top. */

static inline void ml_top_init(void) { ml_datastack_init(); }

static inline int ml_top_prepare(ml_top *top) {
    if (top->datastack_chunk) return 0;
    _PyStackChunk *chunk = ml_datastack_new();
    if (!chunk) return -1;
    top->datastack_chunk = chunk;
    /* The first slot stays unused, as in push_chunk of pystate.c: so the root is never popped. */
    top->datastack_top = &chunk->data[1];
    top->datastack_limit = (PyObject **)((char *)chunk + chunk->size);
    return 0;
}

static inline void ml_top_finish(PyThreadState *ts, ml_top *top) {
    _PyStackChunk *chunk = ts->datastack_chunk;
    ts->datastack_chunk = NULL;
    ts->datastack_top = ts->datastack_limit = NULL;
    top->context = ts->context; /* may still be asked for */
    ts->context = NULL;
    ts->context_ver++;
    ml_datastack_free(chunk);
}

static inline void ml_top_drop(ml_top *top) {
    struct _PyInterpreterFrame *frame = top->frame;
    _PyStackChunk *chunk = top->datastack_chunk;
    top->frame = NULL;
    top->datastack_chunk = NULL;
    if (frame) ml_frames_drop(frame, top->stack_end);
    ml_datastack_free(chunk);
    Py_CLEAR(top->context);
    Py_CLEAR(top->exc_state.exc_value);
}

static inline PyObject *ml_frame_object(void *frame) { return ml_frames_top(frame); }

static inline PyObject *ml_top_frame(const ml_top *top) { return ml_frames_top(top->frame); }

static inline int ml_top_traverse(const ml_top *top, PyObject **const *ends, visitproc visit,
                                  void *arg) {
    Py_VISIT(top->context);
    Py_VISIT(top->exc_state.exc_value);
    return top->frame ? ml_frames_traverse(top->frame, top->stack_end, ends, visit, arg) : 0;
}
