/* What is the same in every CPython with a data stack (>= 3.11). Included by their tstate_3XX.h,
   after struct ml_top. */

static inline void ml_top_init(void (*popped)(void)) { ml_datastack_init(popped); }

static inline void ml_top_popped(ml_top *top) { top->border = NULL; }

static inline size_t ml_top_loft_used(const ml_top *top, const void *loft) {
    const _PyStackChunk *chunk = top->datastack_chunk;
    if (!chunk) return 0; /* dead */
    const _PyStackChunk *root = loft;
    const void *end = chunk == root ? top->datastack_top : &root->data[root->top];
    return (size_t)((const char *)end - (const char *)loft);
}

/* What there is of the data stack, and what points to the C stack, is used when it runs again, and
   then right as it is. */
static inline void ml_top_moved(ml_top *top, const char *from, size_t size, char *to) {
    ptrdiff_t distance = to - from;
    const _PyStackChunk *chunk = top->datastack_chunk;
    const void *first = NULL;
    for (; chunk && chunk != top->root; chunk = chunk->previous) first = chunk->data;
    if (top->stack_end && (size_t)((char *)top->stack_end - from) <= size) {
        top->stack_end = (PyObject **)((char *)top->stack_end + distance);
    }
    ml_frames_moved(&top->frame, first, &top->border, from, size, distance);
}

static inline void ml_top_finish(PyThreadState *ts, ml_top *top) {
    _PyStackChunk *chunk = ts->datastack_chunk;
    ts->datastack_chunk = NULL;
    ts->datastack_top = ts->datastack_limit = NULL;
    top->context = ts->context; /* may still be asked for */
    ts->context = NULL;
    ts->context_ver++;
    ml_datastack_free(chunk, top->root);
}

static inline void ml_top_drop(ml_top *top) {
    struct _PyInterpreterFrame *frame = top->frame;
    _PyStackChunk *chunk = top->datastack_chunk;
    top->frame = NULL;
    top->datastack_chunk = NULL;
    if (frame) ml_frames_drop(frame, top->stack_end);
    ml_datastack_free(chunk, top->root);
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
