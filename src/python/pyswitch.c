/* What a switch means to Python: parcels, the core's hooks, the body of a Python greenlet. */

#include "../core/switch.h"
#include "pygreenlet.h"

int (*ml_py_import_parcel)(ml_parcel *parcel);
bool (*ml_py_import_simple)(const ml_parcel *parcel, PyObject **value);
bool (*ml_py_may_switch)(const ml_greenlet *current);
Py_ssize_t ml_py_main_count;

static inline ml_pygreenlet *impl(ml_greenlet *g) { return (ml_pygreenlet *)g; }

/* What ml_hook_enter does. */
static inline void enter(ml_pygreenlet *p) {
    ml_py_switches++;
    ml_top_load(p->ts, &p->top);
    Py_INCREF(ml_py_object(&p->core));
}

/* --------------------------------------------------------------------------------- parcels */

static void discard(ml_parcel *parcel) {
    Py_XDECREF(parcel->value);
    Py_XDECREF(parcel->extra);
    if (parcel->error) Py_XDECREF(parcel->more);
}

const ml_parcel_kind ml_py_parcel = {discard};

static void pack(ml_parcel *parcel, PyObject *value, PyObject *extra, int count) {
    *parcel = (ml_parcel){.kind = &ml_py_parcel, .value = value, .extra = extra, .count = count};
}

void ml_py_pack_value(ml_parcel *parcel, PyObject *value) { pack(parcel, value, NULL, 1); }

void ml_py_pack_error(ml_parcel *parcel) {
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    pack(parcel, type, value, 0);
    parcel->more = traceback;
    parcel->error = true;
}

/* The arguments of a vectorcall. 0, or -1 with an exception. */
static int pack_arguments(ml_parcel *parcel, PyObject *const *args, Py_ssize_t nargs,
                          PyObject *kwnames) {
    PyObject *value = NULL;
    PyObject *kwargs = NULL;
    if (nargs == 1) {
        value = Py_NewRef(args[0]);
    } else if (nargs > 1) {
        value = PyTuple_New(nargs);
        if (!value) return -1;
        for (Py_ssize_t i = 0; i < nargs; i++) PyTuple_SET_ITEM(value, i, Py_NewRef(args[i]));
    }
    Py_ssize_t count = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
    if (count) {
        kwargs = PyDict_New();
        if (!kwargs) goto failed;
        for (Py_ssize_t i = 0; i < count; i++) {
            PyObject *name = PyTuple_GET_ITEM(kwnames, i);
            if (PyDict_SetItem(kwargs, name, args[nargs + i]) != 0) goto failed;
        }
    }
    pack(parcel, value, kwargs, (int)nargs);
    parcel->more = (void *)(args + nargs + count);
    return 0;

failed:
    Py_XDECREF(value);
    Py_XDECREF(kwargs);
    return -1;
}

/* What greenlet makes of arguments at the receiver: nothing is (), one is itself, keywords alone
   are a dict, both are a pair. Steals the references. */
static PyObject *as_result(PyObject *value, PyObject *kwargs, int count) {
    if (!kwargs) return value ? value : PyTuple_New(0);
    if (count == 0) return kwargs;
    if (count == 1) {
        PyObject *one = value;
        value = PyTuple_Pack(1, one);
        Py_DECREF(one);
    }
    PyObject *pair = value ? PyTuple_Pack(2, value, kwargs) : NULL;
    Py_XDECREF(value);
    Py_DECREF(kwargs);
    return pair;
}

static int import(ml_parcel *parcel) {
    if (parcel->kind == &ml_py_parcel || !parcel->kind) return 0;
    int result = ml_py_import_parcel(parcel);
    if (result != 0) parcel->kind = NULL;
    return result;
}

int ml_py_pack_call(ml_parcel *parcel, PyObject *args, PyObject *kwargs) {
    if (kwargs && !(kwargs = PyDict_Copy(kwargs))) return -1;
    Py_ssize_t count = PyTuple_GET_SIZE(args);
    PyObject *value = count == 1 ? PyTuple_GET_ITEM(args, 0) : count > 1 ? args : NULL;
    pack(parcel, Py_XNewRef(value), kwargs, (int)count);
    return 0;
}

PyObject *ml_py_unpack(ml_parcel *parcel) {
    if (__builtin_expect(parcel->kind != &ml_py_parcel, 0) && import(parcel) != 0) {
        ml_settle(parcel);
        return NULL;
    }
    ml_settle(parcel);
    parcel->kind = NULL;
    if (__builtin_expect(parcel->error, 0)) {
        PyErr_Restore(parcel->value, parcel->extra, parcel->more);
        return NULL;
    }
    return as_result(parcel->value, parcel->extra, parcel->count);
}

PyObject *ml_py_switched(int result, ml_greenlet *target, ml_parcel *parcel) {
    if (__builtin_expect(result == 0, 1)) return ml_py_unpack(parcel);
    if (result == ML_ELANGUAGE) {
        PyObject *type, *value, *traceback;
        PyErr_Fetch(&type, &value, &traceback);
        ml_discard(parcel);
        PyErr_Restore(type, value, traceback);
    } else {
        ml_discard(parcel);
        ml_py_raise(result, target);
    }
    return NULL;
}

PyObject *ml_py_switch(ml_greenlet *target, ml_parcel *parcel) {
    return ml_py_switched(ml_switch(target, parcel), target, parcel);
}

/* ------------------------------------------------------------------------- switch and throw */

/* As ml_py_unpack, what a switch by ml_go has brought. */
__attribute__((noinline)) static PyObject *unpack_carried(ml_thread *t, ml_greenlet *g) {
    ml_greenlet *origin = t->origin;
    bool foreign = t->parcel.kind && t->parcel.kind != &ml_py_parcel;
    PyObject *value;
    if (foreign && !t->tracer && origin->state != ML_DEAD &&
        ml_py_import_simple(&t->parcel, &value)) {
        Py_DECREF(ml_py_object(origin));
        return value;
    }
    int refusal = ml_take_refusal(t);
    ml_parcel parcel = t->parcel;
    parcel.origin = origin;
    if (refusal != 0) {
        ml_discard(&parcel);
        ml_py_raise(refusal, g);
        return NULL;
    }
    if (t->tracer) ml_hook_trace(g, &parcel);
    return ml_py_unpack(&parcel);
}

static intptr_t resume(void *nothing) {
    (void)nothing;
    ml_thread *t = ml_this_thread;
    ml_greenlet *g = ml_come(t);
    enter(impl(g));
    ml_greenlet *origin = t->origin;
    bool known = t->parcel.kind ? t->parcel.kind == &ml_py_parcel : !t->refusal;
    if (__builtin_expect(!known || t->parcel.error || t->parcel.extra || t->tracer ||
                             origin->state == ML_DEAD,
                         0))
        return (intptr_t)unpack_carried(t, g);
    PyObject *value = t->parcel.value;
    if (!value) value = Py_NewRef(ml_py_empty);
    Py_DECREF(ml_py_object(origin));
    return (intptr_t)value;
}

/* Switches by a route that was found, with one argument or none: they end where args do. */
static inline PyObject *carry(ml_thread *t, ml_route route, PyObject *value,
                              PyObject *const *end) {
    ml_pygreenlet *from = impl(t->current);
    t->parcel.kind = value ? &ml_py_parcel : NULL;
    t->parcel.value = Py_XNewRef(value);
    t->parcel.extra = NULL;
    t->parcel.count = value != NULL;
    t->parcel.error = t->parcel.results = false;
    ml_top_save(from->ts, &from->top, (PyObject **)end);
    return (PyObject *)ml_go(t, route, resume, NULL);
}

__attribute__((noinline)) static PyObject *switch_far(PyObject *self, PyObject *const *args,
                                                      Py_ssize_t nargs, PyObject *kwnames) {
    ml_greenlet *target = ml_py_core(self);
    ml_thread *t = ml_this_thread;
    if (t && nargs <= 1 && !kwnames) {
        ml_route route = ml_find_long_way(t, target);
        if (route.way > ML_STAY) return carry(t, route, nargs ? *args : NULL, args + nargs);
        if (route.way < 0) {
            if (route.way != ML_ELANGUAGE) ml_py_raise(route.way, target);
            return NULL;
        }
    }
    ml_parcel parcel;
    if (pack_arguments(&parcel, args, nargs, kwnames) != 0) return NULL;
    return ml_py_switch(target, &parcel);
}

/* Nothing but what the common case needs: then it needs no frame. */
static PyObject *switch_method(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                               PyObject *kwnames) {
    ml_greenlet *to = ml_py_core(self);
    ml_thread *t = ml_this_thread;
    if (__builtin_expect(t && nargs <= 1 && !kwnames && ml_is_near(t, to), 1))
        return carry(t, (ml_route){to, ML_NEAR}, nargs ? *args : NULL, args + nargs);
    return switch_far(self, args, nargs, kwnames);
}

/* Turns the exception that is set into a parcel as `finish` and `throw` need it: GreenletExit is
   an ordinary result where `exit_is_result`. */
static void pack_outcome(ml_parcel *parcel, bool exit_is_result) {
    if (exit_is_result && PyErr_ExceptionMatches(ml_PyExc_GreenletExit)) {
        PyObject *type, *value, *traceback;
        PyErr_Fetch(&type, &value, &traceback);
        PyErr_NormalizeException(&type, &value, &traceback);
        Py_XDECREF(type);
        Py_XDECREF(traceback);
        ml_py_pack_value(parcel, value ? value : Py_NewRef(Py_None));
    } else {
        ml_py_pack_error(parcel);
    }
}

PyObject *ml_py_throw(ml_greenlet *g, PyObject *type, PyObject *value, PyObject *traceback) {
    if (traceback == Py_None) traceback = NULL;
    if (traceback && !PyTraceBack_Check(traceback)) {
        PyErr_SetString(PyExc_TypeError, "throw() third argument must be a traceback object");
        return NULL;
    }
    if (PyExceptionClass_Check(type)) {
        Py_INCREF(type);
        Py_XINCREF(value);
        Py_XINCREF(traceback);
        PyErr_NormalizeException(&type, &value, &traceback);
    } else if (PyExceptionInstance_Check(type)) {
        if (value && value != Py_None) {
            PyErr_SetString(PyExc_TypeError, "instance exception may not have a separate value");
            return NULL;
        }
        value = Py_NewRef(type);
        type = Py_NewRef(PyExceptionInstance_Class(type));
        Py_XINCREF(traceback);
    } else {
        PyErr_Format(PyExc_TypeError, "exceptions must be classes, or instances, not %s",
                     Py_TYPE(type)->tp_name);
        return NULL;
    }
    PyErr_Restore(type, value, traceback);
    ml_parcel parcel;
    pack_outcome(&parcel, g->state == ML_DEAD);
    return ml_py_switch(g, &parcel);
}

static PyObject *throw_method(PyObject *self, PyObject *const *args, Py_ssize_t nargs) {
    if (nargs > 3) {
        PyErr_Format(PyExc_TypeError, "throw() takes at most 3 arguments (%zd given)", nargs);
        return NULL;
    }
    return ml_py_throw(ml_py_core(self), nargs > 0 ? args[0] : ml_PyExc_GreenletExit,
                       nargs > 1 ? args[1] : NULL, nargs > 2 ? args[2] : NULL);
}

static PyObject *getstate(PyObject *self, PyObject *nothing) {
    (void)nothing;
    PyErr_Format(PyExc_TypeError, "cannot serialize '%s' object", Py_TYPE(self)->tp_name);
    return NULL;
}

PyMethodDef ml_pyswitch_methods[] = {
    {"switch", (PyCFunction)(void (*)(void))switch_method, METH_FASTCALL | METH_KEYWORDS,
     "switch(*args, **kwargs)\n\n"
     "Switch execution to this greenlet.\n\n"
     "A new greenlet starts as self.run(*args, **kwargs). A suspended one continues: its own\n"
     "call of switch returns the arguments: () for none, one as itself, several as a tuple,\n"
     "keyword arguments alone as a dict, both as a pair. A dead one passes them to its parent.\n"
     "Returns what is sent to the caller when somebody switches back."},
    {"throw", (PyCFunction)(void (*)(void))throw_method, METH_FASTCALL,
     "throw(typ=GreenletExit, val=None, tb=None)\n\n"
     "Switch execution to this greenlet and raise the given exception there.\n"
     "GreenletExit ends it quietly."},
    {"__getstate__", getstate, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

/* ------------------------------------------------------------------------------------ hooks */

void ml_hook_retain(ml_greenlet *g) { Py_INCREF(ml_py_object(g)); }
void ml_hook_release(ml_greenlet *g) { Py_DECREF(ml_py_object(g)); }

void ml_hook_leave(ml_greenlet *g, const ml_parcel *parcel) {
    ml_pygreenlet *p = impl(g);
    if (g->state == ML_DEAD) {
        ml_top_finish(p->ts, &p->top);
        return;
    }
    bool arguments = parcel->kind == &ml_py_parcel && !parcel->error;
    ml_top_save(p->ts, &p->top, arguments ? parcel->more : NULL);
}

void ml_hook_enter(ml_greenlet *g) { enter(impl(g)); }

size_t ml_hook_loft_used(const ml_greenlet *g) {
    return ml_top_loft_used(&((const ml_pygreenlet *)g)->top, ml_loft(g));
}
void ml_hook_moved(ml_greenlet *g, const char *from, size_t size, char *to) {
    ml_top_moved(&impl(g)->top, from, size, to);
}

void ml_hook_run(ml_greenlet *g, ml_parcel *parcel) {
    ml_pygreenlet *p = impl(g);
    ml_py_switches++;
    p->ts = ml_tstate();
    ml_top_start(p->ts, &p->top, ml_loft(g));
    Py_INCREF(ml_py_object(g));
    if (__builtin_expect(*ml_thread_tracer(g->thread) != NULL, 0)) ml_hook_trace(g, parcel);
    g->body(g, parcel);
}

/* Not inlined: what it needs would be on the stack of each greenlet, below the body. */
__attribute__((noinline)) void ml_hook_take_error(ml_parcel *parcel) {
    ml_parcel old = *parcel;
    ml_py_pack_error(parcel);
    ml_discard(&old);
}

void ml_hook_trace(ml_greenlet *g, ml_parcel *parcel) {
    void **place = ml_thread_tracer(g->thread);
    PyObject *tracer = Py_NewRef(*place);
    PyThreadState *ts = impl(g)->ts;
    const ml_greenlet *origin = parcel->origin ? parcel->origin : g;
    ml_tracing_pause(ts);
    PyObject *result = PyObject_CallFunction(tracer, "s(OO)", parcel->error ? "throw" : "switch",
                                             ml_py_object(origin), ml_py_object(g));
    ml_tracing_resume(ts);
    if (!result) {
        ml_hook_take_error(parcel);
        Py_XDECREF(*place);
        *place = NULL;
    }
    Py_XDECREF(result);
    Py_DECREF(tracer);
}

/* Calls what `run` gave. The greenlet itself refers to all that is needed, where the collector sees
   it. */
static PyObject *call_run(ml_pygreenlet *p, int count) {
    PyObject *value = p->value;
    if (p->kwargs) {
        PyObject *args = count == 1 ? PyTuple_Pack(1, value)
                         : value    ? Py_NewRef(value)
                                    : PyTuple_New(0);
        if (!args) return NULL;
        Py_XSETREF(p->value, args);
        return PyObject_Call(p->start, args, p->kwargs);
    }
    if (count == 1) return PyObject_CallOneArg(p->start, value);
    return value ? PyObject_CallObject(p->start, value) : PyObject_CallNoArgs(p->start);
}

/* `run` is looked up by the one who starts the greenlet, as greenlet does: it may be anything. */
static void python_body(ml_greenlet *g, ml_parcel *parcel) {
    ml_pygreenlet *p = impl(g);
    if (!p->start) p->start = Py_XNewRef(p->run);
    PyObject *result = NULL;
    int imported = import(parcel);
    ml_settle(parcel);
    Py_CLEAR(p->run); /* may run anything, now that this greenlet is the current one */
    if (imported == 0) {
        parcel->kind = NULL;
        if (parcel->error) {
            PyErr_Restore(parcel->value, parcel->extra, parcel->more);
        } else {
            p->value = parcel->value;
            p->kwargs = parcel->extra;
            result = call_run(p, parcel->count);
        }
    }
    Py_CLEAR(p->value);
    Py_CLEAR(p->kwargs);
    Py_CLEAR(p->start);
    if (result) {
        ml_py_pack_value(parcel, result);
    } else {
        pack_outcome(parcel, true);
    }
    parcel->results = true;
}

const ml_body ml_py_body = python_body;

int ml_hook_prepare(ml_greenlet *g) {
    if (g->body != python_body) return 0;
    ml_pygreenlet *p = impl(g);
    /* On the type itself, nothing can stand before the attribute that getrun gives. */
    if (Py_TYPE(ml_py_object(g)) != &ml_PyGreenlet_Type || !p->run) {
        PyObject *callable = PyObject_GetAttrString(ml_py_object(g), "run");
        if (!callable) return ML_ELANGUAGE;
        if (g->state != ML_NEW) { /* started by what that ran */
            Py_DECREF(callable);
            return 0;
        }
        Py_XSETREF(p->start, callable);
    }
    return 0;
}

/* ------------------------------------------------------------------------------------- kill */

void ml_hook_end(ml_greenlet *g) {
    ml_greenlet *current = ml_py_current();
    ml_greenlet *parent = g->parent;
    ml_hook_retain(current);
    g->parent = current;
    PyErr_SetString(ml_PyExc_GreenletExit,
                    "Killing the greenlet because all references have vanished.");
    ml_parcel parcel;
    pack_outcome(&parcel, false);
    PyObject *result = ml_py_switch(g, &parcel);
    if (!result) PyErr_WriteUnraisable(ml_py_object(g));
    Py_XDECREF(result);
    current = g->parent;
    g->parent = parent;
    if (current) ml_hook_release(current);
}

/* From the graveyard: the owner is this thread, or has ended. Dropping the last reference kills it
   as always; what others in its cycle refer to is ended before. */
void ml_hook_kill(ml_greenlet *g) {
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (impl(g)->garbage) {
        if (ml_py_active(g)) ml_pygreenlet_end(ml_py_object(g));
        impl(g)->garbage = g->kill_queued; /* again, if this is no time to switch */
    }
    ml_hook_release(g);
    PyErr_Restore(type, value, traceback);
}

/* --------------------------------------------------------------------------------- threads */

#define CAPSULE "moonlet.thread"

/* The thread's state is being cleared, with the GIL, usually by the thread itself. */
static void thread_ends(PyObject *capsule) {
    ml_thread *t = PyCapsule_GetPointer(capsule, CAPSULE);
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyObject *tracer = *ml_thread_tracer(t);
    *ml_thread_tracer(t) = NULL;
    Py_XDECREF(tracer);
    ml_thread_exit(t);
    PyErr_Restore(type, value, traceback);
}

ml_greenlet *ml_hook_create_main(void) {
    PyObject *dict = PyThreadState_GetDict();
    PyObject *main = dict ? ml_PyGreenlet_Type.tp_alloc(&ml_PyGreenlet_Type, 0) : NULL;
    if (!main) return NULL;
    ml_pygreenlet *p = PyMem_Calloc(1, sizeof *p);
    ((PyGreenlet *)main)->pimpl = p;
    PyObject *capsule = p ? PyCapsule_New(ml_thread_get(), CAPSULE, NULL) : NULL;
    if (!capsule || PyDict_SetItemString(dict, CAPSULE, capsule) != 0) {
        Py_XDECREF(capsule);
        Py_DECREF(main);
        PyErr_Clear();
        return NULL;
    }
    ml_greenlet_init(&p->core, main, NULL, NULL);
    p->ts = ml_tstate();
    /* Only now: had it failed above, there would be no thread to end. */
    PyCapsule_SetDestructor(capsule, thread_ends);
    Py_DECREF(capsule);
    ml_py_main_count++;
    return &p->core;
}
