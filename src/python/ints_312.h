/* Since CPython 3.12 ints of one digit are called compact (cpython/longintrepr.h). */

#ifndef ML_INTS_312_H
#define ML_INTS_312_H

static inline bool ml_int_is_short(PyObject *o) {
    return PyUnstable_Long_IsCompact((PyLongObject *)o);
}

static inline Py_ssize_t ml_short_int(PyObject *o) {
    return PyUnstable_Long_CompactValue((PyLongObject *)o);
}

#endif
