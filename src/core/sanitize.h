/* What AddressSanitizer must be told about stacks that it did not make. Without it, nothing. */

#ifndef ML_SANITIZE_H
#define ML_SANITIZE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#define ML_SANITIZE 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ML_SANITIZE 1
#endif
#endif

#ifdef ML_SANITIZE

#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>

/* Copies the bytes of a suspended greenlet, which are or will be in place at `lane`: the red zones
   between variables too, which an instrumented copy or memcpy would take for an overflow. */
__attribute__((no_sanitize("address"))) static inline void ml_copy_stack(void *to,
                                                                         const void *from,
                                                                         size_t size,
                                                                         const void *lane) {
    (void)lane;
    volatile char *t = to;
    const volatile char *f = from;
    for (size_t i = 0; i < size; i++) t[i] = f[i];
}

static inline void ml_fiber_start(void **fake_stack, const void *bottom, size_t size) {
    __sanitizer_start_switch_fiber(fake_stack, bottom, size);
}

static inline void ml_fiber_finish(void *fake_stack, const void **bottom, size_t *size) {
    __sanitizer_finish_switch_fiber(fake_stack, bottom, size);
}

static inline void ml_unpoison(const void *memory, size_t size) {
    __asan_unpoison_memory_region(memory, size);
}

#else

/* In two ways. From 2 KiB on, glibc's memcpy uses `rep movsb` on x86-64, which takes up to twice as
   long as what it does below that, until what is copied is larger than the L1 cache: so it is called
   for pieces. And it ends with large reads and writes at the very end of the bytes, across cache
   lines. There is what the eval loop has just written and is about to read (the innermost frame, in
   the loft): a processor then waits until it has finished writing before it reads. So what is in the
   last cache line of the lane, if it is not full, is copied by the word. */
static inline void ml_copy_stack(void *to, const void *from, size_t size, const void *lane) {
    typedef volatile uint64_t __attribute__((may_alias))
    word; /* volatile: else it is a memcpy again */
    enum { PIECE = 2048, MOST = 24 * 1024, LINE = 64 };
    size_t last = ((uintptr_t)lane + size) % LINE & ~(sizeof(word) - 1);
    char *t = to;
    const char *f = from;
    size -= last;
    for (size_t i = 0; i < last; i += sizeof(word)) {
        *(word *)(t + size + i) = *(const word *)(f + size + i);
    }
    size_t piece = size <= MOST && size > PIECE ? PIECE : size;
    do {
        if (piece > size) piece = size;
        memcpy(t, f, piece);
        t += piece;
        f += piece;
        size -= piece;
    } while (size);
}

static inline void ml_fiber_start(void **fake_stack, const void *bottom, size_t size) {
    (void)fake_stack, (void)bottom, (void)size;
}

static inline void ml_fiber_finish(void *fake_stack, const void **bottom, size_t *size) {
    (void)fake_stack, (void)bottom, (void)size;
}

static inline void ml_unpoison(const void *memory, size_t size) { (void)memory, (void)size; }

#endif
#endif
