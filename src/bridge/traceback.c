/* Where an error came from, and where one is: frames of both languages in their order. */

#include "../python/pygreenlet.h"
#include "bridge.h"

#include <string.h>

static ml_world *world(lua_State *L) { return lua_touserdata(L, lua_upvalueindex(1)); }

/* -------------------------------------------------------------------- Lua frames for Python */

static const char *function_name(const lua_Debug *ar, char *buffer, size_t size) {
    if (ar->name) return ar->name;
    if (strcmp(ar->what, "main") == 0) return "<main chunk>";
    snprintf(buffer, size, "<function:%d>", ar->linedefined);
    return buffer;
}

/* The CallInfo of `L` where the other language was left to call into it, or NULL. */
static const void *border_of(const lua_State *L, const ml_activation *a) {
    return a && a->L == L ? a->border : NULL;
}

void ml_traceback_add(lua_State *L, int first) {
    const void *border = border_of(L, ml_current()->lua);
    lua_Debug ar;
    for (int level = first; level < 1000 && lua_getstack(L, level, &ar); level++) {
        if (ar.i_ci == border) break; /* those further out are added when the error gets there */
        char buffer[40];
        lua_getinfo(L, "Sln", &ar);
        if (ar.currentline <= 0) continue; /* a C function: Python adds its own frames */
        /* File names are chunk names, so that Python's printer finds the source lines. */
        const char *file = *ar.source == '@' ? ar.source + 1 : ar.short_src;
        _PyTraceback_Add(function_name(&ar, buffer, sizeof buffer), file, ar.currentline);
    }
}

/* ------------------------------------------------------------------- the stack as text for Lua

   From the innermost outwards: Lua up to where Python called it (its border), Python up to where Lua
   called it (what it was in when it last called Lua), and so on along the activations. The text is
   gathered in a luaL_Buffer, so nothing else stays on the stack. */

enum { FIRST = 12, LAST = 12 }; /* of each language's frames in a row, as many are shown */

static void add_lua_line(lua_State *L, luaL_Buffer *b, lua_State *from, lua_Debug *ar) {
    lua_getinfo(from, "Slnt", ar);
    if (ar->currentline > 0) {
        lua_pushfstring(L, "\n\t%s:%d: in ", ar->short_src, ar->currentline);
    } else {
        lua_pushfstring(L, "\n\t%s: in ", ar->short_src);
    }
    luaL_addvalue(b);
    if (*ar->namewhat) {
        const char *kind = strcmp(ar->namewhat, "global") == 0 ? "function" : ar->namewhat;
        lua_pushfstring(L, "%s '%s'", kind, ar->name);
    } else if (*ar->what == 'm') {
        lua_pushliteral(L, "main chunk");
    } else if (*ar->what != 'C') {
        lua_pushfstring(L, "function <%s:%d>", ar->short_src, ar->linedefined);
    } else {
        lua_pushliteral(L, "?");
    }
    luaL_addvalue(b);
    if (ar->istailcall) luaL_addstring(b, "\n\t(...tail calls...)");
}

static void add_skipped(lua_State *L, luaL_Buffer *b, int count) {
    lua_pushfstring(L, "\n\t...\t(skipping %d levels)", count);
    luaL_addvalue(b);
}

/* The level of `from` with this CallInfo, else the first one that is not there. */
static int level_of(lua_State *from, int level, const void *ci) {
    lua_Debug ar;
    while (lua_getstack(from, level, &ar) && ar.i_ci != ci) level++;
    return level;
}

/* Adds the levels first ... end - 1 of `from`. */
static void add_lua(lua_State *L, luaL_Buffer *b, lua_State *from, int first, int end) {
    lua_Debug ar;
    for (int level = first; level < end && lua_getstack(from, level, &ar); level++) {
        if (level - first == FIRST && end - level > LAST) {
            add_skipped(L, b, end - LAST - level);
            level = end - LAST;
            lua_getstack(from, level, &ar);
        }
        add_lua_line(L, b, from, &ar);
    }
}

/* The frames from `frame` (stolen) outwards to `outer`, as lines of text. New reference or NULL with
   an exception; both frames may be NULL. */
static PyObject *python_lines(PyObject *frame, PyObject *outer) {
    PyObject *text = PyUnicode_FromString("");
    while (text && frame && frame != outer) {
        PyCodeObject *code = PyFrame_GetCode((PyFrameObject *)frame);
        PyObject *line =
            PyUnicode_FromFormat("\n\t%U:%d: in Python function '%U'", code->co_filename,
                                 PyFrame_GetLineNumber((PyFrameObject *)frame), code->co_name);
        Py_DECREF(code);
        PyObject *longer = line ? PyUnicode_Concat(text, line) : NULL;
        Py_XDECREF(line);
        Py_SETREF(text, longer);
        Py_SETREF(frame, (PyObject *)PyFrame_GetBack((PyFrameObject *)frame));
    }
    Py_XDECREF(frame);
    return text;
}

/* The frame that was the current one on the stack of `g`, where it is now. */
static void *frame_at(const ml_greenlet *g, void *frame) {
    return frame ? (void *)ml_stack_view(g, frame) : NULL;
}

/* Where Python was when it called the Lua code of `g` that has left for Python again at `next`, or, if
   that is NULL, the outermost one. NULL: nowhere. */
static void *caller(const ml_greenlet *g, const ml_activation *next) {
    if (!next) return frame_at(g, g->lua_frame);
    return next->inside ? frame_at(g, next->frame) : NULL;
}

/* Adds the Python frames from `frame` (stolen) outwards, up to `end`. Runs no Python code: frames know
   their line. */
static void add_python(lua_State *L, luaL_Buffer *b, ml_world *w, PyObject *frame, void *end) {
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyObject *outer = end ? ml_frame_object(end) : NULL;
    PyObject *text = python_lines(frame, outer);
    Py_XDECREF(outer);
    PyErr_Clear();
    PyErr_Restore(type, value, traceback);
    if (!text) return; /* no memory */
    ml_to_lua_steal(L, w, text);
    luaL_addvalue(b);
}

/* The activation at `a`, which is on the stack of `g`: where it can be read. */
static const ml_activation *view(const ml_greenlet *g, const ml_activation *a) {
    return a ? ml_stack_view(g, a) : NULL;
}

/* The coroutine that `L`, which does not run, has resumed, by coroutine.resume or what coroutine.wrap has
   returned; or NULL. */
static lua_State *resumed_by(lua_State *L) {
    lua_Debug ar;
    if (!lua_getstack(L, 0, &ar) || !lua_getinfo(L, "S", &ar) || *ar.what != 'C') return NULL;
    lua_State *co = lua_gettop(L) ? lua_tothread(L, 1) : NULL;
    if (!co) co = lua_tothread(L, lua_upvalueindex(1));
    return co && co != L && lua_status(co) == LUA_OK && lua_getstack(co, 0, &ar) ? co : NULL;
}

/* Adds the coroutines that `from` has resumed, the innermost first, but none from `end` on. */
static void add_coroutines(lua_State *L, luaL_Buffer *b, lua_State *from, const lua_State *end) {
    enum { MOST = 16 };
    lua_State *all[MOST];
    int count = 0;
    for (lua_State *co = resumed_by(from); co && co != end && count < MOST; co = resumed_by(co)) {
        all[count++] = co;
    }
    while (count-- > 0) add_lua(L, b, all[count], 0, level_of(all[count], 0, NULL));
}

/* The Lua thread of `g` with code that runs though no activation knows it. NULL: there is none. */
static lua_State *own_thread(const ml_greenlet *g, const ml_world *w) {
    lua_Debug ar;
    for (const ml_lthread *t = g->lua_threads; t; t = t->same_greenlet) {
        if (t->world != w || !lua_getstack(t->L, 0, &ar)) continue;
        const ml_activation *a = view(g, g->lua);
        while (a && a->L != t->L) a = view(g, a->previous);
        if (!a) return t->L;
    }
    const ml_activation *a = ml_is_main(g) ? view(g, g->lua) : NULL;
    while (a && a->L != w->main) a = view(g, a->previous);
    return ml_is_main(g) && !a && lua_getstack(w->main, 0, &ar) ? w->main : NULL;
}

/* Adds what is further out than the Lua code that runs inside of `a`, on `shown`; with NULL inside of
   nothing. */
static void add_outer(lua_State *L, luaL_Buffer *b, ml_world *w, const ml_greenlet *g,
                      const ml_activation *a, const lua_State *shown) {
    while (a && a->inside) {
        const ml_activation *next = view(g, a->previous);
        if (a->border)
            add_python(L, b, w, ml_frame_object(frame_at(g, a->frame)), caller(g, next));
        int first = level_of(a->L, 0, a->border);
        add_lua(L, b, a->L, first, level_of(a->L, first, border_of(a->L, next)));
        if (next && next->L != a->L) {
            add_coroutines(L, b, next->L, a->L);
            add_lua(L, b, next->L, 0, level_of(next->L, 0, next->border));
        }
        shown = a->L;
        a = next;
    }
    lua_State *own = a ? NULL : own_thread(g, w);
    if (own && own != shown) { /* it was interrupted, or has resumed `shown` */
        add_coroutines(L, b, own, shown);
        add_lua(L, b, own, 0, level_of(own, 0, NULL));
    }
    if (!a && g->lua_frame) add_python(L, b, w, ml_frame_object(frame_at(g, g->lua_frame)), NULL);
}

static void add_stack(lua_State *L, luaL_Buffer *b, ml_world *w, int level) {
    const ml_greenlet *g = ml_current();
    const ml_activation *a = g->lua;
    luaL_addstring(b, "\nstack traceback:");
    add_lua(L, b, L, level, level_of(L, level, border_of(L, a)));
    if (a && a->L != L)
        add_lua(L, b, a->L, 0, level_of(a->L, 0, a->border)); /* L is a coroutine */
    add_outer(L, b, w, g, a, L);
}

/* ------------------------------------------------------------------------ of another greenlet */

/* The frame in which the suspended `g` goes on: a new reference, or NULL. */
static PyObject *suspended_frame(const ml_greenlet *g) {
    PyObject *frame = PyObject_GetAttrString(ml_py_object(g), "gr_frame");
    if (!frame) PyErr_Clear();
    if (frame == Py_None) Py_CLEAR(frame);
    return frame;
}

void ml_traceback_push(lua_State *L, ml_world *w, const ml_greenlet *g) {
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    if (g == ml_current()) {
        add_stack(L, &b, w, 0);
    } else if (g->state == ML_ACTIVE && !ml_thread_exited(g->thread) && !ml_is_running(g)) {
        const ml_activation *a = view(g, g->lua);
        luaL_addstring(&b, "\nstack traceback:");
        if (a && !a->inside) { /* Python is innermost */
            const ml_activation *next = view(g, a->previous);
            add_python(L, &b, w, suspended_frame(g), caller(g, next));
            add_lua(L, &b, a->L, 0, level_of(a->L, 0, border_of(a->L, next)));
            if (next && next->L != a->L) {
                add_lua(L, &b, next->L, 0, level_of(next->L, 0, next->border));
            }
            add_outer(L, &b, w, g, next, a->L);
        } else {
            lua_State *own = own_thread(g, w);
            lua_State *from = own || !a ? own : a->L;
            if (from) {
                add_coroutines(L, &b, from, NULL);
                add_lua(L, &b, from, 0, level_of(from, 0, border_of(from, a)));
            }
            if (a && from != a->L) add_lua(L, &b, a->L, 0, level_of(a->L, 0, a->border));
            if (!a && !g->lua_frame) add_python(L, &b, w, suspended_frame(g), NULL);
            add_outer(L, &b, w, g, a, from);
        }
    }
    luaL_pushresult(&b);
}

/* The traceback of an exception as Python prints it, without the newline at its end. */
static PyObject *format(PyObject *exception) {
    PyObject *module = PyImport_ImportModule("traceback");
    PyObject *lines =
        module ? PyObject_CallMethod(module, "format_exception", "O", exception) : NULL;
    PyObject *empty = lines ? PyUnicode_FromString("") : NULL;
    PyObject *text = empty ? PyUnicode_Join(empty, lines) : NULL;
    PyObject *stripped = text ? PyObject_CallMethod(text, "rstrip", NULL) : NULL;
    Py_XDECREF(module);
    Py_XDECREF(lines);
    Py_XDECREF(empty);
    Py_XDECREF(text);
    return stripped;
}

/* moonlet.traceback([thread,] [message [, level]]); without a level it gives a cancel as it is. */
static int traceback(lua_State *L) {
    ml_world *w = world(L);
    lua_State *thread = lua_tothread(L, 1);
    if (thread) lua_remove(L, 1);
    lua_settop(L, 2);
    PyObject *o = ml_pyproxy_test(L, 1);
    if (o && lua_isnoneornil(L, 2) && ml_is_cancel(o)) { /* a handler of xpcall: let it pass */
        lua_settop(L, 1);
        return 1;
    }
    lua_Integer level = luaL_optinteger(L, 2, thread && thread != L ? 0 : 1);
    bool known = o ? PyExceptionInstance_Check(o) : lua_type(L, 1) == LUA_TSTRING;
    if (known && !o) known = (o = ml_error_exception(L, w, 1));
    if (known) {
        Py_INCREF(o);
        ml_activation a;
        ml_lua_leave(&a, L, w);
        PyObject *text = format(o);
        Py_DECREF(o);
        ml_lua_return(&a);
        if (text) {
            ml_to_lua_steal(L, w, text);
            lua_replace(L, 1);
        } else {
            PyErr_Clear(); /* the error itself says more; and would come here again */
        }
    }
    const char *message = lua_tostring(L, 1);
    if (!message && !lua_isnil(L, 1)) {
        lua_settop(L, 1); /* as debug.traceback */
    } else if (thread && thread != L) {
        luaL_traceback(L, thread, message, (int)level);
    } else {
        luaL_Buffer b;
        luaL_buffinit(L, &b);
        if (message) {
            lua_pushvalue(L, 1);
            luaL_addvalue(&b);
        }
        add_stack(L, &b, w, (int)level);
        luaL_pushresult(&b);
    }
    return 1;
}

void ml_traceback_register(lua_State *L, ml_world *w) {
    lua_pushlightuserdata(L, w);
    lua_pushcclosure(L, traceback, 1);
    lua_setfield(L, -2, "traceback");
}
