/* Up to CPython 3.11 ob_size of an int is the number of its digits, with the sign of the int
   (longintrepr.h); 0 has none. */

#ifndef ML_INTS_310_H
#define ML_INTS_310_H

static inline bool ml_int_is_short(PyObject *o) { return (size_t)(Py_SIZE(o) + 1) <= 2; }

static inline Py_ssize_t ml_short_int(PyObject *o) {
    Py_ssize_t size = Py_SIZE(o);
    return size ? size * (Py_ssize_t)((PyLongObject *)o)->ob_digit[0] : 0;
}

#endif
