/* greenlet._greenlet: the module `greenlet` as an extension of the stock interpreter. */

#include "pygreenlet.h"

__attribute__((visibility("default"))) PyMODINIT_FUNC PyInit__greenlet(void);

PyMODINIT_FUNC PyInit__greenlet(void) { return ml_PyInit_greenlet(); }
