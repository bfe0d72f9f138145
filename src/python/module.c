/* The module `greenlet`. */

#include "pygreenlet.h"

static PyObject *getcurrent(PyObject *module, PyObject *args) {
    (void)module, (void)args;
    ml_tidy();
    ml_greenlet *g = ml_py_current();
    return g ? Py_NewRef(ml_py_object(g)) : NULL;
}

static PyMethodDef functions[] = {
    {"getcurrent", getcurrent, METH_NOARGS,
     "getcurrent() -> greenlet\n\nReturns the greenlet that calls it."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "greenlet",
    .m_doc = "Greenlets: functions that run on stacks of their own and switch to each other.",
    .m_size = -1,
    .m_methods = functions,
};

PyObject *ml_PyInit_greenlet(void) {
    if (ml_pygreenlet_init() != 0) return NULL;
    PyObject *module = PyModule_Create(&definition);
    if (!module) return NULL;
    PyObject *type = (PyObject *)&ml_PyGreenlet_Type;
    if (PyModule_AddObjectRef(module, "greenlet", type) != 0 ||
        PyModule_AddObjectRef(module, "GreenletExit", ml_PyExc_GreenletExit) != 0 ||
        PyModule_AddObjectRef(module, "error", ml_PyExc_GreenletError) != 0) {
        Py_DECREF(module);
        return NULL;
    }
    /* greenlet has these on the type, too. */
    PyObject *dict = ml_PyGreenlet_Type.tp_dict;
    PyObject *current = PyObject_GetAttrString(module, "getcurrent");
    int result = -1;
    if (current) {
        PyObject *method = PyStaticMethod_New(current);
        if (method && PyDict_SetItemString(dict, "getcurrent", method) == 0 &&
            PyDict_SetItemString(dict, "GreenletExit", ml_PyExc_GreenletExit) == 0 &&
            PyDict_SetItemString(dict, "error", ml_PyExc_GreenletError) == 0) {
            PyType_Modified(&ml_PyGreenlet_Type);
            result = 0;
        }
        Py_XDECREF(method);
        Py_DECREF(current);
    }
    if (result != 0) Py_CLEAR(module);
    return module;
}
