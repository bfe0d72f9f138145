#define _GNU_SOURCE /* fileno */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "standard_output.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

/* The binary file below sys.stdout: no buffer of its own, as C's stdout has one. */

static PyObject *yes(PyObject *self, PyObject *unused) {
    (void)self, (void)unused;
    Py_RETURN_TRUE;
}

static PyObject *no(PyObject *self, PyObject *unused) {
    (void)self, (void)unused;
    Py_RETURN_FALSE;
}

static PyObject *descriptor(PyObject *self, PyObject *unused) {
    (void)self, (void)unused;
    return PyLong_FromLong(fileno(stdout));
}

static PyObject *is_terminal(PyObject *self, PyObject *unused) {
    (void)self, (void)unused;
    return PyBool_FromLong(isatty(fileno(stdout)));
}

static PyObject *write_bytes(PyObject *self, PyObject *data) {
    (void)self;
    Py_buffer view;
    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) != 0) return NULL;
    size_t done;
    Py_BEGIN_ALLOW_THREADS
    errno = 0;
    done = fwrite(view.buf, 1, (size_t)view.len, stdout);
    Py_END_ALLOW_THREADS
    bool complete = done == (size_t)view.len;
    PyBuffer_Release(&view);
    if (!complete) return PyErr_SetFromErrno(PyExc_OSError);
    return PyLong_FromSize_t(done);
}

static PyObject *flush(PyObject *self, PyObject *unused) {
    (void)self, (void)unused;
    int result;
    Py_BEGIN_ALLOW_THREADS
    result = fflush(stdout);
    Py_END_ALLOW_THREADS
    if (result != 0) return PyErr_SetFromErrno(PyExc_OSError);
    Py_RETURN_NONE;
}

static PyObject *closed(PyObject *self, void *closure) {
    (void)self, (void)closure;
    Py_RETURN_FALSE;
}

static PyObject *constant(PyObject *self, void *closure) {
    (void)self;
    return PyUnicode_FromString(closure);
}

static PyMethodDef methods[] = {
    {"readable", no, METH_NOARGS, NULL},
    {"writable", yes, METH_NOARGS, NULL},
    {"seekable", no, METH_NOARGS, NULL},
    {"fileno", descriptor, METH_NOARGS, NULL},
    {"isatty", is_terminal, METH_NOARGS, NULL},
    {"write", write_bytes, METH_O, "write(b) -> int\n\nWrites bytes to C's stdout."},
    {"flush", flush, METH_NOARGS, NULL},
    {"close", flush, METH_NOARGS, "Flushes: the stream is the whole program's."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef attributes[] = {
    {"closed", closed, NULL, NULL, NULL},
    {"name", constant, NULL, NULL, "<stdout>"},
    {"mode", constant, NULL, NULL, "wb"},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, "C's stdout as a binary file."},
    {Py_tp_methods, methods},
    {Py_tp_getset, attributes},
    {0, NULL},
};

static PyType_Spec spec = {
    .name = "moonlet.StandardOutput",
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = slots,
};

int ml_share_stdout(void) {
    int result = -1;
    PyObject *wrapper = NULL;
    PyObject *io = PyImport_ImportModule("io");
    PyObject *type = PyType_FromSpec(&spec);
    PyObject *file = type ? PyObject_CallNoArgs(type) : NULL;
    PyObject *make = io ? PyObject_GetAttrString(io, "TextIOWrapper") : NULL;
    PyObject *args = file ? Py_BuildValue("(Oss)", file, "utf-8", "surrogateescape") : NULL;
    PyObject *kwargs = Py_BuildValue("{s:s,s:O}", "newline", "\n", "write_through", Py_True);
    if (make && args && kwargs) wrapper = PyObject_Call(make, args, kwargs);
    if (wrapper && PySys_SetObject("stdout", wrapper) == 0) {
        result = PySys_SetObject("__stdout__", wrapper);
    }
    Py_XDECREF(wrapper);
    Py_XDECREF(kwargs);
    Py_XDECREF(args);
    Py_XDECREF(make);
    Py_XDECREF(file);
    Py_XDECREF(type);
    Py_XDECREF(io);
    return result;
}
