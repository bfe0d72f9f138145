# The C API of greenlet for Cython: `cimport greenlet`, or `from greenlet cimport ...`.
# greenlet.h, which lies beside this file, says what each of these does. Call PyGreenlet_Import()
# once in a module that calls any of them.

from cpython.object cimport PyObject, PyTypeObject


cdef extern from "greenlet/greenlet.h":
    ctypedef struct PyGreenlet:
        pass

    ctypedef class greenlet.greenlet [object PyGreenlet]:
        pass

    void PyGreenlet_Import() except *

    PyTypeObject PyGreenlet_Type
    PyObject *PyExc_GreenletError
    PyObject *PyExc_GreenletExit

    bint PyGreenlet_Check(object op)
    # Where NULL is allowed, the parameters are pointers.
    greenlet PyGreenlet_New(PyObject *run, PyGreenlet *parent)
    greenlet PyGreenlet_GetCurrent()
    object PyGreenlet_Throw(greenlet self, PyObject *typ, PyObject *val, PyObject *tb)
    object PyGreenlet_Switch(greenlet self, PyObject *args, PyObject *kwargs)
    int PyGreenlet_SetParent(greenlet self, greenlet parent) except -1
    # A reference that is the caller's; NULL without an exception where there is no parent.
    PyGreenlet *PyGreenlet_GetParent(greenlet self) except? NULL
    int PyGreenlet_MAIN(greenlet self) except -1
    int PyGreenlet_STARTED(greenlet self) except -1
    int PyGreenlet_ACTIVE(greenlet self) except -1
