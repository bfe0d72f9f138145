/* greenlet._C_API: what compiled clients of greenlet call. The header for them is
   python/greenlet/greenlet.h. */

#include "pygreenlet.h"

static bool check(PyObject *o) {
    if (ml_is_pygreenlet(o)) return true;
    PyErr_BadArgument();
    return false;
}

static PyObject *make(PyObject *run, PyObject *parent) {
    PyObject *self = PyObject_CallNoArgs((PyObject *)&ml_PyGreenlet_Type);
    if (self && ((run && PyObject_SetAttrString(self, "run", run) != 0) ||
                 (parent && parent != Py_None && ml_py_set_parent(self, parent) != 0)))
        Py_CLEAR(self);
    return self;
}

static PyObject *throw_into(PyObject *self, PyObject *type, PyObject *value, PyObject *traceback) {
    return check(self) ? ml_py_throw(ml_py_core(self), type, value, traceback) : NULL;
}

static PyObject *switch_to(PyObject *self, PyObject *args, PyObject *kwargs) {
    if (!check(self)) return NULL;
    if (args && !PyTuple_Check(args)) {
        PyErr_BadArgument();
        return NULL;
    }
    if (kwargs && (!PyDict_Check(kwargs) || PyDict_GET_SIZE(kwargs) == 0)) kwargs = NULL;
    PyObject *tuple = args ? Py_NewRef(args) : PyTuple_New(0);
    ml_parcel parcel;
    int result = tuple ? ml_py_pack_call(&parcel, tuple, kwargs) : -1;
    Py_XDECREF(tuple);
    return result == 0 ? ml_py_switch(ml_py_core(self), &parcel) : NULL;
}

static int set_parent(PyObject *self, PyObject *parent) {
    return check(self) ? ml_py_set_parent(self, parent) : -1;
}

static int is_main(PyObject *self) {
    return check(self) ? ml_is_main(ml_py_core(self)) && ml_py_active(ml_py_core(self)) : -1;
}

static int is_started(PyObject *self) {
    return check(self) ? ml_py_core(self)->state != ML_NEW : -1;
}

static int is_active(PyObject *self) { return check(self) ? ml_py_active(ml_py_core(self)) : -1; }

static PyObject *get_parent(PyObject *self) {
    if (!check(self)) return NULL;
    const ml_greenlet *parent = ml_py_core(self)->parent;
    return parent ? Py_NewRef(ml_py_object(parent)) : NULL;
}

PyObject *ml_py_capsule(void) {
    /* Data and functions alike, in the order that clients were compiled with. That a function's
       address fits a void pointer is POSIX's promise (dlsym), not C's. */
    static union {
        void *data;
        PyObject *(*object)(PyObject *);
        PyObject *(*none)(void);
        PyObject *(*two)(PyObject *, PyObject *);
        PyObject *(*three)(PyObject *, PyObject *, PyObject *);
        PyObject *(*four)(PyObject *, PyObject *, PyObject *, PyObject *);
        int (*is)(PyObject *);
        int (*set)(PyObject *, PyObject *);
    } slots[12];
    slots[0].data = &ml_PyGreenlet_Type;
    slots[1].data = ml_PyExc_GreenletError;
    slots[2].data = ml_PyExc_GreenletExit;
    slots[3].two = make;
    slots[4].none = ml_py_getcurrent;
    slots[5].four = throw_into;
    slots[6].three = switch_to;
    slots[7].set = set_parent;
    slots[8].is = is_main;
    slots[9].is = is_started;
    slots[10].is = is_active;
    slots[11].object = get_parent;
    return PyCapsule_New(slots, "greenlet._C_API", NULL);
}
