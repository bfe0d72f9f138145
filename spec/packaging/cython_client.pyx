# cython: language_level=3
"""A Cython module that reaches greenlet through greenlet/__init__.pxd."""

cimport greenlet as capi
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF
from greenlet cimport PyGreenlet_GetCurrent, greenlet

capi.PyGreenlet_Import()


cdef class Counter(greenlet):
    """A greenlet whose methods and attributes are C's."""

    cdef readonly int count

    def run(self):
        cdef greenlet parent = <greenlet>self.parent
        while True:
            self.count += 1
            capi.PyGreenlet_Switch(parent, NULL, NULL)


def names():
    return (<object>&capi.PyGreenlet_Type, <object>capi.PyExc_GreenletError,
            <object>capi.PyExc_GreenletExit)


def check(o):
    return capi.PyGreenlet_Check(o)


def new(run, parent):
    return capi.PyGreenlet_New(<PyObject *>run if run is not None else NULL,
                               <capi.PyGreenlet *>parent if parent is not None else NULL)


def getcurrent():
    return PyGreenlet_GetCurrent()


def throw(greenlet g, typ):
    return capi.PyGreenlet_Throw(g, <PyObject *>typ, NULL, NULL)


def switch(greenlet g, tuple args=None, dict kwargs=None):
    return capi.PyGreenlet_Switch(g, <PyObject *>args if args is not None else NULL,
                                  <PyObject *>kwargs if kwargs is not None else NULL)


def setparent(greenlet g, greenlet parent):
    capi.PyGreenlet_SetParent(g, parent)


def getparent(greenlet g):
    cdef PyObject *parent = <PyObject *>capi.PyGreenlet_GetParent(g)
    if parent is NULL:
        return None
    result = <object>parent
    Py_DECREF(result)
    return result


def state(greenlet g):
    return capi.PyGreenlet_MAIN(g), capi.PyGreenlet_STARTED(g), capi.PyGreenlet_ACTIVE(g)
