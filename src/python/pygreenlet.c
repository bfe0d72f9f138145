/* The type greenlet.greenlet: its life, attributes and representation. */

#include "pygreenlet.h"

#include <stddef.h>

PyObject *ml_PyExc_GreenletExit;
PyObject *ml_PyExc_GreenletError;
PyObject *ml_py_empty;
uint64_t ml_py_switches, ml_py_buried;
int (*ml_py_traverse_stack)(const ml_greenlet *g, visitproc visit, void *arg);

extern PyMethodDef ml_pyswitch_methods[];
extern const ml_body ml_py_body;

static inline ml_pygreenlet *impl(PyObject *self) { return ((PyGreenlet *)self)->pimpl; }

ml_greenlet *ml_py_current(void) {
    ml_greenlet *g = ml_current();
    if (!g) PyErr_NoMemory();
    return g;
}

PyObject *ml_py_getcurrent(void) {
    if (ml_finalizing()) {
        PyErr_SetString(PyExc_RuntimeError, "greenlet is being finalized");
        return NULL;
    }
    ml_tidy();
    ml_greenlet *g = ml_py_current();
    return g ? Py_NewRef(ml_py_object(g)) : NULL;
}

void ml_py_raise(int code, const ml_greenlet *g) {
    switch (code) {
        case ML_ENOMEM: PyErr_NoMemory(); break;
        case ML_ECYCLE: PyErr_SetString(PyExc_ValueError, ml_error_text(code)); break;
        case ML_EMAIN: PyErr_SetString(PyExc_AttributeError, ml_error_text(code)); break;
        case ML_ETHREAD: {
            const ml_thread *theirs = ml_greenlet_thread(g);
            ml_greenlet *current = ml_py_current();
            if (!current) break;
            PyErr_Format(ml_PyExc_GreenletError,
                         "Cannot switch to a different thread\n\tCurrent:  %R\n\tExpected: %R",
                         ml_py_object(current), ml_py_object(ml_thread_main(theirs)));
            break;
        }
        default: PyErr_SetString(ml_PyExc_GreenletError, ml_error_text(code));
    }
}

/* ------------------------------------------------------------------------------------- life */

/* Memory for one. A subclass may be abstract, which object.__new__ looks at. */
static PyObject *allocate(PyTypeObject *type) {
    if (type == &ml_PyGreenlet_Type) return type->tp_alloc(type, 0);
    PyObject *nothing = PyTuple_New(0);
    PyObject *self = nothing ? PyBaseObject_Type.tp_new(type, nothing, NULL) : NULL;
    Py_XDECREF(nothing);
    return self;
}

static PyObject *create(PyTypeObject *type, ml_body body, ml_greenlet *parent) {
    ml_tidy();
    if (!parent) parent = ml_py_current();
    PyObject *self = parent ? allocate(type) : NULL;
    if (!self) return NULL;
    ml_pygreenlet *p = PyMem_Calloc(1, sizeof *p);
    if (!p) {
        Py_DECREF(self);
        PyErr_NoMemory();
        return NULL;
    }
    ((PyGreenlet *)self)->pimpl = p;
    ml_greenlet_init(&p->core, self, parent, body);
    return self;
}

PyObject *ml_pygreenlet_new(ml_body body, ml_greenlet *parent) {
    return create(&ml_PyGreenlet_Type, body, parent);
}

PyObject *ml_pygreenlet_call(PyObject *callable, ml_greenlet *parent) {
    PyObject *self = create(&ml_PyGreenlet_Type, ml_py_body, parent);
    if (self) impl(self)->run = Py_NewRef(callable);
    return self;
}

static PyObject *new (PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    (void)args, (void)kwargs;
    return create(type, ml_py_body, NULL);
}

static int setrun(PyObject *self, PyObject *value, void *closure);

static int init(PyObject *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"run", "parent", NULL};
    PyObject *run = NULL;
    PyObject *parent = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|OO:green", names, &run, &parent)) {
        return -1;
    }
    if (run && setrun(self, run, NULL) != 0) return -1;
    if (parent && parent != Py_None && ml_py_set_parent(self, parent) != 0) return -1;
    return 0;
}

/* Where the temporaries of frames of a suspended greenlet end, as far as it is known: up to
   MAX_ENDS - 1, and NULL. */
enum { MAX_ENDS = 32 };

static void find_ends(const ml_pygreenlet *p, PyObject **ends[MAX_ENDS]) {
    int count = 0;
    for (const ml_call *call = p->calls; call && count < MAX_ENDS - 1; call = call->outer) {
        call = ml_stack_view(&p->core, call);
        ends[count++] = (PyObject **)ml_stack_view(&p->core, call->end);
    }
    ends[count] = NULL;
}

static int traverse(PyObject *self, visitproc visit, void *arg) {
    ml_pygreenlet *p = impl(self);
    Py_VISIT(((PyGreenlet *)self)->dict);
    if (!p) return 0;
    Py_VISIT(p->run);
    Py_VISIT(p->start);
    Py_VISIT(p->value);
    Py_VISIT(p->kwargs);
    Py_VISIT(p->beyond);
    if (p->core.parent) Py_VISIT(ml_py_object(p->core.parent));
    PyObject **ends[MAX_ENDS] = {NULL};
    if (ml_py_active(&p->core) && !ml_is_running(&p->core)) {
        int result = p->core.lua ? ml_py_traverse_stack(&p->core, visit, arg) : 0;
        if (result != 0) return result;
        find_ends(p, ends);
    }
    return ml_top_traverse(&p->top, ends, visit, arg);
}

/* Of a suspended greenlet the stack refers to things that cannot be seen: what is reachable from
   it then looks alive and is kept. What is seen (ml_top_traverse) may be part of a garbage cycle;
   then the greenlet is ended first (finalize_garbage). */
static int clear(PyObject *self) {
    ml_pygreenlet *p = impl(self);
    Py_CLEAR(((PyGreenlet *)self)->dict);
    if (!p || ml_py_active(&p->core)) return 0;
    if (p->core.state == ML_ACTIVE) p->core.state = ML_DEAD; /* its thread has ended */
    ml_top_drop(&p->top);
    Py_CLEAR(p->run);
    Py_CLEAR(p->start);
    Py_CLEAR(p->value);
    Py_CLEAR(p->kwargs);
    Py_CLEAR(p->beyond);
    ml_greenlet *parent = p->core.parent;
    p->core.parent = NULL;
    if (parent) Py_DECREF(ml_py_object(parent));
    return 0;
}

static void complain(PyObject *self) {
    PyObject *file = PySys_GetObject("stderr");
    if (!file || file == Py_None) return;
    PyFile_WriteString("GreenletExit did not kill ", file);
    PyFile_WriteObject(self, file, 0);
    PyFile_WriteString("\n", file);
    PyErr_Clear();
}

void ml_pygreenlet_end(PyObject *self) {
    ml_greenlet *g = &impl(self)->core;
    ml_thread *mine = ml_this_thread_or_null();
    if (ml_thread_exited(g->thread)) {
        g->state = ML_DEAD; /* nobody can run it any more */
    } else if (ml_finalizing()) {
        ml_greenlet_abandon(g);
    } else if (g->thread != mine || (ml_py_may_switch && !ml_py_may_switch(ml_py_current()))) {
        Py_INCREF(self);
        ml_bury(g);
    } else {
        ml_hook_end(g);
    }
}

/* Whether `self` is to be freed; otherwise somebody holds it again. */
static bool finalize(PyObject *self) {
    PyObject *type, *value, *traceback;
    Py_SET_REFCNT(self, 1);
    PyErr_Fetch(&type, &value, &traceback);
    ml_pygreenlet_end(self);
    if (Py_REFCNT(self) == 1 && ml_py_active(&impl(self)->core)) {
        Py_INCREF(self); /* leaked, with its stack */
        complain(self);
    }
    PyErr_Restore(type, value, traceback);
    Py_ssize_t count = Py_REFCNT(self) - 1;
    Py_SET_REFCNT(self, count);
    if (count == 0) return true;
    /* As Objects/object.c does in PyObject_CallFinalizerFromDealloc. */
    _Py_NewReference(self);
    Py_SET_REFCNT(self, count);
    /* subtype_dealloc (Objects/typeobject.c) will drop the type's reference all the same. */
    if (PyType_HasFeature(Py_TYPE(self), Py_TPFLAGS_HEAPTYPE)) Py_INCREF(Py_TYPE(self));
    PyObject_GC_Track(self);
    return false;
}

/* ---------------------------------------------------------------------------------- garbage

   The collector (Modules/gcmodule.c) links what it has found unreachable into lists whose heads are
   on its C stack. Other stacks must not run meanwhile: this one might be copied aside, and what
   they then take out of the lists would write where it was. So a suspended greenlet that is found
   is kept, as is all that it refers to, and ended when the collection is over: gc.callbacks are
   called then. The cycle is open after that, or found again as that of a dead greenlet. */

static PyObject *callbacks; /* gc.callbacks */
static PyObject *callback;

static PyObject *after_collection(PyObject *module, PyObject *args) {
    (void)module;
    const char *phase;
    PyObject *info;
    if (!PyArg_ParseTuple(args, "sO", &phase, &info)) return NULL;
    if (strcmp(phase, "stop") == 0) ml_tidy();
    Py_RETURN_NONE;
}

static PyMethodDef after_collection_method = {
    "end_greenlets", after_collection, METH_VARARGS,
    "Ends the suspended greenlets that the garbage collector has found."};

static int init_garbage(void) {
    PyObject *gc = PyImport_ImportModule("gc");
    callbacks = gc ? PyObject_GetAttrString(gc, "callbacks") : NULL;
    callback = PyCFunction_New(&after_collection_method, NULL);
    Py_XDECREF(gc);
    return callbacks && callback ? 0 : -1;
}

/* If it fails, the greenlet is ended at the thread's next switch. */
static void call_after_collection(void) {
    int found = PySequence_Contains(callbacks, callback);
    if (found < 0 || (!found && PyList_Append(callbacks, callback) != 0)) PyErr_Clear();
}

static void finalize_garbage(PyObject *self);

/* One that the collector would free without finalize_garbage, since that was called before or a
   subclass has a __del__ instead, it must not find while its stack can run. */
static int is_gc(PyObject *self) {
    const ml_pygreenlet *p = impl(self);
    if (!p || !ml_py_active(&p->core)) return 1;
    return !p->finalized && Py_TYPE(self)->tp_finalize == finalize_garbage;
}

bool ml_py_can_collect(const ml_greenlet *g) {
    PyObject *self = ml_py_object(g);
    if (!PyObject_GC_IsTracked(self)) return false;
    if (g->state == ML_NEW) return true;
    return ml_py_active(g) && !ml_is_running(g) && !ml_is_main(g) && is_gc(self);
}

/* As tp_finalize. Nothing is left to do when the last reference has gone (subtype_dealloc of
   Objects/typeobject.c calls this with a count of 1; the collector holds a reference of its own):
   dealloc, unlike this, may be called for the same object again and again. */
static void finalize_garbage(PyObject *self) {
    ml_pygreenlet *p = impl(self);
    if (!p || Py_REFCNT(self) == 1 || !ml_py_active(&p->core) || ml_is_running(&p->core)) return;
    if (ml_is_main(&p->core)) return;
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    p->finalized = true;
    if (ml_finalizing()) {
        ml_pygreenlet_end(self);
    } else {
        p->garbage = true;
        ml_py_buried++;
        Py_INCREF(self);
        ml_bury(&p->core);
        call_after_collection();
    }
    PyErr_Restore(type, value, traceback);
}

/* ---------------------------------------------------------------------------------- deallocation */

static void dealloc(PyObject *self) {
    ml_pygreenlet *p = impl(self);
    PyObject_GC_UnTrack(self);
    if (p && p->core.state == ML_ACTIVE && !ml_is_main(&p->core) && !finalize(self)) return;
    if (((PyGreenlet *)self)->weakreflist) PyObject_ClearWeakRefs(self);
    Py_CLEAR(((PyGreenlet *)self)->dict);
    if (p) {
        Py_CLEAR(p->run);
        Py_CLEAR(p->start);
        Py_CLEAR(p->value);
        Py_CLEAR(p->kwargs);
        Py_CLEAR(p->beyond);
        ml_top_drop(&p->top);
        if (ml_is_main(&p->core)) ml_py_main_count--;
        ((PyGreenlet *)self)->pimpl = NULL;
        ml_greenlet_fini(&p->core);
        PyMem_Free(p);
    }
    Py_TYPE(self)->tp_free(self);
}

/* ------------------------------------------------------------------------------- attributes */

static PyObject *getdict(PyObject *self, void *closure) {
    (void)closure;
    PyGreenlet *g = (PyGreenlet *)self;
    if (!g->dict) g->dict = PyDict_New();
    return Py_XNewRef(g->dict);
}

static int setdict(PyObject *self, PyObject *value, void *closure) {
    (void)closure;
    if (!value) {
        PyErr_SetString(PyExc_TypeError, "__dict__ may not be deleted");
        return -1;
    }
    if (!PyDict_Check(value)) {
        PyErr_SetString(PyExc_TypeError, "__dict__ must be a dictionary");
        return -1;
    }
    Py_INCREF(value);
    Py_XSETREF(((PyGreenlet *)self)->dict, value);
    return 0;
}

static PyObject *getrun(PyObject *self, void *closure) {
    (void)closure;
    ml_pygreenlet *p = impl(self);
    if (p->core.state == ML_NEW && p->run) return Py_NewRef(p->run);
    PyErr_SetString(PyExc_AttributeError,
                    ml_is_main(&p->core) ? "Main greenlets do not have a run attribute." : "run");
    return NULL;
}

static int setrun(PyObject *self, PyObject *value, void *closure) {
    (void)closure;
    ml_pygreenlet *p = impl(self);
    if (ml_is_main(&p->core)) {
        PyErr_SetString(PyExc_AttributeError, "Main greenlets do not have a run attribute.");
        return -1;
    }
    if (p->core.state != ML_NEW) {
        PyErr_SetString(PyExc_AttributeError, "run cannot be set after the start of the greenlet");
        return -1;
    }
    if (p->core.body != ml_py_body) {
        PyErr_SetString(PyExc_AttributeError, "run of a Lua function's greenlet cannot be set");
        return -1;
    }
    Py_XINCREF(value);
    Py_XSETREF(p->run, value);
    return 0;
}

static PyObject *getparent(PyObject *self, void *closure) {
    (void)closure;
    const ml_greenlet *parent = impl(self)->core.parent;
    return Py_NewRef(parent ? ml_py_object(parent) : Py_None);
}

int ml_py_set_parent(PyObject *self, PyObject *value) {
    if (!value) {
        PyErr_SetString(PyExc_AttributeError, "can't delete attribute");
        return -1;
    }
    ml_greenlet *g = &impl(self)->core;
    if (ml_is_main(g)) {
        ml_py_raise(ML_EMAIN, g);
        return -1;
    }
    if (!ml_is_pygreenlet(value)) {
        PyErr_Format(PyExc_TypeError, "GreenletChecker: Expected any type of greenlet, not %s",
                     Py_TYPE(value)->tp_name);
        return -1;
    }
    int result = ml_set_parent(g, ml_py_core(value));
    if (result == ML_EORPHAN) {
        PyErr_SetString(PyExc_ValueError, "parent must not be garbage collected");
    } else if (result == ML_ETHREAD) {
        PyErr_SetString(PyExc_ValueError, "parent cannot be on a different thread");
    } else if (result != 0) {
        ml_py_raise(result, g);
    }
    return result == 0 ? 0 : -1;
}

static int setparent(PyObject *self, PyObject *value, void *closure) {
    (void)closure;
    return ml_py_set_parent(self, value);
}

static PyObject *getframe(PyObject *self, void *closure) {
    (void)closure;
    PyObject *frame = ml_top_frame(&impl(self)->top);
    return frame || PyErr_Occurred() ? frame : Py_NewRef(Py_None);
}

/* Where the context of a greenlet is: in its thread's state while it runs. NULL, with an
   exception, for one that runs in another thread. */
static PyObject **context_of(ml_pygreenlet *p, const char *what) {
    if (!ml_is_running(&p->core)) return &p->top.context;
    if (&p->core == ml_current()) return &p->ts->context;
    PyErr_Format(PyExc_ValueError,
                 "cannot %s context of a greenlet that is running in a different thread", what);
    return NULL;
}

static PyObject *getcontext(PyObject *self, void *closure) {
    (void)closure;
    PyObject **context = context_of(impl(self), "get");
    return context ? Py_NewRef(*context ? *context : Py_None) : NULL;
}

static int setcontext(PyObject *self, PyObject *value, void *closure) {
    (void)closure;
    if (!value) {
        PyErr_SetString(PyExc_AttributeError, "can't delete context attribute");
        return -1;
    }
    if (value != Py_None && !PyContext_CheckExact(value)) {
        PyErr_SetString(PyExc_TypeError, "greenlet context must be a contextvars.Context or None");
        return -1;
    }
    ml_pygreenlet *p = impl(self);
    PyObject **context = context_of(p, "set");
    if (!context) return -1;
    PyObject *old = *context;
    *context = value == Py_None ? NULL : Py_NewRef(value);
    if (context != &p->top.context) p->ts->context_ver++; /* what ContextVar.get caches is old */
    Py_XDECREF(old);
    return 0;
}

static PyObject *getstacksaved(PyObject *self, void *closure) {
    (void)closure;
    return PyLong_FromSize_t(ml_stack_size(&impl(self)->core));
}

/* Whether it can neither run nor be started. One whose thread has ended then releases what its
   frames refer to, as greenlet's does when it is asked. */
static bool is_dead(PyObject *self) {
    ml_pygreenlet *p = impl(self);
    if (p->core.state == ML_NEW || ml_py_active(&p->core)) return false;
    if (p->core.state == ML_ACTIVE) {
        p->core.state = ML_DEAD;
        ml_top_drop(&p->top);
    }
    return true;
}

static PyObject *getdead(PyObject *self, void *closure) {
    (void)closure;
    return PyBool_FromLong(is_dead(self));
}

static int is_true(PyObject *self) { return ml_py_active(&impl(self)->core); }

static PyObject *repr(PyObject *self) {
    const ml_greenlet *g = &impl(self)->core;
    const char *name = Py_TYPE(self)->tp_name;
    const void *thread = g->thread;
    if (is_dead(self)) {
        bool exited = thread && ml_thread_exited(g->thread);
        return PyUnicode_FromFormat("<%s object at %p (otid=%p) %sdead>", name, self,
                                    exited ? NULL : thread, exited ? "(thread exited) " : "");
    }
    const char *where = g->state == ML_NEW ? "" : g == ml_current() ? " current" : " suspended";
    return PyUnicode_FromFormat("<%s object at %p (otid=%p)%s%s%s%s>", name, self, thread, where,
                                ml_py_active(g) ? " active" : "",
                                g->state == ML_NEW ? " pending" : " started",
                                ml_is_main(g) ? " main" : "");
}

/* ------------------------------------------------------------------------------------- type */

static PyGetSetDef attributes[] = {
    {"__dict__", getdict, setdict, NULL, NULL},
    {"run", getrun, setrun, "The callable that the greenlet runs; gone once it has started.",
     NULL},
    {"parent", getparent, setparent,
     "The greenlet that gets what this one returns, or the exception that ends it. None for a "
     "thread's main greenlet.",
     NULL},
    {"gr_frame", getframe, NULL,
     "The frame that is to continue when it is switched to; None unless it is suspended.", NULL},
    {"gr_context", getcontext, setcontext,
     "The contextvars.Context that it runs in; None: an empty one, made when it is needed.", NULL},
    {"_stack_saved", getstacksaved, NULL, "How many bytes of stack it has while suspended.", NULL},
    {"dead", getdead, NULL, "Whether it has finished.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyNumberMethods as_number = {.nb_bool = is_true};

PyTypeObject ml_PyGreenlet_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "greenlet.greenlet",
    .tp_basicsize = sizeof(PyGreenlet),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .tp_doc = "greenlet(run=None, parent=None) -> greenlet\n\n"
              "Creates a new greenlet object (without running it).\n\n"
              " - *run* -- The callable to invoke.\n"
              " - *parent* -- The parent greenlet. The default is the current greenlet.",
    .tp_new = new,
    .tp_init = init,
    .tp_dealloc = dealloc,
    .tp_free = PyObject_GC_Del,
    .tp_traverse = traverse,
    .tp_clear = clear,
    .tp_is_gc = is_gc,
    .tp_finalize = finalize_garbage,
    .tp_repr = repr,
    .tp_as_number = &as_number,
    .tp_methods = ml_pyswitch_methods,
    .tp_getset = attributes,
    .tp_weaklistoffset = offsetof(PyGreenlet, weakreflist),
    .tp_dictoffset = offsetof(PyGreenlet, dict),
};

static void popped(void) {
    if (ml_this_thread_or_null()) ml_top_popped(&((ml_pygreenlet *)ml_current())->top);
}

int ml_pygreenlet_init(void) {
    if (ml_PyExc_GreenletError) return 0;
    ml_PyExc_GreenletExit = PyErr_NewException("greenlet.GreenletExit", PyExc_BaseException, NULL);
    if (!ml_PyExc_GreenletExit) return -1;
    PyObject *error = PyErr_NewException("greenlet.error", NULL, NULL);
    if (!ml_py_empty) ml_py_empty = PyTuple_New(0);
    if (!error || !ml_py_empty || init_garbage() != 0 || PyType_Ready(&ml_PyGreenlet_Type) != 0) {
        Py_XDECREF(error);
        Py_CLEAR(ml_PyExc_GreenletExit);
        return -1;
    }
    ml_PyExc_GreenletError = error;
    ml_top_init(popped);
    return 0;
}
