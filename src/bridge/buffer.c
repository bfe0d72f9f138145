/* py.buffer: the memory behind a Python object with the buffer protocol, as a Lua value.

       view ---user value---> owner ---owns---> Py_buffer ---owns---> the Python object

   A view is what Lua code has: where the elements are. An item of a buffer of several dimensions
   and a slice are views of the same owner. The owner's finalizer releases the memory; closing the
   view that py.buffer gave does it at once, for all views. Indices are Python's: from 0, and from
   the end if negative. */

#include "element.h"

#include <string.h>

static const char view_tag;  /* registry: the metatable of views */
static const char owner_tag; /* registry: the metatable of owners */

typedef struct owner {
    ml_world *world;
    Py_buffer *memory; /* NULL: released */
    ml_element element;
} owner;

typedef struct view {
    const void *tag;
    owner *owner;
    char *data;
    bool whole;    /* py.buffer's, which releases the memory */
    bool released; /* by itself */
    int ndim;
    Py_ssize_t dims[]; /* the shape, then the strides */
} view;

static const Py_ssize_t *shape_of(const view *v) { return v->dims; }
static const Py_ssize_t *strides_of(const view *v) { return v->dims + v->ndim; }

static ml_world *world(lua_State *L) { return lua_touserdata(L, lua_upvalueindex(1)); }

/* ------------------------------------------------------------------------------ life of memory */

static void release_memory(void *argument) {
    Py_buffer *memory = argument;
    PyBuffer_Release(memory);
    PyMem_RawFree(memory);
}

static int collect_owner(lua_State *L) {
    owner *o = lua_touserdata(L, 1);
    if (!o || lua_rawlen(L, 1) != sizeof *o || !o->memory) return 0;
    Py_buffer *memory = o->memory;
    o->memory = NULL;
    ml_world_defer(o->world, release_memory, memory);
    return 0;
}

static bool is_released(const view *v) {
    return v->released || !v->owner->memory || v->owner->world->closed;
}

static view *test(lua_State *L, int index) {
    view *v = lua_touserdata(L, index);
    return v && lua_rawlen(L, index) >= sizeof *v && v->tag == &view_tag ? v : NULL;
}

static view *check_any(lua_State *L, int index) {
    view *v = test(L, index);
    if (!v) luaL_typeerror(L, index, "buffer");
    return v;
}

static view *check(lua_State *L, int index) {
    view *v = check_any(L, index);
    if (is_released(v)) luaL_error(L, "the buffer has been released");
    return v;
}

/* Pushes a view of the owner that is at `index`. */
static view *push_view(lua_State *L, int index, owner *o, int ndim, char *data) {
    luaL_checkstack(L, 4, NULL);
    index = lua_absindex(L, index);
    view *v = lua_newuserdatauv(L, sizeof *v + 2 * (size_t)ndim * sizeof *v->dims, 1);
    v->tag = &view_tag;
    v->owner = o;
    v->data = data;
    v->whole = v->released = false;
    v->ndim = ndim;
    lua_pushvalue(L, index);
    lua_setiuservalue(L, -2, 1);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &view_tag);
    lua_setmetatable(L, -2);
    return v;
}

/* Pushes a view of the last `ndim` dimensions of the one at `index`, at `data`. */
static view *push_part(lua_State *L, int index, const view *of, int ndim, char *data) {
    luaL_checkstack(L, 4, NULL);
    lua_getiuservalue(L, index, 1);
    view *v = push_view(L, -1, of->owner, ndim, data);
    lua_remove(L, -2);
    if (ndim) {
        size_t size = (size_t)ndim * sizeof *v->dims;
        memcpy(v->dims, shape_of(of) + of->ndim - ndim, size);
        memcpy(v->dims + ndim, strides_of(of) + of->ndim - ndim, size);
    }
    return v;
}

/* The memory of the object at 1: owned, or NULL with an exception. */
static Py_buffer *get_memory(lua_State *L, ml_world *w) {
    Py_buffer *memory = PyMem_RawMalloc(sizeof *memory);
    if (!memory) return (Py_buffer *)PyErr_NoMemory();
    PyObject *o = ml_to_python(L, w, 1);
    if (!o || PyObject_GetBuffer(o, memory, PyBUF_RECORDS_RO) != 0) {
        PyMem_RawFree(memory);
        memory = NULL;
    }
    Py_XDECREF(o);
    return memory;
}

/* Sets the dimensions. An exporter that ignores what was asked for may leave out the shape of a plain
   array of bytes, or strides in C's order (Modules/_ctypes/_ctypes.c does). */
static void set_dimensions(view *v, const Py_buffer *m) {
    Py_ssize_t *shape = v->dims, *strides = v->dims + v->ndim;
    Py_ssize_t stride = m->itemsize;
    for (int i = v->ndim - 1; i >= 0; i--) {
        shape[i] = m->shape ? m->shape[i] : m->len / m->itemsize;
        strides[i] = m->strides ? m->strides[i] : stride;
        stride *= shape[i];
    }
}

/* py.buffer(o): a view of the memory of any object with the buffer protocol (bytearray, memoryview,
   array.array, ctypes and numpy arrays). Nothing is copied. TypeError if it has none, BufferError or
   ValueError if it does not give it.

   b[i], b[i] = value      an element: a number, boolean or string by the format, checked; of a
                           buffer with more dimensions, a view, and a string that fills it
   b[py.slice(i, j, k)]    a view; assigned to, a string of exactly its bytes
   b:get(i, j, ...)        the element, or the view that fewer indices lead to
   b:set(i, j, ..., value) assigns it
   b:string([i [, j]])     the bytes of items i to j - 1, as Python's b[i:j], in C's order
   b:write(s [, i])        writes the bytes of s from item i (0) on; they must fill whole items
   b:release()             gives the memory back, also at the end of a <close> variable; then any use
                           is an error. The views of parts go with the one that py.buffer gave
   #b, pairs(b)            the number of items; their indices from 0 and values
   b.shape, b.strides      tables; b.ndim, b.itemsize, b.nbytes; b.format, as struct has it;
   b.readonly, b.object    whether writing is an error; the Python object */
static int buffer(lua_State *L) {
    ml_world *w = world(L);
    luaL_checkany(L, 1);
    if (w->closing || w->closed) return luaL_error(L, "the Lua state is closed");
    luaL_checkstack(L, 8, NULL);
    owner *o = lua_newuserdatauv(L, sizeof *o, 0);
    *o = (owner){.world = w};
    lua_rawgetp(L, LUA_REGISTRYINDEX, &owner_tag);
    lua_setmetatable(L, -2);
    ml_activation a;
    ml_lua_leave(&a, L, w);
    if (ml_may_operate(L, &a, "buffer", 1)) o->memory = get_memory(L, w);
    ml_lua_return(&a);
    if (!o->memory) return ml_error_raise(L, w);
    const Py_buffer *m = o->memory;
    o->element = ml_element_parse(m->format, m->itemsize);
    view *v = push_view(L, -1, o, m->ndim, m->buf);
    v->whole = true;
    set_dimensions(v, m);
    return 1;
}

/* b:release(), and __close. */
static int release(lua_State *L) {
    view *v = check_any(L, 1);
    owner *o = v->owner;
    v->released = true;
    if (!v->whole || !o->memory) return 0;
    Py_buffer *memory = o->memory;
    o->memory = NULL;
    ml_activation a;
    ml_lua_leave(&a, L, o->world);
    release_memory(memory);
    ml_lua_return(&a);
    return 0;
}

/* ---------------------------------------------------------------------------- where things are */

static Py_ssize_t itemsize(const view *v) { return v->owner->memory->itemsize; }

/* The bytes of the last `ndim` dimensions. */
static Py_ssize_t bytes_of(const view *v, int ndim) {
    Py_ssize_t size = itemsize(v);
    for (int i = v->ndim - ndim; i < v->ndim; i++) size *= shape_of(v)[i];
    return size;
}

static void check_items(lua_State *L, const view *v) {
    if (v->ndim == 0) luaL_error(L, "a buffer without dimensions has no items, but b:get()");
}

/* Where item `i` of a dimension begins, relative to its first. */
static Py_ssize_t offset_of(lua_State *L, const view *v, int dim, lua_Integer i) {
    Py_ssize_t length = shape_of(v)[dim];
    lua_Integer index = i < 0 ? i + length : i;
    if (index < 0 || index >= length) {
        luaL_error(L, "buffer index %I is out of range (length %I)", (LUAI_UACINT)i,
                   (LUAI_UACINT)length);
    }
    return (Py_ssize_t)index * strides_of(v)[dim];
}

/* The integer at `index`, which is a number. */
static lua_Integer check_index(lua_State *L, int index) {
    int is_integer;
    lua_Integer i = lua_tointegerx(L, index, &is_integer);
    if (!is_integer || lua_type(L, index) != LUA_TNUMBER) {
        luaL_error(L, "buffer index must be an integer, not %s",
                   lua_type(L, index) == LUA_TNUMBER ? lua_tostring(L, index)
                                                     : luaL_typename(L, index));
    }
    return i;
}

/* Pushes items start to stop - 1 by step of the view at 1, all being in range, `count`. */
static view *push_range(lua_State *L, const view *v, Py_ssize_t start, Py_ssize_t step,
                        Py_ssize_t count) {
    Py_ssize_t stride = strides_of(v)[0];
    view *part = push_part(L, 1, v, v->ndim, count ? v->data + start * stride : v->data);
    part->dims[0] = count;
    part->dims[v->ndim] = count > 1 ? stride * step : stride;
    return part;
}

/* Pushes the slice of the view at 1 that the Python object at 2 describes. */
static view *push_slice(lua_State *L, const view *v) {
    PyObject *slice = ml_pyproxy_test(L, 2);
    if (!slice || !PySlice_Check(slice)) {
        luaL_error(L, "buffer index must be an integer or a slice, not %s",
                   slice ? Py_TYPE(slice)->tp_name : luaL_typename(L, 2));
    }
    check_items(L, v);
    ml_world *w = v->owner->world;
    Py_ssize_t start, stop, step;
    ml_activation a;
    ml_lua_leave(&a, L, w);
    int result = PySlice_Unpack(slice, &start, &stop, &step);
    ml_lua_return(&a);
    if (result != 0) ml_error_raise(L, w);
    check(L, 1); /* its indices are Python objects and may have done anything */
    Py_ssize_t count = PySlice_AdjustIndices(shape_of(v)[0], &start, &stop, step);
    return push_range(L, v, start, step, count);
}

/* -------------------------------------------------------------------------- elements and bytes */

static void check_element(lua_State *L, const view *v) {
    if (v->owner->element.code) return;
    const char *format = v->owner->memory->format;
    luaL_error(L, "elements of format '%s' can be copied as strings only", format ? format : "B");
}

static int push_element(lua_State *L, const view *v, const char *at) {
    check_element(L, v);
    ml_element_push(L, v->owner->world, v->owner->element, at);
    return 1;
}

static void check_writable(lua_State *L, const view *v) {
    if (v->owner->memory->readonly) luaL_error(L, "the buffer is read-only");
}

/* Writes the value on top. */
static int store_element(lua_State *L, const view *v, char *at) {
    char bytes[ML_ELEMENT_MAX];
    size_t length;
    ml_element e = v->owner->element;
    check_element(L, v);
    const char *from = ml_element_take(L, v->owner->world, e, lua_gettop(L), bytes, &length);
    if (is_released(v)) luaL_error(L, "the buffer has been released"); /* by what was asked */
    memcpy(at, from, length);
    if ((size_t)e.size > length) memset(at + length, 0, (size_t)e.size - length);
    return 0;
}

enum direction { IN, OUT };

/* Copies elements in C's order between memory with these dimensions and a flat string, whose end it
   returns. */
static char *transfer(char *data, int ndim, const Py_ssize_t *shape, const Py_ssize_t *strides,
                      Py_ssize_t size, char *flat, enum direction direction) {
    bool dense = ndim == 1 && *strides == size;
    if (ndim == 0 || dense) {
        size_t length = (size_t)(dense ? size * *shape : size);
        if (length) memcpy(direction == IN ? data : flat, direction == IN ? flat : data, length);
        return flat + length;
    }
    for (Py_ssize_t i = 0; i < *shape; i++) {
        flat =
            transfer(data + i * *strides, ndim - 1, shape + 1, strides + 1, size, flat, direction);
    }
    return flat;
}

/* Fills `v` with the string on top. */
static int fill(lua_State *L, const view *v) {
    if (lua_type(L, -1) != LUA_TSTRING) {
        return luaL_error(L, "string expected for a part of a buffer, got %s",
                          luaL_typename(L, -1));
    }
    size_t length;
    const char *text = lua_tolstring(L, -1, &length);
    Py_ssize_t needed = bytes_of(v, v->ndim);
    if (length != (size_t)needed) {
        return luaL_error(L, "string of %I bytes expected, got one of %I", (LUAI_UACINT)needed,
                          (LUAI_UACINT)length);
    }
    transfer(v->data, v->ndim, shape_of(v), strides_of(v), itemsize(v), (char *)text, IN);
    return 0;
}

/* ----------------------------------------------------------------------------------- methods */

/* The data to which the indices at 2 ... 1 + count lead. */
static char *follow(lua_State *L, const view *v, int count) {
    if (count > v->ndim) {
        luaL_error(L, "too many indices (%d for %d dimensions)", count, v->ndim);
    }
    char *data = v->data;
    for (int i = 0; i < count; i++) data += offset_of(L, v, i, check_index(L, i + 2));
    return data;
}

static int get(lua_State *L) {
    const view *v = check(L, 1);
    int count = lua_gettop(L) - 1;
    char *data = follow(L, v, count);
    if (count == v->ndim) return push_element(L, v, data);
    push_part(L, 1, v, v->ndim - count, data);
    return 1;
}

static int set(lua_State *L) {
    const view *v = check(L, 1);
    int count = lua_gettop(L) - 2;
    if (count < 0) return luaL_argerror(L, 2, "value expected");
    char *data = follow(L, v, count);
    check_writable(L, v);
    if (count == v->ndim) return store_element(L, v, data);
    const view *part = push_part(L, 1, v, v->ndim - count, data);
    lua_insert(L, -2);
    return fill(L, part);
}

static int string(lua_State *L) {
    const view *v = check(L, 1);
    lua_settop(L, 3);
    if (v->ndim) {
        Py_ssize_t length = shape_of(v)[0];
        Py_ssize_t start = lua_isnil(L, 2) ? 0 : (Py_ssize_t)check_index(L, 2);
        Py_ssize_t stop = lua_isnil(L, 3) ? length : (Py_ssize_t)check_index(L, 3);
        Py_ssize_t count = PySlice_AdjustIndices(length, &start, &stop, 1);
        v = push_range(L, v, start, 1, count);
    }
    luaL_Buffer b;
    size_t size = (size_t)bytes_of(v, v->ndim);
    char *flat = luaL_buffinitsize(L, &b, size);
    transfer(v->data, v->ndim, shape_of(v), strides_of(v), itemsize(v), flat, OUT);
    luaL_pushresultsize(&b, size);
    return 1;
}

static int write_text(lua_State *L) {
    const view *v = check(L, 1);
    size_t length;
    luaL_checktype(L, 2, LUA_TSTRING);
    lua_tolstring(L, 2, &length);
    lua_Integer first = lua_isnoneornil(L, 3) ? 0 : check_index(L, 3);
    check_items(L, v);
    check_writable(L, v);
    Py_ssize_t items = shape_of(v)[0];
    Py_ssize_t size = bytes_of(v, v->ndim - 1);
    lua_Integer start = first < 0 ? first + items : first;
    if (start < 0 || start > items) {
        return luaL_error(L, "buffer index %I is out of range (length %I)", (LUAI_UACINT)first,
                          (LUAI_UACINT)items);
    }
    if (length && (size == 0 || length % (size_t)size)) {
        return luaL_error(L, "string of %I bytes does not fill whole items of %I",
                          (LUAI_UACINT)length, (LUAI_UACINT)size);
    }
    Py_ssize_t count = length ? (Py_ssize_t)length / size : 0;
    if (count > items - start) {
        return luaL_error(L, "string of %I items does not fit at index %I (length %I)",
                          (LUAI_UACINT)count, (LUAI_UACINT)first, (LUAI_UACINT)items);
    }
    const view *part = push_range(L, v, (Py_ssize_t)start, 1, count);
    if (size == 0) return 0;
    lua_pushvalue(L, 2);
    return fill(L, part);
}

/* -------------------------------------------------------------------------------- metamethods */

static int push_sizes(lua_State *L, const Py_ssize_t *sizes, int count) {
    lua_createtable(L, count, 0);
    for (int i = 0; i < count; i++) {
        lua_pushinteger(L, sizes[i]);
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

/* The field whose name is at 2. */
static int push_field(lua_State *L, const view *v) {
    const char *name = lua_tostring(L, 2);
    const Py_buffer *m = v->owner->memory;
    if (strcmp(name, "shape") == 0) return push_sizes(L, shape_of(v), v->ndim);
    if (strcmp(name, "strides") == 0) return push_sizes(L, strides_of(v), v->ndim);
    if (strcmp(name, "ndim") == 0) {
        lua_pushinteger(L, v->ndim);
    } else if (strcmp(name, "itemsize") == 0) {
        lua_pushinteger(L, m->itemsize);
    } else if (strcmp(name, "nbytes") == 0) {
        lua_pushinteger(L, bytes_of(v, v->ndim));
    } else if (strcmp(name, "format") == 0) {
        lua_pushstring(L, m->format ? m->format : "B");
    } else if (strcmp(name, "readonly") == 0) {
        lua_pushboolean(L, m->readonly);
    } else if (strcmp(name, "object") == 0) {
        ml_to_lua(L, v->owner->world, m->obj ? m->obj : Py_None);
    } else {
        return luaL_error(L, "a buffer has no field '%s'", name);
    }
    return 1;
}

/* Upvalue 1 has the methods. */
static int get_index(lua_State *L) {
    if (lua_type(L, 2) == LUA_TSTRING) {
        lua_pushvalue(L, 2);
        if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL) return 1; /* b:release(), any time */
    }
    const view *v = check(L, 1);
    switch (lua_type(L, 2)) {
        case LUA_TNUMBER: {
            check_items(L, v);
            char *at = v->data + offset_of(L, v, 0, check_index(L, 2));
            if (v->ndim == 1) return push_element(L, v, at);
            push_part(L, 1, v, v->ndim - 1, at);
            return 1;
        }
        case LUA_TSTRING: return push_field(L, v);
        default: push_slice(L, v); return 1;
    }
}

static int set_index(lua_State *L) {
    const view *v = check(L, 1);
    switch (lua_type(L, 2)) {
        case LUA_TNUMBER: {
            check_items(L, v);
            char *at = v->data + offset_of(L, v, 0, check_index(L, 2));
            check_writable(L, v);
            if (v->ndim == 1) return store_element(L, v, at);
            v = push_part(L, 1, v, v->ndim - 1, at);
            break;
        }
        case LUA_TSTRING: return luaL_error(L, "the fields of a buffer cannot be set");
        default: v = push_slice(L, v); check_writable(L, v);
    }
    lua_pushvalue(L, 3);
    return fill(L, v);
}

static int len(lua_State *L) {
    const view *v = check(L, 1);
    check_items(L, v);
    lua_pushinteger(L, shape_of(v)[0]);
    return 1;
}

/* The iterator of pairs(b): the index is its own state. */
static int next(lua_State *L) {
    const view *v = check(L, 1);
    lua_Integer i = luaL_checkinteger(L, 2) + 1;
    lua_settop(L, 1);
    if (v->ndim == 0 || i < 0 || i >= shape_of(v)[0]) return 0;
    lua_pushinteger(L, i);
    char *at = v->data + (Py_ssize_t)i * strides_of(v)[0];
    if (v->ndim == 1) {
        push_element(L, v, at);
    } else {
        push_part(L, 1, v, v->ndim - 1, at);
    }
    return 2;
}

static int pairs(lua_State *L) {
    check_items(L, check(L, 1));
    lua_pushcfunction(L, next);
    lua_pushvalue(L, 1);
    lua_pushinteger(L, -1);
    return 3;
}

void ml_buffer_register(lua_State *L, ml_world *w) {
    static const luaL_Reg metamethods[] = {{"__newindex", set_index},
                                           {"__len", len},
                                           {"__pairs", pairs},
                                           {"__close", release},
                                           {NULL, NULL}};
    static const luaL_Reg methods[] = {{"get", get},         {"set", set},
                                       {"string", string},   {"write", write_text},
                                       {"release", release}, {NULL, NULL}};
    luaL_checkstack(L, 8, NULL);
    luaL_newlib(L, metamethods);
    luaL_newlib(L, methods);
    lua_pushcclosure(L, get_index, 1);
    lua_setfield(L, -2, "__index");
    lua_pushliteral(L, "buffer");
    lua_setfield(L, -2, "__name");
    lua_rawsetp(L, LUA_REGISTRYINDEX, &view_tag);

    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, collect_owner);
    lua_setfield(L, -2, "__gc");
    lua_rawsetp(L, LUA_REGISTRYINDEX, &owner_tag);

    lua_pushlightuserdata(L, w);
    lua_pushcclosure(L, buffer, 1);
    lua_setfield(L, -2, "buffer");
}
