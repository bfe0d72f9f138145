#define _GNU_SOURCE /* MAP_NORESERVE, MAP_STACK, MADV_NOHUGEPAGE, pthread_getattr_np */
#include "thread.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

static void *map(size_t size, size_t guard) {
    char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (memory == MAP_FAILED) return NULL;
    /* One huge page would make 2 MiB of a stack of two pages. */
    madvise(memory, size, MADV_NOHUGEPAGE);
    if (mprotect(memory, guard, PROT_NONE) != 0) {
        munmap(memory, size);
        return NULL;
    }
    return memory;
}

static void unmap(void *memory, size_t size) { munmap(memory, size); }

void ml_thread_stack(const char **low, const char **high) {
    pthread_attr_t attributes;
    void *start = NULL;
    size_t size = 0;
    *low = *high = NULL;
    if (pthread_getattr_np(pthread_self(), &attributes) != 0) return;
    if (pthread_attr_getstack(&attributes, &start, &size) == 0) {
        *low = start;
        *high = *low + size;
    }
    pthread_attr_destroy(&attributes);
}

size_t ml_thread_stack_above(const char *sp) {
    const char *low, *high;
    ml_thread_stack(&low, &high);
    return low && sp > low && sp < high ? (size_t)(high - sp) : 0;
}

ml_memory ml_the_memory = {malloc, free, map, unmap};
