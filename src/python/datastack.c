#define PY_SSIZE_T_CLEAN
#include "datastack.h"

/* Enough for five or six frames of ordinary functions, so for most tasks that wait. */
#define ROOT_SIZE 1024
/* DATA_STACK_CHUNK_SIZE of CPython's Python/pystate.c. */
#define CHUNK_SIZE ((size_t)16 << 10)

enum { MAX_ROOTS = 1024, MAX_CHUNKS = 64 };

static _PyStackChunk *roots;
static int root_count;
static void *chunks; /* linked by their first word */
static int chunk_count;
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

static void *allocate(void *ctx, size_t size) {
    if (size != CHUNK_SIZE || !chunks) return arena.alloc(arena.ctx, size);
    (void)ctx;
    void *chunk = chunks;
    memcpy(&chunks, chunk, sizeof chunks);
    chunk_count--;
    return chunk;
}

static void release(void *ctx, void *memory, size_t size) {
    if (size != CHUNK_SIZE || chunk_count >= MAX_CHUNKS) {
        arena.free(arena.ctx, memory, size);
        return;
    }
    (void)ctx;
    memcpy(memory, &chunks, sizeof chunks);
    chunks = memory;
    chunk_count++;
}

void ml_datastack_init(void) {
    PyObject_GetArenaAllocator(&arena);
    PyObject_SetArenaAllocator(&(PyObjectArenaAllocator){NULL, allocate, release});
}
