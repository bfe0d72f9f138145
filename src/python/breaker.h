/* Whether Python wants to do something between two bytecodes. */

#ifndef ML_BREAKER_H
#define ML_BREAKER_H

#include "tstate.h"

/* Another thread has waited for the GIL for the switch interval, or there are signals, pending calls
   or an asynchronous exception: what Python's eval loop looks at between bytecodes. `ts` has the GIL.
   Can be called by a signal handler. */
bool ml_breaker_is_set(const PyThreadState *ts);

#endif
