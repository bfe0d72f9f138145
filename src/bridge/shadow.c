/* Shadows: how Python's collector sees through the Lua heap.

   Before a full collection the Lua heap is walked (heap.h). Each Lua object that is alive only
   because Python holds it, or because it is on the Lua stack of a suspended greenlet, and that
   reaches a Python object, gets a shadow: a Python object with references to the shadows of what
   the Lua object refers to. Proxies of the values refer to their shadows, and so do greenlets.

        Python             LuaObject ----> shadow ----> shadow . . . > object
                                :             :            :             ^
        Lua                   value ------> table ----> userdata --------+

   The userdata owns a reference to the object, which its shadow visits in its stead. So Python's
   collector finds what is garbage in both heaps together. It clears its own objects. What the
   userdata own is released afterwards, if nothing else holds the object any more; the rest is up to
   Lua's collector, for which nothing anchors the values now.

   All of this is true as long as no reference in Lua changes, which finalizers can do. Python looks
   again when they have run (handle_resurrected_objects of Modules/gcmodule.c). If Lua was entered
   in between, shadows do not show any more what their userdata own, so that everything is taken for
   alive that Lua has, and the next collection decides. */

#include "shadow.h"

#include "../lua/heap.h"

#include <stdlib.h>

typedef struct ml_shadow {
    PyVarObject ob_base;
    ml_objects *objects; /* whose list it is in, or NULL */
    size_t index;
    ml_handle *handle; /* of the userdata that it stands for if that is a border ... */
    PyObject *object;  /* ... and what that owns a reference to; else NULL */
    bool garbage;      /* cleared by the collector */
    PyObject *edges[1];
} shadow;

/* ----------------------------------------------------------------------------------- shadows */

bool ml_shadows_valid(const ml_objects *o) {
    return !o->world->touched && o->switches == ml_py_switches;
}

static int traverse(PyObject *self, visitproc visit, void *arg) {
    const shadow *s = (shadow *)self;
    for (Py_ssize_t i = 0; i < Py_SIZE(s); i++) Py_VISIT(s->edges[i]);
    if (s->object && ml_shadows_valid(s->objects)) Py_VISIT(s->object);
    return 0;
}

static void clear_edges(shadow *s) {
    for (Py_ssize_t i = 0; i < Py_SIZE(s); i++) Py_CLEAR(s->edges[i]);
}

static int clear(PyObject *self) {
    shadow *s = (shadow *)self;
    s->garbage = true;
    if (s->object) {
        /* It stays, by its reference to itself, until it is decided whether to release. */
        for (Py_ssize_t i = 0; i < Py_SIZE(s); i++) {
            if (s->edges[i] != self) Py_CLEAR(s->edges[i]);
        }
    } else {
        clear_edges(s);
    }
    return 0;
}

static void dealloc(PyObject *self) {
    shadow *s = (shadow *)self;
    PyObject_GC_UnTrack(self);
    if (s->objects) s->objects->shadows[s->index] = NULL;
    s->objects = NULL;
    Py_TRASHCAN_BEGIN(self, dealloc) clear_edges(s);
    PyObject_GC_Del(self);
    Py_TRASHCAN_END
}

static PyTypeObject shadow_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "moonlet._shadow",
    .tp_doc = "Stands for a Lua object while a collection runs.",
    .tp_basicsize = offsetof(shadow, edges),
    .tp_itemsize = sizeof(PyObject *),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_dealloc = dealloc,
    .tp_traverse = traverse,
    .tp_clear = clear,
};

/* A new shadow (new reference), also in the list, with room for `count` edges. NULL: no memory. */
static shadow *new_shadow(ml_objects *o, size_t count) {
    shadow *s = PyObject_GC_NewVar(shadow, &shadow_type, (Py_ssize_t)count);
    if (!s) {
        PyErr_Clear();
        return NULL;
    }
    for (size_t i = 0; i < count; i++) s->edges[i] = NULL;
    s->objects = o;
    s->index = o->shadow_count;
    s->handle = NULL;
    s->object = NULL;
    s->garbage = false;
    o->shadows[o->shadow_count++] = s;
    return s;
}

/* ---------------------------------------------------------------------------- from the walk */

static int gather(ml_heap *h, ml_world *w) {
    ml_objects *o = w->objects;
    size_t count = o->count;
    for (ml_lthread *t = w->busy; t; t = t->next) {
        t->loose = ml_py_can_collect(t->greenlet);
        count += t->loose;
    }
    h->sources = malloc((count + 1) * sizeof *h->sources);
    if (!h->sources) return -1;
    for (size_t i = 0; o->slots && i <= o->mask; i++) {
        if (o->slots[i]) h->sources[h->source_count++] = (ml_heap_source){.ref = o->slots[i]->ref};
    }
    for (ml_lthread *t = w->busy; t; t = t->next) {
        if (t->loose) {
            h->sources[h->source_count++] = (ml_heap_source){.ref = LUA_NOREF, .thread = t->L};
        }
    }
    w->touched = false;
    o->switches = ml_py_switches;
    return 0;
}

static bool is_border(const ml_handle *h) { return ml_handle_object(h) != NULL; }

/* Makes the shadows of the nodes. 0 or -1. */
static int make_shadows(ml_objects *o, const ml_heap *h) {
    o->shadows = malloc((h->node_count + h->source_count) * sizeof *o->shadows);
    if (!o->shadows) return -1;
    for (uint32_t n = 0; n < h->node_count; n++) {
        bool border = h->borders[n] != NULL;
        shadow *s = new_shadow(o, h->first[n + 1] - h->first[n] + border);
        if (!s) return -1;
        if (border) {
            s->handle = h->borders[n];
            s->object = ml_handle_object(s->handle);
        }
    }
    for (uint32_t n = 0; n < h->node_count; n++) {
        shadow *s = o->shadows[n];
        size_t count = h->first[n + 1] - h->first[n];
        for (size_t i = 0; i < count; i++) {
            s->edges[i] = Py_NewRef((PyObject *)o->shadows[h->to[h->first[n] + i]]);
        }
        if (s->object) s->edges[count] = Py_NewRef((PyObject *)s);
    }
    return 0;
}

/* Makes those refer to the shadows who hold the sources, in the order of `gather`. 0 or -1. */
static int attach_shadows(ml_objects *o, const ml_heap *h) {
    const ml_heap_source *source = h->sources;
    for (size_t i = 0; o->slots && i <= o->mask; i++) {
        if (o->slots[i] && source++->node != ML_HEAP_NONE) {
            o->slots[i]->shadow = Py_NewRef((PyObject *)o->shadows[source[-1].node]);
        }
    }
    for (const ml_lthread *t = o->world->busy; t; t = t->next) {
        if (!t->loose || source++->node == ML_HEAP_NONE) continue;
        /* A greenlet can have several Lua threads. */
        PyObject **place = ml_py_beyond(t->greenlet);
        shadow *s = new_shadow(o, 2);
        if (!s) return -1;
        Py_INCREF(s);
        s->edges[0] = Py_NewRef((PyObject *)o->shadows[source[-1].node]);
        s->edges[1] = *place;
        *place = (PyObject *)s;
    }
    return 0;
}

/* From here on they belong to those who refer to them. */
static void let_go(const ml_objects *o) {
    for (size_t i = 0; i < o->shadow_count; i++) Py_DECREF(o->shadows[i]);
}

/* And the collector sees them. */
static void track(const ml_objects *o) {
    for (size_t i = 0; i < o->shadow_count; i++) {
        if (o->shadows[i]) PyObject_GC_Track(o->shadows[i]);
    }
    for (size_t i = 0; o->slots && i <= o->mask; i++) {
        if (o->slots[i] && o->slots[i]->shadow) PyObject_GC_Track(o->slots[i]);
    }
}

void ml_shadows_drop(ml_objects *o) {
    for (size_t i = 0; o->slots && i <= o->mask; i++) {
        if (!o->slots[i]) continue;
        PyObject_GC_UnTrack(o->slots[i]); /* also if its shadow was cleared */
        Py_CLEAR(o->slots[i]->shadow);
    }
    for (const ml_lthread *t = o->world->busy; t; t = t->next) {
        Py_CLEAR(*ml_py_beyond(t->greenlet));
    }
    for (size_t i = 0; i < o->shadow_count; i++) {
        shadow *s = o->shadows[i];
        if (!s) continue;
        Py_INCREF(s);
        s->objects = NULL;
        s->object = NULL;
        clear_edges(s);
        Py_DECREF(s);
    }
    free(o->shadows);
    o->shadows = NULL;
    o->shadow_count = 0;
}

/* Others may still refer to what a userdata owns: then it was not cleared, or will be released with
   them. */
size_t ml_shadows_release(ml_objects *o) {
    enum { PASSES = 8 };
    size_t released = 0;
    size_t before = 0;
    for (int pass = 0; pass < PASSES && (pass == 0 || released > before); pass++) {
        before = released;
        for (size_t i = 0; i < o->shadow_count && ml_shadows_valid(o); i++) {
            shadow *s = o->shadows[i];
            if (!s || !s->garbage || !s->object || Py_REFCNT(s->object) != 1) continue;
            PyObject *object = s->object;
            s->object = NULL;
            if (!PyObject_GC_IsTracked(object)) continue; /* was not cleared */
            ml_handle_clear(s->handle);
            released++;
            Py_DECREF(object);
        }
    }
    return released;
}

/* ------------------------------------------------------------------------------------- start */

int ml_shadows_make(ml_objects *o) {
    ml_heap h = {.gather = gather, .is_border = is_border};
    if (ml_heap_walk(o->world, &h) != 0) return -1;
    if (h.node_count) {
        bool made = make_shadows(o, &h) == 0 && attach_shadows(o, &h) == 0;
        let_go(o);
        if (made) {
            track(o);
        } else {
            ml_shadows_drop(o);
        }
    }
    ml_heap_free(&h);
    return 0;
}

size_t ml_shadows_gone(const ml_objects *o) {
    size_t gone = 0;
    for (size_t i = 0; i < o->shadow_count; i++) gone += !o->shadows[i] || o->shadows[i]->garbage;
    return gone;
}

int ml_shadows_init(void) { return PyType_Ready(&shadow_type); }
