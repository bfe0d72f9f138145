/* What asks CPython 3.11 to leave its eval loop, for breaker.c: Include/internal/pycore_interp.h. */

#include <internal/pycore_interp.h>

static inline bool is_set(const PyThreadState *ts) {
    return _Py_atomic_load_relaxed(&ts->interp->ceval.eval_breaker) != 0;
}
