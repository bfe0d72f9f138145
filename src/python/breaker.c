#define Py_BUILD_CORE 1 /* for Include/internal */
#include "breaker.h"

#include ML_BREAKER

bool ml_breaker_is_set(const PyThreadState *ts) { return is_set(ts); }
