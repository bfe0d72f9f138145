#include "lane.h"
#include "sanitize.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* 8 MiB is the usual size of a thread's stack, for which CPython 3.12's C recursion limit was
   chosen. Only pages that are touched take memory. A guard of 64 KiB costs as much as one of a
   page, and also stops a large frame that skips a page. */
#define MAP_SIZE ((size_t)8 << 20)
#define MAP_SIZE_LEAST ((size_t)256 << 10)
#define GUARD_SIZE ((size_t)64 << 10)

static atomic_uint lane_limit; /* 0: not asked for yet */

/* What MOONLET_LANES says. A wrong value is reported, not fatal: nobody may have meant us. */
static unsigned initial_limit(void) {
    const char *text = getenv("MOONLET_LANES");
    if (!text || !*text) return ML_LANES_DEFAULT;
    char *end;
    long limit = strtol(text, &end, 10);
    if (!*end && limit >= 1 && limit <= ML_LANES_MAX) return (unsigned)limit;
    fprintf(stderr, "moonlet: MOONLET_LANES: integer from 1 to %d expected, got '%s'\n",
            ML_LANES_MAX, text);
    return ML_LANES_DEFAULT;
}

unsigned ml_lane_limit(void) {
    if (HOSTILE) return 1;
    unsigned limit = atomic_load_explicit(&lane_limit, memory_order_relaxed);
    if (limit == 0) {
        limit = initial_limit();
        atomic_store_explicit(&lane_limit, limit, memory_order_relaxed);
    }
    return limit;
}

void ml_set_lane_limit(unsigned limit) {
    if (limit < 1) limit = 1;
    if (limit > ML_LANES_MAX) limit = ML_LANES_MAX;
    atomic_store_explicit(&lane_limit, limit, memory_order_relaxed);
}

static bool make_room(ml_lanes *lanes) {
    if (lanes->count < lanes->capacity) return true;
    unsigned capacity = lanes->capacity ? 2 * lanes->capacity : 8;
    ml_lane **all = ml_the_memory.allocate(capacity * sizeof *all);
    if (!all) return false;
    if (lanes->count) memcpy(all, lanes->all, lanes->count * sizeof *all);
    ml_the_memory.release(lanes->all);
    lanes->all = all;
    lanes->capacity = capacity;
    return true;
}

static ml_lane *reserve(ml_lanes *lanes) {
    if (!make_room(lanes)) return NULL;
    ml_lane *lane = ml_the_memory.allocate(sizeof *lane);
    if (!lane) return NULL;
    size_t size = lanes->map_size ? lanes->map_size : MAP_SIZE;
    char *map = ml_the_memory.map(size, GUARD_SIZE);
    while (!map && lanes->count == 0 && size > MAP_SIZE_LEAST) {
        size /= 2;
        map = ml_the_memory.map(size, GUARD_SIZE);
    }
    if (!map) {
        ml_the_memory.release(lane);
        return NULL;
    }
    memset(lane, 0, sizeof *lane);
    lanes->map_size = size;
    lane->map = map;
    lane->map_size = size;
    lane->low = map + GUARD_SIZE;
    lane->index = lanes->count;
    /* Equal offsets in every lane would compete for the same few sets of the caches: spread the
       bases over a page, in steps of a cache line that are coprime to its 64 lines. */
    lane->base = map + size - ML_LOFT_SIZE - 64 * (size_t)(lane->index * 19 % 64);
    lanes->all[lanes->count++] = lane;
    return lane;
}

static void unmap(ml_lane *lane) {
    ml_unpoison(lane->map, lane->map_size);
    ml_the_memory.unmap(lane->map, lane->map_size);
    ml_the_memory.release(lane);
}

/* Unmaps the first free lane; the last of all takes its place. */
static void drop_free(ml_lanes *lanes) {
    ml_lane *lane = lanes->free;
    lanes->free = lane->next_free;
    ml_lane *last = lanes->all[--lanes->count];
    last->index = lane->index;
    lanes->all[last->index] = last;
    unmap(lane);
}

ml_lane *ml_lane_choose(ml_lanes *lanes) {
    unsigned limit = ml_lane_limit();
    while (lanes->free && lanes->count > limit) drop_free(lanes);
    if (lanes->free) return lanes->free;
    if (lanes->count < limit) {
        ml_lane *lane = reserve(lanes);
        if (lane) return lane;
    }
    if (lanes->count == 0) return NULL;
    /* Neighbours in time often take turns. A few lanes, which the fastest cache can hold, are shared
       by so many of them before it is the next lanes' turn: each of these then switches to stacks
       that are in the cache, and yet not to one of its own lane. */
    enum { FEW = 8, SHARE = 8 };
    unsigned usable = lanes->count < limit ? lanes->count : limit;
    unsigned first = lanes->hand++ / (FEW * SHARE) * FEW;
    ml_lane *best = NULL;
    for (unsigned i = 0; i < FEW && i < usable; i++) {
        ml_lane *lane = lanes->all[(first + i) % usable];
        if (!best || lane->tenants < best->tenants) best = lane;
    }
    return best;
}

void ml_lane_bind(ml_lanes *lanes, ml_lane *lane, ml_greenlet *g) {
    if (lanes->free == lane) lanes->free = lane->next_free;
    lane->tenants++;
    g->lane = lane;
}

static void free_if_unused(ml_lanes *lanes, ml_lane *lane) {
    if (lane->tenants || lane->guest) return;
    lane->next_free = lanes->free;
    lanes->free = lane;
}

void ml_lane_leave(ml_lanes *lanes, ml_greenlet *g) {
    ml_lane *lane = g->lane;
    if (lane->resident == g) lane->resident = NULL;
    lane->tenants--;
    free_if_unused(lanes, lane);
}

/* Sees that `g` has a buffer of its own for `size` bytes. */
static int make_buffer(ml_greenlet *g, size_t size) {
    bool fits = g->saved && g->saved_capacity >= size;
    if (fits && g->saved_capacity / 4 <= size) return 0;
    /* All of what malloc gives for it: of each 16 bytes of the heap 8 of its own are kept. */
    size_t capacity = HOSTILE ? size : (size + 7 + 15) / 16 * 16 - 8;
    char *saved = ml_the_memory.allocate(capacity);
    if (!saved) return fits ? 0 : ML_ENOMEM;
    ml_the_memory.release(g->saved);
    g->saved = saved;
    g->saved_capacity = (uint32_t)capacity;
    return 0;
}

/* The same, where the heap has nothing left, in the memory of `lender`. */
static int make_place(ml_greenlet *g, size_t size, ml_lane *lender) {
    if (make_buffer(g, size) == 0) return 0;
    if (!lender) return ML_ENOMEM;
    ml_the_memory.release(g->saved);
    ml_unpoison(lender->low, size);
    g->saved = lender->low;
    g->saved_capacity = 0;
    g->guest_of = lender;
    lender->guest = g;
    return 0;
}

/* Gives the lane its memory back that it lends to a guest. */
static int move_guest(ml_lane *lane, ml_lane *lender) {
    ml_greenlet *guest = lane->guest;
    char *lent = guest->saved;
    guest->saved = NULL;
    guest->guest_of = NULL;
    if (make_place(guest, guest->saved_size, lender) != 0) {
        guest->saved = lent;
        guest->guest_of = lane;
        return ML_ENOMEM;
    }
    memcpy(guest->saved, lent, guest->saved_size);
    ml_hook_moved(guest, lent, guest->saved_size, guest->saved);
    lane->guest = NULL;
    return 0;
}

int ml_lane_evict(ml_lanes *lanes, ml_lane *lane, ml_lane *lender) {
    if (lane->guest) return move_guest(lane, lender); /* then there is no resident */
    ml_greenlet *g = lane->resident;
    if (!g) return 0;
    size_t size = (size_t)(lane->base - (char *)g->sp) + ml_hook_loft_used(g);
    if (make_place(g, size, lender) != 0) return ML_ENOMEM;
    ml_copy_stack(g->saved, g->sp, size, g->sp);
    g->saved_size = (uint32_t)size;
    ml_hook_moved(g, g->sp, size, g->saved);
    lane->resident = NULL;
    atomic_signal_fence(memory_order_seq_cst); /* see ml_in_place */
    ml_unpoison(g->sp, size);
    if (HOSTILE) memset(g->sp, 0xdb, size);
    lanes->evictions++;
    return 0;
}

void ml_lane_restore(ml_lanes *lanes, ml_greenlet *g) {
    ml_unpoison(g->sp, g->saved_size);
    ml_copy_stack(g->sp, g->saved, g->saved_size, g->sp);
    ml_hook_moved(g, g->saved, g->saved_size, g->sp);
    atomic_signal_fence(memory_order_seq_cst); /* see ml_in_place */
    g->lane->resident = g;
    if (HOSTILE || g->guest_of) ml_lane_forget(lanes, g);
}

void ml_lane_forget(ml_lanes *lanes, ml_greenlet *g) {
    if (g->guest_of) {
        g->guest_of->guest = NULL;
        free_if_unused(lanes, g->guest_of);
        g->guest_of = NULL;
    } else {
        ml_the_memory.release(g->saved);
    }
    g->saved = NULL;
    g->saved_capacity = 0;
}

void ml_lanes_fini(ml_lanes *lanes) {
    for (unsigned i = 0; i < lanes->count; i++) {
        ml_lane *lane = lanes->all[i];
        if (ml_lane_evict(lanes, lane, NULL) == 0) unmap(lane);
    }
    ml_the_memory.release(lanes->all);
    memset(lanes, 0, sizeof *lanes);
}
