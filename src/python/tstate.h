/* The top frame: what of CPython's PyThreadState belongs to one greenlet.

   One tstate_3XX.h per CPython minor version defines the struct ml_top and the functions named
   here, all `static inline`, and names what else differs: ML_FRAMES, a header for frames.c, and
   with it that there is a data stack. Nothing else in moonlet tests the version.

   ml_top_init(popped)    once, before all others. `popped` is called, on any thread, before a piece of a
                          data stack is given back, and calls
   ml_top_popped(top)     for the current greenlet of its thread
   ml_tstate()            the calling thread's state; the GIL is held
   ml_top_start(ts, top, loft)  on a new greenlet's stack: an empty top frame. `loft` is what core.h says.
                          What a trace function starts is not traced, as with greenlet
   ml_top_save(ts, top, stack_end)  before the current greenlet's stack is left. stack_end: where
                          the temporaries of its innermost frame end, if known and if they are there
   ml_top_load(ts, top)   after it is entered again
   ml_top_finish(ts, top) the running greenlet has no frame any more, and nothing but a switch is
                          to come: frees its data stack
   ml_top_loft_used(top, loft)  how much it uses of its loft, of one that is suspended
   ml_top_moved(top, from, size, to)  after the bytes of a suspended greenlet, from its C stack to the
                          end of what it uses of its loft, were copied: its frames and their objects are
                          at `to` now. Runs no other code
   ml_top_drop(top)       frees the data stack and references of one that will never run again, also
                          of its frames. May run arbitrary code; allowed more than once
   ml_top_traverse(top, ends, visit, arg)  the references that a suspended greenlet's top owns, and
                          its frames own that are not objects of their own. Its stack may be evicted.
                          Of a running one, nothing. ends: where temporaries of some frames end, ended
                          by NULL
   ml_top_frame(top)      the innermost complete frame of a suspended greenlet, a new reference;
                          NULL: it has none (also because it runs), or MemoryError
   ml_frame_now(ts)       where the running code is: its innermost frame, good until that ends
   ml_frame_object(f)     that as a frame object (a new reference) if it is complete; NULL: there is
                          none, or MemoryError
   ml_tracing_pause(ts), ml_tracing_resume(ts)  around a call that trace functions must not see
   ml_finalizing()        whether the interpreter is being finalized
   ml_int_is_short(o)     whether the int `o` has one digit at most; ml_short_int(o): its value then
   ML_HAS_TRASH_NESTING, ml_trash_nesting(ts)  how deep the trash can is, where it counts that */

#ifndef ML_TSTATE_H
#define ML_TSTATE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>
#include <stddef.h>

#define ML_STRING(x) #x
#define ML_EXPAND(x) ML_STRING(x)
#define ML_PYTHON_KIND "cpython " ML_EXPAND(PY_MAJOR_VERSION) "." ML_EXPAND(PY_MINOR_VERSION)

#ifdef Py_GIL_DISABLED
#error "moonlet needs a CPython with the global interpreter lock"
#elif PY_VERSION_HEX >= 0x030d0000 && PY_VERSION_HEX < 0x030e0000
#include "tstate_313.h"
#elif PY_VERSION_HEX >= 0x030c0000 && PY_VERSION_HEX < 0x030d0000
#include "tstate_312.h"
#elif PY_VERSION_HEX >= 0x030b0000 && PY_VERSION_HEX < 0x030c0000
#include "tstate_311.h"
#elif PY_VERSION_HEX >= 0x030a0000 && PY_VERSION_HEX < 0x030b0000
#include "tstate_310.h"
#else
#error \
    "moonlet has no src/python/tstate_3XX.h for this CPython; CONTRIBUTING.md tells how to add one"
#endif

#endif
