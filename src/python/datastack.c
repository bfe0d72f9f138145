#include "tstate.h"

#ifdef ML_FRAMES /* there is a data stack */

#include <stdatomic.h>

/* DATA_STACK_CHUNK_SIZE of CPython's Python/pystate.c. */
#define CHUNK_SIZE ((size_t)16 << 10)

enum { MAX_CHUNKS = 64 };

static void *chunks; /* linked by their first word */
static int chunk_count;
static atomic_flag chunks_in_use = ATOMIC_FLAG_INIT;
static PyObjectArenaAllocator arena; /* the one that was there before */
static void (*on_release)(void);

void ml_datastack_free(_PyStackChunk *chunk, const _PyStackChunk *root) {
    while (chunk && chunk != root) {
        _PyStackChunk *previous = chunk->previous;
        PyObjectArenaAllocator now;
        PyObject_GetArenaAllocator(&now);
        now.free(now.ctx, chunk, chunk->size);
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
    on_release();
    if (size == ML_ROOT_SIZE)
        return; /* its greenlet was running when the thread state was cleared */
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

__attribute__((noinline)) bool ml_datastack_watched(void) {
    PyObjectArenaAllocator now;
    PyObject_GetArenaAllocator(&now);
    return now.free == release;
}

void ml_datastack_init(void (*popped)(void)) {
    on_release = popped;
    PyObject_GetArenaAllocator(&arena);
    PyObject_SetArenaAllocator(&(PyObjectArenaAllocator){NULL, allocate, release});
}

#endif
