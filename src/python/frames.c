#define Py_BUILD_CORE 1 /* for what Include/internal/pycore_frame.h says of frames */
#include "tstate.h"

#ifdef ML_FRAMES /* where frames are objects, their tstate_3XX.h is enough */

#include ML_FRAMES

/* `f`, or what comes after it outside the C stack. */
static iframe *in_heap(iframe *f) {
    while (f && on_c_stack(f)) f = f->previous;
    return f;
}

PyObject *ml_frames_top(struct _PyInterpreterFrame *frame) {
    iframe *f = in_heap(frame);
    while (f && _PyFrame_IsIncomplete(f)) f = in_heap(f->previous);
    if (!f) return NULL;
    if (f->frame_obj) return Py_NewRef(f->frame_obj);
    /* A collection would run finalizers while the thread state is not in its own frame, and they
       may even continue the greenlet. */
    int collecting = PyGC_Disable();
    PyObject *object = (PyObject *)object_of(f);
    if (collecting) PyGC_Enable();
    return object ? object : PyErr_NoMemory();
}

/* Where the values of `f` end that are surely there. A frame that has called a Python function
   says itself how many temporaries it has (Python/ceval.c, _PyFrame_SetStackPointer); of one that
   has called a C function that is in a register, and only `stack_end` or one of `ends` may tell. If none
   is among them, there are at least the variables. */
static PyObject **values_end(iframe *f, PyObject **stack_end, PyObject **const *ends) {
    if (f->stacktop >= 0) return f->localsplus + f->stacktop;
    PyObject **variables = f->localsplus + code_of(f)->co_nlocalsplus;
    PyObject **limit = variables + code_of(f)->co_stacksize;
    while (*ends && (stack_end < variables || stack_end > limit)) stack_end = *ends++;
    return stack_end >= variables && stack_end <= limit ? stack_end : variables;
}

int ml_frames_traverse(struct _PyInterpreterFrame *frame, PyObject **stack_end,
                       PyObject **const *ends, visitproc visit, void *arg) {
    for (iframe *f = in_heap(frame); f; f = in_heap(f->previous), stack_end = NULL) {
        /* Who holds a frame object can see all that it and the outer frames refer to. */
        if (f->frame_obj && Py_REFCNT(f->frame_obj) > 1) break;
        if (f->owner != FRAME_OWNED_BY_THREAD) continue; /* its generator visits it */
        Py_VISIT(function_of(f));
        Py_VISIT((PyObject *)code_of(f));
        Py_VISIT(f->f_locals);
        PyObject **end = values_end(f, stack_end, ends);
        for (PyObject **p = f->localsplus; p < end; p++) Py_VISIT(*p);
    }
    return 0;
}

/* ----------------------------------------------------------------------------------- drop */

/* Moves `f` into its frame object, as take_ownership of Python/frame.c does, but for the
   temporaries. The references of `f` go along, but for that to the object. */
static void move_into_object(iframe *f) {
    PyFrameObject *object = f->frame_obj;
    iframe *copy = (iframe *)object->_f_frame_data;
    size_t variables = (size_t)code_of(f)->co_nlocalsplus;
    memcpy(copy, f, offsetof(iframe, localsplus) + variables * sizeof(PyObject *));
    copy->owner = FRAME_OWNED_BY_FRAME_OBJECT;
    copy->stacktop = (int)variables;
    copy->previous = NULL;
    copy->frame_obj = NULL;
    object->f_frame = copy;
    if (!PyObject_GC_IsTracked((PyObject *)object)) PyObject_GC_Track(object);
    Py_DECREF(object); /* not the last one */
}

/* Takes the chain apart, without running any code: gives back what is left of it to release, in
   a chain of its own. */
static iframe *take_apart(iframe *f) {
    iframe *rest = NULL;
    iframe **link = &rest;
    for (iframe *next; f; f = next) {
        next = in_heap(f->previous);
        PyFrameObject *object = f->frame_obj;
        if (f->owner != FRAME_OWNED_BY_THREAD) {
            /* A generator that will be executing for ever. It stays as it is, but for the link. */
            f->previous = NULL;
        } else if (object && Py_REFCNT(object) > 1) {
            /* The object of the next frame has more than one reference then, too. */
            object->f_back = PyFrame_GetBack(object);
            if (!object->f_back) PyErr_Clear();
            move_into_object(f);
        } else {
            if (object) {
                /* The trash can may free it later than the data stack, and frame_dealloc of
                   Objects/frameobject.c looks at the owner. */
                object->f_frame = (iframe *)object->_f_frame_data;
                object->f_frame->owner = FRAME_OWNED_BY_THREAD;
            }
            *link = f;
            link = &f->previous;
        }
    }
    *link = NULL;
    return rest;
}

void ml_frames_drop(struct _PyInterpreterFrame *frame, PyObject **stack_end) {
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    int collecting = PyGC_Disable();
    PyObject **const unknown = NULL;
    iframe *innermost = in_heap(frame);
    iframe *f = take_apart(innermost);
    if (collecting) PyGC_Enable();
    for (iframe *next; f; f = next) {
        next = f->previous;
        PyCodeObject *code = code_of(f);
        /* Temporaries that nobody knows of are leaked, as is all that C frames refer to. */
        PyObject **end = values_end(f, f == innermost ? stack_end : NULL, &unknown);
        for (PyObject **p = f->localsplus; p < end; p++) Py_CLEAR(*p);
        Py_XDECREF(f->frame_obj);
        Py_XDECREF(f->f_locals);
        Py_XDECREF(function_of(f));
        Py_DECREF(code);
    }
    PyErr_Restore(type, value, traceback);
}

/* ------------------------------------------------------------------------------------ move */

void ml_frames_moved(struct _PyInterpreterFrame **frame, const void *first,
                     struct _PyInterpreterFrame ***border, const char *from, size_t size,
                     ptrdiff_t distance) {
    /* A frame that is being made or released is on the data stack, but not in the chain. While `first`
       is in the chain, so are all that it has come from, and the link out of them stays. */
    bool known = false;
    iframe **out = NULL;
    iframe **link = *border ? *border : frame;
    /* Read where it was, not where it has just been copied to: a processor is slow to read in parts
       what it has not yet finished writing as a whole. */
    for (iframe *f = *link; f; f = f->previous) {
        iframe *now = f;
        if ((size_t)((char *)f - from) < size) {
            if (known) out = link;
            known = false;
            *link = now = (iframe *)((char *)f + distance);
            if (!on_c_stack(f) && f->frame_obj) f->frame_obj->f_frame = now;
        } else if (f == first) {
            known = true;
        }
        link = &now->previous;
    }
    if (out && !FRAMES_ON_C_STACK && ml_datastack_watched()) *border = out;
}

#endif
