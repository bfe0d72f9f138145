#define _GNU_SOURCE /* MAP_NORESERVE, MAP_STACK, MADV_NOHUGEPAGE */
#include "core.h"

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

ml_memory ml_the_memory = {malloc, free, map, unmap};
