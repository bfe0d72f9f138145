/* What a walk through the heap has found, in the form that ml_heap gives. */

#include "heap.h"

#include <stdlib.h>

/* The edges, ordered by one of their ends: `*first` by node, `*ends` the other ends. 0 or -1. */
static int sort_edges(uint32_t nodes, const ml_heap_edge *edges, size_t count, bool by_target,
                      size_t **first, uint32_t **ends) {
    *first = calloc((size_t)nodes + 2, sizeof **first);
    *ends = malloc((count + 1) * sizeof **ends);
    if (!*first || !*ends) return -1;
    size_t *at = *first + 1; /* one further, so that filling moves each to its beginning */
    for (size_t i = 0; i < count; i++) {
        uint32_t node = by_target ? edges[i].to : edges[i].from;
        if (node + 1 < nodes) at[node + 1]++;
    }
    for (uint32_t n = 1; n < nodes; n++) at[n] += at[n - 1];
    for (size_t i = 0; i < count; i++) {
        const ml_heap_edge *e = &edges[i];
        (*ends)[at[by_target ? e->to : e->from]++] = by_target ? e->from : e->to;
    }
    return 0;
}

/* Numbers the nodes that reach a border from 0 in `numbers`, the others NONE: `*selected` in all.
   0 or -1. */
static int select_nodes(const ml_heap *h, const ml_heap_edge *edges, size_t edge_count,
                        uint32_t *numbers, uint32_t *selected) {
    size_t *first = NULL;
    uint32_t *from = NULL;
    uint32_t *queue = malloc(((size_t)h->node_count + 1) * sizeof *queue);
    int result = queue ? sort_edges(h->node_count, edges, edge_count, true, &first, &from) : -1;
    uint32_t count = 0;
    for (uint32_t n = 0; result == 0 && n < h->node_count; n++) {
        numbers[n] = h->borders[n] ? 0 : ML_HEAP_NONE;
        if (h->borders[n]) queue[count++] = n;
    }
    for (uint32_t done = 0; done < count; done++) {
        for (size_t i = first[queue[done]]; i < first[queue[done] + 1]; i++) {
            if (numbers[from[i]] != ML_HEAP_NONE) continue;
            numbers[from[i]] = 0;
            queue[count++] = from[i];
        }
    }
    for (uint32_t n = 0, next = 0; result == 0 && n < h->node_count; n++) {
        if (numbers[n] != ML_HEAP_NONE) numbers[n] = next++;
    }
    *selected = count;
    free(first);
    free(from);
    free(queue);
    return result;
}

/* Leaves only what is numbered. Returns how many edges that are. */
static size_t renumber(ml_heap *h, ml_heap_edge *edges, size_t edge_count,
                       const uint32_t *numbers) {
    for (uint32_t n = 0; n < h->node_count; n++) {
        if (numbers[n] != ML_HEAP_NONE) h->borders[numbers[n]] = h->borders[n];
    }
    for (size_t i = 0; i < h->source_count; i++) {
        ml_heap_source *source = &h->sources[i];
        if (source->node != ML_HEAP_NONE) source->node = numbers[source->node];
    }
    size_t count = 0;
    for (size_t i = 0; i < edge_count; i++) {
        ml_heap_edge e = {numbers[edges[i].from], numbers[edges[i].to]};
        if (e.from != ML_HEAP_NONE && e.to != ML_HEAP_NONE) edges[count++] = e;
    }
    return count;
}

int ml_heap_finish(ml_heap *h, ml_heap_edge *edges, size_t edge_count) {
    uint32_t *numbers = malloc(((size_t)h->node_count + 1) * sizeof *numbers);
    uint32_t selected;
    if (!numbers || select_nodes(h, edges, edge_count, numbers, &selected) != 0) {
        free(numbers);
        return -1;
    }
    edge_count = renumber(h, edges, edge_count, numbers);
    free(numbers);
    h->node_count = selected;
    return sort_edges(selected, edges, edge_count, false, &h->first, &h->to);
}

void ml_heap_free(ml_heap *h) {
    free(h->sources);
    free(h->borders);
    free(h->first);
    free(h->to);
    h->sources = NULL;
    h->borders = NULL;
    h->first = NULL;
    h->to = NULL;
    h->source_count = h->node_count = 0;
}
