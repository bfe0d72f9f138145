/* The elements of a buffer: one value of C each, as the codes of Python's module struct name them. */

#ifndef ML_ELEMENT_H
#define ML_ELEMENT_H

#include "bridge.h"

typedef struct ml_element {
    char code; /* of struct; 0: Lua cannot read or write it */
    bool swapped;
    Py_ssize_t size; /* in bytes */
} ml_element;

/* What no number needs more bytes than. */
enum { ML_ELEMENT_MAX = 8 };

/* What a buffer's format means: one of ?bBhHiIlLqQnNefdcP, or s with its count, after @ = < > ! or
   nothing. NULL is B. */
ml_element ml_element_parse(const char *format, Py_ssize_t size);

/* Pushes the element at `from`, which need not be aligned: a boolean, an integer (a Python object if
   it has more than 64 bits with its sign), a float, or a string of `size` bytes. Raises only for want
   of memory. Its code is not 0. */
void ml_element_push(lua_State *L, ml_world *w, ml_element e, const char *from);

/* Converts the value at `index`. Raises if it is of another type, or out of range. Python objects
   are asked for their value, which may run any code. For s: gives the text, with *length of at most
   e.size; for all others fills e.size bytes and returns them. */
const char *ml_element_take(lua_State *L, ml_world *w, ml_element e, int index,
                            char bytes[ML_ELEMENT_MAX], size_t *length);

#endif
