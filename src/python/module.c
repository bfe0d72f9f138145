/* The module `greenlet`. */

#include "pygreenlet.h"

#include <time.h>

/* The release of greenlet whose behaviour this is. */
#define VERSION "3.5.6"

static PyObject *getcurrent(PyObject *module, PyObject *args) {
    (void)module, (void)args;
    return ml_py_getcurrent();
}

static void **tracer(void) {
    ml_thread *t = ml_thread_get();
    if (!t) PyErr_NoMemory();
    return t ? ml_thread_tracer(t) : NULL;
}

static PyObject *gettrace(PyObject *module, PyObject *args) {
    (void)module, (void)args;
    void **place = tracer();
    return place ? Py_NewRef(*place ? *place : Py_None) : NULL;
}

static PyObject *settrace(PyObject *module, PyObject *callback) {
    (void)module;
    void **place = tracer();
    if (!place) return NULL;
    PyObject *old = *place;
    *place = callback == Py_None ? NULL : Py_NewRef(callback);
    return old ? old : Py_NewRef(Py_None);
}

/* ------------------------------------------------------------------------- for greenlet's users

   What greenlet does in these functions is not needed here: no greenlet is searched for with the
   garbage collector when a thread ends, and no clean-up waits. */

static bool cleanup_enabled = true;

static PyObject *enable_optional_cleanup(PyObject *module, PyObject *flag) {
    (void)module;
    int enable = PyObject_IsTrue(flag);
    if (enable < 0) return NULL;
    cleanup_enabled = enable;
    Py_RETURN_NONE;
}

static PyObject *get_clocks_used_doing_optional_cleanup(PyObject *module, PyObject *args) {
    (void)module, (void)args;
    if (!cleanup_enabled) Py_RETURN_NONE;
    return PyLong_FromLong(0);
}

static PyObject *get_pending_cleanup_count(PyObject *module, PyObject *args) {
    (void)module, (void)args;
    return PyLong_FromLong(0);
}

static PyObject *get_total_main_greenlets(PyObject *module, PyObject *args) {
    (void)module, (void)args;
    return PyLong_FromSsize_t(ml_py_main_count);
}

static PyObject *set_thread_local(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *key, *value;
    if (!PyArg_UnpackTuple(args, "set_thread_local", 2, 2, &key, &value)) return NULL;
    if (PyDict_SetItem(PyThreadState_GetDict(), key, value) != 0) return NULL;
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"getcurrent", getcurrent, METH_NOARGS,
     "getcurrent() -> greenlet\n\nReturns the greenlet that calls it."},
    {"settrace", settrace, METH_O,
     "settrace(callback) -> object\n\n"
     "Sets what is called after every switch of this thread, in the greenlet that was switched\n"
     "to, as callback(event, (origin, target)); event is 'switch' or 'throw'. An exception that\n"
     "it raises is raised there, and ends the tracing. None: nothing is called. Returns what was\n"
     "set before."},
    {"gettrace", gettrace, METH_NOARGS,
     "gettrace() -> object\n\nReturns what settrace() has set in this thread, or None."},
    {"enable_optional_cleanup", enable_optional_cleanup, METH_O,
     "enable_optional_cleanup(flag) -> None\n\nOnly for compatibility: no clean-up is optional."},
    {"get_clocks_used_doing_optional_cleanup", get_clocks_used_doing_optional_cleanup, METH_NOARGS,
     "get_clocks_used_doing_optional_cleanup() -> int\n\n"
     "Returns 0, or None after enable_optional_cleanup(False)."},
    {"get_pending_cleanup_count", get_pending_cleanup_count, METH_NOARGS,
     "get_pending_cleanup_count() -> int\n\nReturns 0: a thread's end leaves nothing to do."},
    {"get_total_main_greenlets", get_total_main_greenlets, METH_NOARGS,
     "get_total_main_greenlets() -> int\n\nReturns how many main greenlets exist."},
    {"set_thread_local", set_thread_local, METH_VARARGS,
     "set_thread_local(key, value) -> None\n\nSets an item of the thread state's dict."},
    {NULL, NULL, 0, NULL},
};

#ifdef ML_HAS_TRASH_NESTING
static PyObject *get_tstate_trash_delete_nesting(PyObject *module, PyObject *args) {
    (void)module, (void)args;
    return PyLong_FromLong(ml_trash_nesting(ml_tstate()));
}

static PyMethodDef version_functions[] = {
    {"get_tstate_trash_delete_nesting", get_tstate_trash_delete_nesting, METH_NOARGS,
     "get_tstate_trash_delete_nesting() -> int\n\nReturns how deep the trash can is nested."},
    {NULL, NULL, 0, NULL},
};
#else
static PyMethodDef version_functions[] = {{NULL, NULL, 0, NULL}};
#endif

/* greenlet has these on the type, too. */
static const char *const on_type[] = {"getcurrent", "error",    "GreenletExit",
                                      "settrace",   "gettrace", NULL};

static int add_to_type(PyObject *module) {
    for (const char *const *name = on_type; *name; name++) {
        PyObject *value = PyObject_GetAttrString(module, *name);
        PyObject *dict = ml_PyGreenlet_Type.tp_dict;
        int result = value ? PyDict_SetItemString(dict, *name, value) : -1;
        Py_XDECREF(value);
        if (result != 0) return -1;
    }
    PyType_Modified(&ml_PyGreenlet_Type);
    return 0;
}

static int add_capsule(PyObject *module) {
    PyObject *capsule = ml_py_capsule();
    int result = capsule ? PyModule_AddObjectRef(module, "_C_API", capsule) : -1;
    Py_XDECREF(capsule);
    return result;
}

static int execute(PyObject *module) {
    PyObject *type = (PyObject *)&ml_PyGreenlet_Type;
    if (PyModule_AddObjectRef(module, "greenlet", type) != 0 ||
        PyModule_AddObjectRef(module, "GreenletExit", ml_PyExc_GreenletExit) != 0 ||
        PyModule_AddObjectRef(module, "error", ml_PyExc_GreenletError) != 0 ||
        PyModule_AddStringConstant(module, "__version__", VERSION) != 0 ||
        PyModule_AddIntConstant(module, "GREENLET_USE_GC", 1) != 0 ||
        PyModule_AddIntConstant(module, "GREENLET_USE_TRACING", 1) != 0 ||
        PyModule_AddIntConstant(module, "GREENLET_USE_CONTEXT_VARS", 1) != 0 ||
        PyModule_AddIntConstant(module, "GREENLET_USE_STANDARD_THREADING", 1) != 0 ||
        PyModule_AddIntConstant(module, "CLOCKS_PER_SEC", CLOCKS_PER_SEC) != 0 ||
        PyModule_AddFunctions(module, version_functions) != 0)
        return -1;
    return add_capsule(module) == 0 ? add_to_type(module) : -1;
}

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "greenlet",
    .m_doc = "Greenlets: functions that run on stacks of their own and switch to each other.",
    .m_size = -1,
    .m_methods = functions,
};

PyObject *ml_greenlet_module(void) {
    if (ml_pygreenlet_init() != 0) return NULL;
    PyObject *module = PyModule_Create(&definition);
    if (module && execute(module) != 0) Py_CLEAR(module);
    return module;
}

PyObject *ml_PyInit_greenlet(void) {
    PyObject *module = ml_greenlet_module();
    if (module &&
        (PyModule_AddObjectRef(module, "_greenlet", module) != 0 ||
         PyDict_SetItemString(PyImport_GetModuleDict(), "greenlet._greenlet", module) != 0))
        Py_CLEAR(module);
    return module;
}
