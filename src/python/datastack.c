#include "tstate.h"

#ifdef ML_FRAMES /* there is a data stack */

#include <stdatomic.h>

/* Enough for five or six frames of ordinary functions, so for most tasks that wait. */
#define ROOT_SIZE 1024
/* DATA_STACK_CHUNK_SIZE of CPython's Python/pystate.c. */
#define CHUNK_SIZE ((size_t)16 << 10)

enum { MAX_ROOTS = 1024, MAX_CHUNKS = 64 };

static _PyStackChunk *roots;
static int root_count;
static void *chunks; /* linked by their first word */
static int chunk_count;
static atomic_flag chunks_in_use = ATOMIC_FLAG_INIT;
static PyObjectArenaAllocator arena; /* the one that was there before */

_PyStackChunk *ml_datastack_new(void) {
    _PyStackChunk *chunk = roots;
    if (chunk) {
        roots = chunk->previous;
        root_count--;
    } else {
        chunk = PyMem_RawMalloc(ROOT_SIZE);
        if (!chunk) return NULL;
    }
    chunk->previous = NULL;
    chunk->size = ROOT_SIZE;
    chunk->top = 0;
    return chunk;
}

void ml_datastack_free(_PyStackChunk *chunk) {
    while (chunk) {
        _PyStackChunk *previous = chunk->previous;
        if (chunk->size != ROOT_SIZE) {
            PyObjectArenaAllocator now;
            PyObject_GetArenaAllocator(&now);
            now.free(now.ctx, chunk, chunk->size);
        } else if (root_count < MAX_ROOTS) {
            chunk->previous = roots;
            roots = chunk;
            root_count++;
        } else {
            PyMem_RawFree(chunk);
        }
        chunk = previous;
    }
}

/* The arena allocator is the whole process's, and each interpreter may have a GIL of its own
   (CPython >= 3.12): who comes when somebody else is here does without the pool. */
static bool enter(void) {
    return !atomic_flag_test_and_set_explicit(&chunks_in_use, memory_order_acquire);
}
static void leave(void) { atomic_flag_clear_explicit(&chunks_in_use, memory_order_release); }

static void *allocate(void *ctx, size_t size) {
    (void)ctx;
    void *chunk = NULL;
    if (size == CHUNK_SIZE && enter()) {
        chunk = chunks;
        if (chunk) {
            memcpy(&chunks, chunk, sizeof chunks);
            chunk_count--;
        }
        leave();
    }
    return chunk ? chunk : arena.alloc(arena.ctx, size);
}

static void release(void *ctx, void *memory, size_t size) {
    (void)ctx;
    if (size == ROOT_SIZE) { /* its greenlet was running when the thread state was cleared */
        PyMem_RawFree(memory);
        return;
    }
    if (size == CHUNK_SIZE && enter()) {
        bool kept = chunk_count < MAX_CHUNKS;
        if (kept) {
            memcpy(memory, &chunks, sizeof chunks);
            chunks = memory;
            chunk_count++;
        }
        leave();
        if (kept) return;
    }
    arena.free(arena.ctx, memory, size);
}

void ml_datastack_init(void) {
    PyObject_GetArenaAllocator(&arena);
    PyObject_SetArenaAllocator(&(PyObjectArenaAllocator){NULL, allocate, release});
}

#endif
