/* The part of the bridge that is written in Python: what the abstract classes of Python's
   collections and its import system make easy. It is compiled when it is first needed. */

#include "luaproxy.h"

static const char tables[] = {
#include "tables.py.inc"
    0};

static const char modules[] = {
#include "modules.py.inc"
    0};

ml_source ml_tables_source = {.name = "tables.py", .text = tables, .helpers = ml_tables_helpers};
ml_source ml_modules_source = {
    .name = "modules.py", .text = modules, .helpers = ml_modules_helpers};

static int add_helpers(PyObject *namespace, PyMethodDef *helpers) {
    for (PyMethodDef *helper = helpers; helper && helper->ml_name; helper++) {
        PyObject *function = PyCFunction_New(helper, NULL);
        int result = function ? PyDict_SetItemString(namespace, helper->ml_name, function) : -1;
        Py_XDECREF(function);
        if (result != 0) return -1;
    }
    return 0;
}

/* Its classes belong to the module `moonlet`. */
static int prepare(PyObject *namespace, const ml_source *source) {
    PyObject *name = PyUnicode_FromString("moonlet");
    int result = name ? PyDict_SetItemString(namespace, "__name__", name) : -1;
    Py_XDECREF(name);
    if (result != 0) return -1;
    if (PyDict_SetItemString(namespace, "__builtins__", PyEval_GetBuiltins()) != 0) return -1;
    return add_helpers(namespace, source->helpers);
}

static int run(ml_source *source) {
    char name[40];
    snprintf(name, sizeof name, "<moonlet %s>", source->name);
    PyObject *namespace = PyDict_New();
    PyObject *code = NULL;
    PyObject *done = NULL;
    if (namespace && prepare(namespace, source) == 0) {
        code = Py_CompileString(source->text, name, Py_file_input);
    }
    if (code) done = PyEval_EvalCode(code, namespace, namespace);
    /* Python code may have let another greenlet or thread do the same. */
    if (done && !source->namespace) source->namespace = Py_NewRef(namespace);
    Py_XDECREF(namespace);
    Py_XDECREF(code);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

PyObject *ml_source_get(ml_source *source, const char *name) {
    if (!source->namespace && run(source) != 0) return NULL;
    PyObject *value = PyDict_GetItemString(source->namespace, name); /* borrowed */
    if (!value) PyErr_Format(PyExc_SystemError, "%s has no '%s'", source->name, name);
    return Py_XNewRef(value);
}
