/* An extension that reaches greenlet through greenlet.h: every slot of its table. Compiled as C
   and as C++, with CLIENT the module's name. */

#include <greenlet/greenlet.h>
#include <stddef.h>

/* Not yet a greenlet: checked by the functions that get one. */
#define GREENLET(o) ((PyGreenlet *)(o))

static PyObject *or_none(PyObject *o) {
    if (o || PyErr_Occurred()) return o;
    Py_RETURN_NONE;
}

static PyObject *null_if_none(PyObject *o) { return o == Py_None ? NULL : o; }

/* The type, error, GreenletExit. */
static PyObject *names(PyObject *module, PyObject *args) {
    (void)module, (void)args;
    return PyTuple_Pack(3, (PyObject *)&PyGreenlet_Type, PyExc_GreenletError, PyExc_GreenletExit);
}

/* Sizes and offsets, the header's beside the type's. */
static PyObject *layout(PyObject *module, PyObject *args) {
    (void)module, (void)args;
    return Py_BuildValue("((nnn)(nnn))", (Py_ssize_t)sizeof(PyGreenlet),
                         (Py_ssize_t)offsetof(PyGreenlet, weakreflist),
                         (Py_ssize_t)offsetof(PyGreenlet, dict), PyGreenlet_Type.tp_basicsize,
                         PyGreenlet_Type.tp_weaklistoffset, PyGreenlet_Type.tp_dictoffset);
}

static PyObject *check(PyObject *module, PyObject *o) {
    (void)module;
    return PyBool_FromLong(PyGreenlet_Check(o));
}

static PyObject *make(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *run, *parent;
    if (!PyArg_ParseTuple(args, "OO", &run, &parent)) return NULL;
    return (PyObject *)PyGreenlet_New(null_if_none(run), GREENLET(null_if_none(parent)));
}

static PyObject *getcurrent(PyObject *module, PyObject *args) {
    (void)module, (void)args;
    return (PyObject *)PyGreenlet_GetCurrent();
}

static PyObject *throw_into(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *g, *typ, *val = NULL, *tb = NULL;
    if (!PyArg_ParseTuple(args, "OO|OO", &g, &typ, &val, &tb)) return NULL;
    return PyGreenlet_Throw(GREENLET(g), typ, val, tb);
}

static PyObject *switch_to(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *g, *values = NULL, *keywords = NULL;
    if (!PyArg_ParseTuple(args, "O|OO", &g, &values, &keywords)) return NULL;
    return PyGreenlet_Switch(GREENLET(g), values, keywords);
}

static PyObject *setparent(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *g, *parent;
    if (!PyArg_ParseTuple(args, "OO", &g, &parent)) return NULL;
    if (PyGreenlet_SetParent(GREENLET(g), GREENLET(parent)) != 0) return NULL;
    Py_RETURN_NONE;
}

static PyObject *getparent(PyObject *module, PyObject *g) {
    (void)module;
    return or_none((PyObject *)PyGreenlet_GetParent(GREENLET(g)));
}

/* Whether it is main, started, active. */
static PyObject *state(PyObject *module, PyObject *g) {
    (void)module;
    int is_main = PyGreenlet_MAIN(GREENLET(g));
    int started = PyGreenlet_STARTED(GREENLET(g));
    int active = PyGreenlet_ACTIVE(GREENLET(g));
    if (PyErr_Occurred()) return NULL;
    return Py_BuildValue("(iii)", is_main, started, active);
}

static PyMethodDef functions[] = {
    {"names", names, METH_NOARGS, NULL},
    {"layout", layout, METH_NOARGS, NULL},
    {"check", check, METH_O, NULL},
    {"new", make, METH_VARARGS, NULL},
    {"getcurrent", getcurrent, METH_NOARGS, NULL},
    {"throw", throw_into, METH_VARARGS, NULL},
    {"switch", switch_to, METH_VARARGS, NULL},
    {"setparent", setparent, METH_VARARGS, NULL},
    {"getparent", getparent, METH_O, NULL},
    {"state", state, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

#define EXPAND(macro, argument) macro(argument)
#define INIT(name) PyInit_##name
#define STRING(name) #name

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, EXPAND(STRING, CLIENT), NULL, -1, functions, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC EXPAND(INIT, CLIENT)(void) {
    PyGreenlet_Import();
    if (!_PyGreenlet_API) return NULL;
    return PyModule_Create(&definition);
}
