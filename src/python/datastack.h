/* Memory for the data stacks of CPython >= 3.11, on which Python frames live.

   Left alone, CPython maps a chunk of 16 KiB when a greenlet makes its first call and unmaps it
   when the greenlet ends, which costs more than everything else in its life. So a greenlet starts
   with a small root chunk from a pool, and the larger chunks that deep calls need are pooled,
   too. All functions need the GIL. */

#ifndef ML_DATASTACK_H
#define ML_DATASTACK_H

#include <Python.h>

/* A root chunk, with `previous` and `size` set. NULL: no memory, no error set. */
_PyStackChunk *ml_datastack_new(void);

/* Frees a chain of chunks, the root too. NULL is allowed. */
void ml_datastack_free(_PyStackChunk *chunk);

/* Puts the pool of larger chunks in front of CPython's arena allocator. Call it once. */
void ml_datastack_init(void);

#endif
