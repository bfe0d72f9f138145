/* Memory for the data stacks of CPython >= 3.11, on which Python frames live.

   Left alone, CPython maps a chunk of 16 KiB when a greenlet makes its first call and unmaps it
   when the greenlet ends, which costs more than everything else in its life. So a greenlet's root
   chunk is the loft of its lane (core.h): it costs nothing, and while a greenlet is evicted only
   what it uses of it takes memory. The larger chunks that deep calls need are pooled. All functions
   need the GIL. */

#ifndef ML_DATASTACK_H
#define ML_DATASTACK_H

#include "../core/core.h"

#include <Python.h>
#include <stdbool.h>

/* By its size a root is told from all else that comes from the arena allocator. */
enum { ML_ROOT_SIZE = ML_LOFT_SIZE - sizeof(PyObject *) };

/* An empty data stack in the loft of the greenlet that begins. Returns its root. */
static inline const _PyStackChunk *ml_datastack_start(PyThreadState *ts, void *loft) {
    _PyStackChunk *root = loft;
    root->previous = NULL;
    root->size = ML_ROOT_SIZE;
    root->top = 0;
    ts->datastack_chunk = root;
    /* The first slot stays unused, as in push_chunk of pystate.c: so the root is never popped. */
    ts->datastack_top = &root->data[1];
    ts->datastack_limit = (PyObject **)((char *)root + ML_ROOT_SIZE);
    return root;
}

/* Frees a chain of chunks up to `root`, which it does not look at. NULL is the empty chain. */
void ml_datastack_free(_PyStackChunk *chunk, const _PyStackChunk *root);

/* Puts the pool of larger chunks in front of CPython's arena allocator. Call it once. `popped` is called
   when memory is given back to that. */
void ml_datastack_init(void (*popped)(void));

/* Whether nobody else has come in front of it since. */
bool ml_datastack_watched(void);

#endif
