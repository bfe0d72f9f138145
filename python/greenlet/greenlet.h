/* The C API of greenlet, for extensions of CPython.

   Names, slots and layout are those of the package greenlet since 1.0: what is compiled with this
   header runs on either, and so does what was compiled with the other's. Call PyGreenlet_Import()
   once, when your module is initialised; all else needs that. Each file that includes the header
   has a table of its own to import. The GIL is held in all of it.

   A PyGreenlet * is a PyObject * of the type greenlet.greenlet, or of a subclass. */

#ifndef Py_GREENLETOBJECT_H
#define Py_GREENLETOBJECT_H

#include <Python.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Of the interface, for old sources; greenlet.__version__ is that of the package. */
#define GREENLET_VERSION "1.0.0"

#ifndef GREENLET_MODULE
#define implementation_ptr_t void *
#endif

typedef struct _greenlet {
    PyObject_HEAD
    PyObject *weakreflist;
    PyObject *dict;
    implementation_ptr_t pimpl; /* the implementation's */
} PyGreenlet;

/* What the capsule greenlet._C_API points to: an array of so many pointers, by these indices. */
#define PyGreenlet_API_pointers 12

#define PyGreenlet_Type_NUM 0
#define PyExc_GreenletError_NUM 1
#define PyExc_GreenletExit_NUM 2
#define PyGreenlet_New_NUM 3
#define PyGreenlet_GetCurrent_NUM 4
#define PyGreenlet_Throw_NUM 5
#define PyGreenlet_Switch_NUM 6
#define PyGreenlet_SetParent_NUM 7
#define PyGreenlet_MAIN_NUM 8
#define PyGreenlet_STARTED_NUM 9
#define PyGreenlet_ACTIVE_NUM 10
#define PyGreenlet_GET_PARENT_NUM 11

#ifndef GREENLET_MODULE

static void **_PyGreenlet_API = NULL;

/* Imports greenlet. On failure an exception is set and _PyGreenlet_API is NULL. */
static inline void PyGreenlet_Import(void) {
    _PyGreenlet_API = (void **)PyCapsule_Import("greenlet._C_API", 0);
}

/* The type greenlet.greenlet, a PyTypeObject. */
#define PyGreenlet_Type (*(PyTypeObject *)_PyGreenlet_API[PyGreenlet_Type_NUM])

/* greenlet.error and greenlet.GreenletExit (borrowed). */
#define PyExc_GreenletError ((PyObject *)_PyGreenlet_API[PyExc_GreenletError_NUM])
#define PyExc_GreenletExit ((PyObject *)_PyGreenlet_API[PyExc_GreenletExit_NUM])

/* Whether `op`, which may be NULL, is a greenlet. */
#define PyGreenlet_Check(op) ((op) && PyObject_TypeCheck((op), &PyGreenlet_Type))

/* The functions are macros, so that a source can ask for them with #ifdef. */
#define PyGreenlet_FUNCTION_(name, result, parameters) \
    (*(result(*) parameters)(uintptr_t)_PyGreenlet_API[name##_NUM])

/* A new greenlet that will run the callable `run` (new reference). NULL and an exception on
   failure. `run` can be NULL, to be set before the start, and `parent`: the current greenlet. */
#define PyGreenlet_New \
    PyGreenlet_FUNCTION_(PyGreenlet_New, PyGreenlet *, (PyObject * run, PyGreenlet * parent))

/* The running greenlet (new reference). NULL and an exception on failure. */
#define PyGreenlet_GetCurrent PyGreenlet_FUNCTION_(PyGreenlet_GetCurrent, PyGreenlet *, (void))

/* g.throw(typ, val, tb); `val` and `tb` can be NULL. Returns what a switch returns. */
#define PyGreenlet_Throw                               \
    PyGreenlet_FUNCTION_(PyGreenlet_Throw, PyObject *, \
                         (PyGreenlet * self, PyObject * typ, PyObject * val, PyObject * tb))

/* g.switch(*args, **kwargs): a tuple and a dict, both of which can be NULL. Returns what the
   switch back brings (new reference), or NULL with the exception that it brings. */
#define PyGreenlet_Switch                               \
    PyGreenlet_FUNCTION_(PyGreenlet_Switch, PyObject *, \
                         (PyGreenlet * self, PyObject * args, PyObject * kwargs))

/* g.parent = parent. 0, or -1 with an exception. */
#define PyGreenlet_SetParent \
    PyGreenlet_FUNCTION_(PyGreenlet_SetParent, int, (PyGreenlet * self, PyGreenlet * parent))

/* g.parent (new reference). NULL, without an exception, for a greenlet that has none. */
#define PyGreenlet_GetParent \
    PyGreenlet_FUNCTION_(PyGreenlet_GET_PARENT, PyGreenlet *, (PyGreenlet * self))
#define PyGreenlet_GET_PARENT PyGreenlet_GetParent

/* Whether it is its thread's main greenlet; whether it has been started, be it alive or dead;
   whether it has been started and is not dead. 1 or 0; -1 with an exception if it is none. */
#define PyGreenlet_MAIN PyGreenlet_FUNCTION_(PyGreenlet_MAIN, int, (PyGreenlet * self))
#define PyGreenlet_STARTED PyGreenlet_FUNCTION_(PyGreenlet_STARTED, int, (PyGreenlet * self))
#define PyGreenlet_ACTIVE PyGreenlet_FUNCTION_(PyGreenlet_ACTIVE, int, (PyGreenlet * self))

#endif /* GREENLET_MODULE */

#ifdef __cplusplus
}
#endif

#endif
