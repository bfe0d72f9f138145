/* greenlet._greenlet: the module `greenlet` as an extension of the stock interpreter. */

#include "pygreenlet.h"

__attribute__((visibility("default"))) PyMODINIT_FUNC PyInit__greenlet(void);

PyMODINIT_FUNC PyInit__greenlet(void) {
    PyObject *module = ml_greenlet_module();
    PyObject *name = module ? PyUnicode_FromString("greenlet._greenlet") : NULL;
    if (module && (!name || PyObject_SetAttrString(module, "__name__", name) != 0)) {
        Py_CLEAR(module);
    }
    Py_XDECREF(name);
    return module;
}
