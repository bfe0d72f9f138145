#include "element.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static const bool little_endian = PY_LITTLE_ENDIAN;

/* ------------------------------------------------------------------------------- formats */

/* The size of a code in native order and alignment, and where that is not asked for. 0: none. */
static Py_ssize_t size_of(char code, bool native) {
    switch (code) {
        case '?':
        case 'b':
        case 'B':
        case 'c': return 1;
        case 'e': return 2;
        case 'f': return 4;
        case 'd': return 8;
        case 'h':
        case 'H': return native ? (Py_ssize_t)sizeof(short) : 2;
        case 'i':
        case 'I': return native ? (Py_ssize_t)sizeof(int) : 4;
        case 'l':
        case 'L': return native ? (Py_ssize_t)sizeof(long) : 4;
        case 'q':
        case 'Q': return native ? (Py_ssize_t)sizeof(long long) : 8;
        case 'n':
        case 'N': return native ? (Py_ssize_t)sizeof(size_t) : 0;
        case 'P': return native ? (Py_ssize_t)sizeof(void *) : 0;
        default: return 0;
    }
}

ml_element ml_element_parse(const char *format, Py_ssize_t size) {
    ml_element e = {.size = size};
    bool native = true, little = little_endian;
    if (!format) format = "B";
    switch (*format) {
        case '@': format++; break;
        case '=': format++, native = false; break;
        case '<': format++, native = false, little = true; break;
        case '>':
        case '!': format++, native = false, little = false; break;
    }
    bool counted = *format >= '0' && *format <= '9';
    Py_ssize_t count = counted ? 0 : 1;
    for (; *format >= '0' && *format <= '9' && count <= size; format++) {
        count = 10 * count + (*format - '0');
    }
    char code = *format;
    if (!code || format[1]) return e;
    bool known = code == 's' ? count == size : !counted && size_of(code, native) == size;
    if (known) e.code = code;
    e.swapped = little != little_endian;
    return e;
}

static bool is_signed(char code) { return strchr("bhilqn", code) != NULL; }
static bool is_unsigned(char code) { return strchr("BHILQNP", code) != NULL; }

/* Copies `size` bytes, in reverse order if `swapped`. */
static void copy_bytes(char *to, const char *from, Py_ssize_t size, bool swapped) {
    for (Py_ssize_t i = 0; i < size; i++) to[i] = from[swapped ? size - 1 - i : i];
}

/* -------------------------------------------------------------------------------- reading */

static uint64_t load(const char *bytes, Py_ssize_t size) {
    uint64_t bits = 0;
    memcpy(little_endian ? (char *)&bits : (char *)&bits + sizeof bits - size, bytes,
           (size_t)size);
    return bits;
}

static void push_integer(lua_State *L, ml_world *w, ml_element e, const char *bytes) {
    uint64_t bits = load(bytes, e.size);
    unsigned unused = 64 - 8 * (unsigned)e.size;
    if (is_signed(e.code)) {
        lua_pushinteger(L, (lua_Integer)(bits << unused) >> unused);
    } else if (bits <= LUA_MAXINTEGER) {
        lua_pushinteger(L, (lua_Integer)bits);
    } else {
        PyObject *o = PyLong_FromUnsignedLongLong(bits);
        if (!o) ml_error_raise(L, w);
        ml_to_lua_steal(L, w, o);
    }
}

void ml_element_push(lua_State *L, ml_world *w, ml_element e, const char *from) {
    char bytes[ML_ELEMENT_MAX];
    float single;
    double number;
    if (e.code == 's') {
        lua_pushlstring(L, from, (size_t)e.size);
        return;
    }
    copy_bytes(bytes, from, e.size, e.swapped);
    switch (e.code) {
        case '?': lua_pushboolean(L, *bytes != 0); break;
        case 'c': lua_pushlstring(L, bytes, 1); break;
        case 'e': lua_pushnumber(L, PyFloat_Unpack2(bytes, little_endian)); break;
        case 'f':
            memcpy(&single, bytes, sizeof single);
            lua_pushnumber(L, single);
            break;
        case 'd':
            memcpy(&number, bytes, sizeof number);
            lua_pushnumber(L, number);
            break;
        default: push_integer(L, w, e, bytes);
    }
}

/* -------------------------------------------------------------------------------- writing */

static int wrong_type(lua_State *L, ml_element e, int index, const char *expected) {
    return luaL_error(L, "%s expected for format '%c', got %s", expected, e.code,
                      luaL_typename(L, index));
}

/* The range in words: "0 to 255". */
static int out_of_range(lua_State *L, ml_element e, int index) {
    char range[60] = "finite numbers";
    unsigned bits = 8 * (unsigned)e.size;
    if (is_signed(e.code)) {
        int64_t largest = INT64_MAX >> (64 - bits);
        snprintf(range, sizeof range, "%" PRId64 " to %" PRId64, -largest - 1, largest);
    } else if (is_unsigned(e.code)) {
        snprintf(range, sizeof range, "0 to %" PRIu64, UINT64_MAX >> (64 - bits));
    }
    const char *value = luaL_tolstring(L, index, NULL);
    return luaL_error(L, "%s is out of range for format '%c' (%s)", value, e.code, range);
}

/* An integer of 65 bits. */
typedef struct integer {
    uint64_t bits; /* two's complement */
    bool negative;
} integer;

/* The integer that a Python object is: 0; 1 if it has more bits; -1 with an exception. */
static int ask_integer(lua_State *L, ml_world *w, PyObject *o, integer *n) {
    int result = -1;
    ml_activation a;
    ml_lua_leave(&a, L, w);
    PyObject *index = PyNumber_Index(o);
    if (index) {
        int overflow;
        n->bits = (uint64_t)PyLong_AsLongLongAndOverflow(index, &overflow);
        n->negative = overflow < 0 || (overflow == 0 && (int64_t)n->bits < 0);
        if (overflow > 0) n->bits = PyLong_AsUnsignedLongLong(index);
        result = overflow < 0 || PyErr_Occurred() != NULL;
        if (result) PyErr_Clear();
        Py_DECREF(index);
    }
    ml_lua_return(&a);
    return result;
}

static integer take_integer(lua_State *L, ml_world *w, ml_element e, int index) {
    integer n = {0, false};
    int exact;
    if (lua_type(L, index) == LUA_TNUMBER) {
        lua_Integer value = lua_tointegerx(L, index, &exact);
        lua_Number number = lua_tonumber(L, index);
        if (exact) {
            n = (integer){(uint64_t)value, value < 0};
        } else if (number >= 0x1p63 && number < 0x1p64) {
            n.bits = (uint64_t)number;
        } else if (number == floor(number)) {
            out_of_range(L, e, index);
        } else {
            luaL_error(L, "number has no integer representation");
        }
        return n;
    }
    PyObject *o = ml_pyproxy_test(L, index);
    if (!o) wrong_type(L, e, index, "integer");
    int result = ask_integer(L, w, o, &n);
    if (result < 0) ml_error_raise(L, w);
    if (result > 0) out_of_range(L, e, index);
    return n;
}

static void store_integer(lua_State *L, ml_element e, int index, integer n, char *bytes) {
    unsigned unused = 64 - 8 * (unsigned)e.size;
    bool fits;
    if (is_signed(e.code)) {
        int64_t value = (int64_t)n.bits;
        fits = n.negative == (value < 0) && value >= INT64_MIN >> unused &&
               value <= INT64_MAX >> unused;
    } else {
        fits = !n.negative && n.bits <= UINT64_MAX >> unused;
    }
    if (!fits) out_of_range(L, e, index);
    const char *from = (const char *)&n.bits;
    memcpy(bytes, little_endian ? from : from + sizeof n.bits - e.size, (size_t)e.size);
}

static double take_number(lua_State *L, ml_world *w, ml_element e, int index) {
    if (lua_type(L, index) == LUA_TNUMBER) return lua_tonumber(L, index);
    PyObject *o = ml_pyproxy_test(L, index);
    if (!o) wrong_type(L, e, index, "number");
    ml_activation a;
    ml_lua_leave(&a, L, w);
    double number = PyFloat_AsDouble(o);
    bool failed = number == -1.0 && PyErr_Occurred();
    ml_lua_return(&a);
    if (failed) ml_error_raise(L, w);
    return number;
}

static void store_number(lua_State *L, ml_element e, int index, double number, char *bytes) {
    if (e.code == 'd') {
        memcpy(bytes, &number, sizeof number);
        return;
    }
    /* Overflow is the only failure (Objects/floatobject.c). */
    int result = e.code == 'f' ? PyFloat_Pack4(number, bytes, little_endian)
                               : PyFloat_Pack2(number, bytes, little_endian);
    if (result == 0) return;
    PyErr_Clear();
    out_of_range(L, e, index);
}

const char *ml_element_take(lua_State *L, ml_world *w, ml_element e, int index,
                            char bytes[ML_ELEMENT_MAX], size_t *length) {
    char native[ML_ELEMENT_MAX];
    if (e.code == 's' || e.code == 'c') {
        if (lua_type(L, index) != LUA_TSTRING) wrong_type(L, e, index, "string");
        const char *text = lua_tolstring(L, index, length);
        if (e.code == 'c' && *length != 1) {
            luaL_error(L, "string of one byte expected for format 'c', got one of %d",
                       (int)*length);
        }
        if (*length > (size_t)e.size) {
            luaL_error(L, "string of at most %d bytes expected for format '%ds', got one of %d",
                       (int)e.size, (int)e.size, (int)*length);
        }
        return text;
    }
    *length = (size_t)e.size;
    if (e.code == '?') {
        if (!lua_isboolean(L, index)) wrong_type(L, e, index, "boolean");
        *native = (char)lua_toboolean(L, index);
    } else if (is_signed(e.code) || is_unsigned(e.code)) {
        store_integer(L, e, index, take_integer(L, w, e, index), native);
    } else {
        store_number(L, e, index, take_number(L, w, e, index), native);
    }
    copy_bytes(bytes, native, e.size, e.swapped);
    return bytes;
}
